"""Alerting as a whole: a real journal, real threads, a real receiver."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alerting_house import House, Receiver, Secrets, until

from opsbook.book.matchers import matcher_of
from opsbook.book.windows import Weekly
from opsbook.errors import Failed, Invalid, NotFound
from opsbook.journal import Journal
from opsbook.monitoring.alerting.ledger import Ledger
from opsbook.monitoring.alerting.model import PUSHED, Alert
from opsbook.monitoring.alerting.room import Alerting
from opsbook.monitoring.alerting.silences import KEPT_SECONDS, Wanted
from opsbook.world.hosts.tokens import new_token

HOOK = 'channels: {{hook: {{webhook: "{url}", signing_key: "{{secret:hook}}"}}}}\n'
QUICK = "group_interval: 200ms\n"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def house(tmp_path: Path, receiver: Receiver) -> Iterator[House]:
    made = House(tmp_path, HOOK.format(url=receiver.url), QUICK)
    yield made
    made.close()


def wanted(*matchers: str, seconds: float | None = 3600.0, **more: Any) -> Wanted:
    now = time.time()
    return Wanted(
        matchers=tuple(matcher_of(one) for one in matchers),
        starts_at=more.pop("starts_at", now),
        ends_at=None if seconds is None else now + seconds,
        comment=more.pop("comment", "known"),
        created_by="ana",
        **more,
    )


def test_an_alert_is_sent_and_its_end_too(house: House, receiver: Receiver) -> None:
    """Both are in the journal, with what the receiver said."""
    house.fire(severity="critical")
    receiver.wait(1)
    house.fire(ended=True, severity="critical")
    receiver.wait(2)

    assert ["firing", "resolved"] == receiver.statuses()
    until(lambda: 2 == house.kinds().count("notification.sent"))
    [first, _] = house.journal.events(kinds=["notification.sent"])
    assert ("hook", "firing", 1, "200 OK: thanks") == tuple(
        first.data[key] for key in ("channel", "status", "firing", "answer")
    )
    assert {} == house.journal.state.items("alerting/outbox/")


def test_saying_it_twice_sends_it_once(house: House, receiver: Receiver) -> None:
    """Rules hand over again what they cannot know to have been taken."""
    for _ in range(5):
        house.fire()
    house.fire("Other")
    receiver.wait(2)
    time.sleep(0.3)

    assert ["Down", "Other"] == sorted(one.body["commonLabels"]["alertname"] for one in receiver.got)


def test_a_restart_forgets_nothing(house: House, receiver: Receiver) -> None:
    """What fired before and was sent is not sent again; its end, heard of after the restart, is."""
    house.fire()
    receiver.wait(1)
    until(lambda: not house.journal.state.items("alerting/outbox/"))
    house.close()
    house.open()
    house.fire()
    house.fire(ended=True)
    receiver.wait(2)

    assert ["firing", "resolved"] == receiver.statuses()


def test_what_was_decided_and_not_sent_is_sent_after_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    """The same message, with the same id."""
    receiver.answers = [503]
    house = House(tmp_path, HOOK.format(url=receiver.url), QUICK)
    house.fire()
    until(lambda: receiver.refused)
    house.close()
    house.open()
    receiver.wait(1)
    house.close()

    ids = {one.headers["idempotency-key"] for one in (*receiver.got, *receiver.refused)}
    assert 1 == len(ids)


def test_a_silence_hides_what_fires_until_it_is_expired(house: House, receiver: Receiver) -> None:
    """And then it is told at once."""
    made = house.alerting.silence(wanted('service="web"'), actor="ana")
    house.fire(service="web")
    house.fire(service="api")
    receiver.wait(1)
    assert [("suppressed", "silence")] == [
        (one.state, one.suppressions[0].kind) for one in house.alerting.alerts() if one.suppressions
    ]
    house.alerting.expire(made.id, actor="ana")
    receiver.wait(2)

    assert ["api", "web"] == [one.body["commonLabels"]["service"] for one in receiver.got]
    assert ["silence.added", "silence.expired"] == [kind for kind in house.kinds() if kind.startswith("sil")]


def test_a_silence_ends_by_itself(house: House, receiver: Receiver) -> None:
    """Its end is written down, and what it hid is told."""
    house.alerting.silence(wanted("service=web", seconds=0.6), actor="ana")
    house.fire(service="web")
    receiver.wait(1)

    until(lambda: "silence.expired" in house.kinds())
    assert [True] == [one.expired for one in house.alerting.silences()]


def test_silences_survive_a_restart(house: House) -> None:
    """Recurring ones with their hours too."""
    hours = Weekly.model_validate({"days": ("sun",), "from": "02:00", "until": "04:00"})
    house.alerting.silence(wanted("a=b", seconds=None, weekly=hours, timezone="Europe/Berlin"), actor="ana")
    house.alerting.silence(wanted("a=c", seconds=None, during="deployment"), actor="ana")
    before = sorted(house.alerting.silences(), key=lambda one: one.id)
    house.close()
    house.open()

    assert before == sorted(house.alerting.silences(), key=lambda one: one.id)


def test_a_silence_is_changed_in_place_while_its_matchers_stay(house: House) -> None:
    """With other matchers it is another one, and the old one is over."""
    first = house.alerting.silence(wanted("a=b"), actor="ana")
    longer = house.alerting.silence(wanted("a=b", seconds=7200, id=first.id), actor="bo")
    other = house.alerting.silence(wanted("a=c", id=first.id), actor="bo")

    assert first.id == longer.id != other.id
    assert {first.id: True, other.id: False} == {one.id: one.expired for one in house.alerting.silences()}


@pytest.mark.parametrize(
    ("matchers", "more", "message"),
    [
        ([], {}, "would hide every alert"),
        (["a=~.*"], {}, "would hide every alert"),
        (["a=b"], {"comment": " "}, "needs a comment"),
        (["a=b"], {"seconds": -5.0}, "over before it begins"),
        (["a=b"], {"seconds": None}, "never end"),
        (["a=~("], {}, "not a regular expression"),
    ],
)
def test_silences_that_cannot_be_meant_are_refused(
    house: House, matchers: list[str], more: dict[str, Any], message: str
) -> None:
    """With a sentence that says why."""
    with pytest.raises(Invalid, match=message):
        house.alerting.silence(wanted(*matchers, **more), actor="ana")


def test_there_is_nothing_to_expire(tmp_path: Path) -> None:
    """An unknown one, one that is over, and one of the handbook."""
    house = House(tmp_path, "", "silences: [{name: s, match: a=b, comment: c, during: deployment}]\n")
    made = house.alerting.silence(wanted("a=b"), actor="ana")
    house.alerting.expire(made.id, actor="ana")
    house.alerting.expire(made.id, actor="ana")

    with pytest.raises(NotFound):
        house.alerting.expire("no-such", actor="ana")
    with pytest.raises(Invalid, match="written in the handbook"):
        house.alerting.expire("book:s", actor="ana")
    assert 1 == house.kinds().count("silence.expired")
    house.close()


def test_a_preview_says_what_would_be_hidden(house: House) -> None:
    """What fires now and fits."""
    house.fire(service="web")
    house.fire(service="api")
    house.fire(service="web", ended=True, instance="b")

    assert ["web"] == [
        one.alert.labels["service"] for one in house.alerting.hidden_by([matcher_of("service=~w.*")])
    ]
    with pytest.raises(Invalid):
        house.alerting.hidden_by([matcher_of("a=~(")])


def test_a_new_handbook_counts_at_once(house: House, receiver: Receiver) -> None:
    """A maintenance window that was written keeps its service quiet from the next decision on."""
    house.book = house.read(
        HOOK.format(url=receiver.url),
        QUICK
        + 'maintenance: [{name: m, comment: c, services: [web], from: "2020-01-01", until: "2999-01-01"}]\n',
        web="",
    )
    house.fire(service="web")
    house.fire(service="api")
    receiver.wait(1)

    assert [("m", "c", True)] == [one[:3] for one in house.alerting.maintenance()]
    assert ["silence"] == [s.kind for one in house.alerting.alerts() for s in one.suppressions]


def test_pushed_alerts_are_in_the_journal_like_our_own(house: House, receiver: Receiver) -> None:
    """Incidents are opened from the journal, whoever found out."""
    house.fire(source=PUSHED, environment="production")
    house.fire(source=PUSHED, environment="production", ended=True)
    house.alerting.receive([Alert({"alertname": "Short"}, ends_at=time.time() + 0.2, source=PUSHED)])
    until(lambda: 2 == house.kinds().count("alert.resolved"))

    assert 2 == house.kinds().count("alert.firing")
    reasons = [event.data["reason"] for event in house.journal.events(kinds=["alert.resolved"])]
    assert ["pushed as ended", "not heard of any more"] == reasons


class FullDisk:
    """A journal whose disk is full as long as it is said so."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.state = journal.state
        self.full = True

    def append_all(self, entries: Any, *, put: Any = None) -> object:
        if self.full:
            raise Failed("the disk is full; nothing was written")
        return self._journal.append_all(entries, put=put)


