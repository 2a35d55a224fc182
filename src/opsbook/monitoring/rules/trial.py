"""Unit tests of rules in promtool's format: what they say, read and checked.

https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opsbook.book.problems import Problem
from opsbook.book.rule_files import prometheus_duration
from opsbook.book.rule_yaml import Fault, Fields, read
from opsbook.errors import Invalid, OpsbookError
from opsbook.monitoring.rules.memory import bits_of
from opsbook.promql.expression import Select
from opsbook.promql.parsing import parse
from opsbook.promql.series import NAME, STALE, Labels

_ITEM = re.compile(
    r"(?P<start>[-+]?(?:\d[\w.]*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|[iI]nf|[nN]a[nN]))"
    r"(?:(?P<sign>[-+])(?P<step>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))?(?:x(?P<times>\d+))?|"
    r"(?P<gap>_)(?:x(?P<gaps>\d+))?|(?P<stale>stale)(?:x(?P<stales>\d+))?"
)
_PLAIN = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?[iI]nf|[-+]?[nN]a[nN])x(\d+)")
_MOST = 10_000_000  # samples that one notation may stand for
A_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class InputSeries:
    labels: Labels
    bits: tuple[int | None, ...]  # None: no sample at this step


@dataclass(frozen=True, slots=True)
class ExpectedAlert:
    labels: Labels
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AlertCheck:
    at: float
    name: str
    expected: tuple[ExpectedAlert, ...]
    line: int


@dataclass(frozen=True, slots=True)
class ExpressionCheck:
    expression: str
    at: float
    expected: tuple[tuple[Labels, float], ...]
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One test: series, and what must come of them."""

    name: str
    interval: float
    series: tuple[InputSeries, ...]
    alerts: tuple[AlertCheck, ...]
    expressions: tuple[ExpressionCheck, ...]
    external_labels: Mapping[str, str]
    external_url: str
    line: int


@dataclass(frozen=True, slots=True)
class TrialFile:
    """A file of tests."""

    file: str
    rule_files: tuple[str, ...]  # patterns, relative to the file
    interval: float
    order: tuple[str, ...]
    fuzzy: bool
    trials: tuple[Trial, ...]


def read_trials(file: str, content: bytes) -> TrialFile:
    """Read a file of tests.

    Raises:
        Invalid: it is none; `details` has every problem with its line.
    """
    problems: list[Problem] = []
    try:
        node = read(content)
    except Fault as error:
        raise Invalid(str(error), where=f"{file}:{error.line}") from error
    if node is None:
        raise Invalid("the file is empty", where=file)
    top = Fields(file, node, "", problems)
    top.known("rule_files", "evaluation_interval", "group_eval_order", "tests", "fuzzy_compare")
    interval = _seconds(top, "evaluation_interval", problems) or A_MINUTE
    found = TrialFile(
        file,
        tuple(top.scalars("rule_files")),
        interval,
        tuple(top.scalars("group_eval_order")),
        top.text("fuzzy_compare") == "true",
        tuple(_trial(fields, interval, problems) for fields in top.items("tests")),
    )
    if problems:
        first = problems[0]
        more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
        raise Invalid(
            f"{first.path}: {first.message}{more}" if first.path else f"{first.message}{more}",
            hint=first.hint,
            where=first.where,
            details={"problems": [problem.to_json() for problem in problems]},
        )
    return found


def _trial(fields: Fields, interval: float, problems: list[Problem]) -> Trial:
    fields.known(
        "name", "interval", "input_series", "alert_rule_test", "promql_expr_test", "external_labels", "external_url",
        "start_timestamp",
    )  # fmt: skip
    return Trial(
        name=fields.text("name") or "",
        interval=_seconds(fields, "interval", problems) or interval,
        series=tuple(_series(each) for each in fields.items("input_series")),
        alerts=tuple(_alert_check(each, problems) for each in fields.items("alert_rule_test")),
        expressions=tuple(_expression_check(each, problems) for each in fields.items("promql_expr_test")),
        external_labels=fields.texts("external_labels"),
        external_url=fields.text("external_url") or "",
        line=fields.line,
    )


def _series(fields: Fields) -> InputSeries:
    fields.known("series", "values")
    try:
        return InputSeries(series_labels(fields.text("series") or ""), expanded(fields.text("values") or ""))
    except OpsbookError as error:
        fields.problem(error.message)
        return InputSeries({}, ())


def _alert_check(fields: Fields, problems: list[Problem]) -> AlertCheck:
    fields.known("eval_time", "alertname", "exp_alerts")
    name = fields.text("alertname") or ""
    if not name:
        fields.problem("an item under alert_rule_test misses required attribute alertname")
    expected = []
    for each in fields.items("exp_alerts"):
        each.known("exp_labels", "exp_annotations")
        labels = {**each.texts("exp_labels"), "alertname": name}
        expected.append(ExpectedAlert(labels, each.texts("exp_annotations")))
    return AlertCheck(_seconds(fields, "eval_time", problems), name, tuple(expected), fields.line)


