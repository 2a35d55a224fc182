"""Events about alerts that others push; those of our own rules are written by the rules. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from opsbook.book import Book
from opsbook.journal.model import Entry
from opsbook.monitoring.alerting.model import PUSHED, Record

_LONGEST = 2000  # characters of an annotation


def run_out(records: Iterable[Record], since: float, now: float, book: Book) -> Iterator[Entry]:
    """Those that were not heard of again: their deadline came after `since`."""
    for record in records:
        ends_at = record.alert.ends_at
        if record.alert.source != PUSHED or ends_at is None or not since < ends_at <= now:
            continue
        if ends_at > record.updated_at:  # else it was said that it had ended, and written down then
            yield _resolved(record, now, "not heard of any more", book)


def entries_of(old: Record | None, new: Record, now: float, book: Book) -> tuple[Entry, ...]:
    """What happened between two states of a pushed alert: it began to fire, it ended, or nothing."""
    fired, fires = old is not None and old.firing(now), new.firing(now)
    if fired == fires:
        return ()
    if fires:
        return (Entry("alert.firing", _subject(new, book), _about(new), "alertmanager-api"),)
    return (_resolved(new, now, "pushed as ended", book),)


def _resolved(record: Record, now: float, reason: str, book: Book) -> Entry:
    starts_at = record.alert.starts_at
    data = {"fired_at": starts_at, "seconds": round(now - starts_at, 3), "reason": reason}
    return Entry("alert.resolved", _subject(record, book), _about(record) | data, "alertmanager-api")


def _about(record: Record) -> dict[str, object]:
    alert = record.alert
    return {
        "alertname": alert.name,
        "fingerprint": alert.fingerprint,
        "labels": {name: value[:_LONGEST] for name, value in alert.labels.items()},
        "annotations": {name: value[:_LONGEST] for name, value in alert.annotations.items()},
        "value": None,
        "expression": "",
        "severity": alert.severity,
        "runbook": alert.annotations.get("runbook", ""),
        "source": "pushed",
        "since": alert.starts_at,
    }


def _subject(record: Record, book: Book) -> str:
    """Only names of the handbook: the labels come from outside."""
    labels = record.alert.labels
    environment, service = labels.get("environment", ""), labels.get("service", "")
    if environment not in book.environments:
        return "alerts"
    return f"{environment}/{service}" if service in book.services else environment
