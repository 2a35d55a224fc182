"""Whether a reading can be believed at all. Doubt is an error and never a pass."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from opsbook.deployment.analysis.model import Counts, Reading, Settings
from opsbook.deployment.analysis.state import AnalysisState, Seen


def doubts(state: AnalysisState, reading: Reading, settings: Settings) -> str:
    """What is wrong with the counts of this reading, after what was seen before; empty when nothing is."""
    if not _is_number(reading.at):
        return f"the time of the look is {reading.at}"
    doubt = _doubts("canary", reading.canary, state.canary, settings)
    if doubt:
        return doubt
    if reading.stable is None:
        return "the counts of stable have vanished" if state.stable.requests > 0 else ""
    return _doubts("stable", reading.stable, state.stable, settings)


def seen(counts: Counts | None, before: Seen) -> Seen:
    """What to remember of counts that are sound."""
    if counts is None:
        return before
    latency = tuple(float(count) for count in counts.latency)
    return Seen(requests=float(counts.requests), errors=float(counts.errors), latency=latency)


def readable(value: Any) -> float | None:
    """A metric's value when it is a finite number."""
    return float(value) if _is_number(value) else None


def _doubts(release: str, counts: Counts, before: Seen, settings: Settings) -> str:
    named = {"requests": (counts.requests, before.requests), "errors": (counts.errors, before.errors)}
    for name, (now, then) in named.items():
        if not _is_number(now):
            return f"the number of {name} of {release} is {now}"
        if now < 0:
            return f"the number of {name} of {release} is negative: {now:g}"
        if now < then:
            return f"the number of {name} of {release} went back from {then:,.0f} to {now:,.0f}"
    if counts.errors > counts.requests:
        return f"{release} has more errors ({counts.errors:,.0f}) than requests ({counts.requests:,.0f})"
    return _doubts_of_latency(release, counts, before, settings)


def _doubts_of_latency(release: str, counts: Counts, before: Seen, settings: Settings) -> str:
    if not settings.bounds_ms:
        return ""
    wanted = len(settings.bounds_ms) + 1
    if not counts.latency:
        return f"the response times of {release} have vanished" if sum(before.latency) > 0 else ""
    if before.latency and len(before.latency) != wanted:
        return f"the response times of {release} had {len(before.latency)} buckets and have {wanted}"
    if len(counts.latency) != wanted:
        return f"the response times of {release} have {len(counts.latency)} buckets instead of {wanted}"
    for index, now in enumerate(counts.latency):
        if not _is_number(now) or now < 0:
            return f"a bucket of response times of {release} holds {now}"
        if before.latency and now < before.latency[index]:
            return f"a bucket of response times of {release} went back from {before.latency[index]:,.0f} to {now:,.0f}"
    return ""


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
