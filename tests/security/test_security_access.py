"""Who gets in by which door, and what stands before the routes: over the real application, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request

from opsbook.deployment.api import router as deployment_routes
from opsbook.deployment.gate_api import router as gate_routes
from opsbook.monitoring.api import router as monitoring_routes
from opsbook.security.api import in_body, requires
from opsbook.security.api import router as security_routes
from opsbook.security.plan import visible
from opsbook.security.sessions import COOKIE
from opsbook.server.access import Access
from opsbook.server.app import create_app
from opsbook.server.book_api import router as book_routes
from opsbook.server.rooms import Rooms

OWN = "the-servers-own-token-of-the-state-folder"
HOME = "http://localhost:7373"


def probing() -> APIRouter:
    """Routes that only say who asks, one of them guarded."""
    routes = APIRouter()

    @routes.api_route("/api/probe", methods=["GET", "POST"], dependencies=[requires("view")])
    async def probe(request: Request) -> dict[str, Any]:
        who = request.state.identity
        body = (await request.body()).decode()
        return {"name": who.name, "via": who.via, "actor": request.state.actor, "body": body}

    @routes.post("/api/guarded", dependencies=[requires("deploy", in_body("environment"))])
    async def guarded() -> dict[str, Any]:
        return {"done": True}

    @routes.get("/page", dependencies=[requires("view")])
    async def page(request: Request) -> dict[str, Any]:
        return {"csrf": request.state.csrf}

    @routes.api_route("/sign-in", methods=["GET", "POST"])
    async def sign_in(request: Request) -> dict[str, Any]:
        return {"somebody": request.state.identity is not None}

    return routes


def application(vault: Any) -> FastAPI:
    environments = {name: {"services": {}} for name in ("staging", "production")}
    return create_app(
        Rooms(
            routers=[probing(), security_routes(vault.security)],
            events=vault.journal,
            status=lambda environment: {"environments": environments},
            health=lambda: {"ok": True},
            stop=lambda services: None,
            security=vault.security,
        )
    )


class Door:
    """One door, asked from within this process."""

    def __init__(self, application: Any) -> None:
        self._transport = httpx.ASGITransport(application)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url=HOME) as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def delete(self, path: str, **options: Any) -> httpx.Response:
        return self.request("DELETE", path, **options)


class Doors:
    """The same application behind both doors."""

    def __init__(self, vault: Any) -> None:
        self.app = application(vault)
        self.vault = vault
        self.network = self._door(owner_only=False)
        self.socket = self._door(owner_only=True)

    def _door(self, *, owner_only: bool) -> Door:
        return Door(Access(self.app, token=OWN, owner_only=owner_only, security=self.vault.security))

    def token(self, person: str, **options: Any) -> dict[str, str]:
        secret = self.vault.security.tokens.create(person, "root", **options)[1]
        return {"Authorization": f"Bearer {secret}"}

    def cookie(self, person: str) -> tuple[dict[str, str], str]:
        secret = self.vault.security.tokens.create(person, "root")[1]
        cookie = self.vault.security.sign_in(secret)[1]
        return {"Cookie": f"{COOKIE}={cookie}"}, self.vault.security.by_cookie(cookie)[1]


@pytest.fixture
def doors(vault: Any) -> Doors:
    """Both, over one application."""
    return Doors(vault)


def who(answer: Any) -> tuple[str, str, str]:
    assert 200 == answer.status_code, answer.text
    return answer.json()["name"], answer.json()["via"], answer.json()["actor"]


def test_without_a_token_the_socket_is_the_local_operator(doors: Doors) -> None:
    """Under the name that the shell gives."""
    answer = doors.socket.get("/api/probe", headers={"X-Opsbook-Actor": "root"})
    assert ("root", "socket", "root") == who(answer)


def test_the_servers_own_token_is_the_local_operator_by_both_doors(doors: Doors) -> None:
    """Over the network the name is a claim, and marked."""
    headers = {"Authorization": f"Bearer {OWN}", "X-Opsbook-Actor": "ana"}
    assert ("ana", "socket", "ana") == who(doors.socket.get("/api/probe", headers=headers))
    assert ("ana", "server-token", "ana (token)") == who(doors.network.get("/api/probe", headers=headers))


def test_a_personal_token_is_its_person_by_both_doors_whatever_name_is_claimed(doors: Doors) -> None:
    """No header makes somebody somebody else."""
    headers = doors.token("alice") | {"X-Opsbook-Actor": "carol"}
    assert ("alice", "token", "alice") == who(doors.socket.get("/api/probe", headers=headers))
    assert ("alice", "token", "alice") == who(doors.network.get("/api/probe", headers=headers))


@pytest.mark.parametrize(
    "given", ["Bearer ops_wrong", "Bearer", "", "Basic YTpi", f"Basic {OWN}", "Bearer \xff"]
)
def test_what_is_shown_and_wrong_is_refused_also_at_the_socket(doors: Doors, given: str) -> None:
    """A mistyped token must not make one the local operator."""
    for door in (doors.socket, doors.network):
        answer = door.get("/api/probe", headers={"Authorization": given.encode("latin-1")})
        assert (401, "not_allowed") == (answer.status_code, answer.json()["error"]["kind"])
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_expired_and_revoked_tokens_are_refused(doors: Doors) -> None:
    """With the reason."""
    expired = doors.token("alice", seconds=60)
    doors.vault.clock.at += 60
    revoked = doors.token("alice")
    doors.vault.security.tokens.revoke(doors.vault.security.tokens.listed()[0].id, "root")
    for headers, word in ((expired, "expired"), (revoked, "revoked")):
        answer = doors.network.get("/api/probe", headers=headers)
        assert 401 == answer.status_code
        assert word in answer.json()["error"]["message"]


def test_a_missing_role_is_named_with_who_has_it(doors: Doors) -> None:
    """403, exit 4: which role, and whom to ask."""
    answer = doors.network.post(
        "/api/guarded", json={"environment": "production"}, headers=doors.token("ben")
    )
    error = answer.json()["error"]
    assert (403, "not_allowed", "who may: alice") == (answer.status_code, error["kind"], error["hint"])
    assert "needs operator or admin" in error["message"]
    assert 200 == doors.network.post(
        "/api/guarded", json={"environment": "staging"}, headers=doors.token("ben")
    ).status_code  # fmt: skip


@pytest.mark.parametrize(
    "body", [{}, {"environment": None}, {"environment": ["staging"]}, ["staging"], "staging", 1]
)
def test_a_request_without_a_clear_environment_needs_the_right_everywhere(doors: Doors, body: Any) -> None:
    """Somebody with a right in one place gets nowhere by leaving the place out."""
    assert 403 == doors.network.post("/api/guarded", json=body, headers=doors.token("ben")).status_code
    assert 200 == doors.network.post("/api/guarded", json=body, headers=doors.token("alice")).status_code


def test_somebody_without_a_role_may_only_ask_who_they_are(doors: Doors) -> None:
    """Being known is not being allowed."""
    headers = doors.token("erik")
    assert 403 == doors.network.get("/api/probe", headers=headers).status_code
    assert 403 == doors.network.get("/api/status", headers=headers).status_code
    assert [] == doors.network.get("/api/security/whoami", headers=headers).json()["roles"]


def test_what_is_shown_is_cut_to_where_one_may_look(doors: Doors) -> None:
    """Status and journal, for somebody with a role in one environment."""
    for subject in ("staging/web", "production/web", "opsbook"):
        doors.vault.journal.append("session.closed", subject, {"id": "s", "for": ""}, actor="test")
    headers = doors.token("ben")
    status = doors.network.get("/api/status", headers=headers).json()
    assert ["staging"] == list(status["environments"])
    events = doors.network.get("/api/journal/events", headers=headers).json()["events"]
    assert ["staging/web"] == [event["subject"] for event in events]
    assert 403 == doors.network.get("/api/journal/export", headers=headers).status_code
    assert 200 == doors.network.get("/api/journal/export", headers=doors.token("otto")).status_code


def test_a_session_is_its_person_over_the_network_only(doors: Doors) -> None:
    """At the socket a cookie means nothing: it is the local operator's door."""
    cookie, _ = doors.cookie("alice")
    assert ("alice", "session", "alice") == who(doors.network.get("/api/probe", headers=cookie))
    assert ("root", "socket", "root") == who(
        doors.socket.get("/api/probe", headers=cookie | {"X-Opsbook-Actor": "root"})
    )


