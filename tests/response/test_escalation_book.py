"""Escalations in a handbook: what is wrong with them is said with its place; whom they reach."""

from __future__ import annotations

import pytest
from escalation_house import COVER, POLICY, START, book

from opsbook.book import HandbookError
from opsbook.response.escalation.chains import chain_for, default_chain, reaching
from opsbook.response.escalation.model import Subject
from opsbook.response.incidents.model import Incident, IncidentAlert, Suspect

PLAIN = POLICY.partition("escalations:")[0]


def problems(policy: str, cover: str = COVER) -> str:
    with pytest.raises(HandbookError) as raised:
        book(policy, cover)
    return "\n".join(map(str, raised.value.problems))


def test_how_it_is_written() -> None:
    """One name or several; the first step at once, later ones after five minutes."""
    (found,) = book(PLAIN + "escalations: [{name: x, steps: [{page: ana}, {page: [ben, cto]}]}]").escalations
    assert [("ana",), ("ben", "cto")] == [step.page for step in found.steps]
    assert (0.0, 300.0) == found.waits
    assert (1, 300.0, 1800.0) == (found.repeat, found.repeat_after, found.acknowledge_timeout)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("[{name: x, steps: []}]", "steps"),
        ("[{name: x, steps: [{page: []}]}]", "page"),
        ("[{name: x, steps: [{page: anna}]}]", "did you mean"),
        ("[{name: ana, steps: [{page: ana}]}]", "ana is a contact already"),
        ("[{name: on-call, steps: [{page: ana}]}]", "on-call is a schedule already"),
        ("[{name: x, steps: [{page: ana}]}, {name: x, steps: [{page: ana}]}]", "two escalations x"),
        ("[{name: x, steps: [{page: ana}], repeat_after: 1s}]", "without a pause"),
        ("[{name: x, steps: [{page: ana}], acknowledge_timeout: 5s}]", "less than a minute"),
        ("[{name: x, steps: [{page: ana, after: 5}]}]", "5s"),
        ("[{name: x, steps: [{page: ana}], repeat: 99}]", "repeat"),
    ],
)
def test_mistakes(written: str, said: str) -> None:
    """Each is refused, with what to write."""
    assert said in problems(f"{PLAIN}escalations: {written}\n")


def test_a_heartbeat_that_is_none() -> None:
    """An address that is none, a rhythm that is none."""
    assert "http" in problems("heartbeat: {url: ftp://example.com}")
    assert "from a second to a day" in problems("heartbeat: {url: http://example.com, every: 10ms}")


def test_steps_that_reach_nobody() -> None:
    """A warning for a step, an error when it is all of them; a team is its members."""
    cover = COVER.replace(
        "contacts:\n", "contacts:\n  eva: {email: eva@example.com}\n  all: {members: [eva]}\n"
    )
    found = book(f"{PLAIN}escalations: [{{name: x, steps: [{{page: all}}, {{page: ben}}]}}]", cover)
    said = [str(one) for one in found.warnings if "pages nobody" in one.message]
    assert ["incidents/policy.yaml:5: escalations[0].steps[0]"] == [
        one.partition(": this")[0] for one in said
    ]
    assert "none of its people has a channel" in problems(
        f"{PLAIN}escalations: [{{name: x, steps: [{{page: [all, eva]}}]}}]", cover
    )
    policy = PLAIN.replace("[ana, ben]", "[ana, eva]") + "escalations: [{name: x, steps: [{page: on-call}]}]"
    assert ["eva of on-call cannot be paged: there is no channel"] == [
        one.message for one in book(policy, cover).warnings if "cannot be paged" in one.message
    ]


def test_which_chain() -> None:
    """The one that is named, else the first, else the default."""
    two = PLAIN + "escalations: [{name: x, steps: [{page: ana}]}, {name: y, steps: [{page: ben}]}]"
    assert "y" == chain_for(book(two), Subject("inc-1", "", escalation="y")).name
    assert "x" == chain_for(book(two), Subject("inc-1", "", escalation="gone")).name
    assert "default" == chain_for(book(PLAIN), Subject("inc-1", "")).name


def test_the_default_chain() -> None:
    """Who is on call, the lead, the architect, the CTO, the owner: what there is of them, nobody twice."""
    cover = COVER.replace("contacts:\n", "contacts:\n  architect: {channel: ben-chat}\n")
    names = [step.page for step in default_chain(book(PLAIN, cover)).steps]
    assert [("on-call",), ("team-lead",), ("architect",), ("cto",)] == names
    assert [("cto",)] == [
        step.page for step in default_chain(book("{}", COVER.replace("team-lead", "eva"))).steps
    ]
    bare = default_chain(book("{}", "name: shop\n"))
    assert [()] == [step.page for step in bare.steps]


def test_who_is_behind_a_name() -> None:
    """A person with all ways, a team with its channel or its members, a schedule with who is on call."""
    team = "  team: {members: [ana, ben]}\n  loud: {members: [ana], channel: cto-chat}\n"
    written = book(PLAIN, COVER.replace("contacts:\n", f"contacts:\n{team}"))
    reach = reaching(written, {"on-call": ("ben",)}.get)
    assert [("ana", ("ana-chat", "ana-sms", "cto-chat"))] == [(one.person, one.ways) for one in reach("ana")]
    assert ["ana", "ben"] == [one.person for one in reach("team")]
    assert [("loud", ("cto-chat",))] == [(one.person, one.ways) for one in reach("loud")]
    assert [("ben", "on-call")] == [(one.person, one.name) for one in reach("on-call")]
    assert () == reach("nosuch")
    assert ["cto"] == [one.person for one in reach("")]


def test_an_incident_as_it_is() -> None:
    """What a page says is taken from the incidents' own model."""
    incident = Incident(
        id="inc-7",
        title="web fails",
        severity="SEV1",
        environment="production",
        services=("web", "api"),
        runbook="service-down",
        started_at=START,
        escalation="usual",
        alerts=(IncidentAlert("f", {"alertname": "A"}, summary="5 % fail"),),
        suspects=(Suspect("deployment", "production/web", "2.2 went live", START),),
    )
    found = Subject.of(incident)
    assert ("5 % fail", "2.2 went live", "production web, api") == (found.symptom, found.change, found.place)
    assert found == Subject.from_json({name: getattr(found, name) for name in Subject.__slots__})
