"""Who may do what, as the table says it."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbook.book.roles import ROLES, Grant
from opsbook.security.model import Action, Identity
from opsbook.security.plan import (
    PERMITS,
    PERSONAL,
    WORDS,
    holders,
    may,
    may_somewhere,
    roles_for,
    sees,
    visible,
)
from opsbook.security.room import local_operator

ACTIONS: tuple[Action, ...] = get_args(Action)


def person(*grants: Grant, narrowed: str | None = None, name: str = "ana") -> Identity:
    return Identity(
        name=name,
        grants=grants,
        authenticated=True,
        via="token",
        narrowed=narrowed,  # type: ignore[arg-type]
    )


def grant(role: str, *environments: str) -> Grant:
    return Grant.model_validate({"role": role, "environments": environments or None})


def test_every_action_has_words_and_somebody_who_may() -> None:
    """No action is forgotten by the table, and admin may everything."""
    assert set(ACTIONS) == set(WORDS) == set(PERMITS["admin"])
    assert set(ROLES) == set(PERMITS)
    assert all(roles_for(action) for action in ACTIONS)


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("viewer", {"view"}),
        ("auditor", {"view", "audit"}),
        ("responder", {"view", "rollback", "abort", "restart", "scale", "silence", "on_call", "run"}),
        ("approver", {"view", "approve", "sign", "abort", "freeze"}),
    ],
)
def test_a_role_may_what_it_is_for_and_nothing_else(role: str, allowed: set[str]) -> None:
    """The table, written down twice."""
    assert allowed == {action for action in ACTIONS if may(person(grant(role)), action, "production").allowed}


def test_an_operator_neither_approves_nor_makes_tokens() -> None:
    """Who deploys is not who says yes."""
    operator = person(grant("operator"))
    forbidden = {action for action in ACTIONS if not may(operator, action, "production").allowed}
    assert {"approve", "freeze", "tokens", "stop", "audit"} == forbidden


def test_a_role_holds_where_it_is_granted_only() -> None:
    """Operator in staging is nobody in production, and nobody for opsbook as a whole."""
    ben = person(grant("operator", "staging"))
    assert may(ben, "deploy", "staging").allowed
    assert not may(ben, "deploy", "production").allowed
    assert not may(ben, "deploy", None).allowed
    assert may_somewhere(ben, "deploy").allowed
    assert not may_somewhere(ben, "approve").allowed


def test_a_refusal_says_which_role_is_missing_and_which_are_there() -> None:
    """So that one knows what to ask for."""
    said = may(person(grant("viewer", "production")), "deploy", "production").why
    assert said == (
        "ana may not deploy in production: that needs operator or admin, and they have viewer in production"
    )
    assert "no role in staging" in may(person(grant("viewer", "production")), "view", "staging").why


def test_the_local_operator_may_everything_that_needs_no_known_person() -> None:
    """Else anybody at the socket could be two people."""
    operator = local_operator("root")
    assert {action for action in ACTIONS if not may(operator, action).allowed} == PERSONAL


@given(st.sets(st.sampled_from(ROLES)), st.sampled_from(ROLES), st.sampled_from(ACTIONS))
def test_a_narrowed_token_never_does_more_than_its_person_or_its_role(
    roles: set[str], narrowed: str, action: Action
) -> None:
    """It is the intersection of the two, whatever they are."""
    grants = tuple(grant(role) for role in sorted(roles))
    expected = may(person(*grants), action).allowed and action in PERMITS[narrowed]  # type: ignore[index]
    assert expected == may(person(*grants, narrowed=narrowed), action).allowed


@given(st.lists(st.tuples(st.sampled_from(ROLES), st.sets(st.sampled_from(["a", "b"]), min_size=1))))
def test_nothing_granted_in_some_places_counts_elsewhere(given_roles: list[tuple[str, set[str]]]) -> None:
    """Neither in a third environment nor for opsbook as a whole."""
    somebody = person(*(grant(role, *sorted(places)) for role, places in given_roles))
    for action in ACTIONS:
        assert not may(somebody, action, "c").allowed
        assert not may(somebody, action, None).allowed


def test_what_is_visible_follows_from_the_grants() -> None:
    """All, or the environments in which one may look; events of others are not seen."""
    assert visible(person(grant("viewer"))) is None
    assert frozenset({"staging"}) == visible(person(grant("operator", "staging")))
    assert frozenset() == visible(person())
    assert sees(None, "opsbook")
    assert sees(frozenset({"staging"}), "staging/web")
    assert not sees(frozenset({"staging"}), "staging2/web")
    assert not sees(frozenset({"staging"}), "handbook")


def test_holders_are_those_whose_roles_do_it_there() -> None:
    """By name, and without those whose role holds elsewhere."""
    roles = {"zoe": (grant("approver"),), "ben": (grant("approver", "staging"),), "al": (grant("admin"),)}
    assert ("al", "zoe") == holders(roles, "approve", "production")
    assert ("al", "ben", "zoe") == holders(roles, "approve", "staging")
