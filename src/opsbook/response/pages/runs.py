"""``/runs``: what ran; and each run live, with the exact command and what it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.routing import APIRoute

from opsbook.book.runbooks import Block, Runbook
from opsbook.errors import NotFound, OpsbookError
from opsbook.response.pages.asking import Button, button, refusals
from opsbook.response.pages.colours import coloured, plain
from opsbook.response.pages.runbooks import GIVEN, run_row
from opsbook.response.pages.source import Shell, Source
from opsbook.response.pages.states import OUTCOMES, Condition, condition_of, sentence, step_condition
from opsbook.response.runbooks.model import Run, Step
from opsbook.response.runbooks.plan import needs_approval, order, started_steps
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.plan import may, sees, visible

LISTED = 100
TAIL_LINES = 60  # of an output, on the page; the rest is a click away
TAIL_CHARACTERS = 8000
POINT_LINES = 4  # of what failed, where it is said that it did


def router(source: Source, shell: Shell, route_class: type[APIRoute]) -> APIRouter:
    """The pages under ``/runs``."""
    routes = APIRouter(prefix="/runs", include_in_schema=False, route_class=route_class)

    @routes.get("")
    def listed(request: Request, page: str = "", outcome: str = "", by: str = "") -> Response:
        wanted = {"page": page, "outcome": outcome, "by": by}
        identity = signed_in(request)
        return shell.page(
            request, "response/runs.html", lambda: _listed(source, identity, wanted), topics=("runbooks",)
        )

    @routes.get("/{name}")
    def run(request: Request, name: str) -> Response:
        identity = signed_in(request)
        found_for(source, request, name)
        return shell.page(
            request, "response/run.html", lambda: _run(source, identity, name), topics=(f"run/{name}",)
        )

    @routes.get("/{name}/output/{number}")
    def output(request: Request, name: str, number: int) -> Response:
        """All that was kept of one try's output, as text."""
        run = found_for(source, request, name)
        if not 1 <= number <= len(run.steps):
            raise NotFound(f"{name} has no try {number}", where=name)
        found = source.runbooks.records.output(name, number)
        return PlainTextResponse(
            plain(str(found["text"])),
            headers={
                "X-Content-Type-Options": "nosniff",
                "Content-Security-Policy": "default-src 'none'; sandbox",
                "Cache-Control": "private, no-cache",
            },
        )

    return routes


def found_for(source: Source, request: Request, name: str) -> Run:
    """The run, for somebody who may look at its environment. Raises NotFound."""
    run = source.runbooks.records.run(name)
    if not may(signed_in(request), "view", run.environment).allowed:
        raise NotFound(f"there is no run {name} that you may look at", where=name)
    return run


# --- all of them


def _listed(source: Source, identity: Identity, wanted: Mapping[str, str]) -> dict[str, Any]:
    mine = visible(identity)
    records = source.runbooks.records
    all_of_them = mine is None and not wanted["outcome"] and not wanted["by"]
    found, more = records.search(
        None if all_of_them else lambda run: sees(mine, run.subject) and _matches(run, wanted),
        page=wanted["page"] or None,
        limit=LISTED,
    )
    return {
        "title": "Runs",
        "wanted": wanted,
        "rows": [run_row(run) for run in found],
        "more": more,
        "pages": sorted({*records.every_evidence(), *source.book().runbooks}),
        "outcomes": [("running", "running"), *((key, one.word) for key, one in OUTCOMES.items())],
    }


def _matches(run: Run, wanted: Mapping[str, str]) -> bool:
    outcome = run.outcome or "running"
    return wanted["outcome"] in ("", outcome) and wanted["by"].casefold() in run.requested_by.casefold()


# --- one of them


def _run(source: Source, identity: Identity, name: str) -> dict[str, Any]:
    records = source.runbooks.records
    run = records.run(name)
    view = source.runbooks.view(name)
    try:
        page: Runbook | None = records.page(run)
    except OpsbookError:
        page = None  # its text is gone; what was done is still told
    buttons = _buttons(identity, run, page, view["waiting"])
    steps = _steps(source, run, page, view["waiting"]) if page is not None else ()
    return {
        "title": f"{run.title} · {run.id}",
        "run": run,
        "view": view,
        "condition": condition_of(run),
        "sentence": sentence(run),
        "waiting": view["waiting"],
        "buttons": buttons,
        "refused": refusals(buttons),
        "steps": steps,
        "point": _point(run, steps),
        "changed": _changed(source, run),
        "again": again(run),
    }


def again(run: Run) -> str:
    """The address of its page with its parameters filled in."""
    query = urlencode({GIVEN + name: value for name, value in run.params.items()})
    return f"/runbooks/{quote(run.page)}" + (f"?{query}" if query else "")


