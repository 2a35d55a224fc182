"""Gathers what a canary is judged by: counts of its requests and of the stable version's, since nothing changed.

The window begins when the weights of a step were seen to serve, and again whenever an instance of either side came,
went or was started anew: what was measured over a changing set of instances is no comparison. Evidence is not carried
over a crash of opsbook; the step is simply judged from its beginning.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from opsbook.deployment.analysis import AnalysisState, Counts, Judgement, Reading, Settings, judge
from opsbook.deployment.forward import baseline_of
from opsbook.deployment.looks import Verdict
from opsbook.deployment.model import Deployment, Phase, Placement, Rule
from opsbook.deployment.site import Site
from opsbook.errors import NotFound
from opsbook.world.words import RequestCounts

LOOK_SECONDS = 0.5
KEPT_POINTS = 900
SAVED_SECONDS = 3.0


@dataclass(slots=True)
class _Window:
    """What is remembered of the step under way."""

    key: tuple[Any, ...]
    since: float  # the telemetry's moment
    state: AnalysisState = field(default_factory=AnalysisState)
    looked: float = float("-inf")
    judgement: Judgement | None = None


class Evidence:
    """One for each opsbook; a window for each deployment whose step is held."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._windows: dict[str, _Window] = {}
        self._points: dict[str, deque[dict[str, Any]]] = {}
        self._saved: dict[str, float] = {}

    def look(self, deployment: Deployment, placement: Placement) -> Verdict | None:
        """The verdict now; None when this deployment has nothing to be judged by.

        It is judged at most twice a second: there is nothing new between two scrapes.
        """
        rules = deployment.strategy.analysis
        if not rules or deployment.phase is not Phase.ANALYSING:
            return None
        now = self._site.clock.monotonic()
        window = self._window(deployment, placement)
        if now - window.looked >= LOOK_SECONDS:
            window.looked = now
            before = window.judgement
            reading, bounds_ms = self._reading(deployment, window.since)
            settings = Settings(min_samples=deployment.strategy.min_samples, bounds_ms=bounds_ms)
            window.state, window.judgement = judge(window.state, rules, reading, settings)
            self._keep(
                deployment, reading, window.judgement, changed=_verdict(before) != window.judgement.verdict
            )
        assert window.judgement is not None
        return Verdict(window.judgement.verdict, window.judgement.reason)

    def forget(self, name: str) -> None:
        """The deployment has ended; its points stay in the journal's state."""
        self._windows.pop(name, None)
        self._points.pop(name, None)

    def last(self, name: str) -> dict[str, Any]:
        """The last judgement, as evidence for the journal."""
        window = self._windows.get(name)
        return window.judgement.to_json() if window is not None and window.judgement is not None else {}

    def points(self, name: str) -> dict[str, Any]:
        """What the chart shows: points, rules, verdict and reason."""
        if name in self._points:
            return {"points": list(self._points[name]), **self.last(name)}
        saved: dict[str, Any] | None = self._site.journal.state.get(points_key(name))
        return saved or {"points": [], "rules": [], "verdict": None, "reason": ""}

    # --- reading

    def _window(self, deployment: Deployment, placement: Placement) -> _Window:
        compared = {deployment.release, self._compared(deployment)}
        running = tuple(
            sorted(
                (instance.id, instance.pid)
                for instance in self._site.runtime.instances(deployment.environment, deployment.service)
                if placement.instances().get(instance.id) in compared
            )
        )
        key = (deployment.step, tuple(sorted(placement.weights.items())), running)
        window = self._windows.get(deployment.id)
        if window is None or window.key != key:
            # The counting begins anew; what the requests said until now goes on counting as evidence.
            state = window.state.counting_anew() if window is not None else AnalysisState()
            moment = self._site.telemetry.moment()
            window = self._windows[deployment.id] = _Window(key, since=moment, state=state)
        return window

    def _compared(self, deployment: Deployment) -> str:
        return baseline_of(deployment) if deployment.baseline else deployment.before.release

    def _reading(self, deployment: Deployment, since: float) -> tuple[Reading, tuple[float, ...]]:
        place = (deployment.environment, deployment.service)
        seconds = max(0.0, self._site.telemetry.moment() - since)
        canary = self._site.telemetry.counts(*place, deployment.release, seconds, since=since)
        stable = self._site.telemetry.counts(*place, self._compared(deployment), seconds, since=since)
        thresholds = [rule for rule in deployment.strategy.analysis if rule.compare is None]
        compared = self._compared(deployment)
        reading = Reading(
            at=self._site.clock.now(),
            canary=_counts(canary) or Counts(0, 0),
            stable=_counts(stable) or Counts(0, 0),
            metrics={rule.name: self._named(deployment, rule, deployment.release) for rule in thresholds},
            stable_metrics={rule.name: self._named(deployment, rule, compared) for rule in thresholds},
        )
        bounds = next(
            (counts.bounds_ms for counts in (canary, stable) if counts is not None and counts.bounds_ms), ()
        )
        return reading, bounds

    def _named(self, deployment: Deployment, rule: Rule, release: str) -> float | None:
        labels = {"environment": deployment.environment, "service": deployment.service, "release": release}
        try:
            sample = self._site.telemetry.named(rule.metric, labels, window=rule.window)
        except NotFound:
            return None
        return sample.value if sample is not None else None

    # --- keeping

    def _keep(self, deployment: Deployment, reading: Reading, judgement: Judgement, *, changed: bool) -> None:
        points = self._points.setdefault(deployment.id, deque(maxlen=KEPT_POINTS))
        points.append(point(reading, judgement, deployment.step))
        now = self._site.clock.monotonic()
        if changed:
            self._site.journal.append(
                "deployment.judged",
                deployment.subject,
                {"id": deployment.id, "step": deployment.step, **judgement.to_json()},
                actor="opsbook",
            )
        if changed or now - self._saved.get(deployment.id, float("-inf")) > SAVED_SECONDS:
            self._saved[deployment.id] = now
            document = {"points": list(points), **judgement.to_json()}
            self._site.journal.state.put(points_key(deployment.id), document)


def points_key(name: str) -> str:
    return f"analysis/{name}"


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


def _counts(counts: RequestCounts | None) -> Counts | None:
    if counts is None:
        return None
    return Counts(requests=counts.requests, errors=counts.errors, latency=counts.latency)


def _side(counts: Counts | None) -> dict[str, Any]:
    if counts is None:
        return {"requests": 0, "errors": 0, "rate": None}
    rate = counts.errors / counts.requests if counts.requests else None
    return {"requests": counts.requests, "errors": counts.errors, "rate": rate}


def _verdict(judgement: Judgement | None) -> str:
    return judgement.verdict if judgement is not None else ""
