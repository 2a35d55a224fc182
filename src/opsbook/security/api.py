"""What stands before every route, and the routes of security itself: ``/api/security/...``.

A route says what it needs: ``dependencies=[requires("deploy", in_body("environment"))]``. Whoever is asking has been
put into ``request.state.identity`` by the server; where nobody has, nobody may do anything.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from opsbook.book.roles import Role
from opsbook.errors import NotAllowed
from opsbook.security.model import Action, Identity, NotSignedIn
from opsbook.security.plan import may, may_somewhere, visible
from opsbook.security.room import Security
from opsbook.security.tokens import DEFAULT_SECONDS, LONGEST_SECONDS

Where = Callable[[Request], "str | Awaitable[str | None] | None"]


class Marked(Protocol):
    """A dependency that says which action it guards, so that a test can find routes without one."""

    action: Action | None


def signed_in(request: Request) -> Identity:
    """Who is asking. Raises NotSignedIn when nobody is known."""
    found = getattr(request.state, "identity", None)
    if not isinstance(found, Identity):
        raise NotSignedIn("a valid token is needed", hint="send `Authorization: Bearer TOKEN`")
    return found


Who = Annotated[Identity, Depends(signed_in)]


def seen(who: Who) -> frozenset[str] | None:
    """The environments that whoever is asking may look at; None: all."""
    return visible(who)


Visible = Annotated[frozenset[str] | None, Depends(seen)]


def watching(request: Request, who: Who) -> Callable[[], frozenset[str] | None]:
    """For a stream: the environments that whoever opened it may look at now.

    The function raises NotSignedIn once their token or session is over, and NotAllowed once they may look nowhere.
    """
    security = _security(request)

    def now() -> frozenset[str] | None:
        present = who if security is None else security.present(who)
        found = visible(present)
        if found is not None and not found:
            raise NotAllowed(f"{who.name} may not look any more")
        return found

    return now


Watching = Annotated[Callable[[], frozenset[str] | None], Depends(watching)]


def requires(action: Action, environment_of: Where | None = None) -> Any:
    """A dependency that lets in who may do `action` in the environment of the request.

    Args:
        environment_of: None: the action is upon opsbook as a whole.
    """

    async def check(request: Request, who: Who) -> None:
        environment = None if environment_of is None else environment_of(request)
        if inspect.isawaitable(environment):
            environment = await environment
        _refuse(request, who, action, environment)

    return _marked(check, action)


def requires_somewhere(action: Action) -> Any:
    """As `requires`, for lists that are cut to what whoever is asking may see (`Visible`)."""

    def check(request: Request, who: Who) -> None:
        decision = may_somewhere(who, action)
        if not decision.allowed:
            security = _security(request)
            if security is not None:
                security.refuse_unless_somewhere(who, action)
            raise NotAllowed(decision.why)

    return _marked(check, action)


def requires_nothing() -> Any:
    """Anybody who is signed in: what it shows or changes is their own."""

    def check(who: Who) -> None:
        del who

    return _marked(check, None)


def _marked(check: Callable[..., Any], action: Action | None) -> Any:
    check.action = action  # type: ignore[attr-defined]
    return Depends(check)


def allowing(request: Request, who: Who) -> Callable[[Action, str | None], None]:
    """For a route that knows only later what it needs: a function that raises NotAllowed."""

    def allow(action: Action, environment: str | None) -> None:
        _refuse(request, who, action, environment)

    return allow


def in_query(name: str) -> Where:
    """The environment is in the query."""
    return lambda request: request.query_params.get(name)


def in_path(name: str) -> Where:
    """The environment is in the path."""
    return lambda request: str(request.path_params[name])


def in_body(name: str) -> Where:
    """The environment is in the JSON body; one that is missing or no text needs the right everywhere."""

    async def find(request: Request) -> str | None:
        try:
            body = json.loads(await request.body())
        except ValueError:
            return None
        value = body.get(name) if isinstance(body, dict) else None
        return value if isinstance(value, str) else None

    return find


def _refuse(request: Request, who: Identity, action: Action, environment: str | None) -> None:
    security = _security(request)
    if security is not None:
        security.refuse_unless(who, action, environment)
        return
    decision = may(who, action, environment)
    if not decision.allowed:
        raise NotAllowed(decision.why)


def _security(request: Request) -> Security | None:
    found = getattr(request.state, "security", None)
    return found if isinstance(found, Security) else None


class TokenBody(BaseModel):
    """A token for a person; left out: for oneself."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    person: str | None = Field(None, alias="for")
    name: str = Field("", max_length=64)
    seconds: float = Field(DEFAULT_SECONDS, ge=60, le=LONGEST_SECONDS)
    role: Role | None = None


