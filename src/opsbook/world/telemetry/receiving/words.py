"""What is read from a body, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from opsbook.promql.series import Floats, Integers, Labels
from opsbook.world.telemetry.metadata import Metadata

Series = tuple[Labels, Integers, Floats]
"""Labels with ``__name__``, times in milliseconds, values."""


@dataclass(slots=True)
class Refusals:
    """Why some of what came was not taken: how often each reason holds."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, reason: str, count: int = 1) -> None:
        if count:
            self.counts[reason] += count

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def __str__(self) -> str:
        return "; ".join(f"{count}: {reason}" for reason, count in self.counts.most_common(5))


@dataclass(frozen=True, slots=True)
class Pushed:
    """Samples read from a body.

    Args:
        described: what was said of metrics, by name.
        refusals: of samples that could not be read or are not kept.
    """

    series: Sequence[Series]
    described: Sequence[tuple[str, Metadata]]
    refusals: Refusals


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request. `why` is empty when everything was taken."""

    accepted: int = 0
    rejected: int = 0
    why: str = ""
