"""What people and scripts are shown of deployments and placements. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opsbook.deployment.forward import baseline_of, hold, step_count
from opsbook.deployment.looks import Gate
from opsbook.deployment.model import BASELINE, Deployment, Outcome, Phase, Placement
from opsbook.world.words import Instance, TrafficState

_NAMES = {
    Phase.PENDING: "prepare release",
    Phase.GATED: "pass gates",
    Phase.STARTING: "start instances",
    Phase.READY: "wait until ready",
    Phase.SHIFTING: "shift traffic",
    Phase.ANALYSING: "analyse",
    Phase.PROMOTING: "promote",
    Phase.DRAINING: "drain the old",
    Phase.ABORTING: "take back",
}


def deployment_view(
    deployment: Deployment,
    serving: str,
    waiting: str = "",
    now: float = 0.0,
    *,
    placement: Placement | None = None,
    instances: Mapping[str, Instance] | None = None,
    healthy: Mapping[str, bool] | None = None,
    gates: Sequence[Gate | Mapping[str, Any]] = (),
    analysis: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """As the API gives it.

    Args:
        placement: of its service now; with it the view tells instances and weights while it is under way.
        instances, healthy: by instance id, as in `service_view`.
        gates: the ones looked at; a mapping may have `until` beside the fields of `Gate`.
        analysis: the last judgement as JSON; None when nothing is judged.
    """
    standing = members(deployment, placement, instances or {}, healthy or {}) if placement else []
    return {
        "id": deployment.id,
        "kind": deployment.kind,
        "service": deployment.service,
        "environment": deployment.environment,
        "version": deployment.version,
        "strategy": deployment.strategy.name,
        "strategy_type": deployment.strategy.type,
        "step": deployment.step,
        "steps_total": step_count(deployment),
        "hold_seconds": hold(deployment, deployment.step),
        "release": deployment.release,
        "replicas": deployment.replicas,
        "phase": deployment.phase,
        "outcome": deployment.outcome,
        "reason": deployment.reason,
        "requested_by": deployment.requested_by,
        "requested_at": deployment.requested_at,
        "started_at": deployment.started_at,
        "finished_at": deployment.finished_at,
        "previous_version": deployment.before.version,
        "rollout": deployment.rollout,
        "automatic": deployment.automatic,
        "reverts": deployment.reverts,
        "reverted_by": deployment.reverted_by,
        "shift_seconds": deployment.shift_seconds,
        "serving": serving,
        "waiting_for": waiting,
        "transitions": [transition.to_json() for transition in deployment.transitions],
        "steps": steps(deployment, waiting, now),
        "log_tail": list(deployment.log_tail),
        "weights": shares(deployment, placement, standing) if placement else {},
        "members": standing,
        "gates": [_gate(gate) for gate in gates],
        "analysis": (
            {name: analysis.get(name) for name in ("verdict", "reason", "rules")} if analysis else None
        ),
    }


def members(
    deployment: Deployment,
    placement: Placement,
    instances: Mapping[str, Instance],
    healthy: Mapping[str, bool],
) -> list[dict[str, Any]]:
    """The instances that a deployment under way is about: its own, the baseline's, the ones it replaces."""
    if deployment.finished:
        return []  # what stands there now may be another deployment's
    known = placement.instances()
    own = dict.fromkeys(deployment.instances, deployment.release)
    own |= dict.fromkeys(deployment.baseline, baseline_of(deployment))
    # Those that traffic does not know yet, from the moment they are started.
    known |= {name: release for name, release in own.items() if name not in known and name in instances}
    sides = _sides(deployment)
    draining = placement.draining()
    return [
        {
            "instance": name,
            "release": release,
            "version": sides[release][1],
            "role": sides[release][0],
            "healthy": healthy.get(name, False),
            "state": "draining"
            if name in draining
            else (str(instances[name].state) if name in instances else "missing"),
        }
        for release in sides
        for name, of in known.items()
        if of == release
    ]


def shares(
    deployment: Deployment, placement: Placement, standing: Sequence[Mapping[str, Any]]
) -> dict[str, int]:
    """Percent of the requests by version; a version that stands on two sides has the role after its name."""
    total = sum(placement.weights.values())
    found: dict[str, int] = {}
    if deployment.finished or not total:
        return found
    there = {member["release"] for member in standing}
    sides = _sides(deployment)
    versions = [version for _, version in sides.values()]
    for release, (role, version) in sides.items():
        if release in there:
            name = version if role == "stable" or versions.count(version) == 1 else f"{version} {role}"
            found[name] = round(placement.weights.get(release, 0) * 100 / total)
    return found


