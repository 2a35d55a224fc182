"""Watching a run at the terminal: one line a step with its time, its output indented below, what it waits for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opsbook.errors import Failed, NeedsApproval, NotAllowed, OpsbookError, RolledBack
from opsbook.terminal import Session, Style, duration

SAID = {
    "succeeded": ("ok", "done"),
    "failed": ("failed", "failed"),
    "refused": ("failed", "not begun"),
    "rolled_back": ("failed", "taken back"),
    "rollback_failed": ("failed", "not taken back"),
    "cancelled": ("paused", "cancelled"),
}
STATES = {
    "ok": ("ok", "ok"), "failed": ("failed", "failed"), "unknown": ("warning", "unknown"),
    "skipped": ("paused", "skipped"), "started": ("running", "running"),
}  # fmt: skip
PATIENT = {"approval", "person", "decision", "parameters"}  # what another person, or another day, decides


def follow(session: Session, name: str, *, as_json: bool = False, ask: bool = False) -> int:
    """Print the news of a run until it ends or waits for a person; the exit code.

    Args:
        ask: ask here before each step; see `--step`.

    Raises:
        NeedsApproval: it waits for one. RolledBack, Failed: it ended so.
    """
    terminal = session.terminal
    step = ""
    try:
        for one in _news(session, name):
            if as_json:
                terminal.json(one, indent=None)
            else:
                step = _say(terminal.style, terminal.data, one, step)
            if one["type"] == "waiting" and one.get("what") == "go" and ask:
                _let_go(session, name, str(one.get("step", "")))
            elif one["type"] == "waiting" and one.get("what") in {*PATIENT, "go"}:
                return _left_waiting(session, name, one)
            elif one["type"] == "end":
                return ending(session, name, one)
    except KeyboardInterrupt:
        style = terminal.message_style
        terminal.message(
            "",
            f"{style.state('paused', 'detached')} {name} goes on",
            f"hint: opsbook runs show {name} --follow",
        )
        raise
    return ending(session, name, session.api.get(f"/api/response/runs/{name}", {"output": False}))


def _news(session: Session, name: str) -> Iterator[dict[str, Any]]:
    for line in session.api.lines(f"/api/response/runs/{name}/live"):
        if line.strip():
            yield json.loads(line)


def _say(style: Style, write: Any, one: Mapping[str, Any], step: str) -> str:
    match one["type"]:
        case "output":
            for line in str(one["text"]).splitlines():
                write(f"    {style.paint(plain(line), 'dim')}")
        case "started":
            again = f" (try {one['attempt']})" if one["attempt"] > 1 else ""
            role = style.paint(f" · {one['role']}{again}", "dim")
            write(f"{style.symbol('running')} {one['step']}{role}")
        case "ended":
            symbol, word = STATES.get(str(one["state"]), ("warning", str(one["state"])))
            reason = f" · {plain(str(one['reason']))}" if one["reason"] else ""
            write(f"{style.state(symbol, word)} {one['step']}  {duration(float(one['seconds']))}{reason}")
        case "undoing":
            write(f"{style.state('warning', 'taking back')} {plain(str(one['reason']))}")
        case "waiting":
            write(f"{style.state('waiting')} for {plain(str(one['for']))}")
    return step


def plain(text: str) -> str:
    """A line of a program's output without what would move the cursor."""
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _let_go(session: Session, name: str, step: str) -> None:
    import click

    if click.confirm(f"run {step}?", default=True, err=True):
        session.api.post(f"/api/response/runs/{name}/resume", {})
    else:
        session.api.post(f"/api/response/runs/{name}/cancel", {"reason": f"declined {step}"})


def _left_waiting(session: Session, name: str, one: Mapping[str, Any]) -> int:
    what, step = str(one.get("what")), str(one.get("step") or "")
    command = way_on(name, what)
    if what == "approval":
        hint = f"{command}, with a token of their own; then it goes on: opsbook runs show {name} --follow"
        raise NeedsApproval(f"{name} waits for {one['for']}", hint=hint, details={"run": name, "step": step})
    style = session.terminal.message_style
    session.terminal.message(f"{style.paint('next:', 'cyan')} {command}")
    return 0


def way_on(name: str, what: str, hidden: Sequence[str] = ()) -> str:
    """The command that lets a run go on. `what` it waits for; `hidden`: its sensitive parameters."""
    given = " ".join(f"--param {one}=..." for one in hidden) or "--param ..."
    return {
        "approval": f"opsbook runs approve {name}", "person": f"opsbook runs resume {name}",
        "go": f"opsbook runs resume {name}", "parameters": f"opsbook runs resume {name} {given}",
        "decision": f"opsbook runs retry {name}, or: opsbook runs skip {name} --reason ...",
    }.get(what, f"opsbook runs show {name}")  # fmt: skip


def ending(session: Session, name: str, run: Mapping[str, Any]) -> int:
    """The last line, and the exit code of the outcome: 0 done, 3 taken back, 4 not begun, 1 otherwise."""
    outcome, reason = str(run["outcome"]), str(run.get("reason") or "")
    took = duration(float(run.get("seconds") or 0.0))
    if outcome == "succeeded":
        style = session.terminal.message_style
        session.terminal.message(
            f"{style.state('ok', 'done')} {name} · {took}" + (f" · {reason}" if reason else "")
        )
        return 0
    word = SAID.get(outcome, ("failed", outcome))[1]
    kind: type[OpsbookError] = {
        "rolled_back": RolledBack,
        "cancelled": RolledBack,
        "refused": NotAllowed,
    }.get(outcome, Failed)
    hint = f"opsbook runs retry {name}" if outcome == "failed" else f"opsbook runs show {name}"
    raise kind(
        f"{name} {word}: {reason}" if reason else f"{name} {word}",
        hint=hint,
        details={"run": name, "outcome": outcome},
    )
