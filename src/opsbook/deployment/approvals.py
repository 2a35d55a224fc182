"""Approvals: one person's yes to exactly one plan of somebody else's deployment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from opsbook.deployment.gates import Approval, Facts, Protection, changed_parts, deadline, moment
from opsbook.deployment.model import Deployment, Phase
from opsbook.deployment.site import Site
from opsbook.errors import Conflict, NotAllowed, NotFound
from opsbook.security.model import Identity
from opsbook.security.plan import holders, may


class Approvals:
    """Giving and withdrawing.

    Args:
        facts: what the gates of a deployment are decided upon, and its plan part by part.
    """

    def __init__(self, site: Site, facts: Callable[[Deployment], tuple[Facts, dict[str, str]]]) -> None:
        self._site = site
        self._facts = facts

    def approve(self, name: str, who: Identity, comment: str = "", *, plan: str | None = None) -> Approval:
        """Say yes. Doing so again renews it.

        Args:
            plan: the hash of the plan that was looked at; None: the present one.

        Raises:
            NotAllowed: it is not known who it is; they asked for it themselves; they may not approve here.
            Conflict: it does not wait for approval, or not any more; the plan is another one.
        """
        deployment = self._site.records.deployment(name)
        refuse_unless_personal(self._site, deployment, who, "approve")
        self._refuse_unless_waiting(deployment)
        facts, parts = self._facts(deployment)
        protection = facts.protection
        if deployment.kind != "deploy" or protection is None or protection.approvals == 0:
            raise Conflict(f"{deployment.environment} does not ask for approvals", where=name)
        _refuse_unless_named(deployment, who, protection)
        if facts.now >= deadline(facts):
            raise Conflict(
                f"{name} waited for approval until {moment(deadline(facts))}",
                hint=f"ask again: opsbook deploy {deployment.service} --to {deployment.environment}",
                where=name,
            )
        if plan is not None and plan != facts.plan:
            raise Conflict(
                f"the plan changed since: {self._what_changed(name, who, plan, parts)}",
                hint=f"look again: opsbook approve {name}",
                where=name,
                details={"plan": facts.plan},
            )
        approval = Approval(
            deployment=name, person=who.name, plan=facts.plan, parts=parts, comment=comment.strip()[:2000],
            at=self._site.clock.now(),
        )  # fmt: skip
        about = {"id": name, "version": deployment.version, "plan": facts.plan, "comment": approval.comment}
        put = {_key(name, who.name): approval.to_json()}
        self._site.journal.append("deployment.approved", deployment.subject, about, actor=who.actor, put=put)
        return approval

    def refuse_unless_able(self, deployment: Deployment, who: Identity) -> None:
        """Raises NotAllowed, unless `who` is one who may say yes to this deployment of somebody else."""
        refuse_unless_personal(self._site, deployment, who, "approve")
        facts, _ = self._facts(deployment)
        if facts.protection is not None:
            _refuse_unless_named(deployment, who, facts.protection)

    def withdraw(self, name: str, who: Identity) -> None:
        """Take one's yes back, while the deployment still waits.

        Raises:
            NotFound: there is none of theirs. Conflict: the deployment has gone on.
        """
        deployment = self._site.records.deployment(name)
        self._refuse_unless_waiting(deployment)
        if not who.authenticated or self._site.journal.state.get(_key(name, who.name)) is None:
            raise NotFound(f"{who.name} has not approved {name}", where=name)
        self._site.journal.append(
            "deployment.approval_withdrawn",
            deployment.subject,
            {"id": name, "version": deployment.version},
            actor=who.actor,
            put={_key(name, who.name): None},
        )

    def of(self, name: str) -> list[Approval]:
        """All of a deployment, the oldest first, also those that do not count any more."""
        found = self._site.journal.state.items(f"approval/{name}/").values()
        return sorted((Approval.model_validate(document) for document in found), key=lambda one: one.at)

    def _refuse_unless_waiting(self, deployment: Deployment) -> None:
        if deployment.finished:
            raise Conflict(f"{deployment.id} has ended already: {deployment.outcome}", where=deployment.id)
        if deployment.phase is Phase.PENDING:
            raise Conflict(
                f"{deployment.id} is still being prepared: there is no plan to approve yet",
                hint="approve it when it waits at its gates",
                where=deployment.id,
            )
        if deployment.phase is not Phase.GATED:
            raise Conflict(
                f"{deployment.id} has passed its gates: it is {deployment.phase}", where=deployment.id
            )

    def _what_changed(self, name: str, who: Identity, plan: str, parts: dict[str, str]) -> str:
        """In words where it can be told: an earlier approval of that plan knows its parts."""
        earlier = [approval for approval in self.of(name) if approval.plan == plan]
        mine = next((approval for approval in earlier if approval.person == who.name), None)
        known = mine or next(iter(earlier), None)
        return changed_parts(known, parts) if known is not None else "it is not the one you looked at"


def _refuse_unless_named(deployment: Deployment, who: Identity, protection: Protection) -> None:
    if who.name in protection.able:
        return
    able = ", ".join(sorted(protection.able - {deployment.requested_by})) or "nobody"
    raise NotAllowed(
        f"{who.name} is not one of those who approve for {deployment.environment}: "
        f"{', '.join(protection.approvers)}",
        hint=f"who may: {able}",
        where=deployment.id,
    )


def refuse_unless_personal(
    site: Site, deployment: Deployment, who: Identity, verb: Literal["approve", "sign"]
) -> None:
    """What must be done by a known person who is not the one who asked: approving and signing.

    Raises:
        NotAllowed: says which of these it fails.
    """
    book = site.book()
    decision = may(who, verb, deployment.environment)
    if not decision.allowed:
        able = [
            person
            for person in holders(book.roles, verb, deployment.environment)
            if person != deployment.requested_by
        ]
        raise NotAllowed(
            decision.why,
            hint=f"who may: {', '.join(able)}" if able else "nobody has that role yet: security/roles.yaml",
            where=deployment.id,
        )
    if who.name == deployment.requested_by:
        raise NotAllowed(
            f"{who.name} asked for {deployment.id}: somebody else must {verb}",
            hint="nobody approves their own",
            where=deployment.id,
        )
    if who.created_by == deployment.requested_by and book.people(who.created_by):
        raise NotAllowed(
            f"{who.created_by} asked for {deployment.id} and made the token that you {verb} with",
            hint="use one that somebody else made for you",
            where=deployment.id,
        )


def _key(name: str, person: str) -> str:
    return f"approval/{name}/{person}"
