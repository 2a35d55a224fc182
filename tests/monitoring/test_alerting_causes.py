"""Causes before symptoms: what waits for what, and who hears of which; and when nobody needs to wait at all."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from alerting_house import House, Receiver, until
from test_alerting_plan import COVER, SERVICE, World, book_of, said

from opsbook.book import Book, TextFiles, load
from opsbook.monitoring.alerting.model import PUSHED, Alert
from opsbook.monitoring.alerting.rounds import Rounds

PROBES = "probes: [{name: postgres, tcp: 'db.example.com:5432', environment: production, service: api}]"
SYMPTOM = {"service": "web", "environment": "production", "severity": "critical"}


def probed() -> Book:
    """A storefront that needs an API that needs a database, which somebody else runs."""
    return load(
        TextFiles(
            {
                "opsbook.yaml": COVER.encode(),
                "monitoring/notifications.yaml": b"channels: [hook]\ngroup_interval: 1s",
                "monitoring/probes.yaml": PROBES.encode(),
                "environments/production.yaml": b"environment: production\nentry: {port: 8080}\n",
                "services/web.yaml": SERVICE.format(name="web", needs="api").encode(),
                "services/api.yaml": SERVICE.format(name="api", needs="").encode(),
                "services/other.yaml": SERVICE.format(name="other", needs="").encode(),
            }
        )
    )


def hear(world: World, name: str, labels: dict[str, str], *, ended: bool = False) -> None:
    """An alert of a rule."""
    world.hear(name, ended=ended, source="rules", **labels)


def down(world: World, *, ended: bool = False, **labels: str) -> None:
    """The probe's alert."""
    about = {
        "probe": "postgres",
        "service": "api",
        "environment": "production",
        "severity": "critical",
    } | labels
    hear(world, "ProbeDown", {name: text for name, text in about.items() if text}, ended=ended)


@pytest.mark.parametrize("environment", ["production", ""])
def test_what_a_probe_finds_is_the_cause_of_the_service_that_needs_it_and_of_those_above(
    environment: str,
) -> None:
    """One page, about the database; a probe of no environment is part of all of them."""
    world = World(probed())
    down(world, environment=environment)
    for service in ("web", "api"):
        hear(world, "HighErrorRate", {**SYMPTOM, "service": service})

    assert [("hook", "firing", ["ProbeDown"], [])] == said(world.until(300))


def test_another_service_and_another_environment_are_not_behind_a_probe() -> None:
    """Nor is the other way round: what a probe finds is not hidden by its service's own alerts."""
    world = World(probed())
    down(world)
    hear(world, "HighErrorRate", {**SYMPTOM, "service": "other"})
    hear(world, "HighErrorRate", {**SYMPTOM, "environment": "staging"})
    assert ["HighErrorRate", "HighErrorRate", "ProbeDown"] == sorted(
        alert.name for one in world.until(60) for alert in one.firing
    )

    other = World(probed())
    hear(other, "ServiceDown", {**SYMPTOM, "service": "api"})
    other.decide()
    down(other)
    assert [("hook", "firing", ["ProbeDown"], [])] == said(other.until(60))


def test_a_symptom_waits_for_a_cause_that_is_pending() -> None:
    """Longer than cause_wait, but not for ever; and not for one that cannot be its cause."""
    world = World(probed())
    world.suspects = ({"alertname": "ServiceDown", **SYMPTOM, "service": "api"},)
    hear(world, "HighErrorRate", SYMPTOM)
    assert [] == world.until(30)
    assert world.plan is not None
    [[found]] = world.plan.suppressions.values()
    assert ("hold", "ServiceDown of api, on which it depends, is pending") == (found.kind, found.why)
    hear(world, "ServiceDown", {**SYMPTOM, "service": "api"})
    assert [("hook", "firing", ["ServiceDown"], [])] == said(world.until(120))

    patient = World(probed())
    patient.suspects = world.suspects
    hear(patient, "HighErrorRate", SYMPTOM)
    assert [("hook", "firing", ["HighErrorRate"], [])] == said(patient.until(61))

    unmoved = World(probed())
    unmoved.suspects = (
        {**world.suspects[0], "severity": "warning"},
        {**world.suspects[0], "environment": "x"},
    )
    hear(unmoved, "HighErrorRate", SYMPTOM)
    assert 1 == len(unmoved.until(6))


