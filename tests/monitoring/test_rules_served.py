"""Rules over the real store and over HTTP: what fires is told by the routes and by the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI

from opsbook.journal import Journal
from opsbook.monitoring.rules.api import router
from opsbook.monitoring.rules.cli import _row, _summary
from opsbook.monitoring.rules.model import AlertingRule, RecordingRule, RuleGroup
from opsbook.monitoring.rules.room import Rules
from opsbook.monitoring.rules.views import RulesView
from opsbook.promql import Engine
from opsbook.security.api import signed_in
from opsbook.security.room import local_operator
from opsbook.terminal import Style
from opsbook.world.telemetry.storage import Storage
from opsbook.world.telemetry.store import HotStore

NOW = 1_700_000_000_000


def group(*rules: Any) -> RuleGroup:
    return RuleGroup(name="test", source="x", rules=rules)


@pytest.fixture
def rules() -> Iterator[Rules]:
    storage = Storage(HotStore())
    made = Rules(Engine(storage), storage, None, None, moment=lambda: NOW / 1000)
    made.load(
        [
            group(
                RecordingRule(record="web:up", expr="sum by (service, environment) (up)"),
                AlertingRule(alert="Down", expr="web:up == 0", labels={"severity": "critical"}),
                AlertingRule(alert="Soon", expr="web:up == 0", for_=60),
                AlertingRule(alert="Broken", expr="nothing("),
            )
        ]
    )
    labels = {"__name__": "up", "service": "web", "environment": "production"}
    storage.writer({"test": "up"}).write(NOW, [(labels, 0.0)])
    made.evaluate(NOW)
    yield made
    made.close()


class Client:
    """Asks the application in this process."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def get(self, path: str, params: dict[str, Any] | None = None) -> Any:
        async def ask() -> Any:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://opsbook") as client:
                return (await client.get(path, params=params)).json()

        return anyio.run(ask)


@pytest.fixture
def client(rules: Rules) -> Client:
    app = FastAPI()
    app.include_router(router(RulesView(rules)))
    app.dependency_overrides[signed_in] = lambda: local_operator("ana")
    return Client(app)


def test_a_recorded_series_is_seen_by_the_next_rule_of_the_same_round(rules: Rules) -> None:
    """In the real store, at the same moment."""
    assert [("Down", "firing"), ("Soon", "pending")] == [(r.alert, a.state) for _, r, a in rules.active()]


def test_the_routes_tell_what_fires_and_how_rules_go(client: Client) -> None:
    """Only what fires unless asked for more."""
    assert ["Down"] == [alert["name"] for alert in client.get("/api/monitoring/alerts")["alerts"]]
    found = client.get("/api/monitoring/alerts", {"pending": True})["alerts"]
    assert ["Down", "Soon"] == [alert["name"] for alert in found]
    groups = client.get("/api/monitoring/rules")["groups"]
    assert ["ok", "ok", "ok", "err"] == [rule["health"] for rule in groups[0]["rules"]]
    json.dumps(groups, allow_nan=False)


def test_the_command_shows_the_reason(client: Client) -> None:
    """State, name, what it is about, since when, and value and expression."""
    found = client.get("/api/monitoring/alerts", {"pending": True})["alerts"]
    style = Style(colour=False)
    down, soon = (_row(alert, NOW / 1000 + 30, style) for alert in found)
    assert ["✖ critical", "Down", "production web", "30s", "web:up == 0 gives 0"] == down
    assert "◷ pending 30.0s" == soon[0]
    assert "✖ firing · 1 alert" == _summary(found, found[:1], style)
    assert "✔ ok · nothing fires" == _summary([], [], style)


KILLED = """
    import sys, time
    from pathlib import Path
    from opsbook.journal import Journal
    from opsbook.monitoring.rules.memory import MemoryStorage, bits_of
    from opsbook.monitoring.rules.model import AlertingRule, RuleGroup
    from opsbook.monitoring.rules.room import Rules
    from opsbook.promql import Engine

    class Clock:
        now = staticmethod(time.time)

    class Receiver:
        def receive(self, alerts):
            for alert in alerts:
                state = "firing" if alert.ends_at is None else "resolved"
                print(alert.labels["n"], alert.starts_at, state, flush=True)

    folder, at = Path(sys.argv[1]), int(sys.argv[2])
    storage = MemoryStorage()
    journal = Journal.open(folder / "j.sqlite", keys=folder / "keys", clock=Clock())
    rules = Rules(Engine(storage), storage, journal, Receiver(), moment=lambda: at / 1000)
    rules.load([RuleGroup(name="g", source="x", rules=(AlertingRule(alert="A", expr="x == 0", for_=2),))])
    print("ready", flush=True)
    while True:
        for n in range(40):
            down = (at // 1000 + n) % 12 < 8
            storage.add({"__name__": "x", "n": str(n)}, [at], bits_of([0.0 if down else 1.0]))
        rules.evaluate(at)
        print("at", at, flush=True)
        at += 1000
"""


def test_a_kill_at_any_moment_loses_no_firing_and_no_resolved(tmp_path: Path) -> None:
    """Killed again and again in a storm: each alert's firings and ends alternate, however often they are repeated."""
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(KILLED))
    told: list[tuple[str, str, str]] = []
    at = NOW
    for round_ in range(5):
        process = subprocess.Popen(
            [sys.executable, program, tmp_path, str(at)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        time.sleep(0)
        for count, line in enumerate(process.stdout):
            words = line.split()
            if words[0] == "at":
                at = int(words[1]) + 1000
            elif words[0] != "ready":
                told.append((words[0], words[1], words[2]))
            if count > 150 + 37 * round_:
                os.kill(process.pid, signal.SIGKILL)
                break
        for line in process.stdout:  # what was said before it died
            words = line.split()
            if len(words) == 2 and words[0] == "at":
                at = int(words[1]) + 1000
            elif len(words) == 3:
                told.append((words[0], words[1], words[2]))
        process.wait(20)
    with Journal.open(tmp_path / "j.sqlite", keys=tmp_path / "keys", clock=Fixed()) as journal:
        assert journal.verify().ok
        events = journal.events(kinds=("alert.*",), limit=100_000)
    by_alert: dict[str, list[str]] = {}
    for event in events:
        by_alert.setdefault(event.data["labels"]["n"], []).append(event.kind)
    for kinds in by_alert.values():
        assert (["alert.firing", "alert.resolved"] * len(kinds))[: len(kinds)] == kinds
    heard = set(told)
    for event in events[: len(events) - 80]:  # the last round was killed before it could tell all
        state = event.kind.removeprefix("alert.")
        started = event.data.get("fired_at")
        assert any(n == event.data["labels"]["n"] and s == state for n, _, s in heard)
        if started is not None:
            assert (event.data["labels"]["n"], str(started), "resolved") in heard


class Fixed:
    def now(self) -> float:
        return NOW / 1000
