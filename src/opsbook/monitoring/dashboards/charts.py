"""A panel's points: its queries answered over a stretch of time, as the page draws them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from opsbook.book.dashboards import substituted
from opsbook.errors import OpsbookError
from opsbook.monitoring.dashboards.model import Panel, Query
from opsbook.monitoring.dashboards.span import WEEK, Span
from opsbook.promql.expression import Expression
from opsbook.promql.model import Matrix, Result
from opsbook.promql.series import NAME, Floats, Labels

MOST_LINES = 5  # more cannot be told apart
_LABEL = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


class Ranges(Protocol):
    """What answers range queries: `opsbook.promql.Engine`, or another server's."""

    def range(self, query: str | Expression, start_ms: int, end_ms: int, step_ms: int) -> Result: ...


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a chart. `values` are one for each step; None where there is none.

    `before` is True for the same a week ago, moved to today.
    """

    name: str
    labels: Mapping[str, str]
    values: tuple[float | None, ...]
    before: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """All lines of a panel.

    Args:
        start, step: seconds; the time of value i is ``start + i * step``.
        more: how many series there are that are not drawn.
        notes: what a person should know of how it came about.
    """

    start: float
    end: float
    step: float
    unit: str
    lines: tuple[Line, ...]
    limit: float | None = None
    more: int = 0
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        return {
            "start": self.start,
            "end": self.end,
            "step": self.step,
            "unit": self.unit,
            "limit": self.limit,
            "more": self.more,
            "notes": list(self.notes),
            "lines": [
                {
                    "name": line.name,
                    "labels": dict(line.labels),
                    "values": list(line.values),
                    "before": line.before,
                }
                for line in self.lines
            ],
        }


def chart(
    ranges: Ranges,
    panel: Panel,
    span: Span,
    *,
    width: int,
    variables: Mapping[str, str] | None = None,
    compare: bool = False,
    most: int = MOST_LINES,
) -> Chart:
    """The points of `panel`.

    Args:
        width: of the chart, in pixels: at most two points a pixel are told.
        compare: with the same a week ago.
        most: lines that are told; the others only counted.

    Raises:
        Invalid, Failed: a query does not parse, or cannot be answered.
    """
    start, end, step = span.steps(width)
    values = {
        **(variables or {}),
        "__rate_interval": f"{span.window(width):.0f}s",
        "__interval": f"{step // 1000}s",
        "__range": f"{span.seconds:.0f}s",
    }
    notes: dict[str, None] = {}
    found: list[tuple[Query, Labels, Floats]] = []
    for query in panel.queries:
        result = ranges.range(substituted(query.expression, values), start, end, step)
        notes |= dict.fromkeys((*result.warnings, *result.infos))
        assert isinstance(result.value, Matrix)
        found += [
            (query, labels, row)
            for labels, row in zip(result.value.series, result.value.values, strict=True)
            if np.isfinite(row).any()
        ]
    kept = _largest(found, most)
    lines = [Line(_name(query, labels), labels, _told(row)) for query, labels, row in kept]
    if compare and kept:
        lines += _week_ago(ranges, panel, (start, end, step), values, {line.name for line in lines})
    return Chart(
        start=start / 1000,
        end=end / 1000,
        step=step / 1000,
        unit=panel.unit,
        limit=panel.limit,
        lines=tuple(lines),
        more=len(found) - len(kept),
        notes=tuple(notes),
    )


def _week_ago(
    ranges: Ranges,
    panel: Panel,
    steps: tuple[int, int, int],
    values: Mapping[str, str],
    names: set[str],
) -> Iterator[Line]:
    """The same lines of a week ago, at today's times; a server that does not reach back so far has none."""
    start, end, step = steps
    back = round(WEEK * 1000 / step) * step
    for query in panel.queries:
        try:
            result = ranges.range(substituted(query.expression, values), start - back, end - back, step)
        except OpsbookError:
            return
        assert isinstance(result.value, Matrix)
        for labels, row in zip(result.value.series, result.value.values, strict=True):
            name = _name(query, labels)
            if name in names and np.isfinite(row).any():
                yield Line(name, labels, _told(row), before=True)


def _largest(found: Sequence[tuple[Query, Labels, Floats]], most: int) -> list[tuple[Query, Labels, Floats]]:
    """Those with the highest mean where they are too many, in the order they came."""
    if len(found) <= most:
        return list(found)
    means = [float(np.mean(row[np.isfinite(row)])) for _, _, row in found]
    kept = sorted(sorted(range(len(found)), key=lambda index: -means[index])[:most])
    return [found[index] for index in kept]


def _name(query: Query, labels: Labels) -> str:
    if query.legend:
        text = _LABEL.sub(lambda match: labels.get(match[1], ""), query.legend).strip()
        return text or series_name(labels)
    return series_name(labels)


def _told(row: Floats) -> tuple[float | None, ...]:
    """Numbers as short as a chart needs them; what is no number is a gap."""
    finite = np.isfinite(row)
    return tuple(
        float(f"{value:.6g}") if known else None
        for value, known in zip(row.tolist(), finite.tolist(), strict=True)
    )


def series_name(labels: Labels) -> str:
    """A series as PromQL writes it: ``up{job="web"}``."""
    inside = ", ".join(f'{label}="{value}"' for label, value in sorted(labels.items()) if label != NAME)
    name = labels.get(NAME, "")
    return f"{name}{{{inside}}}" if inside or not name else name
