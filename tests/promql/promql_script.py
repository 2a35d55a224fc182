"""Prometheus' language for tests of queries: what a script loads and what it expects."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from opsbook.promql import Matcher, Selection, Window
from opsbook.promql.native import Histogram, histogram_of_buckets
from opsbook.promql.series import ABSENT, NAME, STALE, LabelKey

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w|y)")
_UNITS = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "y": 31_536_000_000,
}
_SERIES = re.compile(r"\s*([a-zA-Z_:][\w:]*)?\s*(\{(?:[^\"'`{}]|\"(?:\\.|[^\"])*\"|'(?:\\.|[^'])*')*\})?\s*")
_LABEL = re.compile(
    r"\s*(\"(?:\\.|[^\"])*\"|[a-zA-Z_][\w]*)\s*(?:=\s*(\"(?:\\.|[^\"])*\"|'(?:\\.|[^'])*'))?\s*,?"
)
_VALUE = re.compile(r"(\{\{.*?\}\}(?:[+-]\{\{.*?\}\})?x?\d*|\S+)")
_COMMAND = re.compile(r"(eval|load|clear)(_\w+)?\b")
_INSTANT = re.compile(r"eval(_fail|_warn|_ordered|_info)?\s+instant\s+(?:at\s+(\S+)\s+)?(.*)")
_RANGE = re.compile(r"eval(_fail|_warn|_info)?\s+range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.*)")
_NUMBER = r"(?:[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|[iI]nf|[nN]a[nN]))"
_SEQUENCE = re.compile(rf"({_NUMBER})(?:([+-])({_NUMBER}))?(?:x(\d+))?$")

Cell = float | Histogram | None  # None: nothing


def milliseconds(text: str) -> int:
    """``5m``, ``1m30s``, or seconds without a unit; with a sign."""
    sign, text = (-1, text[1:]) if text.startswith("-") else (1, text)
    if re.fullmatch(r"[\d.]+", text):
        return sign * round(float(text) * 1000)
    assert re.fullmatch(rf"(?:{_DURATION.pattern})+", text), text
    return sign * round(sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text)))


@dataclass
class Case:
    """One ``eval`` with what is expected of it."""

    line: int
    query: str
    start: int
    end: int
    step: int  # 0: instant
    series: list[tuple[dict[str, str], list[Any]]] = field(default_factory=list)
    scalar: float | None = None
    text: str | None = None
    fails: bool = False
    message: tuple[str, str] | None = None  # msg or regex
    ordered: bool = False
    annotations: dict[str, bool] = field(default_factory=dict)  # warn, info: whether there is one
    said: dict[str, tuple[str, str]] = field(default_factory=dict)
    range_vector: tuple[int, int] | None = None  # from, step

    @property
    def native(self) -> bool:
        """Whether a native histogram is expected as a value."""
        return any(isinstance(cell, Histogram) for _, cells in self.series for cell in cells)


class Samples:
    """What was loaded: a storage of one target."""

    def __init__(self) -> None:
        self.series: dict[LabelKey, dict[int, float | Histogram | str]] = {}

    def add(self, labels: Mapping[str, str], samples: Mapping[int, Any]) -> None:
        """Further samples of a series."""
        self.series.setdefault(tuple(sorted(labels.items())), {}).update(samples)

    def select(self, matchers: Sequence[Matcher], start: int, end: int) -> tuple[Selection, ...]:
        """As `Storage`; with native histograms beside the values."""
        chosen = []
        for key, samples in self.series.items():
            labels = dict(key)
            if all(matcher.matches(labels) for matcher in matchers):
                within = {at: value for at, value in samples.items() if start <= at <= end}
                if within:
                    chosen.append((labels, within))
        times = np.array(sorted({at for _, within in chosen for at in within}), np.int64)
        values = np.full((len(chosen), times.size), ABSENT).view(np.float64)
        natives = np.full(values.shape, None)
        for row, (_, within) in enumerate(chosen):
            for at, value in within.items():
                column = int(np.searchsorted(times, at))
                if isinstance(value, Histogram):
                    natives[row, column] = value
                    values[row, column] = np.nan
                elif value == "stale":
                    values.view(np.int64)[row, column] = STALE
                else:
                    values[row, column] = value
        if not chosen:
            return ()
        found = natives if natives.astype(np.bool_).any() else None
        window = Window(times, values, np.ones(times.size, np.bool_), found)
        return (Selection({"job": "script"}, tuple(labels for labels, _ in chosen), window),)


def run_script(text: str) -> Iterator[tuple[Case, Samples]]:
    """Every case of a script with what is loaded when it is asked."""
    lines = text.splitlines()
    samples = Samples()
    number = 0
    while number < len(lines):
        line = lines[number].strip()
        start = number
        number += 1
        if not line or line.startswith("#"):
            continue
        block = []
        while number < len(lines) and lines[number].strip() and not _COMMAND.match(lines[number]):
            if not lines[number].strip().startswith("#"):
                block.append(lines[number].strip())
            number += 1
        if line == "clear":
            samples = Samples()
        elif line.startswith("load"):
            command, step = line.split()
            _load(samples, milliseconds(step), block, with_nhcb=command == "load_with_nhcb")
        else:
            yield _case(start + 1, line, block), samples


def parse_series(line: str) -> tuple[dict[str, str], str]:
    """The labels at the beginning of a line, and the rest."""
    match = _SERIES.match(line)
    assert match is not None, line
    name, braces = match.groups()
    labels = {NAME: name} if name else {}
    for label, value in _LABEL.findall((braces or "{}")[1:-1]):
        if not value:
            labels[NAME] = _unquote(label)
        else:
            labels[_unquote(label)] = _unquote(value)
    return labels, line[match.end() :]


def _unquote(text: str) -> str:
    if text[:1] in "\"'":
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text


def values_of(text: str) -> list[Any]:
    """A sequence: ``1+2x3 _ stale _x5 {{count:1}}``."""
    found: list[Any] = []
    for item in _VALUE.findall(text):
        if item in ("_", "stale"):
            found.append(None if item == "_" else "stale")
        elif re.fullmatch(r"_x\d+", item):
            found += [None] * int(item[2:])
        elif item.startswith("{{"):
            found += _natives(item)
        else:
            match = _SEQUENCE.match(item)
            assert match is not None, item
            first, sign, second, times = match.groups()
            grows = float(second) * (-1 if sign == "-" else 1) if second else 0.0
            found += [
                float(first) + grows * index if index else float(first)
                for index in range(int(times or 0) + 1)
            ]
    return found


def _natives(item: str) -> list[Histogram]:
    match = re.fullmatch(r"(\{\{.*?\}\})(?:([+-])(\{\{.*?\}\}))?(?:x(\d+))?", item)
    assert match is not None, item
    first, sign, second, times = match.groups()
    histogram = Histogram.parse(first)
    found = [histogram]
    for _ in range(int(times or 0)):
        if second:
            histogram = histogram.plus(Histogram.parse(second).scaled(-1.0 if sign == "-" else 1.0))
        found.append(histogram)
    return found


def _load(samples: Samples, step: int, block: list[str], *, with_nhcb: bool) -> None:
    loaded = []
    for line in block:
        labels, rest = parse_series(line)
        cells = {index * step: value for index, value in enumerate(values_of(rest)) if value is not None}
        loaded.append((labels, cells))
        samples.add(labels, cells)
    if with_nhcb:
        for labels, cells in _custom(loaded):
            samples.add(labels, cells)


def _custom(
    loaded: list[tuple[dict[str, str], dict[int, Any]]],
) -> list[tuple[dict[str, str], dict[int, Any]]]:
    """Native histograms with custom buckets of the classic ones."""
    buckets: dict[LabelKey, dict[int, dict[float, float]]] = {}
    extra: dict[LabelKey, dict[int, dict[str, float]]] = {}
    for labels, cells in loaded:
        name, suffix = next(
            (
                (labels[NAME][: -len(end)], end)
                for end in ("_bucket", "_sum", "_count")
                if labels[NAME].endswith(end)
            ),
            ("", ""),
        )
        if not suffix:
            continue
        key = tuple(sorted({**{k: v for k, v in labels.items() if k != "le"}, NAME: name}.items()))
        for at, value in cells.items():
            if suffix == "_bucket":
                buckets.setdefault(key, {}).setdefault(at, {})[float(labels["le"])] = value
            else:
                extra.setdefault(key, {}).setdefault(at, {})[suffix[1:]] = value
    return [
        (
            dict(key),
            {
                at: histogram_of_buckets(counts, sum_=extra.get(key, {}).get(at, {}).get("sum", 0.0))
                for at, counts in of_time.items()
            },
        )
        for key, of_time in buckets.items()
    ]


def _case(line_number: int, line: str, block: list[str]) -> Case:
    instant, ranged = _INSTANT.fullmatch(line), _RANGE.fullmatch(line)
    if instant is not None:
        kind, at, query = instant.groups()
        start = milliseconds(at or "0")
        case = Case(line_number, query, start, start, 0)
    else:
        assert ranged is not None, line
        kind, begin, end, step, query = ranged.groups()
        case = Case(line_number, query, milliseconds(begin), milliseconds(end), milliseconds(step))
    case.fails = kind == "_fail"
    case.ordered = kind == "_ordered"
    if kind in ("_warn", "_info"):
        case.annotations[kind[1:]] = True
    for each in block:
        if each.startswith("expect ") or each == "expect":
            _expect(case, each)
            continue
        if re.fullmatch(_NUMBER, each):
            case.scalar = float(each)
            continue
        labels, rest = parse_series(each)
        if labels or each.startswith("{"):
            case.series.append((labels, values_of(rest)))
        else:
            assert not rest, each
    return case


def _expect(case: Case, line: str) -> None:
    match = re.fullmatch(r"expect (fail|warn|info|no_warn|no_info|ordered|string|range vector)\s*(.*)", line)
    assert match is not None, line
    what, rest = match.groups()
    detail = re.match(r"(msg|regex):\s*(.*)", rest)
    if what == "fail":
        case.fails = True
        case.message = (detail.group(1), detail.group(2)) if detail else None
    elif what in ("warn", "info", "no_warn", "no_info"):
        case.annotations[what.removeprefix("no_")] = not what.startswith("no_")
        if detail:
            case.said[what] = (detail.group(1), detail.group(2))
    elif what == "ordered":
        case.ordered = True
    elif what == "string":
        case.text = rest[1:-1]
    else:
        begin, step = re.match(r"from (\S+) to \S+ step (\S+)", rest).groups()  # type: ignore[union-attr]
        case.range_vector = (milliseconds(begin), milliseconds(step))
