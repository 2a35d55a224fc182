"""Shifts as rows of bars, for a calendar that is drawn as SVG. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from opsbook.response.oncall.model import Override, Shift

_HUES = 5


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of a row. `x` and `width` in percent; `hue` 0: nobody."""

    x: float
    width: float
    words: str
    hue: int
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Row:
    """A row: who is on call in the end, a layer, or those who stand in."""

    name: str
    kind: str  # final, layer or override
    bars: tuple[Bar, ...]


def grid(
    final: Iterable[Shift],
    layers: Iterable[tuple[str, Sequence[Shift]]],
    overrides: Sequence[Override],
    since: float,
    until: float,
    people: Sequence[str],
) -> tuple[Row, ...]:
    """The rows of one schedule, from what counts down to what it is made of.

    Args:
        people: those of the schedule; their place decides their colour, so that it is the same in every row.
    """
    hues = {name: number % _HUES + 1 for number, name in enumerate(people)}

    def bars(shifts: Iterable[Shift]) -> tuple[Bar, ...]:
        found = []
        for one in shifts:
            start, end = max(one.start, since), min(one.end, until)
            if end <= start:
                continue
            hue = hues.setdefault(one.people[0], len(hues) % _HUES + 1) if one.people else 0
            x, width = ((at / (until - since) * 100) for at in (start - since, end - start))
            words = " + ".join(one.people) or "nobody"
            found.append(Bar(round(x, 3), round(width, 3), words, hue, one.start, one.end))
        return tuple(found)

    rows = [Row("on call", "final", bars(final))]
    standing = [Shift(one.start, one.end, (one.person,), one.id) for one in overrides]
    # Of two that overlap the newest counts: it is drawn last, above the others.
    if drawn := bars(sorted(standing, key=lambda one: one.source)):
        rows.append(Row("stands in", "override", drawn))
    # A later layer goes before those above it, so it stands nearer to what counts.
    rows += [Row(name, "layer", bars(shifts)) for name, shifts in reversed(list(layers))]
    return tuple(rows)
