"""``opsbook checklist``: what is checked and signed before, during and after a deployment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from opsbook.errors import Invalid
from opsbook.terminal import Session, Style, clock_time, table
from opsbook.terminal.commands import Group

STATES = {
    "passed": ("ok", "passed"),
    "signed": ("ok", "signed"),
    "failed": ("failed", "failed"),
    "unknown": ("warning", "to be signed"),
}
STAGES = {"pre": "before", "during": "during", "post": "after"}


@click.group(cls=Group)
def checklist() -> None:
    """The checklist of a deployment: what machines checked, what people signed.

    \b
    Examples:
      opsbook checklist show d-91                       every item with its state
      opsbook checklist sign d-91 pre-customer-service --note "told Maria"
    """


@checklist.command()
@click.argument("deployment_id", metavar="ID")
@click.option("--check", "stage", type=click.Choice(["during", "post"]),
              help="Let the machine check its items of this stage first.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def show(session: Session, deployment_id: str, stage: str | None, as_json: bool) -> None:
    """Every item of a deployment's checklist with its state.

    \b
    Examples:
      opsbook checklist show d-91
      opsbook checklist show d-91 --check post
    """
    path = f"/api/deployment/deployments/{deployment_id}/checklist"
    answer = session.api.get(path) if stage is None else session.api.post(path, {"check": stage})
    terminal = session.terminal
    if as_json:
        terminal.json(answer)
        return
    if not answer["items"]:
        terminal.message(f"{terminal.message_style.state('ok')} no checklist applies to {deployment_id}")
        return
    terminal.data(*_lines(answer["items"], terminal.style))
    if stage is not None:
        terminal.message("", f"the machine is checking: opsbook checklist show {deployment_id}")
    elif any(_open(item) for item in answer["items"]):
        hint = f"opsbook checklist sign {deployment_id} ITEM"
        terminal.message("", f"{terminal.message_style.paint('next:', 'cyan')} {hint}")


def _open(item: Mapping[str, Any]) -> bool:
    status, kind = str(item["status"]), str(item["kind"])
    return status == "unknown" or (kind == "signed" and status == "open")


def _lines(items: list[Mapping[str, Any]], style: Style) -> list[str]:
    rows = [
        (
            STAGES[str(item["stage"])],
            _state(item, style),
            str(item["text"]),
            _detail(item),
            style.paint(str(item["id"]), "dim"),
        )
        for item in items
    ]
    heading = tuple(style.paint(word, "dim") for word in ("WHEN", "STATE", "WHAT", "HOW", "ITEM"))
    return table([heading, *rows])


def _state(item: Mapping[str, Any], style: Style) -> str:
    open_word = "to be checked" if item["kind"] == "machine" else "to be signed"
    return style.state(*STATES.get(str(item["status"]), ("waiting", open_word)))


def _detail(item: Mapping[str, Any]) -> str:
    if item["by"]:
        said = f"{item['by']}, {clock_time(float(item['at']))}"
        return f"{said}: {item['note']}" if item["note"] else said
    return str(item["detail"] or "-")


@checklist.command()
@click.argument("deployment_id", metavar="ID")
@click.argument("item")
@click.option("--note", default="", help="What you did, or saw; the journal keeps it.")
@click.pass_obj
def sign(session: Session, deployment_id: str, item: str, note: str) -> None:
    """Say with your name that an item is done. It needs a token of your own ($OPSBOOK_TOKEN).

    The beginning of an item's name is enough where it is clear.

    \b
    Examples:
      opsbook checklist sign d-91 pre-customer-service
      opsbook checklist sign d-91 pre-customer-service --note "told Maria"
    """
    if not item.strip():
        raise Invalid("no item was named", hint=f"opsbook checklist show {deployment_id}")
    body = {"item": item, "note": note}
    answer = session.api.post(f"/api/deployment/deployments/{deployment_id}/checklist", body)
    left = sum(1 for one in answer["items"] if one["stage"] == "pre" and _open(one))
    style = session.terminal.message_style
    session.terminal.message(f"{style.state('ok', 'signed')} {item}")
    if left:
        session.terminal.message(f"{left} more to be signed before it starts")
