"""``opsbook whoami``, ``opsbook tokens`` and ``opsbook login-link``."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import click

from opsbook.terminal import Session, Style, age, clock_time, parse_duration, table
from opsbook.terminal.commands import Command, Group

ROLES = ("viewer", "responder", "operator", "approver", "admin", "auditor", "sender")


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def whoami(session: Session, as_json: bool) -> None:
    """Who opsbook takes you for, and your roles.

    \b
    Examples:
      opsbook whoami
      OPSBOOK_TOKEN=ops_... opsbook whoami
    """
    who = session.api.get("/api/security/whoami")
    terminal = session.terminal
    if as_json:
        terminal.json(who)
        return
    style, message = terminal.style, terminal.message_style
    what = "by " + {"token": "a token of your own", "session": "a session"}.get(
        str(who["via"]), str(who["via"])
    )
    if not who["authenticated"]:
        what = "the local operator: everything but approving and signing"
    terminal.data(f"{style.paint(str(who['name']) or 'unknown', 'bold')} · {what}")
    rows = [(str(one["role"]), f"in {', '.join(one['environments'])}" if one["environments"] else "everywhere")
            for one in who["roles"]]  # fmt: skip
    terminal.data(*(f"  {line}" for line in table(rows)))
    if who["narrowed"]:
        terminal.data(f"narrowed to {who['narrowed']}")
    if not rows:
        terminal.message(
            f"{message.paint('hint:', 'cyan')} roles are given in security/roles.yaml of the handbook"
        )


@click.group(cls=Group, bare="list")
def tokens() -> None:
    """Personal tokens: with one, opsbook knows which person you are.

    \b
    Examples:
      opsbook tokens create --for alice --name laptop
      opsbook tokens                                  which there are
      opsbook tokens revoke t-1a2b3c4d5e6f
    """


@tokens.command()
@click.option("--for", "person", metavar="PERSON", help="A person of the handbook's contacts (default: you).")
@click.option("--name", default="", metavar="TEXT", help="What it is for, e.g. laptop.")
@click.option("--expires", default="90d", show_default=True, metavar="TIME", help="How long it is good.")
@click.option(
    "--role", type=click.Choice(ROLES), help="Allow no more than this role, whatever the person has."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def create(
    session: Session, *, person: str | None, name: str, expires: str, role: str | None, as_json: bool
) -> None:
    """Make a token. It is printed once, on stdout, and can never be seen again.

    It can do what the handbook lets its person do when it is used.

    \b
    Examples:
      opsbook tokens create --for alice --name laptop
      opsbook tokens create --for ben --expires 1h --role viewer
    """
    body = {"for": person, "name": name, "seconds": parse_duration(expires), "role": role}
    token = session.api.post("/api/security/tokens", body)
    terminal = session.terminal
    if as_json:
        terminal.json(token)
        return
    style = terminal.message_style
    until = clock_time(float(token["expires_at"]))
    terminal.message(f"{style.state('ok', 'made')} {token['id']} for {token['person']}, good until {until}")
    terminal.data(str(token["secret"]))
    terminal.message(
        f"{style.paint('next:', 'cyan')} export OPSBOOK_TOKEN=... · opsbook whoami · "
        f"opsbook tokens revoke {token['id']}"
    )


@tokens.command(name="list")
@click.option("--for", "person", metavar="PERSON", help="Of one person.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def list_(session: Session, person: str | None = None, as_json: bool = False) -> None:
    """Tokens, the newest first: yours, or everybody's when you look after them.

    \b
    Examples:
      opsbook tokens list
      opsbook tokens list --for alice
    """
    answer = session.api.get("/api/security/tokens", {"for": person})
    terminal = session.terminal
    if as_json:
        terminal.json(answer)
        return
    if not answer["tokens"]:
        hint = f"{terminal.message_style.paint('hint:', 'cyan')} opsbook tokens create --for PERSON"
        terminal.message("no tokens yet", hint)
        return
    words = ("ID", "FOR", "NAME", "STATE", "ROLE", "USED", "MADE", "BY")
    heading = [terminal.style.paint(word, "dim") for word in words]
    now = time.time()
    terminal.data(*table([heading, *(_row(one, terminal.style, now) for one in answer["tokens"])]))


def _row(one: Mapping[str, Any], style: Style, now: float) -> list[str]:
    state = style.state("ok", f"until {clock_time(float(one['expires_at']))[:10]}")
    if one["revoked_at"]:
        state = style.state("failed", "revoked")
    elif float(one["expires_at"]) <= now:
        state = style.state("warning", "expired")
    return [
        str(one["id"]),
        str(one["person"]),
        str(one["name"] or "-"),
        state,
        str(one["role"] or "as the person's"),
        age(one["last_used_at"], now),
        age(float(one["created_at"]), now),
        str(one["created_by"]),
    ]


@tokens.command()
@click.argument("token_id", metavar="ID")
@click.pass_obj
def revoke(session: Session, token_id: str) -> None:
    """Make a token worthless at once, and end the sessions that were opened with it.

    \b
    Examples:
      opsbook tokens revoke t-1a2b3c4d5e6f
    """
    session.api.delete(f"/api/security/tokens/{token_id}")
    session.terminal.message(f"{session.terminal.message_style.state('ok', 'revoked')} {token_id}")


@click.command(name="login-link", cls=Command)
@click.option("--for", "person", metavar="PERSON", help="A person of the handbook's contacts (default: you).")
@click.pass_obj
def login_link(session: Session, person: str | None) -> None:
    """Print a link that signs a browser in to the console. It works once, for 15 minutes.

    \b
    Examples:
      opsbook login-link
      opsbook login-link --for alice
    """
    address = link(session, person)
    who = person or "you"
    style = session.terminal.message_style
    session.terminal.message(
        f"{style.state('ok', 'made')} a link that signs {who} in, once, within 15 minutes:"
    )
    session.terminal.data(address)


def link(session: Session, person: str | None = None) -> str:
    """A new sign-in link, with the server's address before it where that is known."""
    answer = session.api.post("/api/security/login-links", {"for": person})
    if session.remote:
        return str(answer["path"])
    try:
        described = json.loads((session.state / "server.json").read_text(encoding="utf-8"))
        return f"{described['url']}{answer['path']}"
    except (OSError, ValueError, KeyError):
        return str(answer["path"])
