"""When who is paged: pure.

Everything is counted from when a step was really paged: after a downtime the step that is due is paged, and the next
one only after its full time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from opsbook.response.escalation.model import Escalation, Sent, Subject, Target

UNREACHED: Final = 15.0
"""Seconds after which the next step is paged when no channel of the last one takes anything."""
AGAIN: Final = 1800.0
"""Seconds after which the owner is paged again when nobody has answered at all."""
LATE: Final = 60.0
"""Seconds by which an escalation may be late before the watchdog barks."""

Reach = Callable[[str], tuple[Target, ...]]
"""Those who are behind a name of the chain now; ``""``: everybody who answers for the handbook."""
Failing = Callable[[str], bool]
"""Whether a channel did not take the last message."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something to be written down: the kind's last word, and its data."""

    kind: str
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done now.

    Args:
        escalation: as it is once the pages have been sent.
        pages: to be sent. notes: for the journal.
        next_at: when to ask again; None: nothing will be due by itself.
    """

    escalation: Escalation
    pages: tuple[Sent, ...] = ()
    notes: tuple[Note, ...] = ()
    next_at: float | None = None


def decide(escalation: Escalation, now: float, reach: Reach, failing: Failing) -> Decision:
    """Who is to be paged at `now`, and what the escalation is then."""
    state = _clock_set_back(escalation, now)
    pages: list[Sent] = []
    notes: list[Note] = []
    while (due := due_at(state, failing)) is not None and due <= now:
        if state.state == "acknowledged":
            state = _again(state, now, f"acknowledged by {state.acknowledged_by}, and not solved since")
            notes.append(Note("retriggered", {"turn": state.turn, "why": state.why}))
        elif state.state == "exhausted" or state.position == state.chain.length:
            state, found, said = _given_up(state, now, reach)
            pages += found
            notes += said
        else:
            state, found, said = _step(state, now, reach, failing)
            pages += found
            notes += said
    others = tuple(_other_ways(state, now, failing))
    if others:
        state = _with_pages(state, others)
    due = due_at(state, failing)
    return Decision(state, (*pages, *others), tuple(notes), due)


def due_at(escalation: Escalation, failing: Failing = lambda _: False) -> float | None:
    """When something is due next; None: nothing by itself."""
    if escalation.state == "ended":
        return None
    if escalation.state == "acknowledged":
        timeout = escalation.chain.acknowledge_timeout
        if not timeout or escalation.subject.state == "mitigated" or escalation.acknowledged_at is None:
            return None
        return escalation.acknowledged_at + timeout
    if escalation.state == "exhausted":
        return escalation.since + AGAIN
    wait = escalation.chain.wait(escalation.position)
    last = _last_pages(escalation)
    if last and all(failing(way) for one in last for way in (*one.ways, one.channel)):
        wait = min(wait, UNREACHED)
    return escalation.since + max(wait, escalation.hold)


def acknowledged(escalation: Escalation, by: str, at: float) -> Escalation:
    """Somebody has it."""
    if not escalation.open:
        return escalation
    return replace(escalation, state="acknowledged", acknowledged_by=by, acknowledged_at=at, why="")


def ended(escalation: Escalation, why: str, at: float) -> Escalation:
    """Nobody is paged any more."""
    return escalation if not escalation.open else replace(escalation, state="ended", ended_at=at, why=why)


def begun_again(escalation: Escalation, subject: Subject, now: float, why: str) -> Escalation:
    """From the first step, as when an incident is reopened."""
    return _again(replace(escalation, subject=subject), now, why)


def grew_worse(before: Subject, after: Subject) -> str:
    """Why people are paged anew about an incident that is worse than they were told; empty: they are not.

    An alert that makes it worse wakes also who has acknowledged it: they may have gone back to bed. A person who says
    that it is worse is awake; then those are paged who are paged about incidents so bad, if they are others.
    """
    if not after.severity or not after.severity < before.severity:
        return ""
    if after.alerts <= before.alerts and after.escalation == before.escalation:
        return ""
    return f"it is {after.severity} now, and was {before.severity}"


def newly_acknowledged(before: Subject, after: Subject) -> bool:
    """Somebody said so to the incident itself."""
    return after.acknowledged_at is not None and after.acknowledged_at != before.acknowledged_at


def hurried(escalation: Escalation, now: float) -> Escalation:
    """The next step is due now; an acknowledged escalation begins again where it stopped."""
    if not escalation.open:
        return escalation
    if escalation.state == "exhausted":
        escalation = _again(escalation, now, "asked for once more")
    wait = escalation.chain.wait(escalation.position)
    return replace(escalation, state="paging", since=now - max(wait, escalation.hold), hold=0.0)


def overdue(escalations: Iterable[Escalation], now: float) -> Iterator[tuple[Escalation, float]]:
    """Those that should have gone on more than a minute ago, with by how many seconds."""
    for one in escalations:
        due = due_at(one)
        if due is not None and now - due > LATE:
            yield one, now - due


# --- the steps of it


def _step(
    state: Escalation, now: float, reach: Reach, failing: Failing
) -> tuple[Escalation, list[Sent], list[Note]]:
    step, position = state.chain.step(state.position), state.position
    targets = _once(target for name in step.page for target in reach(name))
    moved = replace(state, position=position + 1, since=now, hold=0.0)
    if not targets:
        # Nobody is there: waiting for their answer would be in vain, so what comes next is due at once.
        moved = replace(moved, since=now - state.chain.wait(position + 1))
        return moved, [], [Note("skipped", {"page": ", ".join(step.page), "position": position})]
    found = []
    for target in targets:
        way = next((one for one in target.ways if not failing(one)), target.ways[0])
        found.append(_sent(state, position, target, way, now))
    return _with_pages(moved, found), found, []


def _given_up(state: Escalation, now: float, reach: Reach) -> tuple[Escalation, list[Sent], list[Note]]:
    number = state.position if state.state == "paging" else state.position + 1
    found = [_sent(state, number, target, way, now) for target in _once(reach("")) for way in target.ways[:1]]
    notes = [Note("exhausted", {"pages": state.paged})] if state.state == "paging" else []
    moved = replace(state, state="exhausted", position=number, since=now, hold=0.0)
    return _with_pages(moved, found), found, notes


def _other_ways(state: Escalation, now: float, failing: Failing) -> Iterator[Sent]:
    """The channel that was taken fails: the next one of the same person."""
    if state.state in {"acknowledged", "ended"}:
        return
    tried: dict[str, list[Sent]] = {}
    for page in _last_pages(state):
        tried.setdefault(page.person or page.channel, []).append(page)
    for pages in tried.values():
        if not all(failing(page.channel) for page in pages):
            continue
        taken = {page.channel for page in pages}
        first = pages[0]
        way = next((one for one in first.ways if one not in taken and not failing(one)), None)
        if way is not None:
            yield _sent(state, first.position, Target(first.person, first.name, first.ways), way, now)


def _again(state: Escalation, now: float, why: str) -> Escalation:
    return replace(
        state,
        state="paging",
        turn=state.turn + 1,
        position=0,
        since=now,
        hold=0.0,
        pages=(),
        ended_at=None,
        why=why,
    )


def _sent(state: Escalation, position: int, target: Target, way: str, now: float) -> Sent:
    named = f"{state.id}\n{state.begun_at}\n{state.turn}\n{position}\n{target.person}\n{way}"
    name = hashlib.sha256(named.encode("utf-8", "replace")).hexdigest()[:32]
    return Sent(name, now, state.turn, position, target.person, target.name, way, target.ways)


def _with_pages(state: Escalation, pages: Iterable[Sent]) -> Escalation:
    found = tuple(pages)
    return replace(state, pages=(*state.pages, *found), paged=state.paged + len(found))


def _last_pages(state: Escalation) -> tuple[Sent, ...]:
    """Those of the step that was paged last, if it is the one before the next."""
    if not state.pages:
        return ()
    last = state.pages[-1].position
    return tuple(page for page in state.pages if page.position == last and page.turn == state.turn)


def _once(targets: Iterable[Target]) -> list[Target]:
    """Nobody twice, nobody without a way."""
    found: dict[str, Target] = {}
    for target in targets:
        if target.ways:
            found.setdefault(target.person or target.ways[0], target)
    return list(found.values())


def _clock_set_back(state: Escalation, now: float) -> Escalation:
    """A clock that was set back must not make anybody wait longer than the handbook says."""
    if state.since > now:
        state = replace(state, since=now)
    if state.acknowledged_at is not None and state.acknowledged_at > now:
        state = replace(state, acknowledged_at=now)
    return state
