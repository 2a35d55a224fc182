"""Escalation with the real incidents: from the alert to the page, and all that stops it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from escalation_house import START, Time, book

from opsbook.journal import Journal
from opsbook.monitoring.alerting.model import Alert
from opsbook.response.escalation.desk import Desk
from opsbook.response.escalation.model import Page
from opsbook.response.incidents.room import Incidents
from opsbook.response.oncall.room import OnCall


class Both:
    """As the server puts them together, with a clock in the test's hand and without threads."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.folder = Time(), folder
        self.sent: list[Page] = []
        self.begin()

    def begin(self) -> None:
        written, now = book(), self.clock.now
        self.journal = Journal.open(
            self.folder / "journal.sqlite", keys=self.folder / "keys", clock=self.clock
        )
        self.incidents = Incidents(lambda: written, self.journal, now=now)
        self.desk = Desk(
            lambda: written,
            self.journal,
            on_call=OnCall(lambda: written, self.journal, now=now).people,
            incidents=self.incidents,
            send=lambda channel, page: self.sent.append(page),
            failing=lambda channel: False,
            key=b"k" * 32,
            address=lambda: "https://ops.example.com",
            secret=str,
            status_of=lambda *_, **__: 200,
            now=now,
        )
        self.incidents.on_opened(self.desk.room.begin)
        self.incidents.on_changed(self.desk.room.follow)

    def again(self) -> None:
        """opsbook ends and begins."""
        self.journal.close()
        self.begin()

    def alert(self, *, ended: bool = False) -> None:
        labels = {"alertname": "ServiceDown", "severity": "critical", "service": "web"}
        found = Alert(
            labels, {"summary": "web is down"}, starts_at=START, ends_at=self.clock.at if ended else None
        )
        self.incidents.receive([] if ended else [found], [found] if ended else [])

    def at(self, seconds: float) -> list[str]:
        before = len(self.sent)
        self.clock.at = START + seconds
        self.incidents.look()
        self.desk.room.tick()
        return [page.channel for page in self.sent[before:]]


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    made = Both(tmp_path)
    yield made
    made.journal.close()


def test_from_the_alert_to_the_end(both: Both) -> None:
    """The page names the symptom; its answer is the incident's; solved is solved; opened again is paged again."""
    both.alert()
    assert ["ana-chat"] == both.at(1)
    (incident,) = both.incidents.waiting()
    assert "web is down" in both.sent[0].title + both.sent[0].text
    both.desk.room.acknowledge(incident.id, "ana (link)")
    assert "ana (link)" == both.incidents.get(incident.id).acknowledged_by
    assert [] == both.at(1700)
    both.alert(ended=True)
    assert "mitigated" == both.incidents.get(incident.id).state
    assert [] == both.at(1900)  # nothing hurts any more: no second round
    both.incidents.resolve(incident.id, "ana")
    assert "ended" == both.desk.room.get(incident.id).state
    both.incidents.reopen(incident.id, "it is back", "ben")
    assert ["ana-chat"] == both.at(2000)


def test_what_ends_by_itself_pages_nobody_else(both: Both) -> None:
    """Nobody touched it and the alert ended: after it has settled it is over."""
    both.alert()
    assert ["ana-chat"] == both.at(1)
    both.alert(ended=True)
    assert [] == both.at(200)
    assert [] == both.at(400)


def test_a_crash_between_the_two(both: Both) -> None:
    """The incident is written, its escalation is not: it is begun. The other way round escalation asks."""
    both.incidents._opened.clear()
    both.alert()
    both.again()
    assert ["ana-chat"] == both.at(1)
    both.incidents._changed.clear()
    (incident,) = both.incidents.waiting()
    both.incidents.resolve(incident.id, "ben")
    both.again()
    assert [] == both.at(900)
    assert "ended" == both.desk.room.get(incident.id).state


def test_what_nobody_has_told(both: Both) -> None:
    """An incident that never came here: the watchdog begins it, within two of its looks."""
    both.incidents._opened.clear()
    both.alert()
    assert [] == both.at(1)
    both.desk.watchdog.look()
    both.clock.at += 10
    both.desk.watchdog.look()
    assert ["ana-chat"] == both.at(12)


def test_merging(both: Both) -> None:
    """The part pages nobody any more; the whole goes on."""
    both.alert()
    assert ["ana-chat"] == both.at(1)
    (first,) = both.incidents.waiting()
    other = both.incidents.declare("The shop is slow", "SEV2", "", [], "ben")
    both.at(2)
    both.incidents.merge(other.id, first.id, "ben")
    assert "merged" == both.desk.room.get(other.id).why
    assert both.desk.room.get(first.id).open