class LinkBody(BaseModel):
    """A sign-in link for a person; left out: for oneself."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    person: str | None = Field(None, alias="for")


def router(security: Security) -> APIRouter:
    """All routes of the room."""
    routes = APIRouter(prefix="/api/security", tags=["security"])

    @routes.get("/whoami", dependencies=[requires_nothing()])
    def whoami(who: Who) -> dict[str, Any]:
        """Who opsbook takes you for, and what you may do."""
        return who.to_json()

    @routes.get("/tokens", dependencies=[requires_nothing()])
    def tokens(who: Who, person: Annotated[str | None, Query(alias="for")] = None) -> dict[str, Any]:
        """Your tokens; with the right to make tokens or to audit, everybody's."""
        if person is None and not _looks_after_all(who):
            person = who.name
        _own_or(security, who, person, audit=True)
        known = security.tokens
        return {"tokens": [token.shown(known.last_used(token.id)) for token in known.listed(person)]}

    @routes.post("/tokens", status_code=201, dependencies=[requires_nothing()])
    def create(body: TokenBody, who: Who) -> dict[str, Any]:
        """Make a token. Its secret is in this answer and nowhere else."""
        person = security.person(body.person or who.name)
        _own_or(security, who, person)
        role = body.role or who.narrowed
        if who.narrowed is not None and role != who.narrowed:
            raise NotAllowed(f"a token made with one that is narrowed to {who.narrowed} is narrowed the same")
        token, secret = security.tokens.create(
            person, who.actor, name=body.name, role=role, seconds=body.seconds
        )
        return {**token.shown(0.0), "secret": secret}

    @routes.delete("/tokens/{name}", status_code=204, dependencies=[requires_nothing()])
    def revoke(name: str, who: Who) -> Response:
        """Make a token worthless, and end the sessions that were opened with it."""
        _own_or(security, who, security.tokens.get(name).person)
        security.tokens.revoke(name, who.actor)
        return Response(status_code=204)

    @routes.post("/login-links", status_code=201, dependencies=[requires_nothing()])
    def login_link(body: LinkBody, who: Who) -> dict[str, Any]:
        """Make a link that signs in once: ``/sign-in/SECRET``."""
        person = security.person(body.person) if body.person else who.name if who.authenticated else None
        if body.person:
            _own_or(security, who, person)
        link, secret = security.sessions.offer_link(who, person)
        return {"path": f"/sign-in/{secret}", "for": person, "expires_at": link.expires_at}

    @routes.get("/sessions", dependencies=[requires("tokens")])
    def sessions() -> dict[str, Any]:
        """Who is signed in."""
        return {"sessions": [one.model_dump(exclude={"digest"}) for one in security.sessions.listed()]}

    @routes.delete("/sessions/{name}", status_code=204, dependencies=[requires_nothing()])
    def sign_out(name: str, who: Who) -> Response:
        """Sign a browser out: one's own, or anybody's with the right to make tokens."""
        if name != who.credential:
            security.refuse_unless(who, "tokens", None)
        security.sessions.close(name, who.actor)
        return Response(status_code=204)

    return routes


def _looks_after_all(who: Identity) -> bool:
    return any(may(who, action).allowed for action in ("tokens", "audit"))


def _own_or(security: Security, who: Identity, person: str | None, *, audit: bool = False) -> None:
    """One's own tokens are one's own business; others' need the right to make tokens (or, to look, to audit)."""
    if person is not None and who.authenticated and person == who.name:
        return
    if audit and may(who, "audit").allowed:
        return
    security.refuse_unless(who, "tokens", None)
