"""``opsbook silence``: alerts that are known and need not be told."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from opsbook.errors import Invalid
from opsbook.terminal import Session, Style, clock_time, count, parse_duration, table
from opsbook.terminal.commands import Group

_WEEKLY = re.compile(r"(?:([a-z,]+)\s+)?([0-2][0-9]:[0-5][0-9])-([0-2][0-9]:[0-5][0-9])")
_SHOWN = 10


@click.group(cls=Group, bare="list")
def silence() -> None:
    """Silences: alerts that are known and not told for a while.

    \b
    Examples:
      opsbook silence                                    which there are, the active ones first
      opsbook silence add service=web alertname=HighErrorRate --for 2h --comment "ticket 4711"
      opsbook silence expire 0f9c2a9e-5b1d-4f0e-8f0a-0d6a1f6f3f55
    """


@silence.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Those that are over too.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def list_(session: Session, everything: bool = False, as_json: bool = False) -> None:
    """Those of the handbook and those that somebody added.

    \b
    Examples:
      opsbook silence list --all
    """
    answer = session.api.get("/api/monitoring/silences")
    terminal = session.terminal
    if as_json:
        terminal.json(answer)
        return
    shown = [one for one in answer["silences"] if everything or one["state"] != "expired"]
    windows = [one for one in answer["maintenance"] if everything or one["open"]]
    if not shown and not windows:
        terminal.message(f"{terminal.message_style.state('ok')} nothing is silenced")
        hint = "opsbook silence add LABEL=VALUE --for 2h --comment WHY"
        terminal.message(f"{terminal.message_style.paint('hint:', 'cyan')} {hint}")
        return
    order = ("active", "pending", "expired")
    shown.sort(key=lambda one: (order.index(one["state"]), one["ends_at"] or float("inf")))
    words = ("STATE", "ID", "WHAT", "WHEN", "BY", "COMMENT")
    heading = [terminal.style.paint(word, "dim") for word in words]
    rows = [_window_row(one, terminal.style) for one in windows]
    terminal.data(*table([heading, *rows, *(_row(one, terminal.style) for one in shown)]))


@silence.command()
@click.argument("matchers", nargs=-1, required=True, metavar="LABEL=VALUE...")
@click.option("--for", "length", metavar="2h", help="For so long.")
@click.option("--until", metavar="T", help="2026-12-24T18:00 by this machine's clock, or 4h from now.")
@click.option("--from", "begins", metavar="T", help="When it begins (default: now).")
@click.option("--weekly", metavar="'sun,mon 02:00-04:00'", help="In these hours each week.")
@click.option(
    "--timezone", default="UTC", show_default=True, metavar="ZONE", help="Whose clocks --weekly means."
)
@click.option(
    "--during",
    type=click.Choice(["deployment", "maintenance"]),
    help="Only while the alert's service is deployed, or is in maintenance.",
)
@click.option("--comment", "-c", required=True, metavar="WHY", help="Why this may be ignored.")
@click.option("--preview", is_flag=True, help="Only say what it would hide now.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def add(
    session: Session,
    *,
    matchers: tuple[str, ...],
    length: str | None,
    until: str | None,
    begins: str | None,
    weekly: str | None,
    timezone: str,
    during: str | None,
    comment: str,
    preview: bool,
    as_json: bool,
) -> None:
    """Silence the alerts that all of the matchers fit: LABEL=VALUE, !=, =~ and !~ with regular expressions.

    \b
    Examples:
      opsbook silence add service=web --for 2h --comment "ticket 4711"
      opsbook silence add alertname=HighCpuUsage service=worker --weekly 'sun 02:00-04:00' \\
          --timezone Europe/Berlin --comment "the batch"
      opsbook silence add alertname=InstanceDown --during deployment --comment "they are replaced"
      opsbook silence add service=~'web|api' --for 1h --comment "move" --preview
    """
    now = time.time()
    terminal = session.terminal
    if preview:
        found = session.api.post("/api/monitoring/silences/preview", {"matchers": list(matchers)})
        if as_json:
            terminal.json(found)
        else:
            _say_hidden(session, found["alerts"], "would hide")
        return
    if length is not None and until is not None:
        raise Invalid("expected either --for or --until", hint="--for 2h")
    starts_at = None if begins is None else _moment(begins, now)
    ends_at = None if until is None else _moment(until, now)
    if length is not None:
        ends_at = (starts_at or now) + parse_duration(length)
    body = {
        "matchers": list(matchers),
        "comment": comment,
        "starts_at": starts_at,
        "ends_at": ends_at,
        "weekly": None if weekly is None else _hours(weekly),
        "timezone": timezone,
        "during": during,
    }
    answer = session.api.post("/api/monitoring/silences", body)
    if as_json:
        terminal.json(answer)
        return
    made = answer["silence"]
    when = f" until {clock_time(float(made['ends_at']))}" if made["ends_at"] else ""
    terminal.message(
        f"{terminal.message_style.state('paused', 'silenced')} {' '.join(made['matchers'])}{when}"
    )
    _say_hidden(session, answer["hides"], "hides")
    terminal.data(str(made["id"]))
    hint = f"opsbook silence expire {made['id']}"
    terminal.message(f"{terminal.message_style.paint('hint:', 'cyan')} {hint}")


@silence.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.pass_obj
def expire(session: Session, ids: tuple[str, ...]) -> None:
    """End silences that somebody added. One of the handbook is changed there: monitoring/notifications.yaml.

    \b
    Examples:
      opsbook silence expire 0f9c2a9e-5b1d-4f0e-8f0a-0d6a1f6f3f55
    """
    for one in ids:
        session.api.delete(f"/api/monitoring/silences/{one}")
        session.terminal.message(f"{session.terminal.message_style.state('ok', 'expired')} {one}")


def _say_hidden(session: Session, alerts: Sequence[Mapping[str, Any]], verb: str) -> None:
    terminal = session.terminal
    if not alerts:
        terminal.message(f"it {verb} nothing that fires now")
        return
    terminal.message(
        f"it {verb} {count(len(alerts), 'alert')} that {'fires' if len(alerts) == 1 else 'fire'} now:"
    )
    for one in alerts[:_SHOWN]:
        labels = " ".join(f"{k}={v}" for k, v in sorted(one["labels"].items()) if k != "alertname")
        terminal.message(f"  {one['name']} {terminal.message_style.paint(labels, 'dim')}")
    if len(alerts) > _SHOWN:
        terminal.message(f"  ... and {len(alerts) - _SHOWN} more")


def _row(one: Mapping[str, Any], style: Style) -> list[str]:
    state = {"active": style.state("paused", "active"), "pending": style.state("waiting", "pending")}.get(
        one["state"], style.paint("over", "dim")
    )
    return [
        state,
        str(one["id"]),
        " ".join(one["matchers"]),
        _when(one),
        str(one["created_by"]),
        str(one["comment"]),
    ]


def _when(one: Mapping[str, Any]) -> str:
    parts = []
    if one["during"]:
        parts.append(f"during {one['during']}")
    if one["state"] == "pending":
        parts.append(f"from {clock_time(float(one['starts_at']))}")
    elif one["ends_at"]:
        parts.append(f"until {clock_time(float(one['ends_at']))}")
    if one["weekly"]:
        parts.append("weekly")
    return ", ".join(parts) or "always"


def _window_row(one: Mapping[str, Any], style: Style) -> list[str]:
    state = style.state("paused", "open") if one["open"] else style.paint("later", "dim")
    change = one["changes_at"]
    word = "until" if one["open"] else "from"
    when = f"{word} {clock_time(float(change))}" if change else "over"
    return [state, f"maintenance:{one['name']}", "", when, "handbook", str(one["comment"])]


def _hours(text: str) -> dict[str, Any]:
    match = _WEEKLY.fullmatch(text.strip().lower())
    if match is None:
        raise Invalid(
            f"--weekly: expected days and hours, got {text!r}", hint="--weekly 'sun,mon 02:00-04:00'"
        )
    hours: dict[str, Any] = {"from": match[2], "until": match[3]}
    return hours if match[1] is None else {**hours, "days": match[1].split(",")}


def _moment(text: str, now: float) -> float:
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        pass
    try:
        return now + parse_duration(text)
    except Invalid:
        raise Invalid(
            f"expected a time or a duration, got {text!r}", hint="write 2026-12-24T18:00, or 4h"
        ) from None
