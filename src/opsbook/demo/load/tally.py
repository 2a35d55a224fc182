"""What was sent, what came back, and what did not: the figures of one run. Pure; times are handed in."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

KEPT_FAILURES = 20
SLOW = 0.5  # seconds from which on an answer is counted as slow
_GROWTH = 1.02  # a bucket is 2 % wider than the one before: percentiles are within 1 % of the truth
_LOG_GROWTH = math.log(_GROWTH)
_SMALLEST = 1e-5  # seconds


class Latencies:
    """Durations in buckets that grow geometrically, so that any number of them takes the same room."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.largest = 0.0

    def add(self, seconds: float) -> None:
        self._buckets[max(0, math.ceil(math.log(max(seconds, _SMALLEST) / _SMALLEST) / _LOG_GROWTH))] += 1
        self.count += 1
        self.largest = max(self.largest, seconds)

    def percentile(self, share: float) -> float:
        """The seconds within which `share` (0..1) of all were done, within 1 %; 0.0 when there were none."""
        rank, seen = math.ceil(share * self.count), 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                middle: float = _SMALLEST * _GROWTH ** (bucket - 0.5)
                return min(middle, self.largest)
        return self.largest

    def to_json(self) -> dict[str, float]:
        """Milliseconds: p50, p90, p99, p999 and max."""
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
        figures = {name: round(self.percentile(share) * 1000, 3) for name, share in shares.items()}
        return {**figures, "max": round(self.largest * 1000, 3)}


@dataclass
class _Kind:
    """The figures of one kind of traffic: http, stream, websocket or lines."""

    sent: int = 0
    ok: int = 0
    expected: int = 0
    failed: int = 0
    abandoned: int = 0
    latencies: Latencies = field(default_factory=Latencies)

    @property
    def open(self) -> int:
        return self.sent - self.ok - self.expected - self.failed - self.abandoned

    def to_json(self) -> dict[str, Any]:
        counts = {"sent": self.sent, "ok": self.ok, "failed": self.failed, "abandoned": self.abandoned}
        counts["expected_errors"] = self.expected
        return {**counts, "open": self.open, "latency_ms": self.latencies.to_json()}


@dataclass
class _Version:
    count: int
    first_at: float
    last_at: float
    slow: int = 0
    errors: int = 0  # answers that say that the version failed, where that was expected


class Tally:
    """All figures of a run. Always: sent = ok + expected errors + failed + abandoned + open."""

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self._kinds: dict[str, _Kind] = {}
        self._lately = _Kind()
        self._causes: Counter[str] = Counter()
        self._announced: Counter[str] = Counter()
        self._failures: list[dict[str, Any]] = []
        self._versions: dict[str, _Version] = {}

    def sent(self, kind: str) -> None:
        self._kind(kind).sent += 1
        self._lately.sent += 1

    def ok(self, kind: str, *, seconds: float, at: float, version: str = "") -> None:
        """An answer came, whole and right, `seconds` after it was due."""
        for figures in (self._kind(kind), self._lately):
            figures.ok += 1
            figures.latencies.add(seconds)
        if version:
            self.saw(version, at=at).slow += seconds >= SLOW

    def expected_error(self, kind: str, *, at: float, version: str) -> None:
        """A whole answer came in which `version` says that it failed, as was expected of it."""
        for figures in (self._kind(kind), self._lately):
            figures.expected += 1
        self.saw(version, at=at).errors += 1

    def saw(self, version: str, *, at: float) -> _Version:
        """`version` of the program answered."""
        known = self._versions.setdefault(version, _Version(0, at, at))
        known.count += 1
        known.last_at = at
        return known

    def failed(self, kind: str, *, connection: int, cause: str, at: float) -> None:
        """A request that was sent got no whole and right answer."""
        self._kind(kind).failed += 1
        self._lately.failed += 1
        self._causes[cause] += 1
        if len(self._failures) < KEPT_FAILURES:
            self._failures.append({"at": at, "kind": kind, "connection": connection, "cause": cause})

    def announced(self, kind: str) -> None:
        """The server closed a connection and had said so before: no failure."""
        self._announced[kind] += 1

    def abandoned(self, kind: str) -> None:
        """We ourselves ended, at the end of the run, what was still under way."""
        self._kind(kind).abandoned += 1

    def report(self, now: float, *, final: bool = False) -> dict[str, Any]:
        """All figures until now as JSON, and those since the last report under ``lately``."""
        kinds = self._kinds.values()
        totals = {
            name: sum(getattr(kind, name) for kind in kinds)
            for name in ("sent", "ok", "failed", "abandoned", "open")
        }
        lately = self._lately.to_json()
        self._lately = _Kind()
        return {
            "at": round(now, 3),
            "elapsed": round(now - self.started_at, 3),
            "final": final,
            **totals,
            "expected_errors": sum(kind.expected for kind in kinds),
            "causes": dict(self._causes),
            "failures": list(self._failures),
            "announced_closes": dict(self._announced),
            "kinds": {name: kind.to_json() for name, kind in sorted(self._kinds.items())},
            "versions": {
                name: {
                    "count": seen.count,
                    "first_at": round(seen.first_at, 4),
                    "last_at": round(seen.last_at, 4),
                    "slow": seen.slow,
                    "errors": seen.errors,
                }
                for name, seen in self._versions.items()
            },
            "lately": {name: lately[name] for name in ("sent", "ok", "failed", "latency_ms")},
        }

    def _kind(self, name: str) -> _Kind:
        return self._kinds.setdefault(name, _Kind())
