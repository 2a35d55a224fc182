"""What a page says. Pure."""

from __future__ import annotations

from typing import Any

from opsbook.book import Book
from opsbook.response.escalation.model import Escalation, Page, Sent, Subject, short
from opsbook.terminal import duration

_DIAGNOSIS = 1500  # characters: a message is read on a phone


def page_of(escalation: Escalation, sent: Sent, *, link: str, url: str, next_names: str) -> Page:
    """The message of one page.

    Args:
        link: where it is acknowledged with one tap. url: of the incident in the console. Both may be empty.
        next_names: who is paged next, in words; empty: nobody.
    """
    subject = escalation.subject
    again = f" · {escalation.why}" if escalation.turn > 1 and escalation.why else ""
    title = f"{subject.severity} {subject.place or 'opsbook'}: {subject.title}".strip()
    lines = [
        subject.symptom if subject.symptom and subject.symptom != subject.title else "",
        again.strip(" ·"),
    ]
    if subject.started_at:
        lines.append(f"for {duration(max(0.0, sent.at - subject.started_at))} · {subject.id}")
    if subject.change:
        lines.append(f"changed before: {subject.change}")
    if subject.runbook:
        lines.append(f"begin with: opsbook run {subject.runbook}")
    if next_names:
        lines.append(f"next, without an answer: {next_names}")
    if link:
        lines.append(f"acknowledge: {link}")
    lines.append(f"{'or' if link else 'acknowledge'}: opsbook ack {subject.id}")
    if subject.diagnosis:
        lines += ["", _cut(subject.diagnosis)]
    return Page(
        id=sent.id,
        incident=subject.id,
        person=sent.person,
        name=sent.name,
        channel=sent.channel,
        at=sent.at,
        severity=subject.severity,
        title=short(title, 240),
        text="\n".join(line for line in lines if line or subject.diagnosis).strip(),
        link=link,
        url=url,
        labels={
            "incident": subject.id,
            "severity": subject.severity,
            "environment": subject.environment,
            "service": subject.services[0] if subject.services else "",
            "runbook": subject.runbook,
            "escalation": escalation.chain.name,
            "person": sent.person,
        },
    )


def next_in_words(escalation: Escalation, due: float | None, now: float) -> str:
    """``team-lead in 5m 0s``; empty when nobody comes next."""
    if escalation.state != "paging" or due is None:
        return ""
    if escalation.position >= escalation.chain.length:
        who = "the handbook's owner"
    else:
        who = ", ".join(escalation.chain.step(escalation.position).page) or "the handbook's owner"
    return f"{who} in {duration(max(0.0, due - now))}"


def place_of(book: Book, subject: Subject) -> str:
    """The subject of events: the place as far as the handbook knows it, for labels may come from anywhere."""
    if subject.environment not in book.environments:
        return f"incidents/{subject.id}"
    service = next((one for one in subject.services if one in book.services), "")
    return f"{subject.environment}/{service}" if service else subject.environment


def said_of(sent: Sent) -> dict[str, Any]:
    """A page as the journal says it."""
    return {
        "page": sent.id,
        "person": sent.person,
        "name": sent.name,
        "channel": sent.channel,
        "step": sent.position + 1,
    }


def _cut(text: str) -> str:
    return text if len(text) <= _DIAGNOSIS else text[: _DIAGNOSIS - 1] + "…"
