"""A page that leads from one environment into another: roles, approvals and limits go by all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from runbook_house import House

from opsbook.book.roles import Grant
from opsbook.errors import Conflict, OpsbookError
from opsbook.response.diagnosis.api import router as diagnosis_router
from opsbook.response.diagnosis.room import Diagnoses
from opsbook.response.runbooks.api import router
from opsbook.security.api import signed_in
from opsbook.security.model import EVERYTHING, Identity

MOVE = """\
---
params: {environment: {type: environment}, to: {type: environment, default: production}}
environments: [local]
---
```bash run id=move risk=write
echo "to $TO"
```
"""
WAIT = "---\nparams: {environment: {type: environment, default: local}}\n---\n```text manual id=wait\nIs it so?\n```\n"
LOCAL = Identity(
    name="ben", grants=(Grant(role="responder", environments=("local",)),), authenticated=True, via="token"
)
BOTH = {"environment": "local", "to": "production"}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path, {"move": MOVE, "wait": WAIT})
    yield made
    made.close()


def post(house: House, who: Identity, path: str, body: Mapping[str, Any]) -> int:
    """The status of the answer."""
    places = {"inc-1": "local", "inc-2": "production"}
    app = FastAPI()
    app.include_router(router(house.room, lambda: False, places.__getitem__))
    return post_to(app, who, f"/api/response/runs{path}", body)


def post_to(app: FastAPI, who: Identity, path: str, body: Mapping[str, Any]) -> int:
    @app.exception_handler(OpsbookError)
    async def refused(_: Request, error: OpsbookError) -> JSONResponse:
        return JSONResponse({"error": error.message}, status_code=error.http_status)

    app.dependency_overrides[signed_in] = lambda: who

    async def ask() -> int:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://opsbook") as client:
            return (await client.post(path, json=body)).status_code

    return asyncio.run(ask())


def test_a_right_in_one_environment_does_not_lead_into_another(house: House) -> None:
    """Neither by a second parameter nor by its default."""
    asked = [BOTH, {"environment": "local"}, {"environment": "local", "to": "local"}]
    found = [post(house, LOCAL, "", {"page": "move", "params": params}) for params in asked]
    assert [403, 403, 201] == found


def test_who_decides_needs_the_right_in_each_of_them(house: House) -> None:
    """Whoever may start it everywhere; the others neither end nor repeat it."""
    admin = Identity(name="ana", grants=EVERYTHING, authenticated=True, via="token")
    assert 201 == post(house, admin, "", {"page": "move", "params": BOTH})
    verbs = ("approve", "resume", "retry", "skip", "cancel")
    assert [403] * 5 == [post(house, LOCAL, f"/run-1/{verb}", {"reason": "so"}) for verb in verbs]


def test_a_run_joins_an_incident_only_by_whoever_may_act_there(house: House) -> None:
    """It is written into the record of that incident."""
    found = [post(house, LOCAL, "", {"page": "wait", "incident": name}) for name in ("inc-2", "inc-1")]
    assert [403, 201] == found


def test_an_alert_leads_nowhere_that_the_page_does_not_allow(house: House) -> None:
    """Its labels are parameters, and anybody may have sent them."""
    with pytest.raises(Conflict, match="may not start move in production"):
        house.room.run("move", BOTH, "opsbook", automatic=True, alert="Bad")


def test_a_protected_environment_is_protected_whatever_names_it(house: House) -> None:
    """A person's run of the page into production asks for what its protection asks."""
    run, _ = house.room.run("move", BOTH, "ana")
    assert house.room._is_protected(run)
    assert ("local", "production") == house.room.environments(run)


def test_a_diagnosis_joins_an_incident_only_by_whoever_may_act_there() -> None:
    """The runs of its pages would be written into the record of that incident."""
    begun: list[str] = []

    class Room:
        def begin(self, environment: str, service: str, actor: str, **asked: Any) -> str:
            begun.append(str(asked["incident"]))
            return "diag-1"

    app = FastAPI()
    places = {"inc-1": "local", "inc-2": "production"}
    app.include_router(diagnosis_router(cast("Diagnoses", Room()), lambda: False, places.__getitem__))
    bodies = [{"environment": "local", "incident": name} for name in ("inc-2", "inc-1")]
    found = [post_to(app, LOCAL, "/api/response/diagnoses", body) for body in bodies]
    assert ([403, 202], ["inc-1"]) == (found, begun)
