"""A rule as it runs: its expression parsed, its templates too, its results made of what a query answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from opsbook.errors import Failed, OpsbookError
from opsbook.monitoring.rules.missing import sources, without_conditions
from opsbook.monitoring.rules.model import AlertingRule, RecordingRule, Rule, RuleGroup
from opsbook.monitoring.rules.plan import Found
from opsbook.monitoring.rules.ports import Queries, Writer
from opsbook.monitoring.rules.states import Active
from opsbook.monitoring.templating import Context, Sample, TemplateError, parse_template
from opsbook.promql.expression import Expression
from opsbook.promql.model import Result, Scalar, Selector, Vector
from opsbook.promql.parsing import parse
from opsbook.promql.series import NAME, LabelKey, Labels, key_of

R = TypeVar("R", AlertingRule, RecordingRule, Rule)
LONGEST_TEXT = 16 * 1024  # characters of one label or annotation


@dataclass(slots=True)
class Health:
    """How the last evaluation of a rule went."""

    state: str = "unknown"  # ok, err
    error: str = ""
    at: float = 0.0
    seconds: float = 0.0
    samples: int = 0


@dataclass(slots=True)
class Running(Generic[R]):
    """One rule and what is known of it.

    Args:
        rule: as it is written.
        labels: its own and its group's, templates.
        expression: None when it does not parse; `fault` says why.
        writer: where its series go; None: nowhere.
    """

    rule: R
    labels: Mapping[str, str]
    expression: Expression | None
    opened: Expression | None
    fault: str
    writer: Writer | None = None
    health: Health = field(default_factory=Health)
    active: Active = field(default_factory=dict)
    restored: set[LabelKey] = field(default_factory=set)  # known from before the start, not seen since


def prepared(group: RuleGroup, rule: Rule) -> Running[AlertingRule] | Running[RecordingRule]:
    """The rule with everything parsed that can be parsed beforehand."""
    labels = {**group.labels, **rule.labels}
    try:
        expression: Expression | None = parse(rule.expr, where=rule.where)
        assert expression is not None
        opened, fault = without_conditions(expression), ""
    except OpsbookError as error:
        expression, opened, fault = None, None, str(error)
    if isinstance(rule, AlertingRule):
        return Running(rule, labels, expression, opened, fault)
    return Running(rule, labels, expression, opened, fault)


def answered(queries: Queries, expression: Expression, at_ms: int) -> Vector:
    """The answer as a vector; a single number is one series without labels.

    Raises:
        OpsbookError: the query failed, or is no number.
    """
    return vector_of(queries.instant(expression, at_ms))


def vector_of(result: Result) -> Vector:
    """The value of a result that a rule can use."""
    import numpy as np

    value = result.value
    if isinstance(value, Vector):
        return value
    if isinstance(value, Scalar):
        return Vector(({},), np.array([value.value]), np.array([value.at], np.int64))
    raise Failed("a rule needs an expression that gives a vector or a number")


def recordings(running: Running[RecordingRule], found: Vector) -> list[tuple[Labels, float]]:
    """The samples that a recording rule writes.

    Raises:
        Failed: two series would be one with the rule's labels.
    """
    name = running.rule.record
    rows: dict[LabelKey, tuple[Labels, float]] = {}
    for labels, value in zip(found.series, found.values.tolist(), strict=True):
        written = {**labels, NAME: name, **running.labels}
        written = {label: text for label, text in written.items() if text}
        key = key_of(written)
        if key in rows:
            raise Failed("vector contains metrics with the same labelset after applying rule labels")
        rows[key] = (written, value)
    return list(rows.values())


def alerts_found(running: Running[AlertingRule], found: Vector, context: Context) -> dict[LabelKey, Found]:
    """The series of an alerting rule with their labels and annotations expanded.

    A label whose template fails says so in its text, as Prometheus does: an alert is never lost to its wording.

    Raises:
        Failed: two series would be one with the rule's labels.
    """
    rule, alerts = running.rule, dict[LabelKey, Found]()
    for series, value in zip(found.series, found.values.tolist(), strict=True):
        own = {label: text for label, text in series.items() if label != NAME}
        here = Context(
            labels=own,
            value=value,
            query=context.query,
            now=context.now,
            external_labels=context.external_labels,
            external_url=context.external_url,
        )
        labels = {**own, **{name: expanded(text, here) for name, text in running.labels.items()}}
        labels = {name: text for name, text in {**labels, "alertname": rule.alert}.items() if text}
        key = key_of(labels)
        if key in alerts:
            raise Failed("vector contains metrics with the same labelset after applying alert labels")
        annotations = {name: expanded(text, here) for name, text in rule.annotations.items()}
        alerts[key] = Found(labels, annotations, value)
    return alerts


def expanded(text: str, context: Context) -> str:
    """A template's text, or what went wrong with it."""
    try:
        return parse_template(text).expand(context)[:LONGEST_TEXT]
    except TemplateError as error:
        return f"<error expanding template: {error}>"[:LONGEST_TEXT]


def samples_of(vector: Vector) -> list[Sample]:
    """What a template's `query` hands out."""
    return [
        Sample(labels, value) for labels, value in zip(vector.series, vector.values.tolist(), strict=True)
    ]


def measured_sources(
    running: Running[AlertingRule], recorded: Mapping[str, tuple[Selector, ...]]
) -> tuple[Selector, ...]:
    """The selectors of measured series that an alert rests on."""
    return sources(running.expression.selectors, recorded) if running.expression else ()


def recorded_names(groups: Iterator[RuleGroup]) -> dict[str, tuple[Selector, ...]]:
    """By recorded name, what the rules that record it read."""
    found: dict[str, tuple[Selector, ...]] = {}
    for group in groups:
        for rule in group.rules:
            if isinstance(rule, RecordingRule):
                try:
                    found[rule.record] = (*found.get(rule.record, ()), *parse(rule.expr).selectors)
                except OpsbookError:
                    continue  # the rule itself says that it does not parse
    return found
