"""Shifts as an iCalendar feed, which phones and calendars subscribe to. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from icalendar import Calendar, Event

from opsbook.book.oncall import ScheduleSpec
from opsbook.response.oncall.model import Shift


def feed(
    schedules: Iterable[tuple[ScheduleSpec, Iterable[Shift]]], *, name: str, now: float, person: str = ""
) -> bytes:
    """The text of a feed (RFC 5545).

    Args:
        schedules: with their shifts.
        name: what a calendar calls the feed.
        now: epoch seconds, when it was made.
        person: only the shifts of this one; empty: everybody's.
    """
    calendar = Calendar()
    calendar.add("prodid", "-//opsbook//on call//EN")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", name)
    for schedule, found in schedules:
        for shift in found:
            if not shift.people or (person and person not in shift.people):
                continue
            event = Event()
            # The same shift has the same id each time, so that a subscriber replaces it rather than doubles it.
            event.add("uid", f"{schedule.name}-{int(shift.start)}-{'-'.join(shift.people)}@opsbook")
            event.add("dtstamp", datetime.fromtimestamp(now, UTC))
            event.add("dtstart", datetime.fromtimestamp(shift.start, UTC))
            event.add("dtend", datetime.fromtimestamp(shift.end, UTC))
            event.add("summary", f"{', '.join(shift.people)} · {schedule.name}")
            if schedule.description:
                event.add("description", schedule.description)
            calendar.add_component(event)
    return bytes(calendar.to_ical())
