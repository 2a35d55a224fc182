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


def shown_of(page: Runbook, values: Mapping[str, str]) -> dict[str, str]:
    """The parameters that may be seen."""
    return {name: value for name, value in values.items() if not page.head.params[name].sensitive}


def of_type(page: Runbook, values: Mapping[str, str], kind: str) -> str | None:
    """The value of the first parameter of a type; None: it has none."""
    return next(
        (values[name] for name, spec in page.head.params.items() if spec.type == kind and name in values),
        None,
    )


def lock_of(page: Runbook, values: Mapping[str, str]) -> str:
    """The target, as its lease is called."""
    if page.head.lock is not None:
        lock = page.head.lock
        for name, value in values.items():
            lock = lock.replace(f"{{{name}}}", value)
        return lock[:200]
    targets = (of_type(page, values, kind) for kind in ("environment", "service", "host"))
    return "/".join([page.name, *(target for target in targets if target)])
