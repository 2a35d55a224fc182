"""What holds of every history of alerts, whatever happens in which order: found by hypothesis."""

from __future__ import annotations

from typing import Any

import test_alerting_plan as plan
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbook.monitoring.alerting.model import Silence
from opsbook.promql.series import Matcher

BOOKS = [
    plan.book_of("channels: [hook]\ngroup_interval: 10s"),
    plan.book_of(
        "channels: [hook]\ngroup_wait: 3s\ngroup_interval: 7s\nrepeat_interval: 60s\ngroup_by: ['...']\n"
        "delivery: {hook: {rate_limit: {messages: 2, per: 20s}}}"
    ),
    plan.book_of(
        "channels: [chat]\ngroup_interval: 10s\ncause_wait: 5s\n"
        "routes: [{match: {severity: critical}, channels: [hook, pager], continue: true}, {match: {service: db}}]\n"
        "inhibit: [{source: {severity: critical}, target: {severity: warning}, equal: [service]}]",
        db="",
        web="db",
    ),
]
ALERTS = st.tuples(
    st.sampled_from(["Down", "Slow"]),
    st.sampled_from(["web", "db"]),
    st.sampled_from(["critical", "warning"]),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("fire"), ALERTS),
        st.tuples(st.just("end"), ALERTS),
        st.tuples(st.just("wait"), st.integers(1, 30)),
        st.tuples(st.just("silence"), st.sampled_from(["web", "db"])),
        st.tuples(st.just("expire"), st.just("")),
    ),
    max_size=25,
)


def play(book: Any, steps: list[tuple[str, Any]]) -> tuple[Any, list[Any]]:
    """The world after a history, and all messages of it; at the end nothing is silenced and time has passed."""
    world, messages = plan.World(book), []
    for verb, what in steps:
        if verb == "wait":
            messages += world.until(what)
        elif verb == "silence":
            matcher = Matcher("service", "=", what)
            world.silences = (Silence(id="s", matchers=(matcher,), starts_at=0.0, ends_at=None),)
        elif verb == "expire":
            world.silences = ()
        else:
            name, service, severity = what
            world.hear(
                name, ended=verb == "end", service=service, severity=severity, environment="production"
            )
        messages += world.decide()
    world.silences = ()
    messages += world.until(200)
    return world, messages


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(BOOKS), STEPS)
def test_what_fires_unsuppressed_is_known_to_its_channels(book: Any, steps: list[tuple[str, Any]]) -> None:
    """However it came about: once nothing keeps it, each channel of an alert has been told that it fires."""
    world, _ = play(book, steps)
    known = {(told.channel, fingerprint) for told in world.told.values() for fingerprint in told.firing}

    missing = [
        (destination.channel, record.alert)
        for record in world.records.values()
        if record.firing(world.now) and record.fingerprint not in world.plan.suppressions
        for destination in world.router.destinations(record.alert)
        if (destination.channel, record.fingerprint) not in known
    ]
    assert [] == missing


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(BOOKS), STEPS)
def test_each_firing_that_was_told_gets_its_end_and_no_other_does(
    book: Any, steps: list[tuple[str, Any]]
) -> None:
    """Per channel and alert: ends only after a firing, and once all has ended, as the last word."""
    world, messages = play(book, steps)
    for record in list(world.records.values()):
        labels = {k: v for k, v in record.alert.labels.items() if k != "alertname"}
        world.hear(record.alert.name, ended=True, **labels)
    messages += world.until(300)

    last: dict[tuple[str, str], str] = {}
    for message in messages:
        for alert in message.resolved:
            assert "firing" == last.get((message.channel, alert.fingerprint)), "an end of what was never told"
            last[message.channel, alert.fingerprint] = "resolved"
        for alert in message.firing:
            last[message.channel, alert.fingerprint] = "firing"
    assert {"resolved"} >= set(last.values())
    assert {} == world.told


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_no_group_is_told_twice_within_its_interval(steps: list[tuple[str, Any]]) -> None:
    """And no message says nothing new, but a reminder that is due."""
    _, messages = play(BOOKS[0], steps)
    last: dict[tuple[str, str], float] = {}
    for message in messages:
        for group in message.groups:
            before = last.get((message.channel, group.key))
            assert before is None or message.at - before >= 10
            last[message.channel, group.key] = message.at
            assert group.firing or group.resolved


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_a_limited_channel_never_gets_more_than_its_limit(steps: list[tuple[str, Any]]) -> None:
    """Two messages in any twenty seconds."""
    _, messages = play(BOOKS[1], steps)
    at = [message.at for message in messages]

    assert [] == [one for index, one in enumerate(at[2:]) if one - at[index] < 20]
