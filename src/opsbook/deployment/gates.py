"""What stands between a deployment and its start: freezes, promotion, checklist, approvals, hooks. Pure.

Only a deploy has gates: it brings something new. A rollback, a restart and a change of scale never wait. Gates are
asked in the phase `gated` only: what has passed them goes on to its end, also when a freeze begins meanwhile, because
a system that is half one version and half another is in more danger than one that is neither.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field

from opsbook.deployment.budgets import Budget, excepted
from opsbook.deployment.looks import Gate
from opsbook.deployment.model import Deployment, Document, Entry, Release

PATIENCE = 86400.0
"""Seconds that a deployment waits for people where the environment does not say: after that it is given up."""

FRESH = 600.0
"""Seconds that the result of a machine's checks is good for; what waited longer is checked again before it starts."""


class Approval(Document):
    """One person's yes to exactly one plan."""

    deployment: str
    person: str
    plan: str
    parts: dict[str, str] = Field(
        default_factory=dict
    )  # what of the plan has which hash, to say later what changed
    comment: str = ""
    at: float


class Signature(Document):
    """One person's word that an item of the checklist is done."""

    person: str
    at: float
    note: str = ""


class CheckResult(Document):
    """What a machine found. `unknown`: it cannot tell, so a person must sign."""

    status: Literal["passed", "failed", "unknown"]
    detail: str = ""
    seconds: float = 0.0


class ChecklistRecord(Document):
    """What has been signed and checked for one deployment, by item id."""

    signatures: dict[str, Signature] = Field(default_factory=dict)
    checks: dict[str, CheckResult] = Field(default_factory=dict)
    checked_at: float | None = None  # when the machine was done with the items before the deployment


class HookResult(Document):
    """How one hook ended."""

    command: tuple[str, ...]
    passed: bool
    detail: str = ""
    seconds: float = 0.0