def _changed(source: Source, run: Run) -> bool:
    """Whether the page says something else by now."""
    now = source.book().runbooks.get(run.page)
    return now is None or now.digest != run.digest


def _steps(
    source: Source, run: Run, page: Runbook, waiting: Mapping[str, Any] | None
) -> Sequence[dict[str, Any]]:
    """The blocks as the run comes to them, each with its tries; then what was undone."""
    protected = _is_protected(source, run)
    shown = [block for block in order(page) if not run.looking or block.role == "diagnose"]
    shown += [one for block in started_steps(page, run) for one in page.rollbacks_of(block.id) if run.undoing]
    at = (waiting or {}).get("step")
    found = []
    for block in shown:
        tries = [_try(source, run, one) for one in run.steps if one.step == block.id]
        last = run.last(block.id)
        current = (last is not None and last.state == "started") or block.id == at
        found.append({
            "block": block,
            "condition": _place(run, block, last, waits=block.id == at),
            "current": current,
            "tries": tries,
            "open": current or (last is not None and last.state in {"failed", "unknown"}),
            "needs_approval": needs_approval(block, automatic=run.automatic, protected=protected),
            "approved": [one for one in run.approvals if one.step == block.id],
            "undone_by": [one.id for one in page.rollbacks_of(block.id)],
        })  # fmt: skip
    return found


def _point(run: Run, steps: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """What somebody has to look at now: the step that waits for a person, or the one that did not work."""
    if run.ended and run.outcome in {"succeeded", "cancelled"}:
        return None
    for one in steps[1:]:  # the first is on the first screen anyway
        if one["condition"].state == "paused" and one["current"]:
            return {**one, "lines": one["block"].script}
    for one in reversed(steps[1:]):
        last = one["tries"][-1] if one["tries"] else None
        if last is not None and last["step"].state in {"failed", "unknown"}:
            return {**one, "lines": coloured(_ending(last["plain"]))}
    return None


def _ending(text: str) -> str:
    return "\n".join(text.rstrip().splitlines()[-POINT_LINES:])[-TAIL_CHARACTERS:]


def _place(run: Run, block: Block, last: Step | None, *, waits: bool) -> Condition:
    if waits:
        return Condition("paused", "waiting")
    if last is not None:
        return step_condition(last)
    return Condition("unknown", "not reached" if run.ended or run.undoing else "to come")


def _try(source: Source, run: Run, step: Step) -> dict[str, Any]:
    if step.state == "started":
        text, dropped, sensitive = source.runbooks.live.said(run.id, step.step), 0, False
    else:
        kept = source.runbooks.records.output(run.id, step.number)
        text, dropped, sensitive = str(kept["text"]), int(kept["dropped"]), bool(kept["sensitive"])
    tail = _tail(text)
    return {
        "step": step,
        "condition": step_condition(step),
        "plain": tail,
        "text": coloured(tail),
        "cut": len(tail) < len(text),
        "dropped": dropped,
        "sensitive": sensitive,
        "running": step.state == "started",
    }


def _tail(text: str) -> str:
    lines = text.splitlines(keepends=True)[-TAIL_LINES:]
    return "".join(lines)[-TAIL_CHARACTERS:]


def _is_protected(source: Source, run: Run) -> bool:
    environment = source.book().environments.get(run.environment or "")
    return environment is not None and environment.protect is not None


def _buttons(
    identity: Identity, run: Run, page: Runbook | None, waiting: Mapping[str, Any] | None
) -> list[Button]:
    """What can be done with it as it stands."""

    def deciding(name: str, label: str, look: str = "") -> Button:
        return button(identity, "run", run.environment, name, label, f"/runs/{run.id}/{name}", look)

    if run.ended:
        found = []
        if page is not None and run.outcome == "failed" and not run.undoing:
            found = [deciding("retry", "Retry…", "first"), deciding("skip", "Skip…")]
            found.append(deciding("resume", "Resume from…"))
        return [*found, Button("again", "Run again…", again(run), sheet=False)]
    cancel = [] if run.cancel is not None else [deciding("cancel", "Cancel…", "danger")]
    match (waiting or {}).get("what", ""):
        case "approval":
            yes = button(
                identity,
                "approve",
                run.environment,
                "approve",
                "Approve…",
                f"/runs/{run.id}/approve",
                "first",
            )
            return [yes, deciding("skip", "Skip…"), *cancel]
        case "person":
            return [deciding("done", "Done…", "first"), deciding("skip", "Skip…"), *cancel]
        case "go":
            return [deciding("done", "Go on…", "first"), deciding("skip", "Skip…"), *cancel]
        case "decision":
            return [deciding("retry", "Retry…", "first"), deciding("skip", "Skip…"), *cancel]
        case "parameters":
            return [deciding("done", "Give them…", "first"), *cancel]
    return cancel