def _sides(deployment: Deployment) -> dict[str, tuple[str, str]]:
    """Role and version by release."""
    before = deployment.before
    sides = {deployment.release: ("canary", deployment.version)}
    if before.release and before.release != deployment.release:
        sides[before.release] = ("stable", before.version)
        if deployment.baseline:
            sides[baseline_of(deployment)] = ("baseline", before.version)
    return sides


def _gate(gate: Gate | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(gate, Gate):
        return {"name": gate.name, "status": gate.status, "detail": gate.detail, "until": None}
    return {name: gate.get(name) for name in ("name", "status", "detail", "until")}


def steps(deployment: Deployment, waiting: str = "", now: float = 0.0) -> list[dict[str, Any]]:
    """One line a phase: name, status (ok, running, waiting, failed), seconds, detail."""
    lines: list[dict[str, Any]] = []
    shown = [t for t in deployment.transitions if not t.phase.final]
    for index, transition in enumerate(shown):
        later = deployment.transitions[index + 1] if index + 1 < len(deployment.transitions) else None
        until = later.at if later is not None else (deployment.finished_at or now)
        status = "ok" if later is not None or deployment.finished else "running"
        if later is not None and later.phase is Phase.ABORTING:
            status = "failed"
        detail = transition.message
        if status == "failed" and later is not None:
            detail = later.message
        elif status == "running" and waiting:
            status, detail = "waiting", waiting
        lines.append(
            {
                "name": _NAMES[transition.phase],
                "phase": transition.phase,
                "status": status,
                "seconds": round(max(0.0, until - transition.at), 3),
                "detail": detail,
            }
        )
    if deployment.outcome is Outcome.FAILED and lines and lines[-1]["status"] == "ok":
        lines[-1]["status"] = "failed"
    return lines


def serving_sentence(placement: Placement, traffic: TrafficState | None = None) -> str:
    """What serves now, in words: "2.0 serves production/web on 2 instances"."""
    subject = placement.subject
    counts = {
        group.release: sum(1 for member in group.members if not member.draining) for group in placement.groups
    }
    total = sum(placement.weights.values())
    if not total:
        return f"nothing serves {subject}"
    shares = []
    for release, weight in sorted(placement.weights.items(), key=lambda item: -item[1]):
        version = placement.version if release == placement.release else release
        number = counts.get(release, 0)
        noun = "instance" if number == 1 else "instances"
        share = "" if len(placement.weights) == 1 else f" with {weight * 100 // total} %"
        shares.append(f"{version} serves {subject}{share} on {number} {noun}")
    del traffic
    return " and ".join(shares)


def service_view(
    placement: Placement,
    instances: Mapping[str, Instance],
    healthy: Mapping[str, bool],
    versions: Mapping[str, str],
    deployment: Deployment | None,
) -> dict[str, Any]:
    """One service in one environment, as `status --json` gives it.

    Args:
        healthy: by instance id, as the proxy (or, without a port, the runtime) sees it.
        versions: by release id.
    """
    draining = placement.draining()
    rows = [
        {
            "id": name,
            "state": instances[name].state if name in instances else "missing",
            "healthy": healthy.get(name, False),
            "draining": name in draining,
            "address": str(instances[name].address)
            if name in instances and instances[name].address
            else None,
            "pid": instances[name].pid if name in instances else None,
            "started_at": instances[name].started_at if name in instances else None,
            "restarts": instances[name].restarts if name in instances else 0,
            "release": release,
            "version": versions.get(release, ""),
            "last_exit": str(instances[name].last_exit)
            if name in instances and instances[name].last_exit
            else None,
        }
        for name, release in placement.instances().items()
    ]
    serving = [row for row in rows if placement.weights.get(str(row["release"])) and not row["draining"]]
    if placement.entry is None:
        serving = [row for row in rows if row["release"] == placement.release]
    return {
        "release": placement.release or None,
        "version": placement.version or None,
        "strategy": placement.strategy or None,
        "replicas": placement.replicas,
        "instances": rows,
        "healthy": sum(1 for row in serving if row["healthy"]),
        "weights": _weights(placement, versions),
        "url": placement.entry.url if placement.entry else None,
        "previous": (
            {
                "release": placement.previous.release,
                "version": placement.previous.version,
                "warm_until": placement.previous.until,
            }
            if placement.previous
            else None
        ),
        "deployment": {"id": deployment.id, "phase": deployment.phase} if deployment else None,
        "held": [
            {"version": hold.version, "release": hold.release, "reason": hold.reason}
            for hold in placement.holds
        ],
    }


def _weights(placement: Placement, versions: Mapping[str, str]) -> dict[str, int]:
    """By version; fresh instances of the stable release that a canary is compared with are told apart from it."""
    found: dict[str, int] = {}
    for release, weight in placement.weights.items():
        of = release.removesuffix(BASELINE)
        version = versions.get(of, of)
        name = version if of == release else f"{version} baseline"
        found[name] = found.get(name, 0) + weight
    return found