class HookRecord(Document):
    """The hooks of one deployment that have run, each list up to the first that failed."""

    before: tuple[HookResult, ...] = ()
    after: tuple[HookResult, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An item of the checklist before the deployment, as far as a gate needs it."""

    id: str
    text: str
    machine: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveFreeze:
    """A freeze that holds now."""

    name: str
    reason: str
    until: float | None
    roles: tuple[str, ...] = ()  # people with one of these may deploy
    incidents: bool = False  # a deployment for an open incident may go on


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """How many of whom must approve, and how long their word holds (seconds)."""

    approvals: int
    approvers: tuple[str, ...]
    able: frozenset[str]  # people who may approve here now, by the handbook
    expires: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that the gates are decided upon.

    Args:
        since: when the deployment came to its gates.
        requester_roles: roles that who asked has in this environment now.
        promotion: None: not asked for; else "" when it has succeeded before, or why that does not count.
        items: those of the checklist that a deployment needs before it starts.
        hooks: the commands to run before it.
    """

    now: float
    since: float
    deployment: Deployment
    plan: str
    requester_roles: Collection[str] = ()
    incident_open: bool = False
    freezes: Sequence[ActiveFreeze] = ()
    protection: Protection | None = None
    approvals: Sequence[Approval] = ()
    items: Sequence[Item] = ()
    checklist: ChecklistRecord = field(default_factory=ChecklistRecord)
    promotion: str | None = None
    hooks: Sequence[tuple[str, ...]] = ()
    hooks_run: Sequence[HookResult] = ()
    budget: Budget | None = None  # None: nobody counts


def gates(facts: Facts) -> tuple[Gate, ...]:
    """The gates of a deployment in the order in which they are shown; none where nothing is asked for."""
    if facts.deployment.kind != "deploy":
        return (Gate("all", "open", f"a {facts.deployment.kind} passes all gates"),)
    found = [*_freezes(facts), *_budget(facts), *_promotion(facts), *_approvals(facts)]
    signed, checked = _signatures(facts), _checks(facts)
    others_open = all(gate.status == "open" for gate in (*found, *signed))
    if checked and checked[0].status == "open" and others_open and _stale(facts):
        checked = [Gate("checks", "waiting", "the checks once more: they are older than 10 minutes")]
    found += [*signed, *checked]
    return (*found, *_hooks(facts, all(gate.status == "open" for gate in found)))


def plan_parts(deployment: Deployment, release: Release, entry: Entry | None) -> dict[str, str]:
    """What is approved, part by part, each as a hash."""
    parts: dict[str, Any] = {
        "release": [release.id, release.version, release.digest, release.config, release.secrets],
        "environment": deployment.environment,
        "service": deployment.service,
        "replicas": deployment.replicas,
        "strategy": deployment.strategy.to_json(),
        "entry": entry.to_json() if entry is not None else None,
    }
    return {name: _hash(value) for name, value in parts.items()}


def plan_hash(deployment: Deployment, release: Release, entry: Entry | None) -> str:
    """The SHA-256 of what is approved: the release with its source, configuration and secrets' versions, where it goes,
    how many instances, by which strategy, behind which entry. What is deployed is exactly that."""
    return _hash(plan_parts(deployment, release, entry))


def changed_parts(approval: Approval, parts: Mapping[str, str]) -> str:
    """What of the plan differs from what was approved, in words."""
    names = [name for name, value in parts.items() if approval.parts.get(name) != value]
    return ", ".join(names) or "the plan"


def valid_approvals(facts: Facts) -> list[Approval]:
    """Those that count: of this plan, not too old, by somebody who may and did not ask for it."""
    protection = facts.protection
    if protection is None:
        return []
    return [
        approval
        for approval in facts.approvals
        if approval.plan == facts.plan
        and facts.now < approval.at + protection.expires
        and approval.person in protection.able
        and approval.person != facts.deployment.requested_by
    ]


def unsigned(facts: Facts) -> list[Item]:
    """The items that wait for a person: those that nobody signed, and that no machine can check."""
    return [
        item
        for item in facts.items
        if (not item.machine or _status(facts, item) == "unknown")
        and item.id not in facts.checklist.signatures
    ]


def deadline(facts: Facts) -> float:
    """Until when people may still say yes."""
    return facts.since + (facts.protection.expires if facts.protection else PATIENCE)


def moment(at: float) -> str:
    """A time in words, in UTC so that it is the same for everybody."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


# --- one after the other


def _freezes(facts: Facts) -> list[Gate]:
    if not facts.freezes:
        return []
    holding = [freeze for freeze in facts.freezes if not _excepted(facts, freeze)]
    if not holding:
        names = ", ".join(freeze.name for freeze in facts.freezes)
        return [Gate("freeze", "open", f"the freeze {names} makes an exception for this")]
    freeze = max(holding, key=lambda one: one.until or float("inf"))
    ends = f" until {moment(freeze.until)}" if freeze.until is not None else ""
    detail = f"frozen by {freeze.name}{ends}: {freeze.reason}"
    if facts.deployment.incident and not facts.incident_open and any(one.incidents for one in holding):
        detail += f"; the incident {facts.deployment.incident} is not open"
    # Who asked to queue wants to wait for as long as it takes; everybody else is told now.
    status: Literal["waiting", "refused"] = "refused" if facts.deployment.when_busy == "refuse" else "waiting"
    if status == "refused":
        detail += "; ask again then, or wait for it with --when-busy queue"
    return [Gate("freeze", status, detail, freeze.until)]


def _excepted(facts: Facts, freeze: ActiveFreeze) -> bool:
    by_role = any(role in freeze.roles for role in facts.requester_roles)
    by_incident = freeze.incidents and bool(facts.deployment.incident) and facts.incident_open
    return by_role or by_incident


def _budget(facts: Facts) -> list[Gate]:
    """A spent error budget whose policy lets nothing new begin."""
    budget = facts.budget
    if budget is None or budget.allowed:
        return []
    open_incident = bool(facts.deployment.incident) and facts.incident_open
    if excepted(budget, facts.requester_roles, incident_open=open_incident):
        return [Gate("budget", "open", f"{budget.reason}; an exception is made for this")]
    if facts.deployment.when_busy == "refuse":
        return [
            Gate("budget", "refused", f"{budget.reason}; ask again when it is there, see opsbook slo, "
                 "or wait for it with --when-busy queue")
        ]  # fmt: skip
    return [Gate("budget", "waiting", budget.reason)]


def _promotion(facts: Facts) -> list[Gate]:
    if facts.promotion is None:
        return []
    if facts.promotion:
        return [Gate("promotion", "refused", facts.promotion)]
    return [Gate("promotion", "open", "it has succeeded in the environment before")]


def _approvals(facts: Facts) -> list[Gate]:
    protection = facts.protection
    if protection is None or protection.approvals == 0:
        return []
    counted = valid_approvals(facts)
    if len(counted) >= protection.approvals:
        names = ", ".join(approval.person for approval in counted)
        first_to_end = min(approval.at for approval in counted) + protection.expires
        return [Gate("approvals", "open", f"approved by {names}", first_to_end)]
    asked = facts.deployment.requested_by
    left = sorted(protection.able - {asked} - {approval.person for approval in counted})
    lacking = protection.approvals - len(counted)
    if len(left) < lacking:
        able = f"only {', '.join(left)} may" if left else "nobody may"
        detail = f"{lacking} more must approve, and {able} who did not ask for it"
        return [Gate("approvals", "refused", detail)]
    if facts.now >= deadline(facts):
        return [Gate("approvals", "refused", f"it was not approved by {moment(deadline(facts))}")]
    noun = "approval" if lacking == 1 else "approvals"
    detail = f"{lacking} more {noun} of {', '.join(left)} (opsbook approve {facts.deployment.id})"
    return [Gate("approvals", "waiting", detail + _worthless(facts), deadline(facts))]


def _worthless(facts: Facts) -> str:
    """Why approvals that are there do not count."""
    assert facts.protection is not None
    reasons = []
    for approval in facts.approvals:
        if approval.plan != facts.plan:
            reasons.append(f"that of {approval.person} is for another plan")
        elif facts.now >= approval.at + facts.protection.expires:
            reasons.append(f"that of {approval.person} has expired")
        elif approval.person not in facts.protection.able:
            reasons.append(f"{approval.person} may not approve any more")
    return f"; {'; '.join(reasons)}" if reasons else ""


def _signatures(facts: Facts) -> list[Gate]:
    if not any(not item.machine or _status(facts, item) == "unknown" for item in facts.items):
        return []
    missing = unsigned(facts)
    if not missing:
        return [Gate("checklist", "open", "everything is signed")]
    if facts.now >= deadline(facts):
        return [Gate("checklist", "refused", f"it was not signed by {moment(deadline(facts))}")]
    texts = "; ".join(item.text for item in missing[:3]) + (" …" if len(missing) > 3 else "")
    detail = f"{len(missing)} to be signed: {texts} (opsbook checklist show {facts.deployment.id})"
    return [Gate("checklist", "waiting", detail, deadline(facts))]


def _checks(facts: Facts) -> list[Gate]:
    items = [item for item in facts.items if item.machine]
    if not items:
        return []
    for item in items:
        result = facts.checklist.checks.get(item.id)
        if result is not None and result.status == "failed":
            return [Gate("checks", "refused", f"{item.text}: {result.detail}")]
    if facts.checklist.checked_at is None or any(_status(facts, item) is None for item in items):
        return [Gate("checks", "waiting", f"{len(items)} checks to be run")]
    return [Gate("checks", "open", "all checks passed")]


def _stale(facts: Facts) -> bool:
    """Once a hook has run there is no way back to the checks: it may have begun what they look at."""
    checked = facts.checklist.checked_at
    return not facts.hooks_run and checked is not None and facts.now - checked > FRESH


def _status(facts: Facts, item: Item) -> str | None:
    result = facts.checklist.checks.get(item.id)
    return result.status if result is not None else None


def _hooks(facts: Facts, others_open: bool) -> list[Gate]:
    if not facts.hooks:
        return []
    bad = next((result for result in facts.hooks_run if not result.passed), None)
    if bad is not None:
        return [Gate("hooks", "refused", f"{_command(bad.command)}: {bad.detail}")]
    left = facts.hooks[len(facts.hooks_run) :]
    if not left:
        return [Gate("hooks", "open", f"{len(facts.hooks)} hooks have run")]
    if not others_open:
        return [Gate("hooks", "waiting", "the hooks run when everything else is settled")]
    return [Gate("hooks", "waiting", f"the end of {_command(left[0])}")]


def _command(command: Sequence[str]) -> str:
    text = " ".join(command)
    return text if len(text) <= 60 else text[:59] + "…"


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