def _expression_check(fields: Fields, problems: list[Problem]) -> ExpressionCheck:
    fields.known("expr", "eval_time", "exp_samples")
    expected = []
    for each in fields.items("exp_samples"):
        each.known("labels", "value", "histogram")
        if each.has("histogram"):
            each.problem("native histograms are not known here", "histogram")
        try:
            labels = series_labels(each.text("labels") or "{}")
            expected.append((labels, number(each.text("value") or "0")))
        except (OpsbookError, ValueError) as error:
            each.problem(str(error))
    at = _seconds(fields, "eval_time", problems)
    return ExpressionCheck(fields.text("expr") or "", at, tuple(expected), fields.line)


def _seconds(fields: Fields, name: str, problems: list[Problem]) -> float:
    text = fields.text(name)
    seconds = prometheus_duration(text) if text is not None else 0.0
    if seconds is None:
        fields.problem(f'"{text}" is no duration', name, "write 30s, 5m or 1h30m")
    del problems
    return seconds or 0.0


# --- series --------------------------------------------------------------------------------------------------------


def series_labels(text: str) -> dict[str, str]:
    """``up{job="a"}`` as labels.

    Raises:
        Invalid: it is no series.
    """
    text = text.strip()
    if re.fullmatch(r"\{\s*\}|", text):
        return {}
    try:
        root = parse(text).root
    except OpsbookError:
        # Labels alone that are all empty, or without a name, are no selector but may be a series.
        root = parse(re.sub(r"^\s*\{", "opsbook_series{", text)).root
        labels = _equal(root, text)
        del labels[NAME]
        return labels
    return _equal(root, text)


def _equal(root: object, text: str) -> dict[str, str]:
    if (
        not isinstance(root, Select)
        or root.range is not None
        or any(m.operator != "=" for m in root.matchers)
    ):
        raise Invalid(f"{text} is no series", hint='write up{job="a"}')
    labels = {matcher.label: matcher.value for matcher in root.matchers if matcher.value}
    return labels if root.name is None else {**labels, NAME: root.name}


def expanded(notation: str) -> tuple[int | None, ...]:
    """``1+2x3 _ stale`` as the bits of 1, 3, 5, 7, nothing, and the marker of staleness.

    Raises:
        Invalid: it is no such notation, or stands for too many samples.
    """
    if "{{" in notation:
        raise Invalid("native histograms are not known here")
    found: list[int | None] = []
    for word in notation.split():
        found += _expanded(word)
        if len(found) > _MOST:
            raise Invalid(f"more than {_MOST} samples in one series")
    return tuple(found)


def _expanded(word: str) -> Sequence[int | None]:
    plain = _PLAIN.fullmatch(word)
    if plain:
        return bits_of([number(plain[1])]) * (_times(plain[2]) + 1)
    match = _ITEM.fullmatch(word)
    if match is None:
        raise Invalid(f"{word} is no sample", hint="write 5, 1+2x10, 3x4, _, _x5 or stale")
    if match["gap"]:
        return [None] * _times(match["gaps"] or "1")
    if match["stale"]:
        return [int(STALE)] * (_times(match["stales"]) + 1 if match["stales"] else 1)
    try:
        start = number(match["start"])
    except ValueError:
        raise Invalid(f"{word} is no sample", hint="write 5, 1+2x10, 3x4, _, _x5 or stale") from None
    if match["step"] is None:
        return bits_of([start])
    if match["times"] is None:
        raise Invalid(f"{word} lacks how often", hint="write 1+2x10")
    step, values = float(match["step"]) * (-1 if match["sign"] == "-" else 1), [start]
    for _ in range(_times(match["times"])):
        values.append(values[-1] + step)  # added up one by one, as promtool does
    return bits_of(values)


def _times(text: str) -> int:
    times = int(text) if len(text) < 10 else _MOST + 1
    if times > _MOST:
        raise Invalid(f"more than {_MOST} samples in one series")
    return times


def number(text: str) -> float:
    """A number as Go reads it.

    Raises:
        ValueError: it is none.
    """
    text = text.strip()
    if re.fullmatch(r"[-+]?0[xX][0-9a-fA-F]+", text):
        return float(int(text, 16))
    return float(text)


def same(expected: float, actual: float, *, fuzzy: bool) -> bool:
    """Whether two values are taken for the same."""
    if math.isnan(expected) or math.isnan(actual):
        return math.isnan(expected) and math.isnan(actual)
    return expected == actual or (fuzzy and math.isclose(expected, actual, rel_tol=1e-13))
