"""What becomes of an incident: joining, merging, reopening; clocks that jump, duplicates, labels that lie."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbook.errors import Conflict, Invalid
from opsbook.response.incidents import people, plan
from opsbook.response.incidents.figures import figures
from opsbook.response.incidents.model import SEVERITIES, Incident, Severity, severity_of, worse
from opsbook.response.incidents.plan import Heard, Rules

T = 1_700_000_000.0
MINUTE = 60.0
NEEDS = {("web", "api"), ("api", "db"), ("web", "db")}
OF: Mapping[str, Severity] = {"critical": "SEV2", "warning": "SEV3", "info": "SEV4"}


@dataclass(frozen=True)
class Alert:
    labels: Mapping[str, str]
    annotations: Mapping[str, str] = field(default_factory=dict)
    starts_at: float = T
    ends_at: float | None = None

    @property
    def fingerprint(self) -> str:
        return json.dumps(sorted(self.labels.items()))


def alert(
    name: str = "HighErrorRate",
    service: str = "web",
    environment: str = "production",
    severity: str = "critical",
    at: float = T,
    **labels: str,
) -> Alert:
    said = {"alertname": name, "service": service, "environment": environment, "severity": severity, **labels}
    return Alert({key: value for key, value in said.items() if value}, {"summary": f"{name}!"}, at)


def related(one: str, other: str) -> bool:
    return (one, other) in NEEDS or (other, one) in NEEDS


RULES = Rules(
    join_within=600.0,
    settle=120.0,
    severity_of=lambda heard: OF.get(heard.labels.get("severity", ""), "SEV2"),
    escalation_of=lambda heard, severity: "usual",
    related=related,
    update_every={"SEV1": 1800.0, "SEV2": 3600.0},
)


def opened(heard: Heard | None = None, now: float = T + 5, number: int = 1) -> Incident:
    heard = heard or alert()
    return plan.opened(number, plan.alert_of(heard), heard, RULES, now).incident


def joining(incident: Incident, heard: Heard, now: float) -> Incident | None:
    """As the room does: None when it is another incident."""
    seen = plan.alert_of(heard)
    why = plan.joins(incident, seen, RULES, now)
    return plan.joined(incident, seen, heard, why, RULES, now).incident if why else None


def ordered(incident: Incident) -> bool:
    """No time is before the one that it follows."""
    times = (incident.started_at, incident.detected_at, incident.declared_at)
    later = (incident.acknowledged_at, incident.resolved_at, incident.closed_at)
    known = [*times, *(at for at in later if at is not None)]
    return times == tuple(sorted(times)) and all(at >= incident.declared_at for at in known[3:])


def test_an_alert_opens_one() -> None:
    """With the words of the alert, since when it hurts, and how bad it is."""
    found = opened(alert(at=T - 60), T)
    assert found.id == "inc-1"
    assert found.title == "HighErrorRate!"
    assert found.slug == "web-higherrorrate"
    assert ("triage", "SEV2", "production", ("web",)) == (
        found.state, found.severity, found.environment, found.services,
    )  # fmt: skip
    assert found.started_at == T - 60
    assert found.declared_at == T
    assert found.next_update_at == T + 3600
    assert Incident.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize(
    ("heard", "now", "expected"),
    [
        (alert("ServiceDown"), T + 60, True),
        (alert("HighErrorRate", "db"), T + 60, True),
        (alert("HighErrorRate", "mail"), T + 60, False),
        (alert("HighErrorRate", "db", "staging"), T + 60, False),
        (alert("HighErrorRate", "db"), T + 700, False),
        (alert("HighErrorRate"), T + 100_000, True),
        (alert("DiskFull", "", "", instance="host-1"), T + 60, False),
        (alert("HighErrorRate", "", instance="host-1"), T + 60, False),
    ],
    ids=[
        "same service",
        "what it needs",
        "another",
        "another environment",
        "too late",
        "itself",
        "a host",
        "of the same name, but of no service",
    ],
)
def test_who_joins(heard: Alert, now: float, expected: bool) -> None:
    """The same environment, one tree of dependencies, and soon; an alert that it has is its own for ever."""
    assert expected == (joining(opened(), heard, now) is not None)


def test_alerts_without_a_service_join_by_their_host_or_name() -> None:
    """Two alerts of one machine are one incident, and so is one alert of forty; two of two are not."""
    found = opened(alert("HostDown", "", "", instance="host-1"))
    assert joining(found, alert("HostHighCpu", "", "", instance="host-1"), T + 5) is not None
    assert joining(found, alert("HostHighCpu", "", "", instance="host-2"), T + 5) is None
    assert joining(found, alert("HostDown", "", "staging", instance="host-2"), T + 5) is None
    for number in range(2, 42):
        joined = joining(found, alert("HostDown", "", "", instance=f"host-{number}"), T + 5)
        assert joined is not None
        found = joined
    assert len(found.alerts) == 41


def test_worse_is_others_business() -> None:
    """The chain of the severity it has now, whoever says so; one that the policy does not name is kept."""
    rules = replace(
        RULES,
        escalation_of=lambda heard, severity: "" if severity == "SEV2" else f"for-{severity}",
        chain_of=lambda severity: "for-SEV1" if severity == "SEV1" else "",
    )
    heard = alert(severity="warning")
    found = plan.opened(1, plan.alert_of(heard), heard, rules, T).incident
    assert found.escalation == "for-SEV3"
    worse = alert("Down", "db")
    second = plan.joined(found, plan.alert_of(worse), worse, "", rules, T + 5).incident
    assert (second.severity, second.escalation) == ("SEV2", "for-SEV3")
    worst = people.with_severity(second, "SEV1", "nobody can pay", rules, T + 9).incident
    assert worst.escalation == "for-SEV1"
    assert people.with_severity(worst, "SEV3", "some can", rules, T + 10).incident.escalation == "for-SEV1"


def test_joining_makes_it_no_less_bad() -> None:
    """When unsure the higher severity; and the services are added."""
    found = joining(opened(alert(severity="warning")), alert("Down", "db"), T + 5)
    assert found is not None
    assert (found.severity, found.services) == ("SEV2", ("web", "db"))
    again = joining(found, alert("Slow", "api", severity="info"), T + 6)
    assert again is not None
    assert again.severity == "SEV2"


def test_it_ends_by_itself_only_when_nobody_touched_it() -> None:
    """All alerts over: after a while it is resolved; a touched one is only mitigated."""
    heard = alert()
    quiet = plan.ended(opened(heard), heard.fingerprint, T + 60, T + 61).incident
    assert quiet.state == "triage"
    assert plan.settles_at(quiet, RULES) == T + 60 + 120
    over = plan.settled(quiet, T + 200).incident
    assert (over.state, over.self_resolved, over.resolved_at) == ("resolved", True, T + 200)

    touched = people.acknowledged(opened(heard), "ana", T + 30).incident
    assert (touched.state, touched.acknowledged_by, touched.acknowledged_at) == ("active", "ana", T + 30)
    after = plan.ended(touched, heard.fingerprint, T + 60, T + 61).incident
    assert (after.state, after.mitigated_at) == ("mitigated", T + 60)
    assert plan.settles_at(after, RULES) is None
    again = joining(after, alert(at=T + 300), T + 300)
    assert again is not None
    assert (again.state, again.mitigated_at) == ("active", None)


def test_the_first_acknowledgement_counts() -> None:
    """Two people at once: one has it, and nothing is said twice."""
    first = people.acknowledged(opened(), "ana", T + 30)
    second = people.acknowledged(first.incident, "ben", T + 30)
    assert (first.incident, ()) == (second.incident, second.notes)
    with pytest.raises(Conflict):
        people.acknowledged(people.resolved(first.incident, "over", T + 60).incident, "ben", T + 61)


def test_reopening() -> None:
    """It is active, unanswered, and counted; an open one stays as it is."""
    over = people.resolved(people.acknowledged(opened(), "ana", T + 9).incident, "done", T + 60).incident
    again = people.reopened(over, "it fails again", RULES, T + 90).incident
    assert ("active", 1, None, None, "") == (
        again.state, again.reopened, again.resolved_at, again.acknowledged_at, again.acknowledged_by,
    )  # fmt: skip
    assert people.reopened(again, "twice", RULES, T + 95).notes == ()
    closed = people.closed(over, "", T + 100).incident
    assert people.reopened(closed, "it fails again", RULES, T + 200).incident.closed_at is None


def test_merging() -> None:
    """The alerts, services and runs go along; what is over, merged or the same is refused."""
    one = opened(alert(severity="warning"), number=1)
    two = opened(alert("Down", "mail", at=T - 100), number=2).but(runs=("run-3",), responders=("ben",))
    part, whole = people.merged(two, one, RULES)
    assert (part.incident.state, part.incident.merged_into) == ("merged", "inc-1")
    after = whole.incident
    assert (after.severity, after.services, after.runs) == ("SEV2", ("web", "mail"), ("run-3",))
    assert (after.merged, after.responders, after.started_at) == (("inc-2",), ("ben",), T - 100)
    assert {one.alerts[0].fingerprint, two.alerts[0].fingerprint} == {a.fingerprint for a in after.alerts}
    for wrong in ((after, after), (part.incident, after), (after, part.incident)):
        with pytest.raises(Conflict):
            people.merged(*wrong, RULES)
    with pytest.raises(Conflict):
        people.reopened(part.incident, "no", RULES, T + 5)


def test_severities() -> None:
    """Written in several ways; the worse one is the one with the lower number."""
    assert [severity_of(text) for text in ("1", "sev2", " SEV3 ")] == ["SEV1", "SEV2", "SEV3"]
    with pytest.raises(Invalid):
        severity_of("SEV9")
    assert worse("SEV3", "SEV1") == "SEV1"


# --- properties

TEXTS = st.text(max_size=80) | st.sampled_from(
    [
        "\x1b[2J",
        "<script>alert(1)</script>",
        "../../etc/passwd",
        "a\nb",
        "\u202egnp.exe",
        "{{7*7}}",
        "$(id)",
        "\x00",
    ]
)
SERVICES = st.sampled_from(["web", "api", "db", "mail", ""])
TIMES = st.floats(min_value=-1e12, max_value=1e12, allow_nan=False) | st.floats(T - 7200, T + 7200)


@st.composite
def heards(draw: st.DrawFn) -> Alert:
    labels = draw(st.dictionaries(TEXTS, TEXTS, max_size=5))
    labels |= {"alertname": draw(st.sampled_from(["Down", "Slow"]) | TEXTS), "service": draw(SERVICES)}
    labels |= {"environment": draw(st.sampled_from(["production", "staging", ""]))}
    labels |= {"severity": draw(st.sampled_from(["critical", "warning", "info", ""]) | TEXTS)}
    return Alert(labels, draw(st.dictionaries(st.sampled_from(["summary", "runbook"]), TEXTS)), draw(TIMES))


@settings(deadline=None)
@given(heards(), TIMES)
def test_whatever_alerts_say_it_is_an_incident_that_can_be_shown(heard: Alert, now: float) -> None:
    """One line without control characters, a file's name, times in order, and JSON there and back."""
    found = plan.opened(1, plan.alert_of(heard), heard, RULES, now).incident
    for text in (found.title, found.runbook, *found.alerts[0].labels.values(), found.alerts[0].summary):
        assert text.isprintable()
        assert len(text) <= 300
    assert found.title
    assert found.slug.strip("-").replace("-", "").isalnum()
    assert found.slug.isascii()
    assert ordered(found)
    assert Incident.from_json(json.loads(json.dumps(found.to_json()))) == found


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["fire", "end", "ack", "resolve", "reopen", "mitigate", "settle", "close", "merge"]),
        st.integers(0, 3),
        st.floats(-3 * 3600, 3 * 3600),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(STEPS)
