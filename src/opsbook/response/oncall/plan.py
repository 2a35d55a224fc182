"""From schedules to shifts. Pure.

A turn begins at the first of two equal times and ends at the last: where clocks are set back at the hour of a
hand-over, two people are on call for that hour, and never nobody. A time that is jumped over is the moment of the jump.
"""

from __future__ import annotations

from bisect import bisect_right
from calendar import monthrange
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from opsbook.book.moments import first_instant, last_instant
from opsbook.book.oncall import LayerSpec, ScheduleSpec
from opsbook.book.windows import DAYS, Weekly
from opsbook.response.oncall.model import Override, Shift

_LENGTH = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
_DAY = timedelta(days=1)
_SLACK = timedelta(days=2)  # more than any clock was ever set by

Turn = tuple[float, float, str]
Cover = tuple[str, list[Turn], str]
Hours = tuple[float, float]


def shifts(
    schedule: ScheduleSpec, since: float, until: float, overrides: Iterable[Override] = ()
) -> tuple[Shift, ...]:
    """Who is on call from `since` to `until` (epoch seconds): without a hole, gaps are shifts of nobody.

    A later layer goes before an earlier one; overrides go before all layers, the newest first.
    """
    zone = ZoneInfo(schedule.timezone)
    # Source, turns, whom it replaces; later ones go before.
    covers: list[Cover] = [(layer.name, _turns(layer, zone, since, until), "") for layer in schedule.layers]
    covers += [
        (f"override {one.id}", [(one.start, one.end, one.person)], one.instead_of)
        for one in overrides
        if one.schedule == schedule.name and one.start < until and one.end > since
    ]
    changes: dict[float, set[int]] = {since: set(range(len(covers)))}  # at which covers may change
    for number, (_, turns, _) in enumerate(covers):
        for start, end, _ in turns:
            for bound in (start, end):
                if since < bound < until:
                    changes.setdefault(bound, set()).add(number)
    edges = [*sorted(changes), until]
    cursors = [_Cursor(turns) for _, turns, _ in covers]
    there: dict[int, tuple[str, ...]] = {}  # whose turn it is, of the covers that have somebody
    found: list[Shift] = []
    for start, end in pairwise(edges):
        for number in changes[start]:
            if whose := cursors[number].at(start):
                there[number] = whose
            else:
                there.pop(number, None)
        people, source = _uppermost(there, covers)
        if found and found[-1].people == people and found[-1].source == source:
            found[-1] = Shift(found[-1].start, end, people, source)
        else:
            found.append(Shift(start, end, people, source))
    return tuple(found)


def _uppermost(there: Mapping[int, tuple[str, ...]], covers: Sequence[Cover]) -> tuple[tuple[str, ...], str]:
    """Whose turn it is when covers lie over each other, and by which of them."""
    people: tuple[str, ...] = ()
    source = ""
    for number in sorted(there):
        name, _, instead_of = covers[number]
        if not instead_of:
            people, source = there[number], name
        elif instead_of in people:
            (stand_in,) = there[number]
            people = tuple(dict.fromkeys(stand_in if one == instead_of else one for one in people))
            source = name
    return people, source


def by_layer(schedule: ScheduleSpec, since: float, until: float) -> tuple[tuple[str, tuple[Shift, ...]], ...]:
    """Each layer by itself, as if there were no other: its name, and whose turns it has, cut to the stretch."""
    zone = ZoneInfo(schedule.timezone)
    return tuple(
        (
            layer.name,
            tuple(
                Shift(max(start, since), min(end, until), (person,), layer.name)
                for start, end, person in _turns(layer, zone, since, until)
                if start < until and end > since
            ),
        )
        for layer in schedule.layers
    )


def on_call(schedule: ScheduleSpec, at: float, overrides: Iterable[Override] = ()) -> Shift:
    """Who is on call at `at` (epoch seconds); the shift's bounds are looked for within a week."""
    week = 7 * 86_400.0
    for shift in shifts(schedule, at - week, at + week, tuple(overrides)):
        if shift.start <= at < shift.end:
            return shift
    raise AssertionError("shifts leave no hole")


def gaps(
    schedule: ScheduleSpec, since: float, until: float, overrides: Iterable[Override] = ()
) -> tuple[Shift, ...]:
    """The times in which nobody is on call."""
    return tuple(shift for shift in shifts(schedule, since, until, overrides) if not shift.people)


