"""Runs that were started for an incident become a part of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import opsbook.response.runbooks.kinds  # noqa: F401 - registers what is appended here
from opsbook.journal import Journal
from opsbook.server.belonging import Belonging
from opsbook.world.hosts.clock import SystemClock

STARTED: dict[str, Any] = {
    "page": "p",
    "digest": "",
    "commit": "",
    "params": {},
    "automatic": False,
    "alert": "",
}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal.open(tmp_path / "journal.sqlite", keys=tmp_path / "keys", clock=SystemClock())
    yield opened
    opened.close()


def run(name: str) -> Any:
    return SimpleNamespace(id=name, incident="inc-1" if name != "run-2" else "", requested_by="ana")


def eventually(holds: Any) -> None:
    deadline = time.monotonic() + 10.0
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_who_appends_does_not_wait_for_the_incident(journal: Journal) -> None:
    """The writer may hold a lock that the incident's change asks for: neither may wait for the other."""
    outbox, added = threading.Lock(), list[tuple[str, str, str]]()

    def add(incident: str, name: str, actor: str) -> None:
        with outbox:  # as escalation does, which follows incidents and puts pages into the outbox
            added.append((incident, name, actor))

    belonging = Belonging(journal, run=run, unfinished=tuple, add=add, log=lambda line: None)
    belonging.start()

    def writes() -> None:
        with outbox:  # as the outbox does, which writes to the journal under its lock
            journal.append("runbook.started", "web", {"id": "run-1", **STARTED}, actor="ana")

    writer = threading.Thread(target=writes, daemon=True)
    writer.start()
    writer.join(timeout=5.0)
    assert not writer.is_alive()
    eventually(lambda: added == [("inc-1", "run-1", "ana")])
    belonging.close()


def test_what_a_crash_left_untold_is_told_and_a_fault_ends_nothing(journal: Journal) -> None:
    """Runs under way are looked at again at the start; one that cannot be added keeps no other."""
    added, logged = list[str](), list[str]()

    def add(incident: str, name: str, actor: str) -> None:
        if name == "run-1":
            raise RuntimeError("no such incident")
        added.append(name)

    belonging = Belonging(journal, run=run, unfinished=lambda: [run("run-1")], add=add, log=logged.append)
    belonging.start()
    for name in ("run-2", "run-3"):
        journal.append("runbook.started", "web", {"id": name, **STARTED}, actor="ana")
    eventually(lambda: added == ["run-3"])
    belonging.close()
    assert ["run-1 could not become a part of its incident: no such incident"] == logged
