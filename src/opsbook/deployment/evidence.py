"""What a release is judged by: counts of its requests and of the stable version's, since nothing changed.

The window begins when the weights of a step were seen to serve, and again whenever an instance of either side came,
went or was started anew: what was measured over a changing set of instances is no comparison. Evidence is not carried
over a crash of opsbook; the step is simply judged from its beginning.

After the deployment, in its watch window, the release takes all requests: there is nothing beside it to compare with,
and what the version before did at another hour of the day is none. So only limits are kept there, and of these those
that the version before kept itself; else no repair of an ill service could stay.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from opsbook.deployment.analysis import AnalysisState, Judgement, Settings, judge
from opsbook.deployment.forward import baseline_of
from opsbook.deployment.keeping import Keeper
from opsbook.deployment.looks import Verdict
from opsbook.deployment.model import Deployment, Phase, Placement, Rule, Watch
from opsbook.deployment.readings import Taken, named, take
from opsbook.deployment.site import Site

LOOK_SECONDS = 0.5
BEFORE_SECONDS = 300.0  # over which it is asked how the version before kept a limit, at least


@dataclass(slots=True)
class _Window:
    """What is remembered of the step under way."""

    key: tuple[Any, ...]
    number: int
    since: float  # the telemetry's moment
    state: AnalysisState = field(default_factory=AnalysisState)
    looked: float = float("-inf")
    judgement: Judgement | None = None
    rules: tuple[Rule, ...] = ()

    def tells(self) -> bool:
        """Whether the judgement is worth telling: in a watch window only what could be decided, so that what a canary
        was promoted by stays in sight."""
        decided = self.judgement is not None and self.judgement.verdict in ("pass", "fail")
        return decided or self.key[0] != "watch"


class Evidence:
    """One for each opsbook; a window for each deployment that is judged."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._windows: dict[str, _Window] = {}
        self._keeper = Keeper(site)

    def look(self, deployment: Deployment, placement: Placement) -> Verdict | None:
        """The verdict now; None when this deployment has nothing to be judged by.

        It is judged at most twice a second: there is nothing new between two scrapes.
        """
        rules = deployment.strategy.analysis
        if not rules or deployment.phase is not Phase.ANALYSING:
            return None
        window = self._window(deployment, placement)
        window.rules = rules
        return self._judge(deployment, window, self._compared(deployment))

    def watch(self, deployment: Deployment, placement: Placement, watch: Watch) -> Verdict | None:
        """The verdict on a release in the watch window after its deployment; None when no rule has a limit to keep."""
        limits = tuple(rule for rule in deployment.strategy.analysis if rule.compare is None)
        if not limits:
            return None
        key = ("watch", deployment.id, self._running(deployment, placement, {watch.release}))
        window = self._windows.get(deployment.id)
        if window is None or window.key[0] != "watch":
            window = self._anew(deployment, key, None)
            window.rules = self._kept_before(deployment, watch, limits)
        elif window.key != key:
            rules = window.rules
            window = self._anew(deployment, key, window)
            window.rules = rules
        return self._judge(deployment, window, None) if window.rules else None

    def forget(self, name: str) -> None:
        """The deployment has ended; its points stay in the journal's state."""
        self._windows.pop(name, None)
        self._keeper.forget(name)

    def last(self, name: str) -> dict[str, Any]:
        """The last judgement, as evidence for the journal."""
        window = self._windows.get(name)
        if window is None or window.judgement is None or not window.tells():
            return {}
        return window.judgement.to_json()

    def points(self, name: str) -> dict[str, Any]:
        """What the chart shows: points, rules, verdict and reason."""
        return self._keeper.points(name)

    def readings(self, name: str) -> tuple[tuple[Taken, ...], tuple[float, ...]]:
        """What was measured, to be judged once more; and the bounds of the latency buckets in milliseconds."""
        return self._keeper.readings(name)

    # --- judging

    def _judge(self, deployment: Deployment, window: _Window, compared: str | None) -> Verdict:
        now = self._site.clock.monotonic()
        if now - window.looked >= LOOK_SECONDS:
            window.looked = now
            before = window.judgement
            reading, bounds_ms = take(self._site, deployment, window.rules, window.since, compared=compared)
            settings = Settings(min_samples=deployment.strategy.min_samples, bounds_ms=bounds_ms)
            window.state, window.judgement = judge(window.state, window.rules, reading, settings)
            if window.tells():
                changed = before is None or before.verdict != window.judgement.verdict
                if changed:
                    self._tell(deployment, window.judgement)
                self._keeper.keep(
                    deployment.id,
                    deployment.step,
                    window.number,
                    reading,
                    bounds_ms,
                    window.judgement,
                    changed=changed,
                )
        assert window.judgement is not None
        return Verdict(window.judgement.verdict, window.judgement.reason)

    def _tell(self, deployment: Deployment, judgement: Judgement) -> None:
        self._site.journal.append(
            "deployment.judged",
            deployment.subject,
            {"id": deployment.id, "step": deployment.step, **judgement.to_json()},
            actor="opsbook",
        )

    # --- windows

    def _window(self, deployment: Deployment, placement: Placement) -> _Window:
        compared = {deployment.release, self._compared(deployment)}
        running = self._running(deployment, placement, compared)
        key = (deployment.step, tuple(sorted(placement.weights.items())), running)
        window = self._windows.get(deployment.id)
        return window if window is not None and window.key == key else self._anew(deployment, key, window)

    def _anew(self, deployment: Deployment, key: tuple[Any, ...], before: _Window | None) -> _Window:
        """The counting begins anew; what the requests said until now goes on counting as evidence."""
        state = before.state.counting_anew() if before is not None else AnalysisState()
        number = before.number + 1 if before is not None else self._next_number(deployment.id)
        window = _Window(key, number, since=self._site.telemetry.moment(), state=state)
        self._windows[deployment.id] = window
        return window

    def _next_number(self, name: str) -> int:
        kept, _ = self._keeper.readings(name)
        return kept[-1].window + 1 if kept else 0

    def _running(self, deployment: Deployment, placement: Placement, releases: set[str]) -> tuple[Any, ...]:
        of = placement.instances()
        return tuple(
            sorted(
                (instance.id, instance.pid)
                for instance in self._site.runtime.instances(deployment.environment, deployment.service)
                if of.get(instance.id) in releases
            )
        )

    def _compared(self, deployment: Deployment) -> str:
        return baseline_of(deployment) if deployment.baseline else deployment.before.release

    def _kept_before(
        self, deployment: Deployment, watch: Watch, limits: tuple[Rule, ...]
    ) -> tuple[Rule, ...]:
        """The rules whose limit the version before did not itself exceed when it still got requests.

        Where nothing is known of it, the rule holds.
        """
        key = f"watch/{deployment.id}"
        excused = self._site.journal.state.get(key)
        if excused is None:  # asked once: later nothing would be left to be measured
            excused = [rule.name for rule in limits if self._exceeded_before(deployment, watch, rule)]
            self._site.journal.state.put(key, excused)
        return tuple(rule for rule in limits if rule.name not in excused)

    def _exceeded_before(self, deployment: Deployment, watch: Watch, rule: Rule) -> bool:
        asked = rule.but(window=max(rule.window, BEFORE_SECONDS))
        value = named(self._site, deployment, asked, watch.back_to)
        if value is None:
            return False
        return (rule.max is not None and value > rule.max) or (rule.min is not None and value < rule.min)
