"""The room of who is on call: the handbook's schedules, and what people change about them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from opsbook.book import Book
from opsbook.book.oncall import ScheduleSpec
from opsbook.errors import Conflict, Failed, Invalid, NotFound, Unreachable
from opsbook.journal import Entry, Journal, register
from opsbook.response.oncall.calendar import feed
from opsbook.response.oncall.handover import KINDS, HandOver, handover, open_from
from opsbook.response.oncall.model import Override, Shift
from opsbook.response.oncall.plan import by_layer, gaps, on_call, shifts, swapped
from opsbook.security.plan import sees

DAY = 86_400.0
AHEAD = 30 * DAY  # in which gaps are looked for
_KEPT = 90 * DAY  # an override that is over is kept for so long
_LONGEST = 366 * DAY
_JUST = 2 * 3600.0  # who took over so shortly ago asks about the shift before
_EVENTS = 20_000

_TOLD = {
    "id": "the override's",
    "schedule": "whose shifts it covers",
    "person": "who stands in",
    "start": "from when, epoch seconds",
    "end": "until when",
    "instead_of": "whose shifts only; empty: whoever it is",
    "reason": "why",
}
register("oncall.override_added", "Somebody stands in on call.", _TOLD)
register("oncall.override_removed", "What was changed on call is taken back.", _TOLD)


class OnCall:
    """See the module.

    Args:
        book: the handbook as last read.
        journal: overrides and their events.
        now: epoch seconds.
    """

    def __init__(
        self,
        book: Callable[[], Book],
        journal: Journal,
        *,
        now: Callable[[], float],
    ) -> None:
        self._book = book
        self._journal = journal
        self._now = now
        self._lock = threading.Lock()
        self._remembered: tuple[Override, ...] = ()

    # --- what is asked

    def people(self, name: str) -> tuple[str, ...] | None:
        """Who is on call by this schedule now; None: there is no such schedule."""
        for schedule in self._book().schedules:
            if schedule.name == name:
                return on_call(schedule, self._now(), self._last_overrides()).people
        return None

    def _last_overrides(self) -> tuple[Override, ...]:
        """Those that were read last, when they cannot be read now: waking people must not need the database."""
        try:
            self._remembered = self.overrides()
        except (Failed, Unreachable):
            pass
        return self._remembered

    def now(self) -> list[dict[str, Any]]:
        """Every schedule with who is on call, who is next, and the gaps of the next 30 days."""
        at, overrides = self._now(), self.overrides()
        return [self._summary(schedule, at, overrides) for schedule in self._book().schedules]

    def _summary(self, schedule: ScheduleSpec, at: float, overrides: tuple[Override, ...]) -> dict[str, Any]:
        current = on_call(schedule, at, overrides)
        ahead = shifts(schedule, current.end, current.end + AHEAD, overrides)
        following = next((one for one in ahead if one.people and one.people != current.people), None)
        holes = gaps(schedule, at, at + AHEAD, overrides)
        return {
            "name": schedule.name,
            "timezone": schedule.timezone,
            "description": schedule.description or "",
            "now": current.to_json(),
            "next": following.to_json() if following else None,
            "gaps": [hole.to_json() for hole in holes],
        }

    def shifts(self, name: str, since: float, until: float) -> tuple[Shift, ...]:
        """Who is on call by one schedule in a stretch (epoch seconds).

        Raises:
            NotFound: there is no such schedule. Invalid: the stretch is empty, or longer than a year.
        """
        if not 0 < until - since <= _LONGEST:
            raise Invalid(
                "expected a stretch of time of at most a year", hint="opsbook oncall schedule --days 30"
            )
        return shifts(self._schedule(name), since, until, self.overrides())

    def overrides(self) -> tuple[Override, ...]:
        """What people changed, the oldest first."""
        found = self._journal.state.items("oncall/override/").values()
        return tuple(sorted(map(Override.from_json, found), key=lambda one: one.id))

    def feed(self, name: str | None = None, person: str = "") -> bytes:
        """The shifts of the last 30 and the next 90 days as iCalendar. Raises NotFound."""
        self._person(person)
        at, overrides = self._now(), self.overrides()
        chosen = [self._schedule(name)] if name else list(self._book().schedules)
        found = [(schedule, shifts(schedule, at - 30 * DAY, at + 90 * DAY, overrides)) for schedule in chosen]
        title = f"{self._book().name}: {name or person or 'on call'}"
        return feed(found, name=title, now=at, person=person)

    def layers(self, name: str, since: float, until: float) -> tuple[tuple[str, tuple[Shift, ...]], ...]:
        """Each layer of a schedule by itself (epoch seconds). Raises NotFound."""
        return by_layer(self._schedule(name), since, until)

    def handover(self, name: str | None = None, visible: frozenset[str] | None = None) -> HandOver:
        """What who comes next has to know; in the first two hours of a shift about the one before.

        Args:
            name: the schedule; None: the only one, or the one called on-call.
            visible: the environments that may be told of; None: all.

        Raises:
            NotFound: there is no such schedule.
        """
        schedules = self._book().schedules
        if name is None:
            names = [one.name for one in schedules]
            name = "on-call" if "on-call" in names or not names else names[0]
        schedule, at, overrides = self._schedule(name), self._now(), self.overrides()
        current = on_call(schedule, at, overrides)
        ahead = shifts(schedule, current.end, current.end + AHEAD, overrides)
        following = next((one for one in ahead if one.people and one.people != current.people), None)
        shift = current
        if at - current.start < _JUST and current.start < at:
            shift, following = on_call(schedule, current.start - 1.0, overrides), current
        events = self._journal.events(
            kinds=KINDS, since=shift.start, until=min(at, shift.end) + 1, limit=_EVENTS
        )
        documents = self._journal.state.items("escalation/").values()
        mine = [one for one in documents if visible is None or one["subject"]["environment"] in visible]
        until = at + AHEAD
        return handover(
            schedule.name,
            schedule.timezone,
            at,
            shift,
            following,
            events=[event for event in events if sees(visible, event.subject)],
            open_=open_from(mine),
            severities={one["subject"]["id"]: one["subject"]["severity"] for one in mine},
            gaps=gaps(schedule, at, until, overrides),
            overrides=[one for one in overrides if one.schedule == schedule.name and one.end > at],
        )

    # --- what is changed

    def override(
        self,
        schedule: str,
        person: str,
        start: float,
        end: float,
        *,
        reason: str,
        actor: str,
        instead_of: str = "",
    ) -> Override:
        """Have somebody stand in from `start` to `end` (epoch seconds).

        Raises:
            NotFound: no such schedule or contact. Invalid: the time is none, over, or longer than a year, or
            `instead_of` has no shift in it.
        """
        spec = self._schedule(schedule)
        for one in (person, instead_of):
            self._person(one)
        if not 0 < end - start <= _LONGEST:
            raise Invalid("it must end after it begins, and within a year", hint="--for 8h or --until")
        if end <= self._now():
            raise Invalid("it is over already", hint="give an end that lies ahead")
        known = shifts(spec, start, end, self.overrides())
        if instead_of and not any(instead_of in shift.people for shift in known):
            raise Invalid(
                f"{instead_of} has no shift of {schedule} in that time",
                hint=f"opsbook oncall schedule {schedule}",
            )
        with self._lock:
            made = Override(self._next(), schedule, person, start, end, instead_of, actor, reason)
            self._add((made,), actor)
        return made

    def swap(self, schedule: str, first: float, second: float, *, actor: str) -> tuple[Override, ...]:
        """Exchange the shifts that hold at two moments.

        Raises:
            NotFound: no such schedule. Conflict: nobody is on call at one of them, or the same people at both;
            or one is over.
        """
        spec, now = self._schedule(schedule), self._now()
        with self._lock:
            overrides = self.overrides()
            one, other = (on_call(spec, at, overrides) for at in (first, second))
            if not one.people or not other.people:
                raise Conflict(
                    "nobody is on call then, so there is nothing to swap", hint="opsbook oncall schedule"
                )
            if one.people[0] == other.people[0]:
                raise Conflict(f"both shifts are {one.people[0]}'s", hint="opsbook oncall schedule")
            if min(one.end, other.end) <= now:
                raise Conflict("one of the shifts is over", hint="opsbook oncall schedule")
            parts = [Shift(max(each.start, now), each.end, each.people, each.source) for each in (one, other)]
            number = self._next()
            made = swapped(spec, parts[0], parts[1], (f"{number}-a", f"{number}-b"), actor)
            self._add(made, actor)
        return made

    def remove(self, name: str, *, actor: str) -> Override:
        """Take back what was changed. Raises NotFound."""
        with self._lock:
            document = self._journal.state.get(f"oncall/override/{name}")
            if document is None:
                raise NotFound(f"there is no override {name}", hint="opsbook oncall override")
            found = Override.from_json(document)
            self._journal.append(
                "oncall.override_removed",
                f"oncall/{found.schedule}",
                _said(found),
                actor=actor,
                put={f"oncall/override/{name}": None},
            )
        return found

    def _add(self, made: tuple[Override, ...], actor: str) -> None:
        documents: dict[str, Any] = {
            f"oncall/override/{one.id}": None for one in self.overrides() if one.end < self._now() - _KEPT
        }
        documents |= {f"oncall/override/{one.id}": one.to_json() for one in made}
        entries = [
            Entry("oncall.override_added", f"oncall/{one.schedule}", _said(one), actor) for one in made
        ]
        self._journal.append_all(entries, put=documents)

    def _next(self) -> str:
        """Ids grow, so that the newest goes before the others."""
        known = [int(one.id.split("-")[0].removeprefix("o")) for one in self.overrides()]
        return f"o{max(known, default=0) + 1:05d}"

    def _schedule(self, name: str) -> ScheduleSpec:
        for schedule in self._book().schedules:
            if schedule.name == name:
                return schedule
        known = ", ".join(schedule.name for schedule in self._book().schedules)
        raise NotFound(
            f"there is no schedule {name}",
            hint=f"there are: {known}" if known else "write schedules: into incidents/policy.yaml",
        )

    def _person(self, name: str) -> None:
        if name and name not in self._book().contacts:
            known = ", ".join(sorted(self._book().contacts))
            raise NotFound(f"there is no contact {name}", hint=f"there are: {known}")


def _said(one: Override) -> dict[str, Any]:
    return {name: getattr(one, name) for name in _TOLD}
