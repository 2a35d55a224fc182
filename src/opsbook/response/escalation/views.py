"""Escalations as they are told: JSON of the API, lines of the page behind a link. Pure."""

from __future__ import annotations

from typing import Any

from opsbook.book import Book
from opsbook.response.escalation.chains import OnCall, default_chain, of_spec, reaching
from opsbook.response.escalation.model import Chain, Escalation


def view(escalation: Escalation, due: float | None, words: str) -> dict[str, Any]:
    """One escalation.

    Args:
        due: when something is due next. words: who is paged then; empty: nobody.
    """
    subject = escalation.subject
    return {
        "incident": escalation.id,
        "title": subject.title,
        "severity": subject.severity,
        "environment": subject.environment,
        "services": list(subject.services),
        "state": escalation.state,
        "chain": escalation.chain.name,
        "begun_at": escalation.begun_at,
        "turn": escalation.turn,
        "next": {"at": due, "words": words} if words else None,
        "again_at": due if escalation.state == "acknowledged" else None,
        "acknowledged_by": escalation.acknowledged_by,
        "acknowledged_at": escalation.acknowledged_at,
        "ended_at": escalation.ended_at,
        "why": escalation.why,
        "paged": escalation.paged,
        "pages": [
            {
                "at": page.at,
                "person": page.person,
                "name": page.name,
                "channel": page.channel,
                "step": page.position + 1,
            }
            for page in escalation.pages
        ],
    }


def chains_view(book: Book, on_call: OnCall) -> list[dict[str, Any]]:
    """Every chain of the handbook, or the default one, with whom each step would page now."""
    written = [(of_spec(one), one.description or "") for one in book.escalations]
    found = written or [(default_chain(book), "the handbook has none of its own")]
    return [_chain(chain, said, book, on_call) for chain, said in found]


def _chain(chain: Chain, description: str, book: Book, on_call: OnCall) -> dict[str, Any]:
    reach = reaching(book, on_call)
    return {
        "name": chain.name,
        "description": description,
        "repeat": chain.repeat,
        "repeat_after": chain.repeat_after,
        "acknowledge_timeout": chain.acknowledge_timeout,
        "steps": [
            {
                "page": list(step.page),
                "after": step.after,
                "now": [
                    {"person": target.person, "channels": list(target.ways)}
                    for name in step.page
                    for target in reach(name)
                ],
            }
            for step in chain.steps
        ],
    }
