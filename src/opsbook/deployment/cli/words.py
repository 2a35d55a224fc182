"""What a deployment, as the API describes it, reads like. Pure: JSON in, lines out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opsbook.errors import Conflict, Failed, NeedsApproval, OpsbookError, RolledBack
from opsbook.terminal import Style, count, duration, table

Deployment = Mapping[str, Any]

VERBS = {"deploy": "deploy", "rollback": "roll back", "scale": "scale", "restart": "restart"}
# An outcome's symbol of `opsbook.terminal.SYMBOLS`, and its word.
OUTCOMES = {
    "succeeded": ("ok", "done"),
    "rolled_back": ("failed", "rolled back"),
    "failed": ("failed", "failed"),
    "aborted": ("failed", "aborted"),
    "superseded": ("warning", "superseded"),
}


# What a verdict would have led to in the end.
VERDICTS = {
    "pass": ("ok", "let through"),
    "fail": ("failed", "taken back"),
    "inconclusive": ("paused", "undecided"),
    "no_data": ("paused", "no data"),
    "error": ("warning", "cannot be judged"),
}


def finished(deployment: Deployment) -> bool:
    return deployment.get("outcome") is not None or bool(deployment.get("finished_at"))


def strategy_of(deployment: Deployment) -> str:
    strategy = deployment.get("strategy") or ""
    return str(strategy.get("name", "")) if isinstance(strategy, Mapping) else str(strategy)


def name_of(deployment: Deployment) -> str:
    """``web 2.1``."""
    return f"{deployment['service']} {deployment.get('version') or ''}".strip()


def title(deployment: Deployment) -> str:
    """``deploy web 2.1 → production · canary · 3 instances · by ana · d-91``."""
    kind = str(deployment.get("kind", "deploy"))
    parts = [
        f"{VERBS.get(kind, kind)} {name_of(deployment)} → {deployment['environment']}",
        strategy_of(deployment) if kind == "deploy" else "",
        count(int(deployment["replicas"]), "instance") if deployment.get("replicas") is not None else "",
        f"by {deployment['requested_by']}" if deployment.get("requested_by") else "",
        str(deployment["id"]),
    ]
    return " · ".join(part for part in parts if part)


def state_of(deployment: Deployment) -> tuple[str, str]:
    """The symbol of `opsbook.terminal.SYMBOLS`, and the word: the outcome, or the phase while there is none."""
    outcome = deployment.get("outcome")
    if outcome:
        return OUTCOMES.get(str(outcome), ("warning", str(outcome)))
    phase = str(deployment.get("phase") or "pending").replace("_", " ")
    return ("waiting", phase) if phase in {"pending", "gated"} else ("running", phase)


def steps(deployment: Deployment, style: Style) -> list[str]:
    """One line a step, for a screen that is redrawn."""
    rows = [
        (
            f"{style.symbol(_state(step))} {_called(step)}",
            _seconds(step),
            style.paint(str(step.get("detail") or ""), "dim"),
        )
        for step in deployment.get("steps") or []
    ]
    return table(rows, right=(1,))


def step_line(step: Mapping[str, Any], style: Style) -> str:
    """One step as a line that stands alone in a log: symbol, word, name, time, detail."""
    state = _state(step)
    parts = [
        f"{style.symbol(state)} {state:<8}",
        str(step["name"]),
        _seconds(step),
        str(step.get("detail") or ""),
    ]
    return "  ".join(part for part in parts if part)


def _state(step: Mapping[str, Any]) -> str:
    status = str(step.get("status", "running"))
    return status if status in {"ok", "failed", "running", "waiting", "paused"} else "warning"


def _called(step: Mapping[str, Any]) -> str:
    """A name says what an ok or running step is; any other state is spelt out beside its symbol."""
    state = _state(step)
    return str(step["name"]) if state in {"ok", "running"} else f"{step['name']} {state}"


def _seconds(step: Mapping[str, Any]) -> str:
    return duration(float(step["seconds"])) if step.get("seconds") is not None else ""


def result(deployment: Deployment, style: Style) -> str:
    """The last line: ``✔ done  web 2.1 serves production · 31.2s``."""
    state, word = state_of(deployment)
    took = ""
    if deployment.get("finished_at") and deployment.get("started_at"):
        took = duration(float(deployment["finished_at"]) - float(deployment["started_at"]))
    said = str(deployment.get("serving") or f"{name_of(deployment)} in {deployment['environment']}")
    if state == "failed":
        said = f"{name_of(deployment)} → {deployment['environment']}"
    return " · ".join(part for part in (f"{style.state(state, word)}  {said}", took) if part)


def judged_again(found: Mapping[str, Any], style: Style) -> list[str]:
    """What was and what would have been, below each other."""
    was, would = found["was"], found["would"]
    title = f"{found['deployment']} · {found['service']} {found['version']} → {found['environment']}"
    symbol, word = OUTCOMES.get(str(was["outcome"]), ("running", "under way"))
    took = f"after {duration(float(was['seconds']))}" if was["seconds"] is not None else ""
    rows = [("was", was["strategy"], style.state(symbol, word), took, str(was["reason"] or ""))]
    if would is None:
        why = (
            "nothing was kept of what was measured"
            if not found["readings"]
            else "it has no rules to judge by"
        )
        return [style.paint(title, "bold"), *table(rows), "", f"{found['strategy']}: {why}"]
    symbol, word = ("failed", "taken back") if would["stopped"] else VERDICTS[str(would["verdict"])]
    after = f"after {duration(float(would['seconds']))}"
    seen = f"{count(int(would['requests']), 'request')} · {would['reason']}"
    rows.append(("would", found["strategy"], style.state(symbol, word), after, seen))
    return [style.paint(title, "bold"), *table(rows)]


def needs_people(deployments: Sequence[Deployment]) -> NeedsApproval | None:
    """What is said to a script where every deployment that has not ended waits for somebody's approval or signature."""
    waiting = {
        str(deployment["id"]): gates
        for deployment in deployments
        if not finished(deployment) and (gates := _waiting_for_people(deployment))
    }
    if not waiting or len(waiting) < sum(not finished(deployment) for deployment in deployments):
        return None
    first = next(iter(waiting))
    verb = "approve" if "approvals" in waiting[first] else "checklist sign"
    return NeedsApproval(
        "; ".join(f"{name} waits: {', '.join(gates.values())}" for name, gates in waiting.items()),
        hint=f"somebody else: opsbook {verb} {first} · wait for it: opsbook deployments watch {' '.join(waiting)}",
        details={"deployments": list(waiting)},
    )


