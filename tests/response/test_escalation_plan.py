"""When who is paged: the rules, and what holds whatever happens."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from opsbook.response.escalation.model import Chain, Escalation, Sent, Step, Subject, Target
from opsbook.response.escalation.plan import (
    AGAIN,
    UNREACHED,
    Decision,
    acknowledged,
    begun_again,
    decide,
    due_at,
    ended,
    hurried,
    overdue,
)

START = 1_000_000.0
MINUTE = 60.0
NAMES = ("ana", "ben", "eva", "nobody")


def chain(*names: str, after: float = 300.0, repeat: int = 0, timeout: float = 1800.0) -> Chain:
    steps = tuple(Step((name,), after if number else 0.0) for number, name in enumerate(names))
    return Chain("usual", steps, repeat, 300.0, timeout)


def begun(of: Chain, *, hold: float = 0.0) -> Escalation:
    return Escalation(Subject("inc-1", "web is down"), of, START, START, hold=hold)


def reach(name: str) -> tuple[Target, ...]:
    """`nobody` is a schedule that is empty tonight; the owner answers for the handbook."""
    if name == "nobody":
        return ()
    who = name or "owner"
    return (Target(who, name, (f"{who}-1", f"{who}-2")),)


def well(_: str) -> bool:
    return False


def told(decision: Decision) -> list[str]:
    return [page.channel for page in decision.pages]


def go_on(state: Escalation, *times: float, failing: frozenset[str] = frozenset()) -> list[tuple[float, str]]:
    """Who is paged when it is looked at these seconds after the start."""
    found = []
    for at in times:
        decision = decide(state, START + at, reach, failing.__contains__)
        state = decision.escalation
        found += [(at, page.channel) for page in decision.pages]
    return found


def test_one_after_the_other() -> None:
    """The first at once, the next five minutes later, and in the end the owner, again and again."""
    times = [0.0, 299.0, 300.0, 599.0, 600.0, 600.0 + AGAIN - 1, 600.0 + AGAIN]
    found = go_on(begun(chain("ana", "ben")), *times)
    assert found == [(0, "ana-1"), (300, "ben-1"), (600, "owner-1"), (600 + AGAIN, "owner-1")]


def test_it_is_repeated() -> None:
    """From the beginning, after its pause."""
    found = go_on(begun(chain("ana", "ben", repeat=1)), 0, 300, 600, 900, 1200)
    assert [who for _, who in found] == ["ana-1", "ben-1", "ana-1", "ben-1", "owner-1"]


def test_an_empty_step_takes_no_time() -> None:
    """The schedule is empty tonight: whoever comes next is paged at once, and then it takes its time again."""
    found = go_on(begun(chain("nobody", "nobody", "ana", "ben")), 0, 299, 300)
    assert found == [(0, "ana-1"), (300, "ben-1")]
    assert go_on(begun(chain("nobody", repeat=3)), 0) == [(0, "owner-1")]
    decision = decide(begun(chain("nobody", "ana")), START, reach, well)
    assert [note.kind for note in decision.notes] == ["skipped"]


def test_after_a_downtime_levels_are_not_paged_at_once() -> None:
    """An hour was slept through: the step that is due now, and the next one after its full time."""
    state = decide(begun(chain("ana", "ben", "eva")), START, reach, well).escalation
    assert go_on(state, 3600, 3601, 3899, 3900) == [(3600, "ben-1"), (3900, "eva-1")]


def test_the_diagnosis_is_waited_for() -> None:
    """Ten seconds, and not one more; a release ends it."""
    state = begun(chain("ana"), hold=10.0)
    assert go_on(state, 0, 9.9, 10) == [(10, "ana-1")]
    assert go_on(replace(state, hold=0.0), 0.1) == [(0.1, "ana-1")]


def test_an_acknowledgement_stops_it_for_a_while() -> None:
    """Then it begins anew, with another page; solving ends it."""
    state = decide(begun(chain("ana", "ben")), START, reach, well).escalation
    state = acknowledged(state, "ana", START + 60)
    assert go_on(state, 300, 1859, 1860) == [(1860, "ana-1")]
    again = decide(state, START + 1860, reach, well)
    assert [note.kind for note in again.notes] == ["retriggered"]
    assert again.pages[0].id != state.pages[0].id
    assert due_at(replace(state, subject=replace(state.subject, state="mitigated"))) is None
    assert due_at(replace(state, chain=replace(state.chain, acknowledge_timeout=0.0))) is None
    assert go_on(ended(state, "resolved", START + 90), 1860, 90_000) == []


def test_a_channel_that_fails() -> None:
    """The person's next channel at once; when none is left, the next step after fifteen seconds."""
    state = begun(chain("ana", "ben"))
    down = frozenset({"ana-1"})
    assert go_on(state, 0, 1, failing=down) == [(0, "ana-2")]
    sent = decide(state, START, reach, well).escalation
    assert go_on(sent, 1, 2, 3, failing=down) == [(1, "ana-2")]
    down = frozenset({"ana-1", "ana-2"})
    assert go_on(state, 0, 14, UNREACHED, 290, failing=down) == [(0, "ana-1"), (UNREACHED, "ben-1")]


def test_a_clock_that_is_set_back() -> None:
    """Nobody waits longer than the handbook says."""
    state = decide(begun(chain("ana", "ben")), START, reach, well).escalation
    assert go_on(state, -7200, -7200 + 299, -7200 + 300) == [(-6900, "ben-1")]


