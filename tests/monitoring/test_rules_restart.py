"""Rules of one name in one group, as for a warning and for something critical, over a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from test_rules_room import World

from opsbook.monitoring.rules.model import AlertingRule

WARNING = AlertingRule(alert="Full", expr="used > 80", labels={"severity": "warning"})
CRITICAL = AlertingRule(alert="Full", expr="used > 90", labels={"severity": "critical"})
OTHER = AlertingRule(alert="Full", expr="other > 90", labels={"severity": "critical"})


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, WARNING, CRITICAL, OTHER)
    yield made
    made.rules.close()


def test_each_rule_of_a_name_gets_its_own_alerts_back(world: World) -> None:
    """None resolves what another one found, and nothing is told twice as something new."""
    samples = [({"__name__": name, "disk": name}, 95.0) for name in ("used", "other")]
    world.at(0, *samples)
    assert 3 == len(world.states())
    after = world.again(WARNING, CRITICAL, OTHER)
    after.at(5, *samples)
    states, told, kinds = after.states(), after.receiver.told(), [kind for kind, _, _ in after.events()]
    after.rules.close()
    after.journal.close()

    assert [("Full", "firing")] * 3 == states
    assert {"firing"} == {state for _, state in told}
    assert ["alert.firing"] * 3 == kinds