def test_a_form_needs_the_csrf_token_of_its_own_session(doors: Doors) -> None:
    """In the header or in the form; that of another session does not do."""
    cookie, csrf = doors.cookie("alice")
    _, foreign = doors.cookie("alice")
    post = doors.network.post
    assert 403 == post("/api/probe", headers=cookie).status_code
    assert 403 == post("/api/probe", headers=cookie | {"X-CSRF-Token": foreign}).status_code
    assert 403 == post("/api/probe", headers=cookie, data={"csrf_token": foreign}).status_code
    assert 403 == post("/api/probe", headers=cookie, json={"csrf_token": csrf}).status_code
    assert 200 == post("/api/probe", headers=cookie | {"X-CSRF-Token": csrf}).status_code
    answer = post("/api/probe", headers=cookie, data={"csrf_token": csrf, "comment": "ü & more"})
    assert 200 == answer.status_code
    assert "comment=%C3%BC" in answer.json()["body"]  # the application reads the form once more


def test_a_form_that_is_too_large_is_refused_unread(doors: Doors) -> None:
    """Checking a token must not take all the memory."""
    cookie, csrf = doors.cookie("alice")
    answer = doors.network.post("/api/probe", headers=cookie, data={"x": "y" * 300_000, "csrf_token": csrf})
    assert 422 == answer.status_code


