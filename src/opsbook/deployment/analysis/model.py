"""What the judge of a canary reads and says. Numbers only.

Ratios are 0..1, times of metrics seconds, histogram bounds milliseconds, counts grow since the counting began.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

VerdictKind = Literal["pass", "fail", "inconclusive", "error", "no_data"]


class Rule(Protocol):
    """One thing the canary must keep; `deployment.model.Rule` is one. Exactly one of max, min and compare."""

    @property
    def name(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def max(self) -> float | None: ...
    @property
    def min(self) -> float | None: ...
    @property
    def compare(self) -> Literal["stable"] | None: ...
    @property
    def limit(self) -> int: ...
    @property
    def window(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Counts:
    """What one release has answered since the counting began."""

    requests: int
    errors: int
    latency: tuple[int, ...] = ()  # requests in each bucket of the histogram, the last one beyond all bounds


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the telemetry.

    `metrics` and `stable_metrics` hold, by rule name or else by metric, the values over each rule's window; None is a
    value that could not be read. `stable` is None in a first deployment, which has nothing to be compared with.
    """

    at: float
    canary: Counts
    stable: Counts | None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    stable_metrics: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """How sure the judge must be.

    `alpha` bounds the probability that a canary as good as stable is taken back for what its requests did, however
    often and however long it is looked at; it is split evenly over the tests that the rules need.
    """

    alpha: float = 0.01
    min_samples: int = 50  # requests of the canary before anything passes
    error_tolerance: float = 0.005  # a difference of error rates that nobody minds
    relative_tolerance: float = 0.1  # the same for response times and levels, as a share of stable's
    suspicion: float = 10.0  # evidence to one from which a canary that looks worse does not pass either
    confidence: float = 0.95  # of the bounds of the difference, at all looks together; for the chart
    bounds_ms: tuple[float, ...] = ()  # upper bounds of the latency buckets but the last, which has none


@dataclass(frozen=True, slots=True)
class RuleJudgement:
    """What one rule says. `evidence` is to one against the canary, None where nothing was tested."""

    name: str
    verdict: VerdictKind
    value: float | None
    threshold: float | None
    samples: int
    evidence: float | None
    detail: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """Error rate of the canary minus that of stable, and between what it is with `Settings.confidence`."""

    difference: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the whole analysis says now; `bounds` are None while either release has had no requests."""

    verdict: VerdictKind
    reason: str
    rules: tuple[RuleJudgement, ...] = ()
    bounds: Bounds | None = None

    def to_json(self) -> dict[str, Any]:
        """As the journal keeps it."""
        return asdict(self)
