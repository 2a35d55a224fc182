"""The rules that tell how fast a budget burns: ratios over several windows, and alerts on two of them each. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from opsbook.book.slos import SLOS, filled
from opsbook.monitoring.rules.model import AlertingRule, RecordingRule, RuleGroup
from opsbook.monitoring.slos.model import Objective
from opsbook.monitoring.slos.plan import Pair, pairs_of

RATIO, EVENTS, BAD = "slo:bad_ratio", "slo:events", "slo:bad_events"
SOURCE = "opsbook:slos"
LONGEST = 3600.0
"""Windows up to so many seconds are recorded by rules; longer ones from the counts, where there are any."""
_INTERVAL = 30.0
_NOT = {"lt": ">=", "lte": ">", "gt": "<=", "gte": "<"}


def groups_of(objectives: Sequence[Objective], *, counted: bool) -> tuple[RuleGroup, ...]:
    """A group for each objective that is to be alerted about.

    Args:
        counted: the longer windows are written from the counts. Without, rules record them too.
    """
    return tuple(
        RuleGroup(name=one.id, source=SOURCE, interval=_INTERVAL, rules=tuple(_rules(one, counted=counted)))
        for one in objectives
        if one.alerting.enabled
    )


def labels_of(objective: Objective) -> dict[str, str]:
    """The labels of all series of an objective."""
    known = {"slo": objective.name, "environment": objective.environment, "service": objective.service}
    return {**objective.labels, **{name: value for name, value in known.items() if value}}


def windows_of(objective: Objective) -> tuple[float, ...]:
    """Every window that its alerts look at, in seconds."""
    pairs = pairs_of(objective.window, objective.target)
    return tuple(sorted({window for pair in pairs for window in (pair.long, pair.short)}))


def from_counts(objective: Objective, window: float) -> bool:
    """Whether a window is written from the counts: long ones, and stretches of time, which only the counts know."""
    return window > LONGEST or objective.slice is not None


def spelled(seconds: float) -> str:
    """As PromQL writes it, in the largest unit that fits."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def _rules(objective: Objective, *, counted: bool) -> Iterator[RecordingRule | AlertingRule]:
    for window in windows_of(objective):
        if not (counted and from_counts(objective, window)):
            labels = {**labels_of(objective), "window": spelled(window)}
            bad, total = expressions(objective, spelled(window))
            yield RecordingRule(record=BAD, expr=bad, labels=labels, where=SLOS)
            yield RecordingRule(record=EVENTS, expr=total, labels=labels, where=SLOS)
            own = f'{{{_only(objective)},window="{spelled(window)}"}}'
            yield RecordingRule(
                record=RATIO, expr=f"{BAD}{own} / ({EVENTS}{own} > 0)", labels=labels, where=SLOS
            )
    for pair in pairs_of(objective.window, objective.target):
        yield _alert(objective, pair)


def expressions(objective: Objective, window: str) -> tuple[str, str]:
    """How many were bad within a window, and how many there were; without any the first is 0."""
    said = objective.indicator
    if said.kind == "looks":
        looks = f"({said.total}) {_NOT[said.op]} bool {said.limit:.12g}"
        return (
            f"sum(sum_over_time(({looks})[{window}:30s]))",
            f"sum(count_over_time(({said.total})[{window}:30s]))",
        )

    def counted(text: str) -> str:
        return f"sum(increase({text}[{window}]))" if said.kind == "selectors" else filled(text, window=window)

    total = counted(said.total)
    if said.bad:
        return f"({counted(said.bad)} or {total} * 0)", total
    return f"clamp_min({total} - ({counted(said.good)} or {total} * 0), 0)", total


def _alert(objective: Objective, pair: Pair) -> AlertingRule:
    long, short = spelled(pair.long), spelled(pair.short)
    limit = f"{pair.factor * (1 - objective.target):.9g}"
    only = _only(objective)
    asked = objective.alerting
    place = f" in {objective.environment}" if objective.environment else ""
    return AlertingRule(
        alert="ErrorBudgetBurn",
        expr=(
            f'{RATIO}{{{only},window="{long}"}} > {limit}'
            f' and ignoring (window) {RATIO}{{{only},window="{short}"}} > {limit}'
            f' and ignoring (window) {EVENTS}{{{only},window="{long}"}} >= {asked.min_events}'
            f' and ignoring (window) {BAD}{{{only},window="{long}"}} >= {asked.min_bad}'
        ),
        labels={"severity": pair.severity},
        annotations={
            "summary": f"{objective.title}{place} spends its error budget more than {pair.factor:g} times too fast:"
            f" {{{{ $value | humanizePercentage }}}} of the last {long} were bad",
            "description": f"{round(objective.target * 100, 6):g} % must be good.",
            **({"runbook": asked.runbook} if asked.runbook else {}),
        },
        where=SLOS,
    )


def _only(objective: Objective) -> str:
    labels = {"slo": objective.name, "environment": objective.environment, "service": objective.service}
    return ",".join(f'{name}="{value}"' for name, value in labels.items())
