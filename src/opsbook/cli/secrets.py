"""``opsbook secrets``: values that the handbook names and never shows."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opsbook.errors import Invalid
from opsbook.terminal import Session, table
from opsbook.terminal.commands import Group

if TYPE_CHECKING:
    from opsbook.world.secrets.age import AgeSecrets

USED = re.compile(r"\{secret:([A-Za-z0-9_.-]+)")
MISSING = 1


@click.group(cls=Group, bare="list")
def secrets() -> None:
    """Secrets: encrypted files in the handbook; the key stays in the state folder.

    \b
    Examples:
      opsbook secrets                             which are needed, which are there
      opsbook secrets set database-url            asks for the value
      pass show db | opsbook secrets set database-url
    """


@secrets.command(name="set")
@click.argument("name")
@click.pass_obj
def set_(session: Session, *, name: str) -> None:
    """Encrypt a value, asked for or read from stdin, into the handbook. Never an argument: others could read it.

    \b
    Examples:
      opsbook secrets set database-url
      pass show db | opsbook secrets set database-url
    """
    store = _store(session)
    if sys.stdin.isatty():
        value = str(click.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=True, err=True))
    else:
        value = sys.stdin.read().removesuffix("\n")
    if not value:
        raise Invalid(
            "the value is empty", where=name, hint=f"type it, or pipe it: ... | opsbook secrets set {name}"
        )
    path = store.set(name, value)
    terminal, style = session.terminal, session.terminal.message_style
    terminal.message(f"{style.state('ok', 'encrypted')} {path}")
    used = sorted(_used(session.book).get(name, ()))
    if used:
        terminal.message(
            f"{style.paint('hint:', 'cyan')} it is used by the next deployment of {', '.join(used)}"
        )
    else:
        example = f"NAME: '{{secret:{name}}}'"
        terminal.message(f"{style.paint('hint:', 'cyan')} use it in a service's file: env: {{{example}}}")


@secrets.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def list_(session: Session, *, as_json: bool) -> int:
    """The names of the secrets, where each is used, and which are missing; never a value.

    \b
    Examples:
      opsbook secrets list

    Exit codes: 0 all that are used are there, 1 one is missing.
    """
    stored = set(_store(session).names())
    used = _used(session.book)
    environment = {name for name in used if _variable(name) in os.environ}
    found = [
        {
            "name": name,
            "stored": "file" if name in stored else "environment" if name in environment else None,
            "used_by": sorted(used.get(name, ())),
        }
        for name in sorted(stored | set(used))
    ]
    missing = [str(one["name"]) for one in found if one["stored"] is None]
    terminal, style = session.terminal, session.terminal.style
    if as_json:
        terminal.json({"secrets": found, "missing": missing})
    elif not found:
        terminal.message("the handbook uses no secrets")
    else:
        heading = [style.paint(word, "dim") for word in ("SECRET", "STATE", "USED BY")]
        rows = [
            [
                str(one["name"]),
                style.state("failed", "missing")
                if one["stored"] is None
                else style.state("ok", str(one["stored"])),
                ", ".join(one["used_by"] or ()) or "nothing",
            ]
            for one in found
        ]
        terminal.data(*table([heading, *rows]))
    if missing and not as_json:
        terminal.message(f"{terminal.message_style.paint('next:', 'cyan')} opsbook secrets set {missing[0]}")
    return MISSING if missing else 0


def _store(session: Session) -> AgeSecrets:
    from opsbook.world.hosts.files import private_folder
    from opsbook.world.secrets.age import AgeSecrets

    return AgeSecrets(session.book / "security" / "secrets", private_folder(session.state))


def _variable(name: str) -> str:
    return "OPSBOOK_SECRET_" + re.sub(r"[^A-Z0-9]", "_", name.upper())


def _used(book: Path) -> dict[str, set[str]]:
    """Secret names to the files that use them, as the files are written: a broken handbook has secrets too."""
    used: dict[str, set[str]] = {}
    for path in sorted(book.rglob("*.yaml")):
        for name in USED.findall(path.read_text(encoding="utf-8", errors="replace")):
            used.setdefault(name, set()).add(path.stem)
    return used
