"""The difference of a canary's errors to stable's inside its bounds, as a plot for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opsbook.terminal import Point, Style, Words, clock, plot

# What the time axis may span, in seconds: it is stretched seldom, so that a live plot lies still.
SPANS = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


def chart(
    points: Sequence[Mapping[str, Any]], *, columns: int, rows: int, style: Style, step: int | None = None
) -> list[str]:
    """Exactly `rows` lines, or none where there is too little room.

    Args:
        points: as the API gives them; those of the last step are shown, for each step is judged by itself.
        step: the step under way; without points of it the plot is empty.
    """
    if points and (step is None or step < int(points[-1].get("step") or 0)):
        step = int(points[-1].get("step") or 0)
    mine = [point for point in points if int(point.get("step") or 0) == step]
    since = float(mine[0]["at"]) if mine else 0.0
    lasted = float(mine[-1]["at"]) - since if mine else 0.0
    span = next((span for span in SPANS if span >= lasted), lasted)
    crossed = crossing(mine)
    lines = plot(
        [_point(point, since) for point in mine],
        since=0.0,
        until=span,
        width=columns,
        height=rows - 1,
        style=style,
        words=Words(begins="0:00", ends=clock(span)),
        mark=None if crossed is None else crossed - since,
    )
    minus = "−" if style.unicode else "-"
    title = style.paint(f" canary {minus} stable, errors", "bold")
    if crossed is not None:
        sure = any(float(point["at"]) == crossed and _beyond_doubt(point) for point in mine)
        word = "crossed its bounds" if sure else "failed"
        title += f"   {style.state('failed', f'{word} at {clock(crossed - since)}')}"
    return [title, *lines] if lines else []


def crossing(points: Sequence[Mapping[str, Any]]) -> float | None:
    """When zero first lay below the bounds, or the judge had failed the canary, be it for something else."""
    for point in points:
        if _beyond_doubt(point) or point.get("verdict") == "fail":
            return float(point["at"])
    return None


def _beyond_doubt(point: Mapping[str, Any]) -> bool:
    """Whether the canary's errors are more than stable's with all the confidence of the bounds."""
    lower = point.get("lower")
    return lower is not None and float(lower) > 0


def _point(point: Mapping[str, Any], since: float) -> Point:
    value, lower, upper = (
        None if (ratio := point.get(name)) is None else float(ratio) * 100
        for name in ("difference", "lower", "upper")
    )
    return Point(float(point["at"]) - since, value, lower, upper)
