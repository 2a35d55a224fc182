"""Where a run works: what roles, approvals and the page's own limits go by. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opsbook.book import Book
from opsbook.book.runbook_parameters import spelled
from opsbook.book.runbooks import Runbook


def environments_of(page: Runbook, given: Mapping[str, str]) -> tuple[str, ...]:
    """Each environment that a parameter names, or its default does: a page may lead from one into another."""
    found = (
        given[name] if name in given else None if spec.default is None else spelled(spec.default)
        for name, spec in page.head.params.items()
        if spec.type == "environment"
    )
    return tuple(dict.fromkeys(one for one in found if one is not None))


def is_protected(book: Book, environments: Iterable[str]) -> bool:
    """Whether one of them is."""
    known = (book.environments.get(one) for one in environments)
    return any(one is not None and one.protect is not None for one in known)
