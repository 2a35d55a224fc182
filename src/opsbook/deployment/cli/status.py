"""``opsbook status``: what runs, worst first, and what can be done next."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from opsbook.errors import NotFound
from opsbook.terminal import Session, Style, age, count, table
from opsbook.terminal.commands import Command
from opsbook.terminal.names import complete_environment

HEADING = ("SERVICE", "STATE", "VERSION", "INSTANCES", "STRATEGY", "RESTARTS", "SINCE", "ADDRESS")
# Worst first: state, its symbol of `opsbook.terminal.SYMBOLS`.
STATES = {
    "down": "failed",
    "degraded": "warning",
    "held": "warning",
    "changing": "running",
    "ok": "ok",
    "stopped": "paused",
    "not deployed": "paused",
}


@click.command(cls=Command)
@click.argument("environment", required=False, shell_complete=complete_environment)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def status(session: Session, environment: str | None, as_json: bool) -> None:
    """Show what runs, worst first.

    \b
    Examples:
      opsbook status
      opsbook status production
      opsbook status --json | jq '.environments.production.services.web.healthy'
    """
    answer = session.api.get("/api/status", {"environment": environment})
    terminal = session.terminal
    if as_json:
        terminal.json(answer)
        return
    environments = answer.get("environments") or {}
    if environment is not None and environment not in environments:
        raise NotFound(f"there is no environment {environment!r}", hint="which there are: opsbook status")
    for number, (name, one) in enumerate(environments.items()):
        terminal.data(*([""] if number else []), *show(name, one, terminal.style, time.time()))
    book = answer.get("book") or {}
    notes = [
        _book_line(book, terminal.style),
        *(f"  {_problem(problem)}" for problem in book.get("problems") or []),
    ]
    terminal.data("", *notes)
    hints = next_steps(environments, bool(book.get("problems")))
    terminal.message(f"{terminal.message_style.paint('next:', 'cyan')} {' · '.join(hints)}")


def show(name: str, one: Mapping[str, Any], style: Style, now: float) -> list[str]:
    """One environment."""
    services = sorted(
        (one.get("services") or {}).items(), key=lambda item: (list(STATES).index(state_of(item[1])), item[0])
    )
    heading = f"{style.paint(name, 'bold')} · {_proxy(one, style)}"
    if not services:
        return [heading, "  no services"]
    rows = [[style.paint(word, "dim") for word in HEADING]]
    rows += [_row(service, found, style, now) for service, found in services]
    lines = [heading, *(f"  {line}" for line in table(rows))]
    for service, found in services:
        lines += [f"  {note}" for note in _notes(service, found, style, now)]
    return lines


def state_of(service: Mapping[str, Any]) -> str:
    """The word of `STATES` that describes a service as ``/api/status`` does."""
    wanted, healthy = int(service.get("replicas") or 0), int(service.get("healthy") or 0)
    if service.get("deployment"):
        return "changing"
    if not service.get("release"):
        return "not deployed"
    if wanted == 0:
        return "stopped"
    if healthy == 0:
        return "down"
    if healthy < wanted:
        return "degraded"
    return "held" if service.get("held") else "ok"


def _proxy(one: Mapping[str, Any], style: Style) -> str:
    proxy = one.get("proxy") or {}
    state = "" if proxy.get("alive", True) else f" · {style.state('failed', 'proxy is down')}"
    return f"{one.get('entry') or 'no entry'}{state}"


def _row(name: str, found: Mapping[str, Any], style: Style, now: float) -> list[str]:
    state = state_of(found)
    instances = found.get("instances") or []
    starts = [float(instance["started_at"]) for instance in instances if instance.get("started_at")]
    restarts = sum(int(instance.get("restarts") or 0) for instance in instances)
    return [
        name,
        style.state(STATES[state], _word(state, found)),
        _versions(found),
        f"{found.get('healthy') or 0}/{found.get('replicas') or 0}",
        str(found.get("strategy") or "-"),
        str(restarts),
        age(max(starts, default=None), now),
        str(found.get("url") or "-"),
    ]


def _word(state: str, found: Mapping[str, Any]) -> str:
    deployment = found.get("deployment")
    return str(deployment.get("phase", state)).replace("_", " ") if deployment else state


def _versions(found: Mapping[str, Any]) -> str:
    """The version; while traffic is split, each with its share."""
    weights = {release: weight for release, weight in (found.get("weights") or {}).items() if weight}
    version = str(found.get("version") or "-")
    if len(weights) < 2:
        return version
    total = sum(weights.values())
    known = {found.get("release"): version}
    known |= {
        one.get("release"): one.get("version") for one in found.get("instances") or [] if one.get("version")
    }
    return " + ".join(
        f"{known.get(release) or release} {100 * weight // total}%" for release, weight in weights.items()
    )


def _notes(name: str, found: Mapping[str, Any], style: Style, now: float) -> list[str]:
    notes = []
    for instance in found.get("instances") or []:
        if not instance.get("healthy") and (instance.get("last_exit") or instance.get("state") == "failed"):
            why = _exit(instance.get("last_exit"))
            notes.append(
                f"{style.symbol('warning')} {instance['id']} is {instance['state']}{': ' + why if why else ''}"
            )
    for held in found.get("held") or []:
        text = f"{held.get('version')}: {held.get('reason')}" if isinstance(held, Mapping) else str(held)
        notes.append(f"{style.symbol('warning')} {name} holds back {text}")
    previous = found.get("previous")
    if previous and previous.get("warm_until") and float(previous["warm_until"]) > now:
        left = age(now, float(previous["warm_until"]))
        notes.append(style.paint(f"{name} {previous.get('version')} stays warm for {left}", "dim"))
    return notes


def _exit(last: object) -> str:
    if isinstance(last, Mapping):
        for field, words in (("reason", "{}"), ("signal", "killed by signal {}"), ("code", "exit code {}")):
            if last.get(field) not in {None, ""}:
                return words.format(last[field])
        return ""
    return str(last or "")


def _book_line(book: Mapping[str, Any], style: Style) -> str:
    commit = f" at {str(book['commit'])[:12]}" if book.get("commit") else ""
    problems = book.get("problems") or []
    state = style.state("failed", count(len(problems), "problem")) if problems else style.state("ok")
    return f"handbook {book.get('where', '')}{commit} · {state}"


def _problem(problem: object) -> str:
    """``services/web.yaml:7: run.command: expected ...``."""
    if not isinstance(problem, Mapping):
        return str(problem)
    place = f"{problem.get('file')}:{problem['line']}" if problem.get("line") else str(problem.get("file"))
    return ": ".join(str(part) for part in (place, problem.get("path"), problem.get("message")) if part)


def next_steps(environments: Mapping[str, Any], broken_book: bool) -> list[str]:
    """The commands that fit what was seen, most urgent first; three at most."""
    hints = ["opsbook check"] if broken_book else []
    for name, one in environments.items():
        for service, found in (one.get("services") or {}).items():
            state = state_of(found)
            if state == "down" and not found.get("instances"):
                hints.append(f"opsbook restart {service} --in {name}")
            elif state in {"down", "degraded"}:
                hints.append(f"opsbook logs {service} --in {name}")
            elif state == "changing":
                hints.append(f"opsbook deployments watch {found['deployment']['id']}")
            elif state == "not deployed":
                hints.append(f"opsbook deploy {service} --to {name}")
    return hints[:3] or ["opsbook plan", "opsbook deployments"]