def test_any_life_of_an_incident_holds_together(steps: list[tuple[str, int, float]]) -> None:
    """Whatever people, alerts and clocks do, the times are in order, the state fits, the severity never falls."""
    now, found, number = T, opened(), 1
    for what, which, passed in steps:
        now += passed
        before = found
        heard = alert(f"Alert{which}", ("web", "api", "db", "web")[which], at=now)
        try:
            match what:
                case "fire":
                    joined = joining(found, heard, now) if found.open else None
                    found = joined or found
                case "end":
                    found = plan.ended(found, heard.fingerprint, now, now).incident
                case "ack":
                    found = people.acknowledged(found, "ana", now).incident
                case "resolve":
                    found = people.resolved(found, "over", now).incident
                case "reopen":
                    found = people.reopened(found, "again", RULES, now).incident
                case "mitigate":
                    found = people.mitigated(found, "better", now).incident
                case "settle":
                    due = plan.settles_at(found, RULES)
                    found = plan.settled(found, now).incident if due is not None and due <= now else found
                case "close":
                    found = people.closed(found, "", now).incident
                case "merge":
                    number += 1
                    other = opened(heard, now, number)
                    found = people.merged(other, found, RULES)[1].incident
        except Conflict:
            assert found == before
        assert ordered(found), what
        assert SEVERITIES.index(found.severity) <= SEVERITIES.index(before.severity)
        assert found.reopened >= before.reopened
        assert (found.resolved_at is None) == found.open
        assert not (found.self_resolved and found.open)
        assert len({one.fingerprint for one in found.alerts}) == len(found.alerts)
        assert all(one.ended_at is None or one.ended_at >= one.started_at for one in found.alerts)
        for value in figures([found], 0.0).values():
            if isinstance(value, dict) and "median" in value:
                assert value["median"] >= 0


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("fe"), st.integers(0, 2)), max_size=20), st.integers(1, 3))
def test_hearing_it_twice_changes_nothing(steps: list[tuple[str, int]], times: int) -> None:
    """Each message may come several times in a row, as outboxes do after a crash."""
    once = twice = opened()
    for number, (what, which) in enumerate(steps):
        heard = alert(f"Alert{which}", at=T + number)
        now = T + number + 1
        for repeat in range(times + 1):
            after = (
                joining(twice, heard, now)
                if what == "f"
                else plan.ended(twice, heard.fingerprint, now, now).incident
            )
            twice = after or twice
            if repeat == 0:
                once = twice
        assert once == twice


def test_figures() -> None:
    """Median and p90; merged ones nowhere, those that ended by themselves not where people answer."""
    found = [
        opened(number=1, now=T + 10).but(answered_at=T + 10 + 60, resolved_at=T + 1000, state="resolved"),
        opened(number=2, now=T + 10).but(answered_at=T + 10 + 120, resolved_at=T + 2000, state="resolved"),
        opened(number=3, now=T + 10).but(resolved_at=T + 300, state="resolved", self_resolved=True),
        opened(number=4, now=T + 10).but(state="merged", merged_into="inc-1"),
        opened(number=5, now=T - 5000),
    ]
    told = figures(found, T)
    assert told["incidents"] == 3
    assert told["mtta"]["count"] == 2
    assert told["mtta"]["median"] == 90.0
    assert told["mttr"]["median"] == 1000.0
    assert told["by_severity"].keys() == {"SEV2"}
    assert figures([], T)["mttr"] is None
