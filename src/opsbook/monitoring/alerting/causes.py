"""Causes before symptoms: an alert is not told while one of what its service needs fires, or is about to. Pure.

What a service needs is what it depends on (`depends_on`), what that depends on, and whatever a probe of the handbook
looks at in the name of one of these.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from opsbook.book import Book
from opsbook.monitoring.alerting.model import Record, Suppression

Place = tuple[str, str]
"""Environment and service."""

PATIENCE = 60.0
"""Seconds for which a symptom waits, at most, for a cause that is pending."""

_AGAIN = 1.0  # seconds after which it is asked again whether it still is
_RANK = {"critical": 3, "warning": 2, "info": 1}
_UNSAID = 2  # an alert that does not say how bad it is counts as a warning
_PROBE = "probe"  # the label of alerts about what opsbook does not run


def causes_of(book: Book) -> dict[str, frozenset[str]]:
    """By service, the services whose alerts may be behind its own. It is among them itself where a probe looks at
    something in its name: of its own alerts only those of probes count."""
    found: dict[str, frozenset[str]] = {}
    probed = {probe.service for probe in book.probes if probe.service}

    def below(name: str) -> frozenset[str]:
        if name not in found and name in book.services:
            needed = book.services[name].depends_on
            found[name] = frozenset(needed).union(*(below(one) for one in needed))
        return found.get(name, frozenset())

    for service in book.services:
        below(service)
    own = {service: frozenset({service}) if service in probed else frozenset[str]() for service in found}
    return {service: every for service in found if (every := found[service] | own[service])}


class Causes:
    """What fires, or may be about to, of what others need.

    Args:
        needs: see `causes_of`.
        wait: how long an alert waits for its cause, and after its cause's end.
        records: every alert that is known; those that ended lately too.
        suspects: the labels of alerts that are pending.
    """

    def __init__(
        self,
        needs: Mapping[str, frozenset[str]],
        wait: float,
        records: Iterable[Record],
        suspects: Iterable[Mapping[str, str]],
        now: float,
    ) -> None:
        self._needs = needs
        self._wait = wait
        self._now = now
        self.asked_again_at: float | None = None
        """When a suspect that an alert waits for is to be looked at again; None: none does."""
        needed = frozenset[str]().union(*needs.values())
        self._records: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            if (service := record.alert.labels.get("service", "")) in needed and self._counts(record):
                self._records[service].append(record)
        self._suspects: dict[str, list[Mapping[str, str]]] = defaultdict(list)
        for labels in suspects:
            if (service := labels.get("service", "")) in needed:
                self._suspects[service].append(labels)

    def behind(self, record: Record) -> Iterator[Suppression]:
        """Why this one, which fires, is not told; nothing: it is, as far as causes go."""
        labels = record.alert.labels
        needs = self._needs.get(labels.get("service", ""))
        if not needs:
            return
        recovering: float | None = None
        for service in sorted(needs):
            for cause in self._records.get(service, ()):
                if not _may_cause(cause.alert.labels, labels):
                    continue
                if cause.firing(self._now):
                    yield Suppression("dependency", cause.fingerprint, _why(cause.alert.labels, "fires"))
                    return
                recovering = max(recovering or 0.0, (cause.alert.ends_at or 0.0) + self._wait)
        yield from self._hold(record, needs, recovering)

    def _hold(self, record: Record, needs: frozenset[str], recovering: float | None) -> Iterator[Suppression]:
        labels = record.alert.labels
        others = needs - {labels.get("service", "")}
        waits = max(record.received_at + self._wait if others else 0.0, recovering or 0.0)
        if self._now < waits:
            why = "what it depends on recovers" if recovering else "its cause may be about to fire"
            yield Suppression("hold", "", why, waits)
            return
        until = record.received_at + PATIENCE
        if self._wait <= 0 or self._now >= until:
            return
        for service in sorted(needs):
            for suspect in self._suspects.get(service, ()):
                if _may_cause(suspect, labels):
                    self.asked_again_at = self._now + _AGAIN
                    yield Suppression("hold", "", _why(suspect, "is pending"), until)
                    return

    def _counts(self, record: Record) -> bool:
        ends_at = record.alert.ends_at
        return record.firing(self._now) or (ends_at is not None and self._now < ends_at + self._wait)


def _may_cause(cause: Mapping[str, str], symptom: Mapping[str, str]) -> bool:
    """It is of the same environment, no less grave, and not the symptom's own service's, unless a probe found it."""
    of_probe = _PROBE in cause
    if cause.get("service") == symptom.get("service") and (not of_probe or _PROBE in symptom):
        return False
    everywhere = of_probe and not cause.get("environment")
    if not everywhere and cause.get("environment", "") != symptom.get("environment", ""):
        return False
    return _rank(cause) >= _rank(symptom)


def _why(cause: Mapping[str, str], state: str) -> str:
    what, service = cause.get("alertname", ""), cause.get("service", "")
    if _PROBE in cause:
        return f"{what} of {cause[_PROBE]}, which {service} needs, {state}"
    return f"{what} of {service}, on which it depends, {state}"


def _rank(labels: Mapping[str, str]) -> int:
    return _RANK.get(labels.get("severity", ""), _UNSAID)