@pytest.mark.parametrize(
    "foreign",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:8080"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_pages_cannot_send_anything_in_somebodys_name(doors: Doors, foreign: dict[str, str]) -> None:
    """Not even with the right CSRF token, nor to the sign-in page; another port is another page."""
    cookie, csrf = doors.cookie("alice")
    headers = cookie | {"X-CSRF-Token": csrf}
    assert 403 == doors.network.post("/api/probe", headers=headers | foreign).status_code
    assert 403 == doors.network.post("/sign-in", headers=foreign).status_code
    assert 200 == doors.network.post("/api/probe", headers=headers | {"Origin": HOME}).status_code
    assert 200 == doors.network.post("/sign-in", headers={"Origin": HOME}).status_code


def test_a_program_with_a_token_needs_no_csrf_token(doors: Doors) -> None:
    """No browser sends an Authorization header by itself."""
    assert 200 == doors.network.post("/api/probe", headers=doors.token("alice")).status_code


def test_a_browser_that_is_not_signed_in_is_led_to_the_sign_in_page(doors: Doors) -> None:
    """Pages are, the API and programs are told."""
    answer = doors.network.get("/page", headers={"Accept": "text/html"})
    assert (303, "/sign-in?next=/page") == (answer.status_code, answer.headers["location"])
    assert 401 == doors.network.get("/page", headers={"Accept": "*/*"}).status_code
    assert 401 == doors.network.get("/api/probe", headers={"Accept": "text/html"}).status_code
    assert 401 == doors.network.post("/page", headers={"Accept": "text/html"}).status_code


def test_a_dead_cookie_does_not_lock_anybody_out_of_the_sign_in_page(doors: Doors) -> None:
    """It counts as none there, and as wrong elsewhere."""
    dead = {"Cookie": f"{COOKIE}=dead"}
    assert {"somebody": False} == doors.network.get("/sign-in", headers=dead).json()
    assert 401 == doors.network.get("/api/probe", headers=dead).status_code


@pytest.mark.parametrize(
    "path", ["/sign-in/../api/probe", "/static/../api/probe", "/sign-in/%2e%2e/api/probe", "//api/probe"]
)
def test_no_spelling_of_an_open_path_opens_another(doors: Doors, path: str) -> None:
    """Either nobody is there, or nobody is let in."""
    assert doors.network.get(path).status_code in {401, 404}


def test_people_look_after_their_own_tokens(doors: Doors) -> None:
    """Make, list and revoke; those of others are others'."""
    mine, network = doors.token("ben"), doors.network
    made = network.post("/api/security/tokens", json={"name": "ci"}, headers=mine).json()
    assert ("ben", True) == (made["person"], made["secret"].startswith("ops_"))
    listed = network.get("/api/security/tokens", headers=mine).json()["tokens"]
    assert {"ben"} == {token["person"] for token in listed}
    assert 2 == len(listed)
    assert 403 == network.post("/api/security/tokens", json={"for": "alice"}, headers=mine).status_code
    assert 403 == network.get("/api/security/tokens?for=alice", headers=mine).status_code
    others = network.post("/api/security/tokens", json={"for": "erik"}, headers=doors.token("alice")).json()
    assert 403 == network.delete(f"/api/security/tokens/{others['id']}", headers=mine).status_code
    assert 204 == network.delete(f"/api/security/tokens/{made['id']}", headers=mine).status_code
    headers = {"Authorization": f"Bearer {made['secret']}"}
    assert 401 == network.get("/api/probe", headers=headers).status_code


def test_a_narrowed_token_makes_nothing_wider(doors: Doors) -> None:
    """Neither by naming another role, nor by leaving it out."""
    narrow = doors.token("alice", role="viewer")
    post = doors.network.post
    assert 403 == post("/api/security/tokens", json={"role": "admin"}, headers=narrow).status_code
    assert 403 == post("/api/security/tokens", json={"for": "ben"}, headers=narrow).status_code
    assert "viewer" == post("/api/security/tokens", json={}, headers=narrow).json()["role"]


def test_an_auditor_sees_all_tokens_and_makes_none_for_others(doors: Doors) -> None:
    """Looking is not doing."""
    doors.token("ben")
    headers = doors.token("otto")
    people = {
        token["person"]
        for token in doors.network.get("/api/security/tokens", headers=headers).json()["tokens"]
    }
    assert {"ben", "otto"} == people
    assert 403 == doors.network.post("/api/security/tokens", json={"for": "ben"}, headers=headers).status_code


def test_signing_out_is_ones_own_business(doors: Doors) -> None:
    """Anybody else's needs the right to make tokens."""
    cookie, csrf = doors.cookie("ben")
    other, _ = doors.cookie("carol")
    sessions = {one.person: one.id for one in doors.vault.security.sessions.listed()}
    headers = cookie | {"X-CSRF-Token": csrf}
    assert (
        403
        == doors.network.delete(f"/api/security/sessions/{sessions['carol']}", headers=headers).status_code
    )
    assert (
        204 == doors.network.delete(f"/api/security/sessions/{sessions['ben']}", headers=headers).status_code
    )
    assert 401 == doors.network.get("/api/probe", headers=cookie).status_code
    assert 200 == doors.network.get("/api/probe", headers=other).status_code


def test_every_route_says_what_it_needs() -> None:
    """A route that forgot to is found here, and not by somebody else."""
    nothing: Any = None

    class Anything:
        def __getattr__(self, name: str) -> Any:
            return self

        def __call__(self, *arguments: Any) -> Any:
            return self

    stub: Any = Anything()
    rooms = Rooms(
        routers=[
            deployment_routes(stub),
            gate_routes(stub, stub, stub, stub),
            monitoring_routes(stub, stub, stub),
            book_routes(stub),
            security_routes(stub),
        ],
        events=stub,
        status=nothing,
        health=nothing,
        stop=nothing,
        security=stub,
    )
    routes = list(_routes(create_app(rooms).routes))
    assert len(routes) > 40
    unguarded = {f"{sorted(route.methods)} {route.path}" for route in routes if not _guarded(route)}
    assert {"['GET'] /api/health", "['GET', 'HEAD'] /api/openapi.json"} == unguarded


def _routes(found: Any) -> Iterator[Any]:
    """All of them, also those of routers within."""
    for route in found:
        inner = getattr(route, "original_router", None)
        yield from _routes(inner.routes) if inner is not None else (route,)


def _guarded(route: Any) -> bool:
    needed = route.dependant.dependencies if hasattr(route, "dependant") else ()
    return any(hasattr(one.call, "action") for one in needed)


def test_nobody_is_the_local_operator_by_default(vault: Any) -> None:
    """An application without its doorkeeper lets nobody do anything."""
    assert 401 == Door(application(vault)).get("/api/probe").status_code


def test_a_stream_ends_with_the_token_it_was_opened_with(doors: Doors) -> None:
    """And tells of an environment only while its listener may look there."""
    vault = doors.vault
    token, secret = vault.security.tokens.create("ben", "root")
    who = vault.security.by_token(secret)
    streams = doors.app.state.streams

    def now() -> frozenset[str] | None:
        return visible(vault.security.present(who))

    async def listen() -> list[str]:
        heard = []
        async for message in streams.follow(vault.journal.head().id, (), None, visible=now, ping=0.05):
            heard.append(message)
            if len(heard) == 1:
                for subject in ("production/web", "staging/web"):
                    vault.journal.append("session.closed", subject, {"id": "s", "for": ""}, actor="test")
            if "staging/web" in message:
                vault.security.tokens.revoke(token.id, "alice")
        return heard

    heard = asyncio.run(asyncio.wait_for(listen(), 20))
    assert "staging/web" in "".join(heard)
    assert "production/web" not in "".join(heard)
