"""What the telemetry says of a release, as the judge wants it; and as it is kept, to be judged once more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opsbook.deployment.analysis import Counts, Reading
from opsbook.deployment.model import Deployment, Rule
from opsbook.deployment.site import Site
from opsbook.errors import NotFound
from opsbook.world.words import RequestCounts


def take(
    site: Site, deployment: Deployment, rules: Sequence[Rule], since: float, *, compared: str | None
) -> tuple[Reading, tuple[float, ...]]:
    """What was measured of a deployment's release, and of what it is compared with, until now.

    Args:
        since: the telemetry's moment from which requests are counted.
        compared: a release; None when there is none that answers requests beside it.

    Returns:
        The reading, and the upper bounds of its latency buckets in milliseconds.
    """
    place = (deployment.environment, deployment.service)
    seconds = max(0.0, site.telemetry.moment() - since)
    ours = site.telemetry.counts(*place, deployment.release, seconds, since=since)
    theirs = None if compared is None else site.telemetry.counts(*place, compared, seconds, since=since)
    thresholds = [rule for rule in rules if rule.compare is None]
    reading = Reading(
        at=site.clock.now(),
        canary=_counts(ours),
        stable=None if compared is None else _counts(theirs),
        metrics={rule.name: named(site, deployment, rule, deployment.release) for rule in thresholds},
        stable_metrics={
            rule.name: named(site, deployment, rule, compared) for rule in thresholds if compared is not None
        },
    )
    found = (counts.bounds_ms for counts in (ours, theirs) if counts is not None and counts.bounds_ms)
    return reading, next(found, ())


def named(site: Site, deployment: Deployment, rule: Rule, release: str) -> float | None:
    """A rule's metric of a release over the rule's window; None when nothing was measured."""
    labels = {"environment": deployment.environment, "service": deployment.service, "release": release}
    try:
        sample = site.telemetry.named(rule.metric, labels, window=rule.window)
    except NotFound:
        return None
    return sample.value if sample is not None else None


def _counts(counts: RequestCounts | None) -> Counts:
    if counts is None:
        return Counts(0, 0)
    return Counts(requests=counts.requests, errors=counts.errors, latency=counts.latency)


@dataclass(frozen=True, slots=True)
class Taken:
    """A reading with where it belongs: `window` counts up whenever the counting of requests began anew."""

    step: int
    window: int
    reading: Reading

    def to_json(self) -> dict[str, Any]:
        """Short names: hundreds of them are kept of each deployment."""
        reading = self.reading
        return {
            "at": reading.at,
            "step": self.step,
            "window": self.window,
            "canary": _short(reading.canary),
            "stable": None if reading.stable is None else _short(reading.stable),
            "metrics": dict(reading.metrics),
            "stable_metrics": dict(reading.stable_metrics),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Taken:
        """The inverse of `to_json`."""
        reading = Reading(
            at=kept["at"],
            canary=_long(kept["canary"]),
            stable=None if kept["stable"] is None else _long(kept["stable"]),
            metrics=kept["metrics"],
            stable_metrics=kept["stable_metrics"],
        )
        return cls(kept["step"], kept["window"], reading)


def _short(counts: Counts) -> list[Any]:
    return [counts.requests, counts.errors, list(counts.latency)]


def _long(kept: Sequence[Any]) -> Counts:
    requests, errors, latency = kept
    return Counts(requests, errors, tuple(latency))
