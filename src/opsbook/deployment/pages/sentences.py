"""What the console says of deployments and services in words. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from opsbook.deployment.model import Deployment, Outcome, Phase
from opsbook.terminal import count

State = Literal["ok", "running", "warning", "critical", "unknown", "paused"]
Json = Mapping[str, Any]

_COMMAND = re.compile(r" \(opsbook [^)]*\)")

KINDS = {"deploy": "Deploy", "rollback": "Roll back", "scale": "Scale", "restart": "Restart"}
OUTCOMES: dict[Outcome, tuple[State, str]] = {
    Outcome.SUCCEEDED: ("ok", "done"),
    Outcome.ROLLED_BACK: ("critical", "rolled back"),
    Outcome.FAILED: ("critical", "failed"),
    Outcome.ABORTED: ("warning", "aborted"),
    Outcome.SUPERSEDED: ("unknown", "superseded"),
}
PHASES: dict[Phase, tuple[State, str]] = {
    Phase.PENDING: ("running", "preparing"),
    Phase.GATED: ("paused", "waiting"),
    Phase.STARTING: ("running", "starting"),
    Phase.READY: ("running", "getting ready"),
    Phase.SHIFTING: ("running", "shifting"),
    Phase.ANALYSING: ("running", "analysing"),
    Phase.PROMOTING: ("running", "promoting"),
    Phase.DRAINING: ("running", "draining"),
    Phase.ABORTING: ("warning", "taking back"),
}
VERDICTS: dict[str, tuple[State, str]] = {
    "pass": ("ok", "good"),
    "fail": ("critical", "bad"),
    "inconclusive": ("running", "undecided"),
    "no_data": ("paused", "no data"),
    "error": ("warning", "cannot be read"),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A state and its word, and a sentence where there is more to say."""

    state: State
    word: str
    detail: str = ""


def condition_of(deployment: Deployment | Json) -> Condition:
    """How a deployment (or its view) stands."""
    outcome = deployment.outcome if isinstance(deployment, Deployment) else deployment.get("outcome")
    phase = deployment.phase if isinstance(deployment, Deployment) else deployment["phase"]
    if Phase(phase) is Phase.FAILED_NEEDS_HUMAN:
        return Condition("critical", "needs a person")
    if outcome is not None:
        return Condition(*OUTCOMES[Outcome(outcome)])
    return Condition(*PHASES.get(Phase(phase), ("running", str(phase))))


def verdict_of(verdict: str | None) -> Condition:
    """What the analysis says, as a word."""
    return Condition(*VERDICTS.get(verdict or "", ("unknown", "not judged")))


def figure(rule: str, value: float | None) -> str:
    """A rule's value in the unit of its metric."""
    if value is None:
        return "–"
    if rule.startswith(("error_rate", "availability")):
        return f"{value * 100:.2f} %"
    if rule.startswith("response_time"):
        return f"{value * 1000:,.0f} ms" if value < 10 else f"{value:,.1f} s"
    return f"{value:,.4g}"


def sentence(view: Json) -> str:
    """One sentence about a deployment: what happens, or how and why it ended."""
    if view["outcome"] is not None:
        said = _ended(view)
    elif view["phase"] == Phase.ABORTING:
        said = f"Being taken back: {view['reason']}"
    elif view["phase"] == Phase.ANALYSING:
        said = _analysing(view)
    elif view["phase"] == Phase.GATED:
        said = _gated(view)
    elif view["waiting_for"]:
        said = f"Waits for {view['waiting_for']}"
    else:
        last = view["transitions"][-1]["message"] if view["transitions"] else "asked for"
        said = str(last)
    said = said.strip().rstrip(".")
    return said[:1].upper() + said[1:] + "." if said else ""


def _ended(view: Json) -> str:
    match view["outcome"]:
        case Outcome.SUCCEEDED:
            if view.get("reverted_by"):
                return f"It succeeded, and was taken back in its watch window by {view['reverted_by']}"
            return str(view["serving"] or f"{view['version']} serves")
        case Outcome.ROLLED_BACK:
            return f"Taken back by opsbook: {view['reason']}"
        case Outcome.ABORTED:
            return f"Taken back: {view['reason']}"
        case Outcome.SUPERSEDED:
            return f"Taken back: {view['reason'] or 'a newer deployment took its place'}"
    return f"It failed: {view['reason']}"


def _gated(view: Json) -> str:
    """What stands in its way; the commands that open the gates are for the command line."""
    closed = [_COMMAND.sub("", gate["detail"]) for gate in view["gates"] if gate["status"] != "open"]
    return f"Waits at the gates: {'; '.join(closed)}" if closed else "The gates are being looked at"


def _analysing(view: Json) -> str:
    share = next(iter(view["weights"].values()), None) if view.get("weights") else None
    at = f"{share} % of requests" if share is not None else f"step {view['step'] + 1}"
    analysis = view.get("analysis") or {}
    if analysis.get("reason"):
        return (
            f"{view['version']} gets {at}; {verdict_of(analysis.get('verdict')).word}: {analysis['reason']}"
        )
    if view["waiting_for"]:
        return f"{view['version']} gets {at}; waits for {view['waiting_for']}"
    return f"{view['version']} gets {at}"


def service_condition(service: Json) -> Condition:
    """How a service of `status` stands."""
    if service["version"] is None:
        if service["deployment"]:
            return Condition("running", "first deployment")
        return Condition("unknown", "not deployed")
    wanted, healthy = service["replicas"], service["healthy"]
    if wanted and not healthy:
        why = next((str(i["last_exit"]) for i in service["instances"] if i.get("last_exit")), "")
        return Condition("critical", "down", why or "no instance is healthy")
    if healthy < wanted:
        return Condition(
            "warning", "degraded", f"{wanted - healthy} of {count(wanted, 'instance')} not healthy"
        )
    if service["deployment"]:
        phase = PHASES.get(Phase(service["deployment"]["phase"]), ("running", "changing"))
        return Condition(*phase)
    if not wanted:
        return Condition("paused", "scaled to 0")
    return Condition("ok", "well")


def serving(service: Json) -> tuple[int, int]:
    """How many instances that should serve are healthy, and how many should; a canary's are among them."""
    taking = [
        one for one in service["instances"] if service["weights"].get(one["version"]) and not one["draining"]
    ]
    return service["healthy"], max(service["replicas"], len(taking))


RANK: dict[State, int] = {"critical": 0, "warning": 1, "running": 2, "paused": 3, "unknown": 4, "ok": 5}


def overall(conditions: Sequence[tuple[str, Condition]], environments: int) -> Condition:
    """One sentence over all services; `conditions` by subject (``production/web``), worst first."""
    if not conditions:
        return Condition("unknown", "The handbook has no services yet.")
    bad = [(subject, found) for subject, found in conditions if found.state == "critical"]
    poor = [(subject, found) for subject, found in conditions if found.state == "warning"]
    worst = [*bad, *poor]
    if not worst:
        deployed = [found for _, found in conditions if found.word != "not deployed"]
        if not deployed:
            return Condition("unknown", "Nothing is deployed yet.")
        where = count(environments, "environment")
        return Condition("ok", f"All {count(len(deployed), 'service')} in {where} are well.")
    subject, found = worst[0]
    more = f", and {count(len(worst) - 1, 'more needs', 'more need')} attention" if len(worst) > 1 else ""
    detail = f": {found.detail}" if found.detail else ""
    return Condition("critical" if bad else "warning", f"{subject} is {found.word}{detail}{more}.")