def swapped(
    schedule: ScheduleSpec, first: Shift, second: Shift, new_id: Sequence[str], by: str
) -> tuple[Override, ...]:
    """Two shifts exchanged: each of the two people stands in for the other."""
    pairs = ((first, second, new_id[0]), (second, first, new_id[1]))
    return tuple(
        Override(
            id=name,
            schedule=schedule.name,
            person=theirs.people[0],
            start=own.start,
            end=own.end,
            instead_of=own.people[0],
            by=by,
            reason=f"swapped with {theirs.people[0]}",
        )
        for own, theirs, name in pairs
    )


class _Cursor:
    """Asks turns in the order of time."""

    def __init__(self, turns: list[Turn]) -> None:
        self._turns = turns
        self._starts = [start for start, _, _ in turns]

    def at(self, moment: float) -> tuple[str, ...]:
        """Whose turn it is, in the order in which their turns began."""
        last = bisect_right(self._starts, moment)
        # Turns overlap only with their neighbours: by the hour that comes twice.
        return tuple(
            dict.fromkeys(
                person for start, end, person in self._turns[max(0, last - 3) : last] if start <= moment < end
            )
        )


def _turns(layer: LayerSpec, zone: ZoneInfo, since: float, until: float) -> list[Turn]:
    """The turns of a layer that touch a stretch, in order, cut to the hours in which the layer counts."""
    end_of_layer = last_instant(layer.until, zone) if layer.until is not None else float("inf")
    whole: list[Turn] = []
    low = datetime.fromtimestamp(since, UTC).replace(tzinfo=None) - _SLACK
    high = datetime.fromtimestamp(until, UTC).replace(tzinfo=None) + _SLACK
    number = max(0, _turn_at(layer, low))
    while (begins := _hand_over(layer, number)) <= high:
        start = first_instant(begins, zone)
        end = min(last_instant(_hand_over(layer, number + 1), zone), end_of_layer)
        if start < end and start < until and end > since:
            whole.append((start, end, layer.people[number % len(layer.people)]))
        if start >= end_of_layer:
            break
        number += 1
    if not layer.only:
        return whole
    counting = list(_counting(layer.only, zone, low, high))
    return sorted(
        (max(start, first), min(end, last), person)
        for start, end, person in whole
        for first, last in _touching(counting, start, end)
    )


def _touching(hours: list[Hours], start: float, end: float) -> Iterator[Hours]:
    index = max(0, bisect_right(hours, (start, float("inf"))) - 1)
    for first, last in hours[index:]:
        if first >= end:
            return
        if last > start:
            yield first, last


def _counting(only: tuple[Weekly, ...], zone: ZoneInfo, low: datetime, high: datetime) -> Iterator[Hours]:
    """The hours in which a layer counts, in order, those that touch joined."""
    found: list[Hours] = []
    day = datetime.combine(low.date(), time())
    while day <= high:
        for one in only:
            if DAYS[day.weekday()] in one.days:
                length = one.until - one.starts
                end = day + one.until + (_DAY if length <= timedelta(0) else timedelta(0))
                found.append((first_instant(day + one.starts, zone), last_instant(end, zone)))
        day += _DAY
    found.sort()
    current: Hours | None = None
    for start, stop in found:
        if current is not None and start <= current[1]:
            current = current[0], max(current[1], stop)
            continue
        if current is not None:
            yield current
        current = start, stop
    if current is not None:
        yield current


def _hand_over(layer: LayerSpec, number: int) -> datetime:
    """The local time at which the turn with this number begins."""
    if layer.every == "month":
        return _months_after(layer.starts, number * layer.times)
    return layer.starts + _LENGTH[layer.every] * (number * layer.times)


def _turn_at(layer: LayerSpec, local: datetime) -> int:
    """The number of a turn that began before `local`, and not long before; negative before the first."""
    if layer.every == "month":
        months = (local.year - layer.starts.year) * 12 + local.month - layer.starts.month
        return months // layer.times - 1
    return (local - layer.starts) // (_LENGTH[layer.every] * layer.times)


def _months_after(start: datetime, months: int) -> datetime:
    """The same day so many months later, or the month's last."""
    month = start.month - 1 + months
    year, month = start.year + month // 12, month % 12 + 1
    return start.replace(year=year, month=month, day=min(start.day, monthrange(year, month)[1]))
