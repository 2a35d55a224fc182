"""A real opsbook server shell whose deployments are canned: `python canned_server.py BOOK STATE`.

A deployment takes its steps in a fraction of a second. The version tells how it goes: ``bad`` is taken back, ``broken``
fails, ``slow`` goes on until it is aborted, ``judged`` is a canary that is judged and passes, ``worse`` one that does
not, anything else succeeds.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from fastapi.responses import StreamingResponse

import opsbook.deployment.events  # registers the kinds of events
from opsbook.errors import Conflict, Locked, NotFound
from opsbook.journal import Journal
from opsbook.server.rooms import Rooms
from opsbook.server.run import Notices, serve
from opsbook.world.hosts.clock import SystemClock

assert opsbook.deployment.events
STEPS = ("build", "start", "shift", "drain")
CHECK_INDEX = 41


class Canned:
    def __init__(self, journal: Journal, stopping: threading.Event) -> None:
        self.journal = journal
        self.stopping = stopping
        self.deployments: dict[str, dict[str, Any]] = {}
        self.aborted: set[str] = set()
        self.bodies: list[dict[str, Any]] = []
        self.points: dict[str, list[dict[str, Any]]] = {}
        self.numbers = itertools.count(1)

    def begin(self, kind: str, service: str, environment: str, version: str, actor: str) -> dict[str, Any]:
        if service == "busy":
            raise Locked(
                "production/busy is being deployed by ana",
                hint="wait, or take it away: opsbook lock release busy --in production",
                details={"holder": "ana", "reason": "deploy d-7"},
            )
        if service == "unknown":
            raise NotFound("there is no service 'unknown'", hint="did you mean web?")
        deployment = {
            "id": f"d-{next(self.numbers)}", "kind": kind, "service": service, "environment": environment,
            "version": version, "strategy": "canary", "replicas": 2, "phase": "pending", "outcome": None, "reason": "",
            "requested_by": actor, "started_at": time.time(), "finished_at": None, "previous_version": "1.0",
            "serving": "", "transitions": [], "steps": [], "log_tail": [],
        }  # fmt: skip
        self.deployments[deployment["id"]] = deployment
        self.tell(deployment, "requested", {"kind": kind})
        threading.Thread(target=self.advance, args=(deployment,), daemon=True).start()
        return deployment

    def tell(self, deployment: dict[str, Any], kind: str, data: dict[str, Any]) -> None:
        subject = f"{deployment['environment']}/{deployment['service']}"
        data = {"id": deployment["id"], "version": deployment["version"], **data}
        self.journal.append(f"deployment.{kind}", subject, data, actor="canned")

    def advance(self, deployment: dict[str, Any]) -> None:
        version = deployment["version"]
        if version in {"judged", "worse"}:
            return self.judge(deployment, good=version == "judged")
        for name in STEPS:
            step = {"name": name, "status": "running", "seconds": 0.0, "detail": f"{name} of {version}"}
            deployment["steps"] = [*deployment["steps"], step]
            deployment["phase"] = "starting"
            self.tell(deployment, "phase", {"phase": "starting", "message": name})
            self.stopping.wait(0.05)
            while version == "slow" and deployment["id"] not in self.aborted and not self.stopping.wait(0.02):
                pass
            if deployment["id"] in self.aborted:
                return self.end(deployment, step, "aborted", f"aborted by {deployment['requested_by']}")
            if version in {"bad", "broken"} and name == "shift":
                deployment["log_tail"] = ["starting up", "panic: no database"]
                outcome = "rolled_back" if version == "bad" else "failed"
                return self.end(deployment, step, outcome, "health: 0 of 2 instances became healthy")
            step.update(status="ok", seconds=0.05)
        return self.end(deployment, step, "succeeded", "")

    def judge(self, deployment: dict[str, Any], *, good: bool) -> None:
        """A canary with a step at 10 %, and points that come while it is held."""
        stem = f"web-staging-{deployment['id'].replace('-', '')}"
        deployment.update(
            phase="analysing", strategy_type="canary", step=0, steps_total=2, hold_seconds=30.0,
            weights={deployment["version"]: 10, "1.0": 90}, gates=[], waiting_for="26 s more at this weight",
            members=[
                {"instance": f"{stem}-1", "version": deployment["version"], "role": "canary", "healthy": True,
                 "state": "running"},
                {"instance": "web-staging-d1-1", "version": "1.0", "role": "stable", "healthy": False,
                 "state": "starting"},
            ],
            steps=[
                {"name": "start instances", "status": "ok", "seconds": 4.1, "detail": ""},
                {"name": "analyse", "status": "running", "seconds": 4.0, "detail": "watching for 30 s"},
            ],
        )  # fmt: skip
        rate = 0.0 if good else 0.5
        verdicts = ["inconclusive"] * 8 + ["pass" if good else "fail"]
        for number, verdict in enumerate(verdicts):
            requests = 20 * (number + 1)
            self.points.setdefault(deployment["id"], []).append(
                {
                    "at": 1000.0 + number, "step": 0, "difference": rate, "lower": rate - 2 / requests**0.5,
                    "upper": rate + 2 / requests**0.5, "verdict": verdict,
                    "canary": {"requests": requests, "errors": int(rate * requests), "rate": rate},
                    "stable": {"requests": 9 * requests, "errors": 0, "rate": 0.0},
                }
            )  # fmt: skip
            reason = (
                f"{requests} of 50 requests to judge by"
                if verdict == "inconclusive"
                else f"errors {rate:.0%}"
            )
            rule = {"name": "error_rate against stable", "verdict": verdict, "value": rate, "threshold": 0.0,
                    "samples": requests, "evidence": 3.0, "detail": reason}  # fmt: skip
            deployment["analysis"] = {"verdict": verdict, "reason": reason, "rules": [rule]}
            self.tell(deployment, "phase", {"phase": "analysing", "message": verdict})
            self.stopping.wait(0.05)
        self.stopping.wait(0.3)
        deployment.update(weights={}, members=[], waiting_for="")
        step = deployment["steps"][-1]
        self.end(deployment, step, "succeeded" if good else "rolled_back", "" if good else "errors 50%")

    def end(self, deployment: dict[str, Any], step: dict[str, Any], outcome: str, reason: str) -> None:
        good = outcome == "succeeded"
        step.update(status="ok" if good else "failed", seconds=0.05)
        served = deployment["version"] if good else deployment["previous_version"]
        phase = "done" if good else "rolled_back"
        deployment.update(
            phase=phase, outcome=outcome, reason=reason, finished_at=time.time(),
            serving=f"{deployment['service']} {served} serves {deployment['environment']} with 2 instances",
            transitions=[{"at": time.time(), "phase": phase, "message": reason or "all is well",
                          "evidence": {"healthy": 2 if good else 0}}],
        )  # fmt: skip
        self.tell(deployment, outcome, {"kind": deployment["kind"], "reason": reason, "seconds": 0.2})


def instance(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"web-{number}", "state": "running", "healthy": True, "address": "127.0.0.1:9", "pid": 1,
        "started_at": time.time() - 300, "restarts": 0, "release": "web-aa", "last_exit": None, **changes,
    }  # fmt: skip


def service(**changes: Any) -> dict[str, Any]:
    return {
        "release": "web-aa", "version": "1.0", "strategy": "canary", "replicas": 2, "healthy": 2,
        "instances": [instance(1), instance(2)], "weights": {"web-aa": 100}, "url": "http://127.0.0.1:8080/",
        "previous": None, "deployment": None, "held": [], **changes,
    }  # fmt: skip


def status(environment: str | None) -> dict[str, Any]:
    crashed = instance(3, healthy=False, state="backoff", restarts=4, last_exit={"code": 1, "signal": None})
    environments = {
        "production": {
            "entry": "http://127.0.0.1:8080",
            "proxy": {"alive": True, "generation": 3, "version": "1.40"},
            "services": {
                "api": service(),
                "web": service(healthy=1, instances=[instance(1), crashed]),
                "worker": service(release="", version="", healthy=0, replicas=1, instances=[], weights={}),
            },
        },
        "staging": {
            "entry": "http://127.0.0.1:8081",
            "proxy": {"alive": True},
            "services": {"api": service()},
        },
    }
    chosen = {name: one for name, one in environments.items() if environment in (None, name)}
    return {"environments": chosen, "book": {"where": "/ops", "commit": "", "digest": "ff", "problems": []}}


def routes(canned: Canned) -> APIRouter:
    router = APIRouter(prefix="/api")

    def accepted(*deployments: dict[str, Any]) -> dict[str, Any]:
        return {"id": "r-1", "deployments": list(deployments)}

    @router.get("/deployment/plan")
    def plan(environment: str | None = None) -> dict[str, Any]:
        changes = [
            {
                "symbol": "-",
                "service": "old",
                "summary": "1.0 is not in the handbook any more",
                "details": [],
            },
            {
                "symbol": "~",
                "service": "web",
                "summary": "1.0 → 2.0 · canary",
                "details": ["env.LEVEL: info → debug"],
            },
            {"symbol": "+", "service": "worker", "summary": "1.0 · 1 instance", "details": []},
        ]
        total = {"add": 1, "change": 1, "remove": 1}
        one = {"environment": "production", "check_index": CHECK_INDEX, "changes": changes, "summary": total}
        none = {"environment": "staging", "check_index": 7, "changes": [], "summary": {}}
        plans = [{**one, "protected": True}, {**none, "protected": False}]
        return {"plans": [p for p in plans if environment in (None, p["environment"])]}

    @router.post("/deployment/deployments", status_code=202)
    def deploy(request: Request, body: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        canned.bodies.append(body)
        if body["check_index"] not in (None, CHECK_INDEX):
            raise Conflict("the plan is stale", hint="look again: opsbook plan production")
        actor = request.state.actor
        begun = [
            canned.begin("deploy", name, body["environment"], body["version"] or "2.0", actor)
            for name in body["services"]
        ]
        return accepted(*begun)

    @router.get("/test/bodies")
    def bodies() -> list[dict[str, Any]]:
        return canned.bodies

    @router.post("/deployment/{kind}", status_code=202)
    def change(request: Request, kind: str, body: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        canned.bodies.append({"kind": kind, **body})
        verb = {"rollbacks": "rollback", "scalings": "scale", "restarts": "restart"}[kind]
        version = body.get("to") or "1.0"
        return accepted(
            canned.begin(verb, body["service"], body["environment"], version, request.state.actor)
        )

    @router.post("/deployment/deployments/{name}/abort")
    def abort(name: str, body: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        found = one(name)
        canned.aborted.add(name)
        return found

    @router.get("/deployment/deployments")
    def listed(limit: int = 50) -> dict[str, Any]:
        return {"deployments": list(reversed(canned.deployments.values()))[:limit]}

    @router.get("/deployment/deployments/{name}")
    def one(name: str) -> dict[str, Any]:
        if name not in canned.deployments:
            raise NotFound(f"there is no deployment {name}", hint="opsbook deployments list", where=name)
        return canned.deployments[name]

    @router.get("/deployment/deployments/{name}/analysis")
    def analysis(name: str) -> dict[str, Any]:
        if name not in canned.points:
            raise NotFound(f"nothing is judged of {name}")
        return {"points": canned.points[name], **canned.deployments[name]["analysis"]}

    @router.get("/deployment/deployments/{name}/retrospective")
    def judged_again(name: str, strategy: str | None = None) -> dict[str, Any]:
        would = {"verdict": "fail", "reason": "errors 50%", "stopped": True, "seconds": 3.0, "step": 0,
                 "requests": 80, "rules": []}  # fmt: skip
        return {
            "deployment": name, "service": "web", "environment": "staging", "version": "worse",
            "strategy": strategy or "canary", "readings": 9 if name in canned.points else 0,
            "was": {"strategy": "canary", "outcome": "rolled_back", "reason": "errors 50%", "seconds": 9.0},
            "would": would if name in canned.points else None,
        }  # fmt: skip

    @router.get("/deployment/locks")
    def locks() -> dict[str, Any]:
        now = time.time()
        lock = {"subject": "production/web", "holder": "ana", "reason": "deploy d-1", "token": 3,
                "acquired_at": now - 5, "expires_at": now + 10}  # fmt: skip
        return {"locks": [lock]}

    @router.delete("/deployment/locks/{environment}/{service}", status_code=204)
    def release(environment: str, service: str) -> Response:
        canned.bodies.append({"released": f"{environment}/{service}"})
        return Response(status_code=204)

    def record(service: str, environment: str, text: str) -> dict[str, Any]:
        return {
            "at": 1.5, "environment": environment, "service": service, "instance": f"{service}-1", "release": "",
            "level": "", "text": text, "fields": {}, "trace_id": "", "span_id": "",
        }  # fmt: skip

    @router.get("/monitoring/logs/search")
    def logs(
        service: str, environment: str, grep: str | None = None, since: str | None = None, limit: int = 100
    ) -> Any:
        canned.bodies.append({"grep": grep, "since": since, "limit": limit})
        texts = [text for text in ("three", "two", "one") if not grep or grep in text]
        found = [record(service, environment, text) for text in texts]
        return {"records": found, "next": None, "partial": False, "back_to": 0.0}

    @router.get("/monitoring/logs/follow")
    def follow(service: str, environment: str) -> Any:
        def endless() -> Iterator[str]:
            for number in itertools.count():
                if canned.stopping.wait(0.05):
                    return
                yield json.dumps(record(service, environment, f"line {number}")) + "\n"

        return StreamingResponse(endless())

    @router.get("/broken")
    def broken() -> None:
        raise RuntimeError("the password is hunter2")

    @router.get("/stuck")
    def stuck() -> None:
        time.sleep(60)

    return router


def build(*, book: Path, state: Path, stopping: threading.Event) -> Rooms:
    if (book / "refuse").exists():
        raise Conflict("this handbook refuses to be served", hint="remove the file `refuse`")
    journal = Journal.open(state / "journal.sqlite", keys=state / "keys", clock=SystemClock())
    canned = Canned(journal, stopping)

    def stop(services: bool) -> None:
        if services and (book / "undying").exists():
            raise Conflict("web-1 does not end", hint="kill it")
        (state / "stopped").write_text("services" if services else "loops")

    def close() -> None:
        journal.close()
        (state / "closed").write_text("yes")

    return Rooms(routers=[routes(canned)], events=journal, status=status, health=dict, stop=stop, close=close)


if __name__ == "__main__":
    serve(
        build,
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        port=int(sys.argv[3]) if len(sys.argv) > 3 else 0,
        notices=Notices(ready=lambda running: print(running.url, flush=True)),
    )
