"""Numbers with their units, as the charts in the browser write them; and charts as tables. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opsbook.book.dashboards import Unit
from opsbook.monitoring.dashboards.charts import Chart

ROWS = 24


def figure(value: float | None, unit: Unit | str = "count") -> str:
    """``8.21 %``, ``412 ms``, ``1.2 GiB``; a dash for what is not known."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    match unit:
        case "ratio":
            percent = value * 100
            return f"{percent:.2g} %" if 0 < abs(percent) < 1 else f"{_short(percent)} %"
        case "seconds":
            return _seconds(value)
        case "bytes":
            return _scaled(value, ("B", "KiB", "MiB", "GiB", "TiB"), 1024)
        case "bytes/s":
            return _scaled(value, ("B", "KiB", "MiB", "GiB", "TiB"), 1024) + "/s"
        case "1/s":
            return f"{_scaled(value, ('', 'k', 'M'), 1000)}/s"
    return _scaled(value, ("", "k", "M", "G"), 1000)


def length(seconds: float) -> str:
    """A round stretch of time as people write it: ``5m``, ``1h 30m``, ``30d``."""
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        whole, seconds = divmod(seconds, size)
        if whole:
            parts.append(f"{whole:.0f}{unit}")
    return " ".join(parts[:2]) or "0s"


def _seconds(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) < 1:
        return f"{_short(value * 1000)} ms"
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if abs(value) < limit:
            return f"{_short(value / size)} {unit}"
    return f"{_short(value / 86400)} d"


def _short(value: float) -> str:
    found = f"{value:.3g}"
    return f"{float(found):,.0f}" if "e" in found and abs(value) >= 1 else found


def _scaled(value: float, units: Sequence[str], each: int) -> str:
    index = 0
    while abs(value) >= each and index < len(units) - 1:
        value /= each
        index += 1
    return f"{_short(value)} {units[index]}".rstrip()


@dataclass(frozen=True, slots=True)
class Table:
    """A chart without a picture: its lines are columns, the newest time stands first.

    Args:
        rows: epoch seconds, and a text for each column.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[float, tuple[str, ...]], ...]
    more: int = 0
    notes: tuple[str, ...] = ()


def table_of(chart: Chart, *, rows: int = ROWS) -> Table:
    """At most so many points of each line."""
    length = max((len(line.values) for line in chart.lines), default=0)
    each = max(1, math.ceil(length / rows))
    columns = tuple(line.name + (", a week ago" if line.before else "") for line in chart.lines)
    return Table(
        columns,
        tuple(
            (
                chart.start + index * chart.step,
                tuple(figure(line.values[index], chart.unit) for line in chart.lines),
            )
            for index in range(length - 1, -1, -each)
        ),
        chart.more,
        chart.notes,
    )


def labelled(labels: Mapping[str, str]) -> list[tuple[str, str]]:
    """Labels in order, the name of the metric left out."""
    return sorted((name, value) for name, value in labels.items() if name != "__name__")
