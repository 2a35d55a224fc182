"""``/runbooks``: every page with its evidence; one of them, to be read and run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from opsbook.book import Book
from opsbook.book.runbook_parameters import ParameterSpec, spelled, variable
from opsbook.book.runbooks import Runbook
from opsbook.errors import NotAllowed, OpsbookError
from opsbook.response.pages.asking import Fields
from opsbook.response.pages.prose import parts
from opsbook.response.pages.source import Shell, Source
from opsbook.response.pages.states import condition_of, review_of, sentence, share
from opsbook.response.runbooks.evidence import Evidence
from opsbook.response.runbooks.model import Run
from opsbook.response.runbooks.plan import order
from opsbook.response.runbooks.reach import environments_of
from opsbook.response.runbooks.views import page_view
from opsbook.security.api import signed_in
from opsbook.security.model import Decision, Identity
from opsbook.security.plan import may, may_somewhere, sees, visible

LISTED = 10
GIVEN = "param."  # before the name of a parameter, in forms and addresses
Choices = tuple[tuple[str, str], ...]


def router(source: Source, shell: Shell, route_class: type[APIRoute]) -> APIRouter:
    """The pages under ``/runbooks``."""
    routes = APIRouter(prefix="/runbooks", include_in_schema=False, route_class=route_class)

    @routes.get("")
    def listed(request: Request, text: str = "", owner: str = "") -> Response:
        identity = _looking(request)
        wanted = {"text": text, "owner": owner}
        return shell.page(
            request,
            "response/runbooks.html",
            lambda: _listed(source, identity, wanted),
            topics=("runbooks",),
        )

    @routes.get("/{name:path}")
    def page(request: Request, name: str) -> Response:
        identity = _looking(request)
        source.book().runbook(name)
        given = {
            key.removeprefix(GIVEN): value
            for key, value in request.query_params.items()
            if key.startswith(GIVEN)
        }
        incident = request.query_params.get("incident", "")
        return shell.page(
            request,
            "response/runbook.html",
            lambda: _page(source, identity, name, given, incident=incident),
            topics=("runbooks",),
        )

    @routes.post("/{name:path}")
    def start(request: Request, name: str, fields: Fields) -> Response:
        """Run it, or say what it would do."""
        identity = _looking(request)
        given = {
            key.removeprefix(GIVEN): value for key, value in fields.items() if key.startswith(GIVEN) and value
        }
        incident, plan, error = fields.get("incident", "")[:100], None, None
        try:
            places = environments_of(source.book().runbook(name), given)
            if fields.get("do") == "dry":
                plan = source.runbooks.plan(name, given)
            else:
                known = (source.incidents.get(incident).environment or None,) if incident else ()
                for place in (*(places or (None,)), *known):
                    decision = may(identity, "run", place)
                    if not decision.allowed:
                        raise NotAllowed(decision.why)
                run, _ = source.runbooks.run(
                    name, given, identity.actor, incident=incident, stepwise="stepwise" in fields
                )
                return shell.see_other(f"/runs/{run.id}")
        except OpsbookError as refused:
            error = refused
            source.book().runbook(name)  # a page that is not there has no form to show again
        return shell.page(
            request,
            "response/runbook.html",
            lambda: _page(source, identity, name, given, incident=incident, plan=plan, error=error),
            topics=("runbooks",),
            status=error.http_status if error is not None else 200,
        )

    return routes


def _looking(request: Request) -> Identity:
    identity = signed_in(request)
    decision = may_somewhere(identity, "view")
    if not decision.allowed:
        raise NotAllowed(decision.why)
    return identity


# --- the index


def _listed(source: Source, identity: Identity, wanted: Mapping[str, str]) -> dict[str, Any]:
    book, records = source.book(), source.runbooks.records
    known, tested = records.every_evidence(), source.tested()
    last = records.several([one.last for one in known.values() if one.last])
    rows = []
    for name, page in sorted(book.runbooks.items()):
        if _matches(page, book.owner_of(page), wanted):
            evidence = known.get(name, Evidence())
            rows.append(_row(source, book, page, evidence, last.get(evidence.last), tested.get(name)))
    mine = visible(identity)
    running = [run for run in reversed(records.unfinished()) if sees(mine, run.subject)]
    ended = records.runs(limit=LISTED, wanted=lambda run: run.ended and sees(mine, run.subject))
    return {
        "title": "Runbooks",
        "rows": rows,
        "wanted": wanted,
        "owners": sorted({owner for page in book.runbooks.values() if (owner := book.owner_of(page))}),
        "running": [run_row(run) for run in running],
        "runs": [run_row(run) for run in ended],
        "alerts": len({alert for page in book.runbooks.values() for alert in page.head.alerts}),
    }


def _matches(page: Runbook, owner: str | None, wanted: Mapping[str, str]) -> bool:
    said = " ".join((page.name, page.title, page.summary, *page.head.alerts)).casefold()
    return wanted["owner"] in ("", owner) and all(word in said for word in wanted["text"].casefold().split())


def _row(
    source: Source,
    book: Book,
    page: Runbook,
    evidence: Evidence,
    last: Run | None,
    tested: Mapping[str, Any] | None,
) -> dict[str, Any]:
    view = page_view(page, evidence, owner=book.owner_of(page))
    return view | {
        "last": run_row(last) if last is not None else None,
        "share": share(view["evidence"]),
        "review": review_of(page, _today(source), book.review),
        "tested": tested,
        "href": f"/runbooks/{quote(page.name)}",
    }


def run_row(run: Run) -> dict[str, Any]:
    """A run as a line of a table."""
    ended = run.ended_at if run.ended else None
    return {
        "id": run.id,
        "page": run.page,
        "title": run.title,
        "condition": condition_of(run),
        "sentence": sentence(run),
        "params": run.params,
        "by": run.requested_by,
        "automatic": run.automatic,
        "looking": run.looking,
        "alert": run.alert,
        "at": run.requested_at,
        "seconds": ended - run.started_at if ended and run.started_at else None,
    }


def _today(source: Source) -> Any:
    return datetime.fromtimestamp(source.now(), UTC).date()


# --- one page


def _page(
    source: Source,
    identity: Identity,
    name: str,
    given: Mapping[str, str],
    *,
    incident: str = "",
    plan: Mapping[str, Any] | None = None,
    error: OpsbookError | None = None,
) -> dict[str, Any]:
    book = source.book()
    page = book.runbook(name)
    mine = visible(identity)
    records = source.runbooks.records
    evidence = records.evidence(name)
    last = records.several([evidence.last] if evidence.last else []).get(evidence.last)

    def seen(run: Run) -> bool:
        return sees(mine, run.subject) or run.environment is None

    running = [run for run in reversed(records.unfinished()) if run.page == name and seen(run)]
    ended = records.runs(page=name, limit=LISTED, wanted=lambda run: run.ended and seen(run))
    return {
        "title": page.title,
        "page": page,
        "row": _row(source, book, page, evidence, last, source.tested().get(name)),
        "parts": parts(page.file, page.source, page.blocks, title=page.title),
        "fields": [_field(book, one, spec, given) for one, spec in page.head.params.items()],
        "may_run": _may_run(identity, page),
        "running": [run_row(run) for run in running],
        "runs": [run_row(run) for run in ended],
        "incident": incident,
        "plan": plan,
        "error": error,
        "commit": book.commit,
        "steps": len(page.steps),
        "blocks": len(order(page)),
        "command": _command(page, given),
    }


def _may_run(identity: Identity, page: Runbook) -> Decision:
    """Somewhere, where the form decides where; else everywhere."""
    if any(spec.type == "environment" for spec in page.head.params.values()):
        return may_somewhere(identity, "run")
    return may(identity, "run")


def _field(book: Book, name: str, spec: ParameterSpec, given: Mapping[str, str]) -> dict[str, Any]:
    """An input of the form."""
    default = "" if spec.default is None else spelled(spec.default)
    value = "" if spec.sensitive else given.get(name, default)
    return {
        "name": GIVEN + name,
        "label": name.replace("_", " "),
        "variable": variable(name),
        "spec": spec,
        "value": value,
        "required": spec.default is None,
        "choices": _choices(book, spec, value),
    }


def _choices(book: Book, spec: ParameterSpec, value: str) -> Choices:
    """What can be chosen; empty where one writes. What was given and is none of it stays, to be refused in words."""
    known: tuple[str, ...] = ()
    match spec.type:
        case "bool":
            known = ("true", "false")
        case "enum":
            known = spec.values or ()
        case "service":
            known = tuple(sorted(book.services))
        case "environment":
            known = tuple(book.environments)
    if not known:
        return ()
    kept = (value,) if value and value not in known else ()
    first = (("", "choose"),) if not value else ()
    return (*first, *((one, one) for one in (*known, *kept)))


def _command(page: Runbook, given: Mapping[str, str]) -> str:
    words = []
    for name, spec in page.head.params.items():
        if name in given and not spec.sensitive:
            words.append(f"--param {name}={shlex.quote(given[name])}")
        elif spec.default is None:
            words.append(f"--param {name}=…")
    return " ".join((f"opsbook run {page.name}", *words))
