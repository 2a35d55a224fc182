"""What alerting hands over, and what those who respond make of it: incidents and runs of pages."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from opsbook.book import Book, TextFiles, load
from opsbook.errors import Failed
from opsbook.journal import Durable, Journal
from opsbook.monitoring.alerting.model import Alert, GroupMessage, Notification
from opsbook.monitoring.alerting.room import Alerting
from opsbook.monitoring.notifications.delivery import ChannelState
from opsbook.response.escalation.model import Page
from opsbook.response.runbooks.room import Runbooks
from opsbook.response.runbooks.site import Site
from opsbook.server.duty import Duty
from opsbook.server.watching import Ground
from opsbook.world.commands.places import Machines
from opsbook.world.hosts.clock import SystemClock

PAGE = """\
---
title: Restart
params: {service: {type: service}, mount: {type: string, default: /}}
lock: "restart/{service}"
---
## Steps
### 1. Restart
```bash run id=restart risk=read
echo "restarted $SERVICE at $MOUNT" >> "$OUT"
sleep 0.3
```
"""
FILES = {
    "opsbook.yaml": "name: shop\nchannels: {hook: {webhook: 'http://127.0.0.1:1/'}}\n"
    "contacts: {ana: {channel: hook}}\n",
    "services/web.yaml": "service: web\nrun: {command: [sleep, '60']}\n",
    "environments/production.yaml": "environment: production\nentry: {port: 8080}\nservices: {web: {}}\n",
    "runbooks/restart.md": PAGE,
    "incidents/policy.yaml": "escalations: [{name: usual, steps: [{page: [ana]}]}]\n",
}
BOOK = load(TextFiles.of(FILES))


class House:
    """Real incidents and runbooks behind the duty; messages are kept instead of sent."""

    def __init__(self, folder: Path) -> None:
        clock = SystemClock()
        self.folder, self.book, self.logged = folder, BOOK, list[str]()
        self.journal = Journal.open(folder / "journal.sqlite", keys=folder / "keys", clock=clock)
        self.durable = Durable(folder / "durable.sqlite")
        ground = SimpleNamespace(
            handbook=SimpleNamespace(current=self.current),
            journal=self.journal,
            clock=clock,
            secrets=SimpleNamespace(mask=lambda text: text),
            log=self.logged.append,
            address=lambda: "https://ops.example.com",
        )
        self.duty = Duty(cast("Ground", ground))
        self.runbooks = Runbooks(
            Site(
                book=self.current, journal=self.journal, durable=self.durable, clock=clock,
                places=Machines(grace=0.2, variables={"OUT": str(folder / "out")}),
            )
        )  # fmt: skip
        self.durable.launch()
        self.runbooks.start()
        self.sent: list[Notification] = []
        alerting = SimpleNamespace(
            send=self.sent.append, delivery=SimpleNamespace(state=lambda _: ChannelState())
        )
        self.duty.ready(cast("Alerting", alerting), self.runbooks)
        self.duty.incidents.start()

    def current(self) -> Book:
        return self.book

    def close(self) -> None:
        self.duty.incidents.stop()
        self.runbooks.close()
        self.durable.close(timeout=5.0)
        self.journal.close()

    def out(self) -> list[str]:
        path = self.folder / "out"
        return path.read_text().splitlines() if path.exists() else []

    def ended(self) -> None:
        deadline = time.monotonic() + 20
        while self.runbooks.records.unfinished():
            assert time.monotonic() < deadline, "a run goes on and on"
            time.sleep(0.02)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def told(*firing: Alert, resolved: tuple[Alert, ...] = (), name: str = "n-1") -> Notification:
    group = GroupMessage(key="{}/incidents:{}", labels={}, firing=firing, resolved=resolved)
    return Notification(id=name, channel="@incidents", groups=(group,), at=time.time())


def alert(severity: str = "critical", *, actions: tuple[dict[str, str], ...] = (), **labels: Any) -> Alert:
    about = {"alertname": "Bad", "service": "web", "environment": "production", "severity": severity}
    return Alert({**about, **labels}, {"summary": "it is bad"}, starts_at=time.time(), actions=actions)


RUN = ({"run": "restart"},)


def test_an_alert_opens_an_incident_and_runs_its_page(house: House) -> None:
    """The labels are parameters; the run belongs to the incident; once, however often it is handed over."""
    notification = told(alert(actions=RUN))
    said = house.duty.receive(notification)
    house.ended()
    again = house.duty.receive(notification)

    (incident,) = house.duty.incidents.every()
    (run,) = house.runbooks.records.runs(page="restart")
    assert "inc-1 is triage, run-1 of restart begins" == said
    assert "restart was not run" == again
    assert ("inc-1", True, "Bad") == (run.incident, run.automatic, run.alert)
    assert ["restarted web at /"] == house.out()
    assert incident.services == ("web",)


def test_a_page_is_run_without_an_incident_too(house: House) -> None:
    """An alert that wakes nobody may still be cared for."""
    house.duty.receive(told(alert("warning", actions=RUN)))
    house.ended()
    assert ([], ["restarted web at /"]) == (house.duty.incidents.every(), house.out())


@pytest.mark.parametrize(
    "hostile",
    ["$(touch pwned)",
     "`touch pwned`", "'; touch pwned; '", '"; touch pwned; "', "-rf", "a\nb", "a\x00b", "x" * 1_000_000,
     "\u202egnp.exe", "${IFS}touch${IFS}pwned", "|touch pwned", "../../etc"],
)  # fmt: skip
def test_hostile_labels_run_nothing_of_theirs(house: House, hostile: str) -> None:
    """They are a value or refused, and the incident opens all the same."""
    house.duty.receive(told(alert(actions=RUN, mount=hostile)))
    house.ended()
    assert len(house.duty.incidents.every()) == 1
    assert house.out() in ([], [f"restarted web at {hostile}"])
    assert not list(house.folder.rglob("pwned"))


def test_two_people_and_an_alert_start_one_run(house: House) -> None:
    """At the same moment."""
    barrier = threading.Barrier(3)
    found: list[str] = []

    def person(actor: str) -> None:
        barrier.wait()
        found.append(house.runbooks.run("restart", {"service": "web"}, actor)[0].id)

    people = [threading.Thread(target=person, args=(name,)) for name in ("ana", "ben")]
    for one in people:
        one.start()
    barrier.wait()
    house.duty.receive(told(alert("warning", actions=RUN)))
    for one in people:
        one.join()
    house.ended()
    assert (["run-1", "run-1"], ["restarted web at /"]) == (found, house.out())


def test_the_end_of_an_alert_reaches_its_incident(house: House) -> None:
    """Told by the same way as its beginning."""
    fires = alert()
    house.duty.receive(told(fires))
    house.duty.incidents.acknowledge("inc-1", "ana")
    over = Alert(fires.labels, fires.annotations, starts_at=fires.starts_at, ends_at=time.time())
    house.duty.receive(told(resolved=(over,), name="n-2"))
    assert "mitigated" == house.duty.incidents.get("inc-1").state


def test_a_page_that_the_handbook_has_lost_keeps_no_incident_waiting(house: House) -> None:
    """It stands in the timeline why nothing was run."""
    house.duty.receive(told(alert(actions=({"run": "gone"},))))
    notes = [one.text for one in house.duty.incidents.timeline("inc-1") if one.kind == "note"]
    assert len(notes) == 1
    assert notes[0].startswith("gone was not run: ")
    assert len(house.logged) == 1


def test_who_escalates_and_who_opens(house: House) -> None:
    """As alerting asks."""
    asked = house.duty.responders
    assert (True, False) == (asked.escalates("usual"), asked.escalates("ana"))
    assert (True, False) == (asked.opens(alert()), asked.opens(alert("warning")))
    assert asked.opens(alert("warning", actions=({"page": "usual"},)))


def test_a_run_that_could_not_begin_at_first_belongs_to_its_incident(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The incident was written already when the alert is handed over again."""
    notification, run = told(alert(actions=RUN)), house.runbooks.run

    def away(*_: Any, **asked: Any) -> Any:
        raise Failed("the disk is full")

    monkeypatch.setattr(house.runbooks, "run", away)
    with pytest.raises(Failed):
        house.duty.receive(notification)
    monkeypatch.setattr(house.runbooks, "run", run)
    house.duty.receive(notification)
    house.ended()
    assert ["inc-1"] == [one.incident for one in house.runbooks.records.runs(page="restart")]


