"""Adding, changing and expiring silences, and what one would hide."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from opsbook.book.matchers import LabelMatcher, checked
from opsbook.book.windows import Weekly, Window
from opsbook.errors import Invalid, NotFound
from opsbook.journal.model import Entry
from opsbook.monitoring.alerting.ledger import silence_document
from opsbook.monitoring.alerting.model import During, Record, Silence
from opsbook.monitoring.alerting.routing import matchers_from

KEPT_SECONDS = 5 * 86400.0
"""For which a silence that is over is still listed."""

_MOST_MATCHERS, _LONGEST = 50, 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A silence as somebody asks for it.

    Args:
        ends_at: None only with `weekly` or `during`: until it is expired.
        id: of the one that is changed; empty: a new one.
    """

    matchers: tuple[LabelMatcher, ...]
    starts_at: float
    ends_at: float | None
    comment: str
    created_by: str
    weekly: Weekly | None = None
    timezone: str = "UTC"
    during: During | None = None
    id: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be written down: the silences by id (None: gone), and the events."""

    silences: dict[str, Silence | None]
    entries: tuple[Entry, ...]

    def documents(self) -> dict[str, object]:
        return dict(silence_document(name, silence) for name, silence in self.silences.items())


def added(
    wanted: Wanted, known: dict[str, Silence], *, now: float, new_id: Callable[[], str], actor: str
) -> tuple[Silence, Change]:
    """A silence that begins, or one that is changed: one whose matchers change, or that is over, is a new one.

    Raises:
        Invalid: it would hide everything, never hold, or hold for ever without hours.
        NotFound: there is none to change.
    """
    _check(wanted, now)
    matchers = matchers_from(wanted.matchers)
    silence = Silence(
        id="",
        matchers=matchers,
        starts_at=max(wanted.starts_at, now) if not wanted.id else wanted.starts_at,
        ends_at=wanted.ends_at,
        window=None if wanted.weekly is None else Window(weekly=wanted.weekly, timezone=wanted.timezone),
        during=wanted.during,
        created_by=wanted.created_by,
        comment=wanted.comment.strip(),
        created_at=now,
        updated_at=now,
    )
    changes: dict[str, Silence | None] = {}
    entries: list[Entry] = []
    old = known.get(wanted.id) if wanted.id else None
    if wanted.id and old is None:
        raise NotFound(f"there is no silence {wanted.id}", hint="opsbook silence list")
    if old is not None and not old.expired and old.matchers == matchers and _open(old, now):
        starts_at = old.starts_at if old.starts_at <= now else max(wanted.starts_at, now)
        silence = replace(silence, id=old.id, starts_at=starts_at, created_at=old.created_at)
    else:
        if old is not None and not old.expired:
            changes[old.id], entry = _ended(old, now, "replaced", actor)
            entries.append(entry)
        silence = replace(silence, id=new_id(), starts_at=max(silence.starts_at, now))
    changes[silence.id] = silence
    data = {
        **_about(silence),
        "starts_at": silence.starts_at,
        "ends_at": silence.ends_at,
        "recurring": silence.window is not None,
        "during": silence.during,
    }
    entries.append(Entry("silence.added", "silences", data, actor))
    return silence, Change(changes, tuple(entries))


def expired(name: str, known: dict[str, Silence], *, now: float, actor: str) -> Change:
    """End one now.

    Raises:
        NotFound: there is none. Invalid: it is the handbook's.
    """
    if name.startswith(("book:", "maintenance:")):
        raise Invalid(
            f"{name.partition(':')[2]} is written in the handbook",
            hint="change it there: monitoring/notifications.yaml",
            where=name,
        )
    silence = known.get(name)
    if silence is None:
        raise NotFound(f"there is no silence {name}", hint="opsbook silence list", where=name)
    if silence.expired:
        return Change({}, ())
    ended, entry = _ended(silence, now, f"expired by {actor}", actor)
    return Change({name: ended}, (entry,))


def run_out(known: Iterable[Silence], now: float) -> Change:
    """Those whose end has come are written down as over; what is over for long is forgotten."""
    silences: dict[str, Silence | None] = {}
    entries = []
    for silence in known:
        if silence.ends_at is None or now < silence.ends_at:
            continue
        if not silence.expired:
            silences[silence.id] = replace(silence, expired=True)
            entries.append(
                Entry("silence.expired", "silences", {**_about(silence), "reason": "over"}, "opsbook")
            )
        elif now >= silence.ends_at + KEPT_SECONDS:
            silences[silence.id] = None
    return Change(silences, tuple(entries))


def preview(matchers: Sequence[LabelMatcher], records: Collection[Record], now: float) -> tuple[Record, ...]:
    """The alerts that fire now and would be hidden.

    Raises:
        Invalid: a regular expression does not parse.
    """
    held = matchers_from(tuple(checked(one) for one in matchers))
    return tuple(
        record
        for record in records
        if record.firing(now) and all(one.matches(record.alert.labels) for one in held)
    )


def _check(wanted: Wanted, now: float) -> None:
    if not wanted.matchers or all(one.operator in ("=", "=~") and _fits_all(one) for one in wanted.matchers):
        raise Invalid("it would hide every alert", hint='name what it is about: alertname="HighErrorRate"')
    if len(wanted.matchers) > _MOST_MATCHERS or any(len(one.value) > _LONGEST for one in wanted.matchers):
        raise Invalid("so many and so long matchers are no silence", hint="two or three labels are enough")
    for one in wanted.matchers:
        checked(one)
    if not wanted.comment.strip():
        raise Invalid("a silence needs a comment: why may this be ignored?", hint="--comment 'ticket 4711'")
    if wanted.ends_at is None and wanted.weekly is None and wanted.during is None:
        raise Invalid("it would never end", hint="--for 2h; what is wrong for ever is a wrong rule")
    if wanted.ends_at is not None and wanted.ends_at <= max(now, wanted.starts_at):
        raise Invalid("it would be over before it begins", hint="--for 2h, or --until 2026-12-24T18:00")
    if wanted.weekly is not None and wanted.weekly.starts >= timedelta(days=1):
        raise Invalid("a day begins at 00:00", hint="--weekly 'sun 02:00-04:00'")


def _fits_all(matcher: LabelMatcher) -> bool:
    return matcher.value in (".*", "") if matcher.operator == "=~" else matcher.value == ""


def _open(silence: Silence, now: float) -> bool:
    return silence.ends_at is None or now < silence.ends_at


def _ended(silence: Silence, now: float, reason: str, actor: str) -> tuple[Silence, Entry]:
    ended = replace(silence, ends_at=now, expired=True, updated_at=now)
    return ended, Entry("silence.expired", "silences", {**_about(silence), "reason": reason}, actor)


def _about(silence: Silence) -> dict[str, object]:
    return {
        "id": silence.id,
        "matchers": [str(matcher) for matcher in silence.matchers],
        "comment": silence.comment,
    }
