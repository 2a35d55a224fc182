"""The gatekeeper: gathers the facts, asks the gates, and lets what they wait for be done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import opsbook.deployment.gate_events as _kinds  # noqa: F401 - registers the kinds of events
from opsbook.book import Book, Environment
from opsbook.deployment.approvals import Approvals
from opsbook.deployment.background import Background
from opsbook.deployment.budgets import Budget, Ceiling, excepted
from opsbook.deployment.checklists import Checklists
from opsbook.deployment.checks import Checks, StatusOf
from opsbook.deployment.commands import Commands, RunCommand
from opsbook.deployment.freezes import Freezes
from opsbook.deployment.gates import Facts, Protection, gates, plan_hash, plan_parts, valid_approvals
from opsbook.deployment.holds import Holds
from opsbook.deployment.hooks import HookRunner, results
from opsbook.deployment.looks import Gate
from opsbook.deployment.model import Deployment, Phase, Release
from opsbook.deployment.promotion import promotion, succeeded_before
from opsbook.deployment.site import Site
from opsbook.security.plan import holders
from opsbook.world.hosts import commands, web


class Gatekeeper:
    """What stands between deployments and their start, and the verbs that open it.

    Args:
        run: runs a command, as `opsbook.world.hosts.commands.run`. status_of: asks over HTTP, as
            `opsbook.world.hosts.web.status_of`.
        book_errors: the errors of the handbook's files as last read; alerts: those that fire for a service in an
            environment. None: nobody can tell, so a person must sign what asks for it.
    """

    def __init__(
        self,
        site: Site,
        *,
        run: RunCommand = commands.run,
        status_of: StatusOf = web.status_of,
        book_errors: Callable[[], Sequence[str]] | None = None,
        alerts: Callable[[str, str], Sequence[str]] | None = None,
    ) -> None:
        self._site = site
        self._incident_open = site.incident_open
        self._background = Background()
        self._succeeded: dict[str, frozenset[str]] = {}
        runner = Commands(site, run)
        self.checklists = Checklists(
            site, Checks(site, runner, status_of, book_errors=book_errors, alerts=alerts)
        )
        self.hooks = HookRunner(site, runner)
        self.freezes = Freezes(site)
        self.holds = Holds(site)
        self.approvals = Approvals(site, self.facts)

    def look(self, deployment: Deployment) -> tuple[Gate, ...]:
        """The gates now. Begins checks and hooks whose turn it is; never waits for them. May be asked from anywhere.

        Returns:
            Nothing, when the deployment is not at its gates.
        """
        if deployment.phase is not Phase.GATED:
            return ()
        facts, _ = self.facts(deployment)
        found = gates(facts)
        waiting = [gate.name for gate in found if gate.status == "waiting"]
        if any(gate.status == "refused" for gate in found) or deployment.abort is not None:
            return found
        name = deployment.id
        if "checks" in waiting:
            self._background.start(f"checks {name}", lambda: self.checklists.run(name, "pre"))
        elif waiting == ["hooks"]:
            self._background.start(f"hooks {name}", lambda: self.hooks.run(name, "before"))
        return found

    def after(self, deployment: Deployment) -> Gate:
        """The hooks after a deployment, begun when they have not been: open when all have passed, refused when one
        has not, and the deployment is to be taken back."""
        wanted = self.hooks.wanted(deployment, "after")
        done = results(self.hooks.record(deployment.id), "after")
        bad = next((result for result in done if not result.passed), None)
        if bad is not None:
            return Gate("hooks", "refused", f"{' '.join(bad.command)}: {bad.detail}")
        if len(done) >= len(wanted):
            return Gate("hooks", "open", f"{len(wanted)} hooks have run" if wanted else "no hooks")
        name = deployment.id
        self._background.start(f"hooks after {name}", lambda: self.hooks.run(name, "after"))
        return Gate("hooks", "waiting", f"the end of {' '.join(wanted[len(done)].command)}")

    def ceiling(self, deployment: Deployment) -> Ceiling | None:
        """How many of the requests a canary may have, by its service's error budgets; None: all."""
        if deployment.kind != "deploy":
            return None
        budget = self._budget(deployment)
        if budget.max_weight >= 100:
            return None
        roles = self._roles(self._site.book(), deployment) if budget.roles else frozenset[str]()
        incident = deployment.incident
        if excepted(budget, roles, incident_open=bool(incident) and self._incident_open(incident)):
            return None
        return Ceiling(budget.max_weight, budget.reason)

    def _budget(self, deployment: Deployment) -> Budget:
        return self._site.budget(deployment.environment, deployment.service)

    def protected(self, environment: str) -> bool:
        """Whether a change there needs somebody's approval."""
        return _protection(self._site.book(), environment) is not None

    def check(self, name: str, stage: str) -> None:
        """Let the machine check its items of a stage during or after a deployment; returns at once."""
        which = "during" if stage == "during" else "post"
        self._background.start(f"{stage} checks {name}", lambda: self.checklists.run(name, which))  # type: ignore[arg-type]

    def view(self, name: str) -> dict[str, Any]:
        """The gates with all that a person who is to approve wants to know."""
        deployment = self._site.records.deployment(name)
        found: dict[str, Any] = {"deployment": name, "phase": deployment.phase, "gates": [], "plan": None}
        approvals = self.approvals.of(name)
        counted: set[str] = set()
        if deployment.phase is Phase.GATED:
            facts, _ = self.facts(deployment)
            counted = {approval.person for approval in valid_approvals(facts)}
            gates_now = [_shown(gate) for gate in self.look(deployment)]
            found |= {"gates": gates_now, "plan": facts.plan, "asks": self._asks(facts)}
        rows = [approval.to_json() | {"counts": approval.person in counted} for approval in approvals]
        return found | {"approvals": rows}

    def _asks(self, facts: Facts) -> dict[str, Any]:
        """Who may say yes."""
        protection = facts.protection
        if protection is None:
            return {"approvals": 0, "able": []}
        able = sorted(protection.able - {facts.deployment.requested_by})
        return {"approvals": protection.approvals, "able": able}

    def facts(self, deployment: Deployment) -> tuple[Facts, dict[str, str]]:
        """What the gates are decided upon, and the plan part by part. The release has been made by now."""
        site, book = self._site, self._site.book()
        environment, service = deployment.environment, deployment.service
        release = site.records.release(environment, service, deployment.release)
        entry = site.records.placement(environment, service).entry
        known = book.environments.get(environment)
        incident = deployment.incident
        freezes = self.freezes.active(environment, service)
        budget = self._budget(deployment)
        by_role = any(one.roles for one in freezes) or (not budget.allowed and bool(budget.roles))
        facts = Facts(
            now=site.clock.now(),
            since=deployment.phase_at,
            deployment=deployment,
            plan=plan_hash(deployment, release, entry),
            requester_roles=self._roles(book, deployment) if by_role else (),
            incident_open=bool(incident) and self._incident_open(incident),
            freezes=freezes,
            protection=_protection(book, environment),
            approvals=self.approvals.of(deployment.id),
            items=self.checklists.needed(deployment) if known is not None else (),
            checklist=self.checklists.record(deployment.id),
            promotion=self._promotion(known, deployment, release)
            if known is not None
            else f"the handbook does not know the environment {environment} any more",
            hooks=tuple(hook.command for hook in self.hooks.wanted(deployment, "before")),
            hooks_run=self.hooks.record(deployment.id).before,
            budget=budget,
        )
        return facts, plan_parts(deployment, release, entry)

    def _promotion(self, environment: Environment, deployment: Deployment, release: Release) -> str | None:
        """The history is read once for each deployment; a success is taken away only by a hold, which is looked at."""
        records = self._site.records
        succeeded = self._succeeded.get(deployment.id)
        if not succeeded:
            succeeded = succeeded_before(records, environment, release)
            recent = dict(list(self._succeeded.items())[-100:])
            self._succeeded = {**recent, deployment.id: succeeded}
        return promotion(records, environment, release, succeeded)

    def _roles(self, book: Book, deployment: Deployment) -> frozenset[str]:
        """The roles that who asked has there. A name that is nobody's in the handbook is the local operator's, who is
        admin, unless it once was a person's: those who left keep nothing."""
        asked = deployment.requested_by
        if asked in book.contacts:
            return frozenset(g.role for g in book.grants(asked) if g.holds_in(deployment.environment))
        kinds = ("token.created", "login_link.created")
        made = self._site.journal.events(kinds=kinds, limit=100_000)
        if asked == "opsbook" or any(event.data.get("for") == asked for event in made):
            return frozenset()
        return frozenset({"admin"})


def _protection(book: Book, environment: str) -> Protection | None:
    known = book.environments.get(environment)
    if known is None or known.protect is None:
        return None
    protect = known.protect
    named = {person for contact in protect.approvers for person in book.people(contact)}
    return Protection(
        approvals=protect.approvals,
        approvers=protect.approvers,
        able=frozenset(named & set(holders(book.roles, "approve", environment))),
        expires=protect.expires,
    )


def _shown(gate: Gate) -> dict[str, Any]:
    return {"name": gate.name, "status": gate.status, "detail": gate.detail, "until": gate.until}
