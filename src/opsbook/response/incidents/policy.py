"""What a handbook says of incidents, as the plan asks it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

from opsbook.book import Book
from opsbook.book.incidents import UPDATES
from opsbook.response.incidents.model import SEVERITIES, Severity, worse
from opsbook.response.incidents.plan import Heard, Rules


def rules_of(book: Book) -> Rules:
    """The rules of a handbook."""
    spec, said = book.incidents, book.severities
    every = {
        severity: said[severity].update_every if severity in said else None  # None: as usual
        for severity in SEVERITIES
    }
    return Rules(
        join_within=spec.join_within,
        settle=spec.settle,
        severity_of=lambda heard: severity_of(book, heard),
        escalation_of=lambda heard, severity: escalation_of(book, heard, severity),
        chain_of=lambda severity: escalation_for(book, severity),
        related=one_tree(book),
        page_of=lambda said: page_of(book, said),
        update_every={
            severity: UPDATES.get(severity, 0.0) if seconds is None else seconds
            for severity, seconds in every.items()
        },
    )


def opens(book: Book, heard: Heard) -> bool:
    """Whether an alert is one that an incident is opened for: so bad, or it pages an escalation."""
    return heard.labels.get("severity") in book.incidents.open or bool(_paged(book, heard))


def severity_of(book: Book, heard: Heard) -> Severity:
    """How bad an incident of this alert is. An alert that does not say counts as the worst; its page may say worse."""
    by = book.incidents.severity
    said = [bad for name, bad in by.items() if name == heard.labels.get("severity")]
    severity: Severity = min(said or by.values(), default="SEV2")
    page = book.runbooks.get(page_of(book, heard.annotations.get("runbook", "")))
    if page is not None and page.head.severity is not None:
        severity = worse(severity, cast(Severity, page.head.severity))
    return severity


def page_of(book: Book, said: str) -> str:
    """The name of the page that an alert names, by its name or its path; empty: the handbook has none."""
    name = said.rpartition("/")[2].removesuffix(".md")
    return name if name in book.runbooks else ""


def escalation_of(book: Book, heard: Heard, severity: Severity) -> str:
    """The chain that the alert names, else the severity's; empty: the usual one."""
    return _paged(book, heard) or escalation_for(book, severity)


def escalation_for(book: Book, severity: Severity) -> str:
    """The chain of a severity; empty: the usual one."""
    said = book.severities.get(severity)
    return (said.escalation or "") if said is not None else ""


def _paged(book: Book, heard: Heard) -> str:
    names = {one.name for one in book.escalations}
    actions: Any = getattr(heard, "actions", ())
    return next((one["page"] for one in actions if one.get("page") in names), "")


def needs_of(book: Book) -> Mapping[str, frozenset[str]]:
    """By service, itself and all that it depends on, directly or not."""
    return _needs({name: tuple(one.depends_on) for name, one in book.services.items()})


def _needs(depends: Mapping[str, tuple[str, ...]]) -> Mapping[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for service in depends:
        seen: set[str] = set()
        waiting = [service]
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += depends.get(name, ())
        found[service] = frozenset(seen)
    return found


def one_tree(book: Book) -> Callable[[str, str], bool]:
    """Whether two services are of one tree: one needs the other, or both need a third."""
    needs = needs_of(book)

    @lru_cache(maxsize=4096)
    def related(one: str, other: str) -> bool:
        return bool(needs.get(one, frozenset((one,))) & needs.get(other, frozenset((other,))))

    return related


def depending(book: Book) -> Callable[[str, str], bool]:
    """Whether one service needs the other, directly or not."""
    needs = needs_of(book)

    def related(one: str, other: str) -> bool:
        return one in needs.get(other, ()) or other in needs.get(one, ())

    return related