def test_somebody_asks_for_the_next() -> None:
    """At once; also after an acknowledgement, and when the chain is through."""
    state = decide(begun(chain("ana", "ben")), START, reach, well).escalation
    assert told(decide(hurried(state, START + 5), START + 5, reach, well)) == ["ben-1"]
    known = acknowledged(state, "ana", START + 5)
    assert told(decide(hurried(known, START + 9), START + 9, reach, well)) == ["ben-1"]
    through = decide(replace(state, position=2), START + 600, reach, well).escalation
    assert through.state == "exhausted"
    assert told(decide(hurried(through, START + 700), START + 700, reach, well)) == ["ana-1"]


def test_what_is_late_is_found() -> None:
    """By more than a minute, and only what is open."""
    state = decide(begun(chain("ana", "ben")), START, reach, well).escalation
    assert list(overdue([state], START + 360)) == []
    assert list(overdue([state], START + 361)) == [(state, 61.0)]
    assert list(overdue([ended(state, "resolved", START)], START + 3600)) == []


def test_as_it_is_kept() -> None:
    """Nothing is lost on the way into the database and back."""
    state = decide(begun(chain("ana", "ben")), START, reach, well).escalation
    assert Escalation.from_json(state.to_json()) == state


CHAINS = st.builds(
    Chain,
    st.just("any"),
    st.lists(
        st.builds(
            Step,
            st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(tuple),
            st.sampled_from([0.0, 30.0, 300.0, 900.0]),
        ),
        min_size=1,
        max_size=5,
    ).map(tuple),
    st.integers(0, 3),
    st.sampled_from([10.0, 300.0]),
    st.sampled_from([0.0, 60.0, 1800.0]),
)
DELAYS = st.lists(st.one_of(st.floats(0.0, 20.0), st.floats(0.0, 20_000.0)), max_size=40)


@settings(deadline=None)
@given(CHAINS, DELAYS)
def test_whenever_it_is_looked_at(of: Chain, delays: list[float]) -> None:
    """Levels are in their order and never closer together than the handbook says; some page always lies ahead."""
    state, at = begun(of), START
    pages: list[Sent] = []
    for delay in delays:
        at += delay
        decision = decide(state, at, reach, well)
        state = decision.escalation
        pages += decision.pages
        assert decision.next_at is not None
        assert decision.next_at > at
        assert decision.next_at <= at + max(AGAIN, 900.0)
        asked = decide(state, at, reach, well)
        assert not asked.pages  # a second look changes nothing
    assert len({page.id for page in pages}) == len(pages)
    for one, other in pairwise(pages):
        assert other.position >= one.position
        if other.position == one.position + 1 and other.position < of.length:
            assert other.at - one.at >= of.wait(other.position)


@settings(deadline=None)
@given(CHAINS, st.integers(0, 60))
def test_nobody_is_left_out(of: Chain, seconds: int) -> None:
    """Looked at often enough, everybody of a chain who can be reached is paged, and the owner at last."""
    state, at = begun(of), START + seconds
    found: set[str] = set()
    while state.state == "paging":
        decision = decide(state, at, reach, well)
        state = decision.escalation
        found |= {page.person for page in decision.pages}
        assert decision.next_at is not None
        at = decision.next_at
    assert found == {name for step in of.steps for name in step.page if name != "nobody"} | {"owner"}


@settings(deadline=None)
@given(CHAINS, DELAYS)
def test_a_crash_sends_the_same_again(of: Chain, delays: list[float]) -> None:
    """What was sent and not written down is decided once more, with the same ids."""
    state, at = begun(of), START
    for delay in delays:
        at += delay
        first, second = (decide(state, later, reach, well) for later in (at, at + 0.5))
        assert {page.id for page in first.pages} <= {page.id for page in second.pages}
        state = first.escalation


@settings(deadline=None)
@given(CHAINS, DELAYS, st.floats(0.0, 5000.0))
def test_who_has_answered_is_left_alone(of: Chain, delays: list[float], when: float) -> None:
    """From the acknowledgement on until it runs out, and for ever once it is solved."""
    state = decide(begun(of), START, reach, well).escalation
    answered = acknowledged(decide(state, START + when, reach, well).escalation, "ana", START + when)
    over = ended(answered, "resolved", START + when)
    at = START + when
    for delay in delays:
        at += delay
        if not of.acknowledge_timeout or at < START + when + of.acknowledge_timeout:
            assert not decide(answered, at, reach, well).pages
        assert not decide(over, at, reach, well).pages
    assert begun_again(over, over.subject, at, "opened again").state == "paging"


@settings(deadline=None)
@given(CHAINS, DELAYS, st.sets(st.sampled_from([f"{name}-{way}" for name in NAMES for way in (1, 2)])))
def test_failing_channels_only_hurry(of: Chain, delays: list[float], down: set[str]) -> None:
    """Whoever has a channel that works is never paged later for others' that do not, and nobody twice by one."""
    state, at = begun(of), START
    pages: list[Sent] = []
    for delay in delays:
        at += delay
        decision = decide(state, at, reach, down.__contains__)
        state = decision.escalation
        pages += decision.pages
        for page in decision.pages:
            assert page.channel not in down or all(way in down for way in page.ways)
    assert len({page.id for page in pages}) == len(pages)
