"""The timeline of an incident: what is in it, in which order, in which words."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from incident_house import START, House, alert

import opsbook.deployment.events
import opsbook.response.runbooks.kinds  # noqa: F401 - registers its events
from opsbook.journal import kinds
from opsbook.response.incidents.timeline import KINDS, said
from opsbook.response.incidents.wording import WORDS


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


@dataclass(frozen=True)
class Happened:
    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)
    id: int = 1
    at: float = START
    subject: str = "production/web"
    actor: str = "ana"


def told(house: House, name: str = "inc-1") -> list[str]:
    return [one.text for one in house.room.timeline(name)]


def test_what_comes_long_after_is_in_it_when_it_names_the_incident(house: House) -> None:
    """A promise that is kept, the post-mortem, its run; not what else is done at the same place weeks later."""
    run = {"id": "run-1", "page": "restart"}
    house.fire(alert(summary="orders fail"))
    house.room.add_run("inc-1", "run-1")
    house.room.resolve("inc-1", "ana")
    (action,) = house.room.add_action("inc-1", "a larger queue", "ana", "", "ana").actions
    house.clock.at += 30 * 86_400
    before = told(house)
    house.happens("runbook.started", "production/web", {**run, "id": "run-9"})
    house.happens("runbook.ended", "production/web", {**run, "id": "run-9", "outcome": "succeeded"})
    house.happens("deployment.requested", "production/web", {"id": "d-1", "kind": "deploy", "version": "1.4"})
    assert before == told(house)

    house.happens("runbook.ended", "production/web", {**run, "outcome": "succeeded"})
    house.room.done_action("inc-1", action.id, "ana")
    house.room.note("inc-1", "it was the disk", "ben")
    assert len(before) + 3 == len(told(house)), told(house)
    assert "it was the disk" == told(house)[-1]


def test_what_is_in_it(house: House) -> None:
    """Its own events, and what happened to its services and those they are tied to; nothing of others."""
    about = {"id": "d-1", "kind": "deploy", "version": "1.4"}
    house.clock.at = START - 600
    house.happens("deployment.requested", "production/web", about, "ben")
    house.happens("deployment.requested", "production/db", {**about, "id": "d-2"}, "ben")
    house.happens("deployment.requested", "production/mail", {**about, "id": "d-3"}, "ben")
    house.happens("deployment.requested", "staging/web", {**about, "id": "d-4"}, "ben")
    house.clock.at = START + 5
    house.fire(alert(summary="orders fail"))
    house.fire(alert("Down", "mail"))
    house.clock.at += 60
    house.room.acknowledge("inc-1", "ana")
    house.room.note("inc-1", "the queue is full", "ana")
    house.room.note("inc-2", "the mail server is down", "ana")
    house.room.resolve("inc-1", "ana", reason="restarted it")
    assert told(house) == [
        "web 1.4 is to be deployed", "db 1.4 is to be deployed", "the incident is opened as SEV2: orders fail",
        "acknowledged after 1m 0s", "the incident is active: somebody has it", "the queue is full",
        "the incident is resolved: restarted it",
    ]  # fmt: skip
    note = next(one for one in house.room.timeline("inc-1") if one.kind == "note")
    assert (note.actor, note.at, note.late) == ("ana", START + 65, False)


def test_when_it_happened_and_when_it_was_written_down(house: House) -> None:
    """An alert's condition held before it fired: it stands where it began, and says that it came late."""
    heard = alert(at=START)
    data = {"fingerprint": heard.fingerprint, "labels": dict(heard.labels), "since": START - 300}
    house.happens("alert.firing", "production/web", data)
    house.fire(heard)
    first = house.room.timeline("inc-1")[0]
    assert (first.at, first.recorded_at, first.late) == (START - 300, START, True)
    assert first.text == "HighErrorRate (web in production) fires"


def test_runs_belong_by_their_ids(house: House) -> None:
    """Also when a page is about machines, and no service."""
    house.fire(alert())
    house.room.add_run("inc-1", "run-1")
    house.happens("runbook.started", "host-1", {"id": "run-1", "page": "disk-full", "automatic": True})
    house.happens("runbook.started", "host-2", {"id": "run-2", "page": "disk-full"})
    house.happens("runbook.ended", "host-1", {"id": "run-1", "page": "disk-full", "outcome": "rolled_back"})
    assert told(house)[1:] == ["disk-full is run by the alert", "disk-full rolled back"]


def test_what_comes_long_after(house: House) -> None:
    """Its own events are there whenever they come; the rest ends soon after the incident."""
    house.fire(alert())
    house.room.add_action("inc-1", "alert earlier", "ana", "2026-12-01", "ben")
    house.room.resolve("inc-1", "ana")
    house.clock.at += 10 * 86_400
    house.happens("deployment.requested", "production/web", {"id": "d-9", "kind": "restart"})
    house.room.done_action("inc-1", "a1", "ana")
    assert "promised: alert earlier, by ana, until 2026-12-01" in told(house)
    assert told(house)[-1] == "done: alert earlier"
    assert not any("restarted" in text for text in told(house))


def test_what_was_merged_is_told(house: House) -> None:
    """The notes of the part are in the whole."""
    house.fire(alert())
    house.fire(alert("Down", "mail"))
    house.room.note("inc-2", "the mail server is down", "ana")
    house.room.merge("inc-2", "inc-1", "ana")
    assert "inc-2: the mail server is down" in told(house)
    assert "inc-2 became a part of this: Down of mail" in told(house)


def test_every_kind_that_is_asked_for_is_registered() -> None:
    """Words for events that nobody writes would be words for nothing."""
    import importlib
    import pkgutil

    import opsbook

    for module in pkgutil.walk_packages(opsbook.__path__, "opsbook."):
        if module.name.rpartition(".")[2] in {"kinds", "events", "room"}:
            importlib.import_module(module.name)
    known = {one.name for one in kinds()}
    asked = {kind.removesuffix("*") for kind in KINDS}
    assert [name for name in WORDS if name not in known] == []
    assert [name for name in asked if not any(kind.startswith(name) for kind in known)] == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(string.ascii_lowercase, max_size=8), inner),
    max_leaves=5,
)  # fmt: skip
KEYS = st.sampled_from(
    ["text", "page", "state", "severity", "title", "alert", "labels", "seconds", "data", "what", "after", "services",
     "weights", "phase", "reason", "into", "name", "channel", "step", "annotations"]
)  # fmt: skip


@settings(deadline=None)
@given(st.sampled_from(sorted(WORDS)), st.dictionaries(KEYS, VALUES))
def test_events_of_another_shape(kind: str, data: dict[str, Any]) -> None:
    """Whatever is in an event, what is said of it is one printable line."""
    text = said(Happened(kind, data))
    assert text.isprintable()
    assert len(text) <= 400
