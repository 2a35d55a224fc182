"""Waiting for deployments: redrawn on a terminal, line by line elsewhere, NDJSON for programs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import click

from opsbook.deployment.cli import canary, words
from opsbook.deployment.cli.screen import Screen
from opsbook.errors import NotFound, Unreachable
from opsbook.terminal import Session, Terminal

SERVER_AWAY_SECONDS = 60.0  # how long a server may be gone, for instance while it is upgraded
LOOK_SECONDS = 0.25  # between two looks: each costs the server what it could spend on the deployment
LONG_STEP_SECONDS = 2.0  # a step that takes longer is announced before it ends
INTERRUPTED = 130

Deployments = Sequence[Mapping[str, Any]]


class _View(Protocol):
    def show(self, deployments: Deployments, away: float | None) -> None:
        """The deployments as they are now; `away`: seconds since the server answered last, None when it does."""


class _Lines:
    """What is new, appended."""

    def __init__(self, terminal: Terminal, write: Callable[..., None]) -> None:
        self._style = terminal.message_style
        self._write = write
        self._seen: set[tuple[str, ...]] = set()
        self._verdicts: dict[str, tuple[str, str]] = {}
        self._away = False

    def show(self, deployments: Deployments, away: float | None) -> None:
        for deployment in deployments:
            name = str(deployment["id"])
            prefix = f"{deployment['service']}: " if len(deployments) > 1 else ""
            self._once((name,), words.title(deployment))
            self._news(deployment, name, prefix)
            for number, step in enumerate(deployment.get("steps") or []):
                under_way = step.get("status") in {"running", "waiting"}
                if under_way and float(step.get("seconds") or 0) < LONG_STEP_SECONDS:
                    continue  # its one line comes when it has ended
                key = (name, str(number), str(step["name"]), str(step.get("status")))
                self._once(key, prefix + words.step_line(step, self._style))
        if away is not None and not self._away:
            self._write(f"{self._style.state('waiting')} for the opsbook server to come back")
        self._away = away is not None

    def _news(self, deployment: Mapping[str, Any], name: str, prefix: str) -> None:
        """The verdict when it is another one, gates, and how a roll moves the requests; steps tell of a canary's."""
        step = str(deployment.get("step"))
        if canary.verdict(deployment) and self._verdicts.get(name) != (step, canary.verdict(deployment)):
            self._verdicts[name] = (step, canary.verdict(deployment))
            self._write(prefix + canary.verdict_line(deployment, self._style))
        for line in canary.gates(deployment, self._style):
            self._once((name, "gate", line), prefix + line)
        if not canary.is_canary(deployment) and (line := canary.traffic_line(deployment, self._style)):
            self._once((name, line), prefix + line)

    def _once(self, key: tuple[str, ...], line: str) -> None:
        if key not in self._seen:
            self._seen.add(key)
            self._write(line)


class _Ndjson:
    """Each state of each deployment that differs from the one before."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._last: dict[str, Any] = {}

    def show(self, deployments: Deployments, away: float | None) -> None:
        del away
        for deployment in deployments:
            steps = [(step.get("name"), step.get("status")) for step in deployment.get("steps") or []]
            gates = [(gate.get("name"), gate.get("status")) for gate in deployment.get("gates") or []]
            state = (
                *(deployment.get(name) for name in ("phase", "outcome", "step", "weights")),
                canary.verdict(deployment),
                gates,
                steps,
            )
            if self._last.get(deployment["id"]) != state:
                self._last[deployment["id"]] = state
                self._terminal.json(deployment, indent=None)


def follow(
    session: Session,
    names: Sequence[str],
    *,
    as_json: bool = False,
    data: bool = False,
    known: Deployments = (),
    after: int | None = None,
    patient: bool = True,
) -> list[Mapping[str, Any]]:
    """Show deployments until all have finished, and return them as they ended.

    Args:
        names: their ids.
        as_json: NDJSON on stdout.
        data: the lines are what was asked for and go to stdout, not to stderr.
        known: as they were at the journal id `after`; without them they are asked for first.
        patient: wait also for people who must approve or sign.

    Raises:
        click.exceptions.Exit: 130, on Ctrl-C: the deployments go on, and how to come back has been said.
        NeedsApproval: not `patient`, and nothing goes on without a person.
        Unreachable: the server stayed away.
    """
    terminal = session.terminal
    view: _View
    if as_json:
        view = _Ndjson(terminal)
    elif terminal.moves and not data:
        view = Screen(terminal, partial(analysis_of, session))
    else:
        view = _Lines(terminal, terminal.data if data else terminal.message)
    try:
        latest: list[Mapping[str, Any]] = []
        for latest, away in _states(session, names, known, after):
            view.show(latest, away)
            if not patient and (needed := words.needs_people(latest)):
                raise needed
        return latest
    except KeyboardInterrupt:
        come_back = " ".join(names)
        terminal.message(
            "",
            "detached: the deployment goes on without this terminal",
            f"{terminal.message_style.paint('hint:', 'cyan')} come back: opsbook deployments watch {come_back}"
            f" · take it back: opsbook abort {names[0]}",
        )
        raise click.exceptions.Exit(INTERRUPTED) from None


def _states(
    session: Session, names: Sequence[str], at_first: Deployments, after: int | None
) -> Iterator[tuple[list[Mapping[str, Any]], float | None]]:
    """All deployments, whenever one may have changed; ends after the state in which all have finished."""
    api = session.api
    known = {str(deployment["id"]): deployment for deployment in at_first}
    if known:
        yield [known[name] for name in names], None
    answered = time.monotonic()
    events = api.events(
        after=after,
        kinds="deployment.*,traffic.*",
        wanted=lambda event: not known or _concerns(event, names),
        gap=LOOK_SECONDS,
    )
    for _ in events:
        away = None
        try:
            for name in names:
                if name not in known or not words.finished(known[name]):
                    known[name] = api.get(f"/api/deployment/deployments/{name}")
            answered = time.monotonic()
        except Unreachable as error:
            away = time.monotonic() - answered
            if away > SERVER_AWAY_SECONDS:
                error.hint = (
                    f"start it: opsbook up --detach · then: opsbook deployments watch {' '.join(names)}"
                )
                raise
        if len(known) == len(names):
            yield [known[name] for name in names], away
            if all(words.finished(deployment) for deployment in known.values()):
                return


def _concerns(event: Mapping[str, Any], names: Sequence[str]) -> bool:
    data = event.get("data") or {}
    return data.get("id") in names or data.get("deployment") in names


def analysis_of(session: Session, name: str) -> Mapping[str, Any]:
    """Points, rules, verdict and reason of a deployment; empty when its server keeps none."""
    try:
        found = session.api.get(f"/api/deployment/deployments/{name}/analysis")
    except NotFound:
        return {}
    return found if isinstance(found, Mapping) else {}


def report(session: Session, deployments: Deployments, *, as_json: bool = False) -> None:
    """Say how it ended.

    Raises:
        OpsbookError: it did not end well; exit 3 when it was taken back.
    """
    if not as_json:
        session.terminal.message(
            *(words.result(deployment, session.terminal.message_style) for deployment in deployments)
        )
    error = words.failure(deployments)
    if error is not None:
        raise error
