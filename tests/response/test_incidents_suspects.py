"""What may be behind an incident: ranked by what it is, when it was, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from opsbook.response.incidents.model import Incident, IncidentAlert
from opsbook.response.incidents.suspects import MOST, suspects

T = 1_700_000_000.0
INCIDENT = Incident(
    id="inc-1", environment="production", services=("web",), started_at=T, detected_at=T + 30, declared_at=T + 35,
    alerts=(IncidentAlert("f1", {"alertname": "HighErrorRate", "service": "web"}),),
)  # fmt: skip


@dataclass(frozen=True)
class Happened:
    id: int
    at: float
    kind: str
    subject: str
    data: Mapping[str, Any] = field(default_factory=dict)
    actor: str = "ana"


def related(one: str, other: str) -> bool:
    return {one, other} in ({"web", "api"}, {"web", "db"})


def deployed(number: int, before: float, service: str = "web", kind: str = "deploy") -> list[Happened]:
    """Asked for two minutes before it went live."""
    subject, about = f"production/{service}", {"id": f"d-{number}", "kind": kind, "version": f"1.{number}"}
    return [
        Happened(number * 10, T - before - 120, "deployment.requested", subject, about),
        Happened(
            number * 10 + 1,
            T - before,
            "deployment.phase",
            subject,
            {"id": f"d-{number}", "phase": "shifting"},
        ),
        Happened(number * 10 + 2, T - before + 60, "deployment.succeeded", subject, {"id": f"d-{number}"}),
    ]


def found(*events: Happened) -> list[tuple[str, str]]:
    return [(one.kind, one.text) for one in suspects(INCIDENT, events, related=related)]


def test_a_release_shortly_before_comes_first() -> None:
    """With what it was, when it went live, and on what."""
    (first,) = suspects(INCIDENT, deployed(4, 300), related=related)
    assert (first.kind, first.subject, first.event, first.at) == ("deployment", "production/web", 40, T - 300)
    assert first.text == "web 1.4 was deployed by ana, and went live"
    assert first.why == "5m 0s before it began, on web itself"
    assert first.score > 0.85


def test_the_remedy_is_no_suspect() -> None:
    """A release that is taken back afterwards stays the first suspect."""
    back = [
        Happened(90, T + 40, "deployment.requested", "production/web", {"id": "d-9", "kind": "rollback"}),
        Happened(91, T + 45, "deployment.reverted", "production/web", {"id": "d-4"}),
        Happened(92, T + 50, "runbook.started", "production/web", {"id": "run-1", "page": "restart"}),
    ]  # fmt: skip
    assert [kind for kind, _ in found(*deployed(4, 300), *back)] == ["deployment"]


def test_the_nearer_the_likelier() -> None:
    """The service itself, what it needs, others of the environment; not another environment; not long ago."""
    order = found(
        *deployed(1, 600, "mail"), *deployed(2, 600), *deployed(3, 600, "db"), *deployed(5, 7 * 3600)
    )
    assert [text.split()[0] for _, text in order] == ["web", "db", "mail"]
    elsewhere = Happened(1, T - 60, "deployment.requested", "staging/web", {"id": "d-7", "version": "2"})
    assert found(elsewhere) == []


def test_a_secret_with_another_value() -> None:
    """Two releases are compared; the first known one says nothing."""
    about = {"version": "1.1", "secrets": {"db-password": 1, "mail": 1}}
    later = {"version": "1.2", "secrets": {"db-password": 2, "mail": 1, "new": 1}}
    order = found(
        Happened(1, T - 90_000, "release.created", "production/web", about),
        Happened(2, T - 600, "release.created", "production/web", later),
    )
    assert sorted(text for _, text in order) == [
        "the secret db-password of web has another value, since 1.2",
        "the secret new of web is new, since 1.2",
    ]


def test_everything_else() -> None:
    """The handbook, scaling, crashes, probes, other alerts; its own alerts are none."""
    other = {"alertname": "Slow", "service": "db"}
    order = found(
        Happened(1, T - 60, "book.changed", "handbook", {"services": ["web"], "commit": "0123456789abcdef"}),
        Happened(2, T - 61, "deployment.requested", "production/web", {"id": "d-1", "kind": "scale"}),
        Happened(3, T - 62, "instance.changed", "production/web", {"state": "died", "exit": "signal 9"}),
        Happened(4, T - 63, "probe.down", "production/db", {"probe": "postgres"}),
        Happened(5, T - 64, "alert.firing", "production/db", {"fingerprint": "f2", "labels": other}),
        Happened(6, T - 65, "alert.firing", "production/web", {"fingerprint": "f1", "labels": other}),
        Happened(7, T - 66, "instance.changed", "production/web", {"state": "started"}),
    )  # fmt: skip
    assert {kind for kind, _ in order} == {"book", "scaling", "crash", "dependency", "alert"}
    assert ("alert", "Slow fires for db") in order


SHORT = st.text(max_size=5)
OTHERS = st.builds(
    lambda number, before, kind, service, data: Happened(
        number, T - before, kind, f"production/{service}" if service else "opsbook", data
    ),
    st.integers(1000, 9999),
    st.floats(-600, 8 * 3600),
    st.sampled_from(
        ["book.changed", "instance.changed", "probe.down", "alert.firing", "traffic.proxy", "runbook.started",
         "deployment.reverted", "release.created"]
    ),
    st.sampled_from(["web", "db", "mail", ""]),
    st.dictionaries(
        st.sampled_from(["id", "services", "exit", "probe", "labels", "fingerprint", "secrets", "message", "page"]),
        st.text(max_size=20) | st.lists(SHORT) | st.dictionaries(SHORT, SHORT),
    ),
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(OTHERS, max_size=30), st.floats(0, 1800))
def test_whatever_else_happened_the_release_comes_first(others: list[Happened], before: float) -> None:
    """Also when events are of another shape than expected."""
    order = suspects(INCIDENT, [*others, *deployed(4, before)], related=related)
    assert order[0].subject == "production/web"
    assert order[0].kind == "deployment"
    assert len(order) <= MOST
    assert [one.score for one in order] == sorted((one.score for one in order), reverse=True)
    assert all(0 <= one.score <= 1 and one.text.isprintable() for one in order)


def test_what_was_gone_before_weighs_little() -> None:
    """A release that another one had replaced, and one that had been taken back."""
    back = Happened(29, T - 400, "deployment.rolled_back", "production/web", {"id": "d-2"})
    listed = suspects(
        INCIDENT, [*deployed(1, 900), *deployed(2, 600), back, *deployed(3, 200)], related=related
    )
    assert [(30, False), (20, True), (10, True)] == [
        (one.event, "gone before it began" in one.why) for one in listed
    ]
    assert listed[0].score > 3 * listed[1].score


def test_what_was_taken_back_afterwards_is_still_the_first_suspect() -> None:
    """That is what was done about it."""
    back = Happened(29, T + 20, "deployment.reverted", "production/web", {"id": "d-1"})
    rollback = [
        Happened(30, T + 10, "deployment.requested", "production/web", {"id": "d-2", "kind": "rollback"}),
        Happened(31, T + 15, "deployment.phase", "production/web", {"id": "d-2", "phase": "shifting"}),
    ]
    (first, *_) = suspects(INCIDENT, [*deployed(1, 60), back, *rollback], related=related)
    assert (10, False) == (first.event, "gone" in first.why)
