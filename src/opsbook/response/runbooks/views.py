"""Runbooks and runs as the API gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opsbook.book.runbook_parameters import variable
from opsbook.book.runbooks import Block, Runbook
from opsbook.response.runbooks.evidence import Evidence
from opsbook.response.runbooks.model import Run, Step, binding
from opsbook.response.runbooks.plan import Await, needs_approval, order, started_steps
from opsbook.response.runbooks.records import Records


def page_view(page: Runbook, evidence: Evidence, *, owner: str | None, whole: bool = False) -> dict[str, Any]:
    """A page with its evidence. `owner`: who answers for it."""
    head = page.head
    view: dict[str, Any] = {
        "name": page.name,
        "file": page.file,
        "title": page.title,
        "owner": owner,
        "severity": head.severity,
        "alerts": list(head.alerts),
        "reviewed": head.reviewed,
        "review_every": head.review_every,
        "executable": page.executable,
        "steps": len(page.steps),
        "risk": _worst([block.risk for block in page.steps]),
        "evidence": evidence.view(),
    }
    if whole:
        view |= {
            "digest": page.digest,
            "lock": head.lock,
            "params": [_parameter(name, spec.model_dump(mode="json")) for name, spec in head.params.items()],
            "blocks": [block_view(block) for block in page.blocks],
            "source": page.source,
        }
    return view


def block_view(block: Block) -> dict[str, Any]:
    return {
        "id": block.id,
        "role": block.role,
        "title": block.title,
        "language": block.language,
        "script": block.script,
        "line": block.line,
        "for": block.for_ or None,
        "risk": block.risk,
        "on": str(block.on),
        "timeout": block.timeout,
        "approve": block.approve,
        "on_failure": block.on_failure,
        "idempotent": block.idempotent,
        "retry": {"times": block.retry.times, "pause": block.retry.pause},
        "sensitive": block.sensitive,
        "capture": block.capture or None,
        "digest": block.digest,
    }


def plan_view(page: Runbook, values: Mapping[str, str], *, protected: bool) -> dict[str, Any]:
    """What a person's run would do."""
    hidden = {name for name, spec in page.head.params.items() if spec.sensitive}
    shown = {variable(name): "***" if name in hidden else value for name, value in values.items()}
    return {
        "page": page.name,
        "title": page.title,
        "digest": page.digest,
        "variables": shown,
        "steps": [
            block_view(block)
            | {
                "needs_approval": needs_approval(block, automatic=False, protected=protected),
                "undone_by": [one.id for one in page.rollbacks_of(block.id)],
            }
            for block in order(page)
        ],
    }


def run_line(run: Run) -> dict[str, Any]:
    """A run without its steps, for lists."""
    return run.model_dump(mode="json", exclude={"steps", "approvals", "captured", "gone"}) | {
        "subject": run.subject,
        "step": run.steps[-1].step if run.steps else None,
        "seconds": None if not (run.ended_at and run.started_at) else run.ended_at - run.started_at,
    }


def run_view(
    run: Run, page: Runbook, records: Records, waits: Await | None, *, output: bool
) -> dict[str, Any]:
    """A run with its steps, and what it waits for."""
    previous = records.previous(run)
    block = page.block(waits.step) if waits is not None and waits.step else None
    waiting = None
    if waits is not None:
        waiting = {
            "what": waits.what,
            "step": waits.step or None,
            "text": waits.text,
            "script": block.script if block else None,
            "binding": binding(run, page, block) if block else None,
        }
    return run_line(run) | {
        "waiting": waiting,
        "steps": [_step(run, one, records, output=output) for one in run.steps],
        "approvals": [one.to_json() for one in run.approvals],
        "ahead": [block.id for block in order(page) if run.last(block.id) is None] if not run.ended else [],
        "begun": [block.id for block in started_steps(page, run)],
        "previous": run_line(previous) if previous else None,
    }


def _step(run: Run, step: Step, records: Records, *, output: bool) -> dict[str, Any]:
    view = step.to_json() | {"seconds": step.seconds}
    return view | {"output": records.output(run.id, step.number)} if output else view


def _parameter(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "variable": variable(name),
        **{key: value for key, value in spec.items() if value is not None},
    }


def _worst(risks: Sequence[str]) -> str:
    return next((risk for risk in ("danger", "write", "read") if risk in risks), "read")
