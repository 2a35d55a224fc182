"""Who may do what: one table from roles to actions, and the questions that are asked of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opsbook.book.roles import ROLES, Grant, Role
from opsbook.security.model import Action, Decision, Identity

PERMITS: Final[Mapping[Role, frozenset[Action]]] = {
    "viewer": frozenset({"view"}),
    "auditor": frozenset({"view", "audit"}),
    "responder": frozenset({"view", "rollback", "abort", "restart", "scale", "silence", "on_call", "run"}),
    "operator": frozenset(
        {"view", "deploy", "scale", "restart", "rollback", "abort", "sign", "break_lock", "release_hold", "silence",
         "on_call", "run", "send"}
    ),
    "approver": frozenset({"view", "approve", "sign", "abort", "freeze"}),
    "admin": frozenset({
        "view", "audit", "deploy", "scale", "restart", "rollback", "abort", "approve", "sign", "freeze", "break_lock",
        "release_hold", "silence", "on_call", "send", "tokens", "stop", "run",
    }),
    "sender": frozenset({"send"}),
}  # fmt: skip
"""What each role may do where it is granted."""

PERSONAL: Final[frozenset[Action]] = frozenset({"approve", "sign"})
"""What only a person does of whom it is known who they are: the local operator could otherwise be two people."""

WORDS: Final[Mapping[Action, str]] = {
    "view": "look at things",
    "audit": "take the journal away",
    "deploy": "deploy",
    "scale": "scale",
    "restart": "restart",
    "rollback": "roll back",
    "abort": "abort",
    "approve": "approve",
    "sign": "sign checklists",
    "freeze": "add or lift freezes",
    "break_lock": "take locks away",
    "release_hold": "release holds",
    "silence": "silence alerts or push them",
    "send": "send metrics, logs and traces",
    "on_call": "change who is on call",
    "tokens": "make tokens and sign-in links for others",
    "stop": "end opsbook",
    "run": "run runbooks",
}


def may(identity: Identity, action: Action, environment: str | None = None) -> Decision:
    """Whether `identity` may do it in `environment`; None: to opsbook as a whole, for which a role that is granted
    in some environments only does not count."""
    where = f"in {environment}" if environment is not None else "everywhere"
    if action in PERSONAL and not identity.authenticated:
        return Decision(
            False,
            f"to {WORDS[action]} it must be known who you are: the local operator could be anybody, also who asked",
        )
    if identity.narrowed is not None and action not in PERMITS[identity.narrowed]:
        return Decision(
            False,
            f"this token of {identity.name} is narrowed to {identity.narrowed}: it may not {WORDS[action]}",
        )
    here = [grant for grant in identity.grants if _holds(grant, environment)]
    for grant in here:
        if action in PERMITS[grant.role]:
            return Decision(True, f"{identity.name} is {grant.role} {where}")
    needed = " or ".join(roles_for(action))
    roles = ", ".join(dict.fromkeys(grant.role for grant in here)) or "no role"
    place = f" in {environment}" if environment is not None else ""
    return Decision(
        False,
        f"{identity.name} may not {WORDS[action]}{place}: that needs {needed}, and they have {roles} {where}",
    )


def may_somewhere(identity: Identity, action: Action) -> Decision:
    """Whether there is any environment in which `identity` may do it."""
    places = [place for grant in identity.grants for place in (grant.environments or (None,))]
    found = next((decision for place in places if (decision := may(identity, action, place)).allowed), None)
    return found or may(identity, action)


def visible(identity: Identity) -> frozenset[str] | None:
    """The environments that `identity` may look at; None: all of them."""
    if may(identity, "view").allowed:
        return None
    named = {name for grant in identity.grants for name in grant.environments or ()}
    return frozenset(name for name in named if may(identity, "view", name).allowed)


def sees(environments: frozenset[str] | None, subject: str) -> bool:
    """Whether an event's subject (``production/web``, ``production``, ``opsbook``) is about one of `environments`."""
    return environments is None or subject.split("/", 1)[0] in environments


def roles_for(action: Action) -> tuple[Role, ...]:
    """The roles that may do it."""
    return tuple(role for role in ROLES if action in PERMITS[role])


def holders(
    roles: Mapping[str, tuple[Grant, ...]], action: Action, environment: str | None
) -> tuple[str, ...]:
    """The people whose roles let them do it, by name."""
    return tuple(
        sorted(
            person
            for person, grants in roles.items()
            if any(action in PERMITS[grant.role] and _holds(grant, environment) for grant in grants)
        )
    )


def _holds(grant: Grant, environment: str | None) -> bool:
    return grant.environments is None if environment is None else grant.holds_in(environment)
