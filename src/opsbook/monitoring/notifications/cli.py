"""``opsbook channels``: where messages go, and whether they arrive."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from opsbook.terminal import Session, Style, age, table
from opsbook.terminal.commands import Group


@click.group(cls=Group, bare="list")
def channels() -> None:
    """Channels: where messages about alerts go.

    \b
    Examples:
      opsbook channels                    which there are, and how it goes there
      opsbook channels test ops-alerts    send a real message
    """


@channels.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def list_(session: Session, as_json: bool = False) -> None:
    """Those of the handbook; what could not be sent waits, and is tried again for a day.

    \b
    Examples:
      opsbook channels list --json
    """
    answer = session.api.get("/api/monitoring/channels")
    terminal = session.terminal
    if as_json:
        terminal.json(answer)
        return
    if not answer["channels"]:
        terminal.message(
            f"{terminal.message_style.state('warning')} the handbook has no channels: nobody is told"
        )
        hint = "add channels: {ops-alerts: {webhook: https://...}} to opsbook.yaml"
        terminal.message(f"{terminal.message_style.paint('hint:', 'cyan')} {hint}")
        return
    words = ("STATE", "NAME", "KIND", "SENT", "LAST", "WAITING", "ERROR")
    heading = [terminal.style.paint(word, "dim") for word in words]
    now = time.time()
    rows = [_row(one, terminal.style, now) for one in answer["channels"]]
    terminal.data(*table([heading, *rows], right=(3, 5)))


@channels.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def test(session: Session, name: str, as_json: bool) -> None:
    """Send a real test message to a channel, and say what it answered.

    \b
    Examples:
      opsbook channels test ops-alerts
    """
    answer = session.api.post(f"/api/monitoring/channels/{name}/test", {})
    if as_json:
        session.terminal.json(answer)
        return
    session.terminal.data(f"{session.terminal.style.state('ok', 'taken')} {name}: {answer['answer']}")


def _row(one: Mapping[str, Any], style: Style, now: float) -> list[str]:
    if one["error"]:
        state = style.state("failed")
    elif one["quiet"]:
        state = style.state("paused", "quiet")
    else:
        state = style.state("ok")
    return [
        state,
        str(one["name"]),
        str(one["kind"]),
        str(one["sent"]),
        age(one["last_sent_at"], now),
        str(one["waiting"]),
        str(one["error"]),
    ]