def test_people_are_told_also_when_the_disk_is_full(house: House, receiver: Receiver) -> None:
    """Once, and what could not be written down is, as soon as it can be."""
    disk = FullDisk(house.journal)
    alerting = Alerting(
        lambda: house.book, disk, Secrets(), house.clock, new_id=new_token, log=house.logged.append
    )
    alerting.start()
    alerting.receive([Alert({"alertname": "Down"}, starts_at=time.time())])
    receiver.wait(1)
    assert "disk is full" in alerting.trouble
    disk.full = False
    until(lambda: not alerting.trouble)

    assert 1 == house.kinds().count("notification.sent")
    assert 1 == len(house.journal.state.items("alerting/told/"))
    alerting.close()
    assert 1 == len([line for line in house.logged if "cannot write down" in line])


def test_nothing_is_kept_of_what_can_never_be_written(house: House) -> None:
    """A document that is no JSON does not stand in the way of all that follow."""
    ledger = Ledger(house.journal)
    with pytest.raises(Invalid):
        ledger.write({"alerting/x": {1, 2}})  # type: ignore[dict-item]

    assert ledger.write({"alerting/x": 1})


def test_a_storm_is_taken_in_seconds(tmp_path: Path) -> None:
    """Ten thousand alerts at once are one message for their group, and one transaction."""
    receiver = Receiver()
    house = House(tmp_path, HOOK.format(url=receiver.url))
    now = time.time()
    house.alerting.receive(
        [Alert({"alertname": "Storm", "instance": str(n)}, starts_at=now) for n in range(10_000)]
    )
    [got] = receiver.wait(1)

    assert 10_000 == len(got.body["alerts"])
    connection = sqlite3.connect(tmp_path / "journal.sqlite")
    rows = connection.execute("SELECT count(*) FROM state WHERE key LIKE 'alerting/alert/%'").fetchone()
    connection.close()
    assert (10_000,) == rows
    house.close()
    receiver.close()


def test_old_silences_are_forgotten(house: House) -> None:
    """Days after their end."""
    made = house.alerting.silence(wanted("a=b", seconds=0.05), actor="ana")
    until(lambda: house.alerting.silences()[0].expired)
    later = time.time() + KEPT_SECONDS + 1
    house.clock.now = lambda: later  # type: ignore[method-assign]
    house.alerting.wake()

    until(lambda: made.id not in {one.id for one in house.alerting.silences()})