def test_a_page_holds_no_secret(house: House) -> None:
    """A diagnosis quotes alerts and logs, and a channel is a place outside."""
    house.duty._ground.secrets.mask = lambda text: text.replace("hunter2hunter2", "***")  # type: ignore[method-assign]
    asked = {"id": "p-1", "incident": "inc-1", "person": "ana", "name": "ana", "channel": "hook", "at": 1.0}
    house.duty.page(
        "hook", Page(**asked, severity="SEV1", title="no hunter2hunter2", text="at hunter2hunter2")
    )
    words = house.sent[-1].words
    assert words is not None
    assert ("no ***", "at ***") == (words.title, words.text)


@pytest.mark.parametrize("owner", ["owner: ana\n", ""], ids=["theirs", "nobody's"])
def test_a_failed_drill_is_told_to_whoever_answers_for_the_page(house: House, owner: str) -> None:
    """By their channel, with the reason and how to try it; of a page without an owner by whatever channel there is."""
    files = {**FILES, "runbooks/restart.md": PAGE.replace("title: Restart\n", f"title: Restart\n{owner}")}
    house.book = load(TextFiles.of(files))
    house.duty.drill_failed("restart", "check: the service does not answer")
    (sent,) = house.sent
    assert ("hook", "The drill of restart failed") == (sent.channel, sent.words.title if sent.words else "")
    assert sent.words is not None
    assert "check: the service does not answer" in sent.words.text
    assert "opsbook runbooks test restart" in sent.words.text
    assert sent.words.url == "https://ops.example.com/runbooks/restart"
