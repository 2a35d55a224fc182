"""What `opsbook check` says of rules beyond their format: templates, and metrics and labels that nobody knows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Protocol

from opsbook.book.alerts import ALERTS
from opsbook.book.conditions import compiled
from opsbook.book.problems import Problem, nearest
from opsbook.errors import OpsbookError
from opsbook.monitoring.rules.compiling import AlertsBook, default_groups, own_groups
from opsbook.monitoring.rules.model import AlertingRule, RecordingRule, Rule
from opsbook.monitoring.rules.named import named_groups
from opsbook.monitoring.templating import TemplateError, parse_template
from opsbook.promql.expression import Aggregation, Binary, Call, Expression, Node, Select, children
from opsbook.promql.parsing import parse
from opsbook.promql.series import NAME

_OWN = ("service", "environment", "release", "version", "instance", "job")
_PROCESS = (
    "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_threads",
    "process_count", "process_start_time_seconds", "process_cpu_limit_cores", "process_memory_limit_bytes",
)  # fmt: skip
_ANY: frozenset[str] | None = None  # labels that nobody lists


def _exported() -> dict[str, frozenset[str] | None]:
    """What opsbook measures and records by itself, with the labels it has; None: any."""
    named = {rule.name for group in named_groups() for rule in group.rules}
    services, host = frozenset(_OWN), frozenset({"job", "host", "instance"})
    found: dict[str, frozenset[str] | None] = {
        **dict.fromkeys(named, frozenset({"service", "environment", "host", "instance"})),
        **dict.fromkeys(_PROCESS, services),
        **dict.fromkeys(("ALERTS", "ALERTS_FOR_STATE"), _ANY),
        **dict.fromkeys(
            ("up", "scrape_duration_seconds", "scrape_samples_scraped", "opsbook_scrape_series_refused",
             "opsbook_scrape_lines_unreadable"),
            _ANY,
        ),
        "node_cpu_seconds_total": host | {"mode", "cpu"},
    }  # fmt: skip
    return found


FAMILIES = ("node_", "envoy_", "probe_", "opsbook_", "slo:", "opsbook:slo")
"""Prefixes of metrics that opsbook exports and that are not all listed."""


class Known(Protocol):
    """What the storage of a running server has."""

    def names(self) -> Collection[str]: ...


def rule_problems(book: AlertsBook, stored: Collection[str] | None = None) -> Iterator[Problem]:
    """Errors in templates, and warnings about metrics and labels.

    Args:
        book: without errors of its own.
        stored: the names of the metrics that a running server has; None: there is none to ask.
    """
    rules = list(_rules(book))
    every = [rule for _, _, rule in rules]
    every += [rule for group in default_groups(book.alerts, book.runbooks) for rule in group.rules]
    known = _exported() | {rule.record: _ANY for rule in every if isinstance(rule, RecordingRule)}
    for file, line, rule in rules:
        yield from _templates(file, line, rule)
        for problem in _metrics(rule, known, stored):
            yield Problem(file, line, "", f"{rule.name}: {problem[0]}", problem[1], "warning")


def _rules(book: AlertsBook) -> Iterator[tuple[str, int, Rule]]:
    """Every rule of the handbook with its place; of the short form only the file is known here."""
    for group in own_groups(book.alerts):
        for rule in group.rules:
            yield ALERTS, 0, rule
    for name, override in book.alerts.overrides.items():
        if override.condition is not None:
            yield ALERTS, 0, AlertingRule(alert=name, expr=compiled(override.condition))
    for file in book.rule_files:
        for written in (rule for group in file.groups for rule in group.rules):
            if written.record:
                yield file.file, written.line, RecordingRule(record=written.record, expr=written.expr)
            else:
                yield (
                    file.file,
                    written.line,
                    AlertingRule(
                        alert=written.alert,
                        expr=written.expr,
                        labels=written.labels,
                        annotations=written.annotations,
                    ),
                )


def _templates(file: str, line: int, rule: Rule) -> Iterator[Problem]:
    if not isinstance(rule, AlertingRule):
        return
    for kind, texts in (("labels", rule.labels), ("annotations", rule.annotations)):
        for name, text in texts.items():
            try:
                parse_template(text)
            except TemplateError as error:
                yield Problem(
                    file, line, f"{rule.alert}.{kind}.{name}", f"not a template: {error}", error.hint
                )


def _metrics(
    rule: Rule, known: Mapping[str, frozenset[str] | None], stored: Collection[str] | None
) -> Iterator[tuple[str, str]]:
    try:
        expression = parse(rule.expr)
    except OpsbookError:
        return  # said already
    for select in _selects(expression.root):
        name = select.name
        if name is None:
            continue
        if name not in known:
            if stored is not None and name not in stored and not name.startswith(FAMILIES):
                hint = nearest(name, [*known, *stored]) or "is it exported by something that is scraped?"
                yield f"the metric {name} is not known", hint
            elif stored is None and _misspelled(name, known):
                yield f"the metric {name} is not known", nearest(name, known)
            continue
        labels = known[name]
        for label in () if labels is None else (m.label for m in select.matchers if m.label != NAME):
            if labels is not None and label not in labels:
                yield (
                    f"{name} has no label {label}",
                    nearest(label, labels) or f"known: {', '.join(sorted(labels))}",
                )
    yield from _groupings(expression, known)


def _misspelled(name: str, known: Iterable[str]) -> bool:
    """Without a server to ask, only what is nearly one of ours: applications export what they like."""
    own = name.startswith(("opsbook:", "process_"))
    return own or (
        not name.startswith(FAMILIES) and f"opsbook:{name}" not in known and bool(nearest(name, known))
    )


def _groupings(
    expression: Expression, known: Mapping[str, frozenset[str] | None]
) -> Iterator[tuple[str, str]]:
    """Labels that are grouped by and that nothing below has."""
    waiting: list[Node] = [expression.root]
    while waiting:
        node = waiting.pop()
        waiting += children(node)
        if isinstance(node, Aggregation) and node.by:
            labels = _labels_below(node.operand, known)
            for label in node.labels:
                if labels is not None and label not in labels:
                    yield f"nothing has the label {label} that is grouped by", nearest(label, labels)


def _labels_below(node: Node, known: Mapping[str, frozenset[str] | None]) -> frozenset[str] | None:
    found: frozenset[str] = frozenset()
    for select in _selects(node):
        labels = known.get(select.name or "", None)
        if labels is None:
            return None
        found |= labels
    makes_labels = any(isinstance(each, Call | Binary) and _makes_labels(each) for each in _all(node))
    return None if makes_labels or not found else found


def _makes_labels(node: Node) -> bool:
    return isinstance(node, Call) and node.function in {"label_replace", "label_join", "info"}


def _selects(node: Node) -> Iterator[Select]:
    return (each for each in _all(node) if isinstance(each, Select))


def _all(node: Node) -> Iterator[Node]:
    yield node
    for child in children(node):
        yield from _all(child)
