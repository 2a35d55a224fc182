"""A storage for tests: series in memory, by target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from opsbook.promql import Matcher, Selection, Window
from opsbook.promql.series import ABSENT, NAME, Floats, Integers, Labels, is_sample


@dataclass
class Metadata:
    kind: str
    help: str = ""
    unit: str = ""


@dataclass
class Memory:
    """Targets with a timestamp vector each; `ABSENT` cells where a series has no sample."""

    targets: list[tuple[Integers, list[Labels], Floats]] = field(default_factory=list)

    def add(self, times: Sequence[float], rows: Mapping[str, Sequence[float | None]], **labels: str) -> None:
        """A target: seconds, and by metric name its values; None where there is none."""
        values = np.full((len(rows), len(times)), ABSENT).view(np.float64)
        for row, cells in enumerate(rows.values()):
            for column, cell in enumerate(cells):
                if cell is not None:
                    values[row, column] = cell
        series: list[Labels] = [{NAME: name, **labels} for name in rows]
        self.targets.append((np.array([round(at * 1000) for at in times], np.int64), series, values))

    def select(self, matchers: Sequence[Matcher], start: int, end: int) -> tuple[Selection, ...]:
        found = []
        for times, series, values in self.targets:
            rows = [row for row, labels in enumerate(series) if all(m.matches(labels) for m in matchers)]
            low, high = np.searchsorted(times, start, "left"), np.searchsorted(times, end, "right")
            if rows and high > low:
                window = Window(times[low:high].copy(), values[rows, low:high], np.ones(high - low, np.bool_))
                found.append(
                    Selection({"target": str(id(series))}, tuple(series[row] for row in rows), window)
                )
        return tuple(found)

    def series(self, matchers: Sequence[Matcher], start: int, end: int) -> tuple[Labels, ...]:
        return tuple(
            selection.series[row]
            for selection in self.select(matchers, start, end)
            for row in range(len(selection.series))
            if is_sample(selection.window.values[row]).any()
        )

    def names(self, matchers: Sequence[Matcher], start: int, end: int) -> tuple[str, ...]:
        return tuple(sorted({name for labels in self.series(matchers, start, end) for name in labels}))

    def label_values(self, label: str, matchers: Sequence[Matcher], start: int, end: int) -> tuple[str, ...]:
        return tuple(sorted({labels.get(label, "") for labels in self.series(matchers, start, end)} - {""}))

    def metadata(self, metric: str | None = None) -> dict[str, tuple[Metadata, ...]]:
        told = {"requests_total": (Metadata("counter", "Requests"),)}
        return told if metric is None else {name: each for name, each in told.items() if name == metric}
