"""What one decides about a run: approve a step, say that one is done, try again, pass over, resume, cancel."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from opsbook.book.runbooks import Block, Runbook
from opsbook.errors import Conflict, NotAllowed
from opsbook.response.pages.asking import Field, Fields, Question, act, ask, kept
from opsbook.response.pages.runbooks import GIVEN
from opsbook.response.pages.runs import found_for
from opsbook.response.pages.source import Json, Shell, Source
from opsbook.response.runbooks.model import Run
from opsbook.response.runbooks.plan import order, started_steps
from opsbook.security.model import Identity
from opsbook.security.plan import may

Do = Callable[[Source, Run, Identity, dict[str, str]], object]
Ask = Callable[[Source, Run], Question]


def router(source: Source, shell: Shell, route_class: type[APIRoute]) -> APIRouter:
    """Each action: GET asks, POST does."""
    routes = APIRouter(prefix="/runs/{name}", include_in_schema=False, route_class=route_class)
    for verb, (question, do) in _VERBS.items():
        _add(routes, source, shell, verb, question, do)
    return routes


def _add(routes: APIRouter, source: Source, shell: Shell, verb: str, question: Ask, do: Do) -> None:
    @routes.get(f"/{verb}", name=f"ask_{verb}")
    def asking(request: Request, name: str) -> Response:
        return ask(shell, request, question(source, found_for(source, request, name)))

    @routes.post(f"/{verb}", name=verb)
    def doing(request: Request, name: str, fields: Fields) -> Response:
        run = found_for(source, request, name)

        def done() -> None:
            identity = request.state.identity
            for place in source.runbooks.environments(run):
                decision = may(identity, "approve" if verb == "approve" else "run", place)
                if not decision.allowed:
                    raise NotAllowed(decision.why)
            do(source, run, identity, fields)

        return act(shell, request, kept(question(source, run), fields), done, f"/runs/{run.id}")


# --- what each of them does


def _approve(source: Source, run: Run, who: Identity, fields: dict[str, str]) -> object:
    return source.runbooks.approve(
        run.id,
        who,
        step=fields.get("step", ""),
        comment=fields.get("comment", ""),
        bound=fields.get("binding", ""),
    )


def _done(source: Source, run: Run, who: Identity, fields: dict[str, str]) -> object:
    waiting, block = _waiting(source, run)
    if (at := fields.get("at")) and at != _place(waiting, block):
        # Pressed twice, or on a page from before: what waits now is something else, and nobody has done that.
        raise Conflict(f"{run.id} does not wait for that any more", hint=f"opsbook runs show {run.id}")
    given = {key.removeprefix(GIVEN): value for key, value in fields.items() if key.startswith(GIVEN)}
    return source.runbooks.resume(run.id, who.actor, note=fields.get("note", ""), params=given)


def _resume(source: Source, run: Run, who: Identity, fields: dict[str, str]) -> object:
    return source.runbooks.resume(run.id, who.actor, step=fields["step"], note=fields.get("note", ""))


def _retry(source: Source, run: Run, who: Identity, fields: dict[str, str]) -> object:
    return source.runbooks.retry(
        run.id, who.actor, step=fields.get("step", ""), reason=fields.get("reason", "")
    )


def _skip(source: Source, run: Run, who: Identity, fields: dict[str, str]) -> object:
    return source.runbooks.skip(
        run.id, who.actor, step=fields.get("step", ""), reason=fields.get("reason", "")
    )


def _cancel(source: Source, run: Run, who: Identity, fields: dict[str, str]) -> object:
    return source.runbooks.cancel(run.id, who.actor, fields.get("reason", ""))


# --- what each of them asks


def _ask_approve(source: Source, run: Run) -> Question:
    waiting, block = _waiting(source, run)
    known = waiting is not None and waiting["what"] == "approval" and block is not None
    return Question(
        action="approve",
        environment=run.environment,
        title=f"Approve {block.id if block else 'a step'} of {run.id}?",
        target=_target(run),
        effect=(
            f"“{block.title or block.id}” runs {_where(run, block)}, asked for by {run.requested_by}",
            f"risk: {block.risk}; it may take {block.timeout:g} s",
            "your approval is for exactly this text, these parameters and these machines, for an hour",
        )
        if block is not None
        else (),
        shown=block.script if block is not None and known else "",
        way_back=_way_back(source, run, block),
        command=f"opsbook runs approve {run.id}",
        submit="Approve",
        back=f"/runs/{run.id}",
        danger=block is not None and block.risk == "danger",
        fields=(Field("comment", "Comment", hint="goes into the journal"),),
        hidden={"step": block.id, "binding": str(waiting["binding"])}
        if known and waiting and block
        else None,
        impossible="" if known else _elsewhere(run, "no approval"),
    )


def _ask_done(source: Source, run: Run) -> Question:
    waiting, block = _waiting(source, run)
    what = waiting["what"] if waiting else ""
    title, submit = {
        "person": (f"Is {block.id if block else 'it'} done?", "It is done"),
        "go": (f"Go on with {block.id if block else 'it'}?", "Go on"),
        "parameters": ("Give the sensitive parameters again", "Give them"),
    }.get(what, ("Go on?", "Go on"))
    return Question(
        action="run",
        environment=run.environment,
        title=title,
        target=_target(run),
        effect=(
            {
                "person": "you say with your name that you did this; its checks look next",
                "go": "this step runs, and the run waits again before the next",
                "parameters": "they are kept in memory only; the run goes on with them",
            }.get(what, "the run goes on"),
        ),
        shown=block.script if block is not None and what in {"person", "go"} else "",
        way_back=_way_back(source, run, None),
        command=f"opsbook runs resume {run.id}"
        + "".join(f" --param {name}=…" for name in run.hidden if what == "parameters"),
        submit=submit,
        back=f"/runs/{run.id}",
        fields=tuple(Field(GIVEN + name, name, "secret", required=True) for name in run.hidden)
        if what == "parameters"
        else (Field("note", "Note", hint="goes into the journal"),),
        hidden={"at": _place(waiting, block)},
        impossible="" if what in {"person", "go", "parameters"} else _elsewhere(run, "nobody"),
    )


def _ask_retry(source: Source, run: Run) -> Question:
    step = _stuck(source, run)
    return Question(
        action="run",
        environment=run.environment,
        title=f"Try {step.id if step else 'the step'} of {run.id} again?",
        target=_target(run),
        effect=("this step and its checks run anew, then what comes after", *_no_repeat(step)),
        shown=step.script if step else "",
        way_back=_way_back(source, run, step),
        command=f"opsbook runs retry {run.id}",
        submit="Retry",
        back=f"/runs/{run.id}",
        danger=step is not None and not step.repeatable,
        fields=(Field("reason", "Why", hint="goes into the journal"),),
        hidden={"step": step.id} if step else None,
        impossible="" if step else "it has no step that failed",
    )


def _ask_skip(source: Source, run: Run) -> Question:
    step = _stuck(source, run)
    return Question(
        action="run",
        environment=run.environment,
        title=f"Pass {step.id if step else 'the step'} of {run.id} over?",
        target=_target(run),
        effect=(
            "it counts as done although it was not; its checks are not asked",
            "the run goes on behind it",
        ),
        shown=step.script if step else "",
        way_back="none for this run: start the page again",
        command=f'opsbook runs skip {run.id} --reason "…"',
        submit="Pass over",
        back=f"/runs/{run.id}",
        danger=True,
        fields=(Field("reason", "Why", required=True, hint="goes into the journal"),),
        hidden={"step": step.id} if step else None,
        impossible="" if step else "it waits with no step, and none failed",
    )


def _ask_resume(source: Source, run: Run) -> Question:
    page = _page(source, run)
    steps = tuple((one.id, f"{one.id}: {one.title}" if one.title else one.id) for one in order(page))
    stuck = _stuck(source, run)
    return Question(
        action="run",
        environment=run.environment,
        title=f"Resume {run.id}?",
        target=_target(run),
        effect=("the step you choose and everything after it run anew",),
        way_back=_way_back(source, run, None),
        command=f"opsbook runs resume {run.id} --from STEP",
        submit="Resume",
        back=f"/runs/{run.id}",
        danger=True,
        fields=(
            Field("step", "From", "choice", stuck.id if stuck else "", steps, required=True),
            Field("note", "Note", hint="goes into the journal"),
        ),
        impossible="" if run.ended else "it has not ended",
    )


def _ask_cancel(source: Source, run: Run) -> Question:
    page = _page(source, run)
    undo = [one.id for block in started_steps(page, run) for one in page.rollbacks_of(block.id)]
    return Question(
        action="run",
        environment=run.environment,
        title=f"Cancel {run.id}?",
        target=_target(run),
        effect=(
            "what runs now is ended, with all its processes",
            f"what was done is undone: {', '.join(undo)}"
            if undo
            else "nothing was done that could be undone",
        ),
        way_back="run the page again",
        command=f'opsbook runs cancel {run.id} --reason "…"',
        submit="Cancel the run",
        back=f"/runs/{run.id}",
        danger=True,
        fields=(Field("reason", "Why", hint="goes into the journal"),),
        impossible=f"it has ended already: {run.outcome}".replace("_", " ") if run.ended else "",
    )


_VERBS: dict[str, tuple[Ask, Do]] = {
    "approve": (_ask_approve, _approve),
    "done": (_ask_done, _done),
    "retry": (_ask_retry, _retry),
    "skip": (_ask_skip, _skip),
    "resume": (_ask_resume, _resume),
    "cancel": (_ask_cancel, _cancel),
}


# --- words


def _page(source: Source, run: Run) -> Runbook:
    return source.runbooks.records.page(run)


def _waiting(source: Source, run: Run) -> tuple[Json | None, Block | None]:
    """What it waits for, and the step that it waits with."""
    waiting: Json | None = source.runbooks.view(run.id)["waiting"]
    step = waiting["step"] if waiting else None
    return waiting, _page(source, run).block(step) if step else None


def _place(waiting: Json | None, block: Block | None) -> str:
    """What it waits for and where, in a word."""
    return f"{waiting['what'] if waiting else 'nothing'}:{block.id if block else ''}"


def _stuck(source: Source, run: Run) -> Block | None:
    """The step that it waits with, or the last one that failed."""
    _, block = _waiting(source, run)
    if block is not None:
        return block
    page = _page(source, run)
    for one in order(page):
        last = run.last(one.id)
        if last is not None and last.state in {"failed", "unknown"}:
            return page.block(one.for_) if one.role == "check" and one.for_ else one
    return None


def _no_repeat(step: Block | None) -> tuple[str, ...]:
    if step is None or step.repeatable:
        return ()
    return ("it is not written down as idempotent: make sure that doing it twice does no harm",)


def _target(run: Run) -> str:
    params = " ".join(f"{name}={value}" for name, value in run.params.items())
    return f"{run.title}{' · ' if params else ''}{params}"


def _where(run: Run, block: Block) -> str:
    match block.on.kind:
        case "host":
            return f"on {run.params.get('host', 'a host')}"
        case "hosts":
            return f"on {', '.join(block.on.hosts)}"
        case "instance":
            return f"in an instance of {run.subject}"
    return "where opsbook runs"


def _way_back(source: Source, run: Run, block: Block | None) -> str:
    page = _page(source, run)
    if block is not None:
        undo = [one.id for one in page.rollbacks_of(block.id)]
        if undo:
            return f"{', '.join(undo)} undoes it, when it fails or the run is cancelled"
        return "this step has no rollback"
    return "cancel the run: it undoes what was done, in reverse"


def _elsewhere(run: Run, what: str) -> str:
    if run.ended:
        return f"it has ended already: {run.outcome}".replace("_", " ")
    return f"it waits for {run.waiting_for or what}"
