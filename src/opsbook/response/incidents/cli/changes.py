"""What people do about incidents: declare, say how bad, who does what, how it goes, and that it is over."""

from __future__ import annotations

import click

from opsbook.errors import Invalid
from opsbook.response.incidents.cli.asking import API, hint, is_id, meant, path, said, seen
from opsbook.response.incidents.cli.incidents import incidents
from opsbook.terminal import Session, clock_time
from opsbook.terminal.commands import Command

SEVERITIES = click.Choice(["SEV1", "SEV2", "SEV3", "SEV4"], case_sensitive=False)
ROLES = click.Choice(["commander", "scribe", "liaison", "responder"])


@incidents.command()
@click.argument("title")
@click.option(
    "--severity", type=SEVERITIES, default="SEV2", show_default=True, help="When unsure, the higher."
)
@click.option("--in", "environment", default="", metavar="ENV", help="Where.")
@click.option(
    "--service", "services", multiple=True, metavar="NAME", help="What is affected; may be repeated."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def declare(
    session: Session, title: str, severity: str, environment: str, services: tuple[str, ...], as_json: bool
) -> None:
    """Say that something is wrong: people are paged as for an alert.

    \b
    Examples:
      opsbook incidents declare "Orders fail" --severity SEV1 --in production --service web
    """
    body = {"title": title, "severity": severity, "environment": environment, "services": list(services)}
    made = session.api.post(API, body)
    said(session, made, made["id"], f"{made['severity']} {made['title']}", as_json=as_json)
    if not as_json:
        hint(session, f"opsbook ack {made['id']}")


@incidents.command()
@click.argument("role", type=ROLES, metavar="commander|scribe|liaison|responder")
@click.argument("person", default="")
@click.option("--incident", metavar="ID", help="Left out: the only one that is open.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def role(session: Session, role: str, person: str, incident: str | None, as_json: bool) -> None:
    """Give a role to PERSON, a contact; without PERSON nobody has it any more.

    \b
    Examples:
      opsbook incidents role commander ana
      opsbook incidents role responder ben --incident inc-7
    """
    name = meant(session, incident)
    done = session.api.post(path(name, "role"), {"role": role, "person": person})
    said(session, done, role, f"of {name} is {person or 'nobody'}", as_json=as_json)


@incidents.command()
@click.argument("severity", type=SEVERITIES, metavar="SEV1|SEV2|SEV3|SEV4")
@click.option("--incident", metavar="ID", help="Left out: the only one that is open.")
@click.option("--reason", default="", help="Why; it is in the timeline.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def severity(session: Session, severity: str, incident: str | None, reason: str, as_json: bool) -> None:
    """It is worse than it seemed, or not so bad.

    \b
    Examples:
      opsbook incidents severity SEV1 --reason "nobody can pay"
    """
    name = meant(session, incident)
    done = session.api.post(path(name, "severity"), {"severity": severity, "reason": reason})
    said(session, done, name, f"is {done['severity']}", as_json=as_json)


@incidents.command()
@click.argument("incident", required=False, metavar="[ID]")
@click.option("--reason", default="", help="What helped; it is in the timeline.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def mitigate(session: Session, incident: str | None, reason: str, as_json: bool) -> None:
    """Users notice it no more, though the cause may still be there.

    \b
    Examples:
      opsbook incidents mitigate --reason "rolled back to 1.4.1"
    """
    name = meant(session, incident)
    done = session.api.post(path(name, "mitigate"), {"reason": reason})
    said(session, done, "mitigated", f"{name} {done['title']}", as_json=as_json)
    if not as_json:
        hint(session, f"opsbook resolve {name}")


@incidents.command()
@click.argument("incident", metavar="ID")
@click.option("--reason", default="", help="Why; it is in the timeline.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def reopen(session: Session, incident: str, reason: str, as_json: bool) -> None:
    """It was not over: people are paged again.

    \b
    Examples:
      opsbook incidents reopen inc-7 --reason "orders fail again"
    """
    done = session.api.post(path(incident, "reopen"), {"reason": reason})
    said(session, done, "reopened", f"{incident} {done['title']}", as_json=as_json)


@incidents.command()
@click.argument("incident", metavar="ID")
@click.option("--into", required=True, metavar="ID", help="The incident that takes it over.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def merge(session: Session, incident: str, into: str, as_json: bool) -> None:
    """It is a part of another incident: its alerts and runs go there.

    \b
    Examples:
      opsbook incidents merge inc-8 --into inc-7
    """
    done = session.api.post(path(incident, "merge"), {"into": into})
    said(session, done, "merged", f"{incident} is a part of {into}", as_json=as_json)


@incidents.command()
@click.argument("incident", metavar="ID")
@click.option("--reason", default="", help="Why; it is in the timeline.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def close(session: Session, incident: str, reason: str, as_json: bool) -> None:
    """Nothing is left to be done about it.

    \b
    Examples:
      opsbook incidents close inc-7
    """
    done = session.api.post(path(incident, "close"), {"reason": reason})
    said(session, done, "closed", f"{incident} {done['title']}", as_json=as_json)


@incidents.command()
@click.argument("text")
@click.option("--incident", metavar="ID", help="Left out: the only one that is open.")
@click.option("--public", is_flag=True, help="Customers are told too, on the status page.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def update(session: Session, text: str, incident: str | None, public: bool, as_json: bool) -> None:
    """Tell others how it goes: the channels of the policy, and with --public the status page.

    \b
    Examples:
      opsbook incidents update "Half of the orders fail; we are rolling back" --public
    """
    name = meant(session, incident)
    done = session.api.post(path(name, "updates"), {"text": text, "public": public})
    when = done["next_update_at"]
    due = f", the next one is due {clock_time(when, date=False)}" if when is not None else ""
    said(session, done, "told", f"{name}{' to everybody' if public else ''}{due}", as_json=as_json)


@incidents.command()
@click.argument("text", default="")
@click.option("--incident", metavar="ID", help="Left out: the only one that is open.")
@click.option("--owner", default="", metavar="PERSON", help="Who does it: a contact.")
@click.option("--due", default="", metavar="DAY", help="Until when, such as 2026-12-01.")
@click.option("--done", default="", metavar="ACTION", help="Instead of TEXT: this one is done.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def action(
    session: Session, text: str, incident: str | None, owner: str, due: str, done: str, as_json: bool
) -> None:
    """Promise to do something, so that it does not happen again; or say that it is done.

    \b
    Examples:
      opsbook incidents action "Alert before the disk is full" --owner ana --due 2026-12-01
      opsbook incidents action --done a1 --incident inc-7
    """
    if bool(text) == bool(done):
        raise Invalid("expected either TEXT or --done", hint='opsbook incidents action "TEXT" --owner PERSON')
    name = meant(session, incident)
    if done:
        answer = session.api.post(path(name, "actions", done, "done"), {})
        said(session, answer, "done", f"{done} of {name}", as_json=as_json)
        return
    answer = session.api.post(path(name, "actions"), {"text": text, "owner": owner, "due": due})
    made = answer["actions"][-1]
    said(session, answer, made["id"], f"of {name}: {made['text']}", as_json=as_json)


@click.command(cls=Command)
@click.argument("words", nargs=-1, required=True, metavar="[ID] TEXT")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def note(session: Session, words: tuple[str, ...], as_json: bool) -> None:
    """Write into the timeline of an incident what you saw, tried or decided.

    \b
    Examples:
      opsbook note "the queue is full since 14:02"
      opsbook note inc-7 "restarted db-2, no effect"

    Exit codes: 0 done; 2 no incident is open, or several are and none is named; 4 not allowed.
    """
    named, text = _named(words)
    if not text:
        raise Invalid("a note needs words", hint='opsbook note "what you saw"')
    name = meant(session, named)
    answer = session.api.post(path(name, "notes"), {"text": text})
    said(session, answer, "noted", f"{name} {answer['title']}", as_json=as_json)


@click.command(cls=Command)
@click.argument("words", nargs=-1, metavar="[ID] [TEXT]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def resolve(session: Session, words: tuple[str, ...], as_json: bool) -> None:
    """Say that an incident is over. TEXT, what it was and what helped, goes into the timeline.

    \b
    Examples:
      opsbook resolve
      opsbook resolve inc-7 "rolled back to 1.4.1"

    A post-mortem is begun. Exit codes: 0 done; 2 no incident is open, or several are and none is named; 4 not allowed.
    """
    named, text = _named(words)
    name = meant(session, named)
    answer = session.api.post(path(name, "resolve"), {"reason": text})
    said(session, answer, "resolved", f"{name} {answer['title']}", as_json=as_json)
    if not as_json:
        if firing := [
            one["labels"].get("alertname", "") for one in answer["alerts"] if one["ended_at"] is None
        ]:
            style = session.terminal.message_style
            session.terminal.message(
                f"{style.state('warning')} {seen(', '.join(dict.fromkeys(filter(None, firing))))} still fires;"
                f" if it is not over: opsbook incidents reopen {name}"
            )
        hint(session, f"opsbook postmortem show {name}")


def _named(words: tuple[str, ...]) -> tuple[str | None, str]:
    """The id that comes first, if one does, and the words after it."""
    if words and is_id(words[0]):
        return words[0], " ".join(words[1:]).strip()
    return None, " ".join(words).strip()