def _waiting_for_people(deployment: Deployment) -> dict[str, str]:
    gates = {str(gate["name"]): gate for gate in deployment.get("gates") or []}
    return {
        name: str(gates[name].get("detail") or name)
        for name in ("approvals", "checklist")
        if name in gates and gates[name].get("status") == "waiting"
    }


def failure(deployments: Sequence[Deployment]) -> OpsbookError | None:
    """The error of a rollout that did not end well: the first failed one, else the first taken back; or None."""
    ranked = sorted(
        (d for d in deployments if d.get("outcome") != "succeeded"),
        key=lambda deployment: deployment.get("outcome") != "failed",
    )
    return _error(ranked[0]) if ranked else None


def _error(deployment: Deployment) -> OpsbookError:
    outcome = str(deployment.get("outcome"))
    kinds: dict[str, type[OpsbookError]] = {
        "rolled_back": RolledBack,
        "aborted": RolledBack,
        "superseded": Conflict,
    }
    _, word = state_of(deployment)
    verb = VERBS.get(str(deployment.get("kind")), "deploy")
    details = {
        "causes": [deployment["reason"]] if deployment.get("reason") else [],
        "log": list(deployment.get("log_tail") or []),
        "serving": str(deployment.get("serving") or ""),
        "id": deployment["id"],
        "outcome": outcome,
    }
    return kinds.get(outcome, Failed)(
        f"{verb} {name_of(deployment)} → {deployment['environment']}: {word}",
        hint=f"opsbook deployments show {deployment['id']}",
        details=details,
    )
