"""What may be about to fire, as alerting asks: it knows neither rules nor probes, so they meet here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from opsbook.book import Book
from opsbook.monitoring.rules.room import Rules


class Looks(Protocol):
    """The part of `Probes` that is asked."""

    def listed(self) -> Sequence[Mapping[str, Any]]: ...


def pending(rules: Rules) -> Callable[[], Iterator[Mapping[str, str]]]:
    """The labels of alerts whose condition holds, though not for long enough yet."""

    def found() -> Iterator[Mapping[str, str]]:
        for _, _, alert in rules.active():
            if alert.state == "pending":
                yield alert.labels

    return found


def failing(probes: Looks, book: Callable[[], Book]) -> Callable[[], Iterator[Mapping[str, str]]]:
    """The labels of alerts of probes that failed their last look: not often enough yet, or rules have not seen it."""

    def found() -> Iterator[Mapping[str, str]]:
        severities = {probe.name: probe.severity for probe in book().probes}
        if not severities:
            return
        for row in probes.listed():
            if row["failures"] and row["name"] in severities:
                labels = {
                    "alertname": "ProbeDown",
                    "probe": row["name"],
                    "severity": severities[row["name"]],
                    "environment": row["environment"] or "",
                    "service": row["service"] or "",
                }
                yield {name: text for name, text in labels.items() if text}

    return found
