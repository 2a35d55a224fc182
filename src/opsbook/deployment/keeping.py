"""What is kept of an analysis: the points of its chart, and the readings, so that it can be judged once more.

A long analysis is kept whole at a falling resolution: what is older is thinned out, and its beginning stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from opsbook.deployment.analysis import Judgement, Reading
from opsbook.deployment.analysis.model import Counts
from opsbook.deployment.readings import Taken
from opsbook.deployment.site import Site

KEPT_POINTS = 900
KEPT_READINGS = 240
SAVED_SECONDS = 3.0
READINGS_SAVED_SECONDS = 15.0


def thinned(kept: list[Any], most: int) -> list[Any]:
    """At most `most` of them: of the older half every second one goes, and the first never."""
    if len(kept) <= most:
        return kept
    half = len(kept) // 2
    return kept[:half:2] + kept[half:]


@dataclass(slots=True)
class _Kept:
    points: list[dict[str, Any]]
    readings: list[dict[str, Any]]
    bounds_ms: tuple[float, ...] = ()
    saved: float = float("-inf")  # monotonic
    readings_saved: float = float("-inf")
    judgement: dict[str, Any] = field(default_factory=dict)


class Keeper:
    """Points and readings by deployment; in memory while it is judged, in the journal's state afterwards."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._kept: dict[str, _Kept] = {}

    def keep(
        self,
        name: str,
        step: int,
        window: int,
        reading: Reading,
        bounds_ms: tuple[float, ...],
        judgement: Judgement,
        *,
        changed: bool,
    ) -> None:
        """Add what was just seen and said; written down when the verdict `changed`, and every few seconds."""
        kept = self._of(name)
        kept.points = thinned([*kept.points, point(reading, judgement, step)], KEPT_POINTS)
        kept.readings = thinned([*kept.readings, Taken(step, window, reading).to_json()], KEPT_READINGS)
        kept.bounds_ms = bounds_ms or kept.bounds_ms
        kept.judgement = _with_rules(judgement.to_json(), kept.judgement.get("rules", ()))
        now = self._site.clock.monotonic()
        if changed or now - kept.saved > SAVED_SECONDS:
            kept.saved = now
            document = {"points": kept.points, **kept.judgement}
            self._site.journal.state.put(points_key(name), document)
        if changed or now - kept.readings_saved > READINGS_SAVED_SECONDS:
            kept.readings_saved = now
            self._save_readings(name, kept)

    def points(self, name: str) -> dict[str, Any]:
        """What the chart shows: points, rules, verdict and reason."""
        if name in self._kept:
            kept = self._kept[name]
            return {"points": list(kept.points), **kept.judgement}
        saved: dict[str, Any] | None = self._site.journal.state.get(points_key(name))
        return saved or {"points": [], "rules": [], "verdict": None, "reason": ""}

    def readings(self, name: str) -> tuple[tuple[Taken, ...], tuple[float, ...]]:
        """All that is kept of what was measured, and the bounds of the latency buckets in milliseconds."""
        if name in self._kept:
            found, bounds = self._kept[name].readings, self._kept[name].bounds_ms
        else:
            saved = self._site.journal.state.get(readings_key(name)) or {"readings": [], "bounds_ms": []}
            found, bounds = saved["readings"], tuple(saved["bounds_ms"])
        return tuple(Taken.from_json(one) for one in found), bounds

    def forget(self, name: str) -> None:
        """It is judged no more: what is kept stays in the journal's state alone."""
        if kept := self._kept.pop(name, None):
            self._save_readings(name, kept)

    def _of(self, name: str) -> _Kept:
        if name not in self._kept:
            saved = self._site.journal.state.get(points_key(name)) or {"points": []}
            readings = self._site.journal.state.get(readings_key(name)) or {"readings": [], "bounds_ms": ()}
            self._kept[name] = _Kept(
                points=list(saved["points"]),
                readings=list(readings["readings"]),
                bounds_ms=tuple(readings["bounds_ms"]),
                judgement={key: value for key, value in saved.items() if key != "points"},
            )
        return self._kept[name]

    def _save_readings(self, name: str, kept: _Kept) -> None:
        document = {"readings": kept.readings, "bounds_ms": list(kept.bounds_ms)}
        self._site.journal.state.put(readings_key(name), document)


def _with_rules(judgement: dict[str, Any], before: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """With what was last said of rules that are judged no more."""
    named = {rule["name"] for rule in judgement["rules"]}
    return {
        **judgement,
        "rules": [*judgement["rules"], *(rule for rule in before if rule["name"] not in named)],
    }


def points_key(name: str) -> str:
    return f"analysis/{name}"


def readings_key(name: str) -> str:
    return f"readings/{name}"


def point(reading: Reading, judgement: Judgement, step: int) -> dict[str, Any]:
    """One point of the chart."""
    bounds = judgement.bounds
    return {
        "at": reading.at,
        "step": step,
        "canary": _side(reading.canary),
        "stable": _side(reading.stable),
        "difference": bounds.difference if bounds is not None else None,
        "lower": bounds.lower if bounds is not None else None,
        "upper": bounds.upper if bounds is not None else None,
        "verdict": judgement.verdict,
    }


def _side(counts: Counts | None) -> dict[str, Any]:
    if counts is None:
        return {"requests": 0, "errors": 0, "rate": None}
    rate = counts.errors / counts.requests if counts.requests else None
    return {"requests": counts.requests, "errors": counts.errors, "rate": rate}
