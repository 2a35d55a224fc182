"""Prometheus rule files, read unchanged and as strictly as promtool does: `monitoring/*.yaml` that have ``groups:``.

The rules about what may be written where are those of Prometheus' ``model/rulefmt``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from opsbook.book.expressions import fault
from opsbook.book.problems import Problem
from opsbook.book.rule_yaml import Fault, Fields, read

_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_SCALES = (365 * 86400.0, 7 * 86400.0, 86400.0, 3600.0, 60.0, 1.0, 0.001)
OWN = frozenset(
    f"monitoring/{name}.yaml" for name in ("alerts", "slos", "probes", "notifications", "targets")
)
"""Files of monitoring/ that have a format of their own."""

_METRIC = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRule:
    """One rule as it is written. `record` or `alert` is set, never both. Durations are seconds."""

    record: str = ""
    alert: str = ""
    expr: str
    for_: float = 0.0
    keep_firing_for: float = 0.0
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    line: int
    expr_line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FileGroup:
    """One group as it is written; `interval` None: the usual one."""

    name: str
    interval: float | None
    limit: int
    query_offset: float
    labels: Mapping[str, str]
    rules: tuple[FileRule, ...]
    line: int


@dataclass(frozen=True, slots=True)
class RuleFile:
    """A file that has no errors."""

    file: str
    groups: tuple[FileGroup, ...]

    def said(self) -> list[Any]:
        """What it says, whatever its comments and layout; JSON."""
        groups = [asdict(group) for group in self.groups]
        for group in groups:
            for part in (group, *group["rules"]):
                for layout in {"line", "expr_line"} & part.keys():
                    del part[layout]
        return [self.file, groups]


def prometheus_duration(text: str) -> float | None:
    """Seconds of ``1h30m`` as Prometheus reads it; None when it is no duration."""
    if text == "0":
        return 0.0
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        return None
    return sum(int(count) * scale for count, scale in zip(match.groups(), _SCALES, strict=True) if count)


def has_groups(content: bytes) -> bool:
    """Whether a file is meant as a rule file, right or wrong."""
    if b"groups" not in content:
        return False
    try:
        node = read(content)
    except Fault:
        return re.search(rb"(?m)^groups\s*:", content) is not None
    keys = node.value if isinstance(node, yaml.MappingNode) else ()
    return any(isinstance(key, yaml.ScalarNode) and key.value == "groups" for key, _ in keys)


def read_rules(file: str, content: bytes) -> tuple[RuleFile | None, list[Problem]]:
    """Read a rule file.

    Args:
        file: its name, for the problems.
        content: what is in it.

    Returns:
        The file, or None when it has errors; and every problem found.
    """
    problems: list[Problem] = []
    try:
        node = read(content)
    except Fault as error:
        return None, [Problem(file, error.line, "", str(error))]
    if node is None:
        return RuleFile(file, ()), []
    top = Fields(file, node, "", problems)
    top.known("groups")
    groups, names = [], dict[str, int]()
    for fields in top.items("groups"):
        group = _group(fields)
        if group.name in names:
            fields.problem(
                f'the group "{group.name}" is written twice, first on line {names[group.name]}', "name"
            )
        names.setdefault(group.name, fields.line)
        groups.append(group)
    if any(problem.severity == "error" for problem in problems):
        return None, problems
    return RuleFile(file, tuple(groups)), [*problems, *_duplicates(file, groups)]


def _group(fields: Fields) -> FileGroup:
    fields.known("name", "interval", "query_offset", "limit", "labels", "rules")
    name = fields.text("name") or ""
    if not name:
        fields.problem("a group needs a name", "name")
    return FileGroup(
        name=name,
        interval=_seconds(fields, "interval") or None,
        limit=_count(fields, "limit"),
        query_offset=_seconds(fields, "query_offset"),
        labels=_labels(fields),
        rules=tuple(_rule(rule) for rule in fields.items("rules")),
        line=fields.line,
    )


def _rule(fields: Fields) -> FileRule:
    fields.known("record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations")
    record, alert = fields.text("record") or "", fields.text("alert") or ""
    if record and alert:
        fields.problem("only one of record and alert may be set", "alert")
    if not record and not alert:
        fields.problem("one of record and alert must be set")
    expr = fields.text("expr") or ""
    if not expr.strip():
        fields.problem("expr must be set", "expr")
    elif (message := fault(expr)) is not None:
        fields.problem(f"not PromQL: {message}", "expr")
    if record:
        for name in ("annotations", "for", "keep_firing_for"):
            if fields.has(name):
                fields.problem(
                    f"{name} has no meaning in a recording rule", name, "remove it, or write alert:"
                )
        if not _METRIC.fullmatch(record):
            fields.problem(f"{record} is no name of a metric", "record")
    annotations = fields.texts("annotations")
    for name in annotations:
        if not _LABEL.fullmatch(name):
            fields.problem(f"{name} is no name of an annotation", "annotations")
    return FileRule(
        record=record,
        alert=alert,
        expr=expr,
        for_=_seconds(fields, "for"),
        keep_firing_for=_seconds(fields, "keep_firing_for"),
        labels=_labels(fields),
        annotations=annotations,
        line=fields.line_at("alert" if alert else "record"),
        expr_line=fields.line_at("expr"),
    )


def _labels(fields: Fields) -> dict[str, str]:
    labels = fields.texts("labels")
    for name in labels:
        if not _LABEL.fullmatch(name) or name == "__name__":
            fields.problem(f"{name} is no name of a label that a rule may set", "labels")
    return labels


def _seconds(fields: Fields, name: str) -> float:
    text = fields.text(name)
    if text is None:
        return 0.0
    seconds = prometheus_duration(text)
    if seconds is None:
        fields.problem(f'"{text}" is no duration', name, "write 30s, 5m or 1h30m")
    return seconds or 0.0


def _count(fields: Fields, name: str) -> int:
    text = fields.text(name)
    if text is None:
        return 0
    if not re.fullmatch(r"-?\d{1,9}", text):
        fields.problem("expected a whole number", name)
        return 0
    return max(0, int(text))


def _duplicates(file: str, groups: list[FileGroup]) -> Iterator[Problem]:
    """Rules that say the same of the same series; Prometheus takes them, and one of the two is lost."""
    seen: dict[object, int] = {}
    for group in groups:
        for rule in group.rules:
            key = (
                rule.record or rule.alert,
                frozenset({**group.labels, **rule.labels}.items()),
                bool(rule.record),
            )
            first = seen.setdefault(key, rule.line)
            if first != rule.line:
                message = (
                    f"{rule.record or rule.alert} is there twice with the same labels, first on line {first}"
                )
                yield Problem(file, rule.line, "", message, "give them different labels", "warning")
