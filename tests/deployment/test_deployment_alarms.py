"""Alerts that take a new version back: which, and when."""

from __future__ import annotations

import pytest
from workshop import Workshop, until

from opsbook.deployment.alarms import FiringAlert, condemning
from opsbook.deployment.model import Deployment, Placement, Strategy

ALARMED = """
strategies:
  alarmed: {type: blue-green, watch: 60s, rollback_on: [health, "alert:critical", "alert:QueueGrows"]}
"""


def deployment(*triggers: str) -> Deployment:
    return Deployment(
        id="d-1", kind="deploy", service="web", environment="production", version="2.0", replicas=2,
        strategy=Strategy(name="blue-green", type="blue-green", rollback_on=triggers),
        before=Placement(environment="production", service="web"), started_at=100.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("triggers", "alert", "condemned"),
    [
        (("alert:critical",), FiringAlert("Errors", "critical", 101.0), True),
        (("alert:Errors",), FiringAlert("Errors", "warning", 101.0), True),
        (("alert:critical",), FiringAlert("Errors", "warning", 101.0), False),
        (("alert:critical",), FiringAlert("Errors", "critical", 99.0), False),
        (("analysis", "health"), FiringAlert("health", "analysis", 101.0), False),
    ],
)
def test_only_named_alerts_that_began_afterwards_condemn(
    triggers: tuple[str, ...], alert: FiringAlert, condemned: bool
) -> None:
    """By name or severity; what was wrong before is not the new version's doing."""
    assert condemned is bool(condemning(deployment(*triggers), [alert]))


def test_the_reason_names_the_alert() -> None:
    """With what is said about it."""
    alert = FiringAlert("Errors", "critical", 101.0, "web fails 5 % of its requests")
    said = condemning(deployment("alert:critical"), [alert])
    assert "the critical alert Errors: web fails 5 % of its requests fires" == said


def test_an_alert_in_the_watch_window_takes_the_version_back(workshop: Workshop) -> None:
    """By itself, with the alert as the reason; one that fired before does not."""
    workshop.book("deployment/strategies.yaml", ALARMED)
    workshop.environment("  web: {replicas: 2, strategy: alarmed}\n")
    workshop.deploy("1.0")
    workshop.alerts = [FiringAlert("OldTrouble", "critical", workshop.clock.now() - 60)]
    (workshop.root / "web" / "note.txt").write_text("2")
    second = workshop.deploy("2.0")
    assert "succeeded" == second["outcome"], second["reason"]
    workshop.alerts.append(FiringAlert("QueueGrows", "warning", workshop.clock.now()))
    until(lambda: workshop.room.view(second["id"])["reverted_by"], what="the watch window to act")
    workshop.ended(workshop.room.view(second["id"])["reverted_by"])
    reverted = workshop.journal.events(kinds=["deployment.reverted"])[-1].data
    assert "the warning alert QueueGrows fires" == reverted["reason"]
    assert "1.0" == workshop.placement().version


def test_an_alert_while_a_version_is_on_trial_takes_it_back(workshop: Workshop) -> None:
    """It ends as rolled back, and the version before serves all the time."""
    workshop.book("deployment/strategies.yaml", ALARMED.replace("watch: 60s", "watch: 60s, ready_for: 20s"))
    workshop.environment("  web: {replicas: 2, strategy: alarmed}\n")
    workshop.book("deployment/strategies.yaml", ALARMED)
    workshop.deploy("1.0")
    workshop.book("deployment/strategies.yaml", ALARMED.replace("watch: 60s", "watch: 60s, ready_for: 20s"))
    (workshop.root / "web" / "note.txt").write_text("2")
    asked = workshop.deploy("2.0", wait=False)
    workshop.in_phase(asked["id"], "starting", "ready")
    workshop.alerts = [FiringAlert("Errors", "critical", workshop.clock.now())]
    ended = workshop.ended(asked["id"])
    assert "rolled_back" == ended["outcome"], ended["reason"]
    assert "the critical alert Errors fires" in ended["reason"]
    assert (200, "1.0") == workshop.get()