def test_a_suspect_that_comes_to_nothing_lets_the_symptom_pass() -> None:
    """Within a second of it."""
    world = World(probed())
    world.suspects = ({"alertname": "ProbeDown", "probe": "postgres", **SYMPTOM, "service": "api"},)
    hear(world, "HighErrorRate", {**SYMPTOM, "service": "api"})
    assert [] == world.until(10)
    world.suspects = ()

    assert 1 == len(world.until(1.1))


def test_the_backing_service_of_many_pages_once(tmp_path: Path) -> None:
    """The whole of alerting, a real receiver: the cause comes late, is told, and so is its end; nothing else is."""
    receiver = Receiver()
    needs = dict.fromkeys(("web", "api", "worker"), "depends_on: [db]")
    house = House(
        tmp_path, f'channels: {{hook: {{webhook: "{receiver.url}"}}}}',
        "group_interval: 100ms\ncause_wait: 300ms\n", db="", **needs,
    )  # fmt: skip
    place = {"environment": "production", "severity": "critical"}
    pending = [{"alertname": "ServiceDown", "service": "db", **place}]
    house.alerting.watch(lambda: pending)
    for service in needs:
        house.fire("HighErrorRate", ended=False, source="rules", service=service, **place)
    began = time.monotonic()
    until(lambda: time.monotonic() > began + 1)
    assert [] == receiver.got
    pending.clear()
    house.fire("ServiceDown", ended=False, source="rules", service="db", **place)
    receiver.wait(1)
    for service in needs:
        house.fire("HighErrorRate", ended=True, source="rules", service=service, **place)
    house.fire("ServiceDown", ended=True, source="rules", service="db", **place)
    receiver.wait(2)
    house.close()
    receiver.close()

    told = [(one.body["status"], one.body["commonLabels"]["alertname"]) for one in receiver.got]
    assert [("firing", "ServiceDown"), ("resolved", "ServiceDown")] == told


# --- nobody waits in vain ---


def test_a_group_that_nothing_can_join_does_not_wait() -> None:
    """Our own rules have spoken and will not before its wait is over; who pushes may at any time."""
    for more_at, source, messages in (
        (3.0, "rules", 1),
        (0.5, "rules", 0),
        (None, "rules", 0),
        (3.0, PUSHED, 0),
    ):
        world = World(book_of("channels: [hook]\ngroup_wait: 1s"))
        world.more_at = None if more_at is None else world.now + more_at
        world.hear(source=source)

        assert messages == len(world.decide()), (more_at, source)


def test_the_next_round_is_expected_by_the_shortest_of_the_last() -> None:
    """Not before four of them were seen, and not once it is due."""

    class Clock:
        at = 100.0

        def now(self) -> float:
            return self.at

        def monotonic(self) -> float:
            return self.at

        def sleep(self, seconds: float) -> None: ...

    clock = Clock()
    rounds = Rounds(clock)
    for gap in (5, 5, 5, 2):
        rounds.seen()
        assert rounds.next_at(1000.0) is None
        clock.at += gap
    rounds.seen()
    assert pytest.approx(1001.8) == rounds.next_at(1000.0)
    clock.at += 1.9
    assert rounds.next_at(1000.0) is None


def test_a_clock_that_is_corrected_by_seconds_reminds_nobody() -> None:
    """What was told a moment ago, by a clock that ran ahead, is not told again."""
    world = World(book_of("channels: [hook]"))
    world.hear()
    assert 1 == len(world.decide())
    world.now -= 3

    assert [] == world.until(3600)


def test_alerts_of_rules_are_told_at_once_after_a_round(tmp_path: Path) -> None:
    """The whole of it: with a group_wait of a minute."""
    receiver = Receiver()
    house = House(tmp_path, f'channels: {{hook: {{webhook: "{receiver.url}"}}}}', "group_wait: 60s\n")
    at = [1000.0]
    house.clock.monotonic = lambda: at[0]  # type: ignore[method-assign]
    for _ in range(5):
        at[0] += 120
        house.alerting.scraped(0)
    house.alerting.receive([Alert({"alertname": "Down"}, starts_at=time.time())])
    receiver.wait(1)
    house.close()
    receiver.close()
