"""What was measured around an incident, as an SVG file that lies beside its post-mortem and needs nothing else.

Zero-based, the unit once on each axis, gaps where nothing was measured, nothing smoothed, UTC below. The incident is a
band; deployments, detection and the end are lines with words, so that nothing depends on colour. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from opsbook.response.postmortems.markdown import one_line

WIDTH, LEFT, RIGHT, TOP = 840, 64, 24, 24
PANEL, BETWEEN, LABEL, LABELS = 132, 34, 15, 6
MOST_LINES = 5
MOST_MARKS = 12
_STROKES = (("a", ""), ("b", "6 3"), ("c", "2 2"), ("d", "8 3 2 3"), ("e", "1 4"))
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
_STYLE = """\
text{font:12px system-ui,sans-serif;fill:#14181F}.m{fill:#545D6B}.g{stroke:#D5D9E0}.band{fill:#9B0034;opacity:.09}
.l{fill:none;stroke-width:1.6}.a{stroke:#1250B4}.b{stroke:#C2410C}.c{stroke:#0B7D63}.d{stroke:#7A3E9D}.e{stroke:#545D6B}
.deploy{stroke:#C2410C;stroke-dasharray:4 3}.detect{stroke:#9B0034}.end{stroke:#0B7D63}.bg{fill:#FFFFFF}
@media(prefers-color-scheme:dark){text{fill:#E8EAED}.m{fill:#A3ACB9}.g{stroke:#2A323D}.band{fill:#FF5C7A;opacity:.14}
.a{stroke:#7DB1FF}.b{stroke:#FF9A52}.c{stroke:#3FD0B0}.d{stroke:#C79BE8}.e{stroke:#A3ACB9}.deploy{stroke:#FF9A52}
.detect{stroke:#FF5C7A}.end{stroke:#3FD0B0}.bg{fill:#0E1116}}"""


@dataclass(frozen=True, slots=True)
class Line:
    """One series: points as (epoch seconds, value); None where nothing was measured."""

    name: str
    points: tuple[tuple[float, float | None], ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure of up to five services. `title` holds the unit."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment with a word. `kind`: deploy, detect or end."""

    at: float
    text: str
    kind: str


def svg(
    panels: Sequence[Panel],
    start: float,
    end: float,
    *,
    band: tuple[float, float],
    marks: Sequence[Mark],
    title: str,
) -> str:
    """The file's text. Times are epoch seconds; `band` is the incident."""
    frame = _Frame(start, max(end, start + 1.0))
    shown = sorted((mark for mark in marks if start <= mark.at <= end), key=lambda mark: mark.at)[
        -MOST_MARKS:
    ]
    top = TOP + LABEL * min(LABELS, max(1, len(shown))) + 8
    bottom = top + len(panels) * (PANEL + BETWEEN) - BETWEEN
    height = bottom + 28
    said = "; ".join(f"{mark.text} at {_clock(mark.at)}" for mark in shown)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="t d">',
        f'<title id="t">{_text(title)}</title>',
        f'<desc id="d">{_text(f"From {_day(start)} to {_day(end)}. {said}", 1000)}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect class="bg" width="{WIDTH}" height="{height}"/>',
        *_band(frame, band, top, bottom),
        *_marks(frame, shown, top, bottom),
    ]
    for number, panel in enumerate(panels):
        lines += _panel(frame, panel, top + number * (PANEL + BETWEEN))
    lines += _times(frame, bottom)
    return "\n".join([*lines, "</svg>"]) + "\n"


@dataclass(frozen=True, slots=True)
class _Frame:
    start: float
    end: float

    def x(self, at: float) -> float:
        share = (min(max(at, self.start), self.end) - self.start) / (self.end - self.start)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _band(frame: _Frame, band: tuple[float, float], top: int, bottom: int) -> Iterator[str]:
    left, right = frame.x(band[0]), frame.x(band[1])
    width = max(1.0, right - left)
    yield f'<rect class="band" x="{left}" y="{top}" width="{width:.1f}" height="{bottom - top}"/>'


def _marks(frame: _Frame, marks: Sequence[Mark], top: int, bottom: int) -> Iterator[str]:
    told = _told(marks)
    for mark in marks:
        row = told.index(mark) if mark in told else LABELS - 1
        x, y = frame.x(mark.at), TOP + LABEL * (row % LABELS)
        kind = mark.kind if mark.kind in {"deploy", "detect", "end"} else "detect"
        anchor, shift = ("end", -4) if x > WIDTH * 0.7 else ("start", 4)
        yield f'<line class="{kind}" x1="{x}" x2="{x}" y1="{y - 9}" y2="{bottom}"/>'
        if mark in told:
            yield f'<text x="{x + shift}" y="{y}" text-anchor="{anchor}">{_text(mark.text, 48)}</text>'


def _told(marks: Sequence[Mark]) -> list[Mark]:
    """Those with words, as many as there are rows for them: what is no deployment, and the last ones before that."""
    others = [mark for mark in marks if mark.kind != "deploy"][:LABELS]
    first = min((mark.at for mark in others), default=math.inf)
    deploys = [mark for mark in marks if mark.kind == "deploy"]
    near = sorted(deploys, key=lambda mark: (mark.at > first, abs(mark.at - first) if others else -mark.at))
    return sorted([*others, *near[: LABELS - len(others)]], key=lambda mark: mark.at)


def _panel(frame: _Frame, panel: Panel, top: int) -> Iterator[str]:
    lines = panel.lines[:MOST_LINES]
    highest = max((value for line in lines for _, value in line.points if value is not None), default=0.0)
    step = _round_step(highest)
    ceiling = step * max(1, math.ceil(highest / step))
    right = WIDTH - RIGHT
    yield f'<text x="{LEFT}" y="{top - 6}">{_text(panel.title)}</text>'
    for number in range(round(ceiling / step) + 1):
        y = _y(number * step, ceiling, top)
        yield f'<line class="g" x1="{LEFT}" x2="{right}" y1="{y}" y2="{y}"/>'
        yield f'<text class="m" x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{number * step:.6g}</text>'
    x = LEFT + 8.0 * len(panel.title) + 24
    for line, (name, dashes) in zip(lines, _STROKES, strict=False):
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        for run in _runs(line):
            path = " ".join(f"{frame.x(at)},{_y(value, ceiling, top)}" for at, value in run)
            if len(run) == 1:
                at, value = run[0]
                path += f" {frame.x(at) + 1.0:.1f},{_y(value, ceiling, top)}"
            yield f'<polyline class="l {name}"{dashed} points="{path}"/>'
        if len(lines) > 1:
            label = one_line(line.name, 24)
            yield f'<line class="l {name}"{dashed} x1="{x}" x2="{x + 18}" y1="{top - 10}" y2="{top - 10}"/>'
            yield f'<text class="m" x="{x + 22}" y="{top - 6}">{_text(label)}</text>'
            x += 40 + 7.0 * len(label)


def _runs(line: Line) -> Iterator[list[tuple[float, float]]]:
    """Stretches without a gap."""
    run: list[tuple[float, float]] = []
    for at, value in line.points:
        if value is None or not math.isfinite(value):
            if run:
                yield run
            run = []
        else:
            run.append((at, value))
    if run:
        yield run


def _times(frame: _Frame, bottom: int) -> Iterator[str]:
    span = frame.end - frame.start
    step = next((one for one in _STEPS if span / one <= 8), 86400 * math.ceil(span / 86400 / 8))
    at = math.ceil(frame.start / step) * step
    while at <= frame.end:
        x = frame.x(at)
        said = _day(at)[:10] if step >= 86400 else _clock(at)[: 8 if step < 60 else 5]
        yield f'<line class="g" x1="{x}" x2="{x}" y1="{bottom}" y2="{bottom + 4}"/>'
        yield f'<text class="m" x="{x}" y="{bottom + 18}" text-anchor="middle">{said}</text>'
        at += step
    yield f'<text class="m" x="4" y="{bottom + 18}">UTC</text>'


def _round_step(highest: float) -> float:
    """A step of 1, 2 or 5 times a power of ten, so that about four of them reach `highest`."""
    if not highest > 0:
        return 1.0
    raw = highest / 4
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= raw * 0.999999)


def _y(value: float, ceiling: float, top: int) -> float:
    return round(top + PANEL * (1 - min(1.0, max(0.0, value / ceiling))), 1)


def _text(text: str, limit: int = 120) -> str:
    return escape(one_line(text, limit), {'"': "&quot;"})


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%H:%M:%S")


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
