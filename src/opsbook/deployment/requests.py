"""The verbs a person has: deploy, roll back, scale, restart, abort. Each checks, records, and starts the story."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from opsbook.book import Book, EffectiveService, dependency_order
from opsbook.deployment.changes import environment_plan
from opsbook.deployment.model import (
    Abort,
    Deployment,
    Kind,
    Outcome,
    Phase,
    Placement,
    Rollout,
    Strategy,
)
from opsbook.deployment.preparing import target_release
from opsbook.deployment.records import COUNTER, abort_key, allowed_key, deployment_key, open_key, rollout_key
from opsbook.deployment.site import Site
from opsbook.deployment.sources import label_of, source_of
from opsbook.deployment.strategies import nearest, settled_strategy
from opsbook.deployment.turns import at_work
from opsbook.errors import Conflict, Invalid, Locked, NotFound

WhenBusy = Literal["refuse", "queue", "supersede"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployRequest:
    """What is asked for; None means what the handbook says."""

    services: Sequence[str]
    environment: str
    version: str | None = None
    strategy: str | None = None
    check_index: int | None = None
    when_busy: WhenBusy | None = None
    together: bool = False
    incident: str = ""


class Requests:
    """Records what is asked for and hands it to the durable workflows ``deployment`` and ``rollout``."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._numbering = threading.Lock()

    def deploy(self, request: DeployRequest, actor: str) -> Rollout:
        """Deploy one or several services, in dependency order.

        Raises:
            NotFound: no such environment, service, strategy or version. Conflict: the plan is stale.
            Locked: another deployment is under way and the policy is to refuse. NeedsApproval: it is protected.
        """
        book = self._site.book()
        environment = self._environment(book, request.environment)
        if not request.services:
            raise Invalid("no service was named", hint="opsbook deploy SERVICE --to ENV")
        if request.check_index is not None:
            present = environment_plan(self._site, book, environment).check_index
            if present != request.check_index:
                raise Conflict(
                    "the plan is stale: something changed since it was made",
                    hint=f"look again: opsbook plan {environment}",
                    where=environment,
                    details={"check_index": present},
                )
        services = list(dict.fromkeys(request.services))
        chosen = {service: self._effective(book, environment, service) for service in services}
        policy = request.when_busy or book.environments[environment].when_busy
        planned: list[Deployment] = []
        for service, effective in chosen.items():
            version = label_of(self._site, effective, request.version)
            # Fail now, not in the background: an unknown version, a label that stands for other content.
            self._site.releases.resolve(source_of(self._site, effective), service, version)
            planned.append(
                self._planned(
                    "deploy",
                    environment,
                    service,
                    version=version,
                    replicas=effective.replicas,
                    strategy=settled_strategy(book, effective, request.strategy),
                    when_busy=policy,
                    actor=actor,
                ).but(incident=request.incident)
            )
        levels = [
            [service for service in level if service in chosen] for level in dependency_order(book.services)
        ]
        return self._start(planned, [level for level in levels if level], actor, together=request.together)

    def promote(self, service: str, environment: str, actor: str, *, incident: str = "") -> Rollout:
        """Deploy to `environment` exactly what runs in the environment before it: the same sealed source.

        Raises:
            NotFound: nothing runs there. Invalid: the environment names none before it.
        """
        book = self._site.book()
        environment = self._environment(book, environment)
        origin = book.environments[environment].promote_from
        if origin is None:
            raise Invalid(
                f"{environment} does not say from where versions are promoted",
                hint=f"promote_from: staging in environments/{environment}.yaml",
                where=environment,
            )
        effective = self._effective(book, environment, service)
        placed = self._placed(origin, service)
        deployment = self._planned(
            "deploy",
            environment,
            service,
            version=placed.version,
            replicas=effective.replicas,
            strategy=settled_strategy(book, effective, None),
            when_busy=book.environments[environment].when_busy,
            actor=actor,
        )
        source = f"{origin}/{service}/{placed.release}"
        return self._start([deployment.but(source_release=source, incident=incident)], [[service]], actor)

    def allow(self, name: str, actor: str, comment: str = "") -> Deployment:
        """Let a canary go on beyond the step at which the analysis cannot decide.

        Raises:
            Conflict: it does not wait for anybody.
        """
        deployment = self._site.records.deployment(name)
        if deployment.phase is not Phase.ANALYSING:
            raise Conflict(f"{name} does not wait at a step: it is {deployment.phase}", where=name)
        self._site.journal.append(
            "deployment.allowed",
            deployment.subject,
            {"id": name, "step": deployment.step, "comment": comment},
            actor=actor,
            put={allowed_key(name): {"step": deployment.step, "by": actor, "comment": comment}},
        )
        return self._site.records.deployment(name)

    def rollback(
        self,
        service: str,
        environment: str,
        to: str | None,
        actor: str,
        *,
        automatic: bool = False,
        reverts: str = "",
        reason: str = "",
    ) -> Rollout:
        """Back to an earlier release: the warm one by one route change, an older one by starting it.

        Raises:
            NotFound: there is no such release. Locked: another deployment is under way.
        """
        placement = self._placed(environment, service)
        records = self._site.records
        release = target_release(
            {release.id: release for release in records.releases(environment, service)},
            placement,
            to,
            records.deployments(environment, service, limit=200),
        )
        if release.id == placement.release:
            raise Conflict(f"{release.version} is what serves already", where=placement.subject)
        deployment = self._planned(
            "rollback",
            environment,
            service,
            version=release.version,
            replicas=max(1, placement.replicas),
            strategy=self._present_strategy(placement, switch=True).model_copy(update={"watch": 0.0}),
            when_busy="supersede" if automatic or self._only_waits(environment, service) else "refuse",
            actor=actor,
        )
        deployment = deployment.but(release=release.id, automatic=automatic, reverts=reverts, reason=reason)
        return self._start([deployment], [[service]], actor)

    def scale(self, service: str, environment: str, replicas: int, actor: str) -> Rollout:
        """To `replicas` instances (0 to 1000)."""
        if not 0 <= replicas <= 1000:
            raise Invalid(f"{replicas} replicas: expected 0 to 1000")
        placement = self._placed(environment, service)
        deployment = self._planned(
            "scale",
            environment,
            service,
            version=placement.version,
            replicas=replicas,
            strategy=self._present_strategy(placement),
            when_busy="refuse",
            actor=actor,
        )
        return self._start([deployment], [[service]], actor)

    def restart(self, service: str, environment: str, actor: str) -> Rollout:
        """Every instance anew, a few at a time, the same release."""
        placement = self._placed(environment, service)
        strategy = self._present_strategy(placement)
        surge, unavailable = (1, 0) if placement.entry is not None else (0, 1)
        deployment = self._planned(
            "restart",
            environment,
            service,
            version=placement.version,
            replicas=placement.replicas,
            strategy=strategy.but(type="rolling", max_surge=surge, max_unavailable=unavailable),
            when_busy="refuse",
            actor=actor,
        )
        return self._start([deployment], [[service]], actor)

    def abort(self, name: str, reason: str, actor: str, *, superseded_by: str = "") -> Deployment:
        """Take a deployment back. Accepted in every phase; asking twice changes nothing.

        Raises:
            Conflict: it has ended already.
        """
        deployment = self._site.records.deployment(name)
        if deployment.finished:
            raise Conflict(
                f"{name} has ended already: {deployment.outcome}",
                hint=f"opsbook rollback {deployment.service} --in {deployment.environment}",
                where=name,
            )
        if deployment.abort is None:
            abort = Abort(
                by=actor,
                reason=reason or f"aborted by {actor}",
                at=self._site.clock.now(),
                superseded_by=superseded_by,
            )
            self._site.journal.append(
                "deployment.abort_requested",
                deployment.subject,
                {"id": name, "reason": abort.reason, "superseded_by": superseded_by},
                actor=actor,
                put={abort_key(name): abort.to_json()},
            )
        return self._site.records.deployment(name)

    # --- what they share

    def _planned(
        self,
        kind: Kind,
        environment: str,
        service: str,
        *,
        version: str,
        replicas: int,
        strategy: Strategy,
        when_busy: WhenBusy,
        actor: str,
    ) -> Deployment:
        now = self._site.clock.now()
        return Deployment(
            id="",
            kind=kind,
            service=service,
            environment=environment,
            version=version,
            strategy=strategy,
            replicas=replicas,
            before=self._site.records.placement(environment, service),
            requested_by=actor,
            requested_at=now,
            phase_at=now,
            when_busy=when_busy,
        )

    def _start(
        self, planned: list[Deployment], levels: list[list[str]], actor: str, *, together: bool = False
    ) -> Rollout:
        for deployment in planned:
            if deployment.when_busy == "refuse":
                self._refuse_if_busy(deployment)
        with self._numbering:
            number = int(self._site.journal.state.get(COUNTER) or 0)
            numbered = {
                deployment.service: deployment.but(id=f"d-{number + index}")
                for index, deployment in enumerate(planned, 1)
            }
            rollout = Rollout(
                id=f"r-{number + 1}",
                environment=planned[0].environment,
                deployments=tuple(deployment.id for deployment in numbered.values()),
                levels=tuple(tuple(numbered[service].id for service in level) for level in levels),
                together=together,
                requested_by=actor,
            )
            put: dict[str, Any] = {COUNTER: number + len(planned)}
            for deployment in numbered.values():
                put[deployment_key(deployment.id)] = deployment.but(rollout=rollout.id).to_json()
                put[open_key(deployment.id)] = {}
            put[rollout_key(rollout.id)] = rollout.to_json()
            self._site.journal.append(
                "rollout.requested",
                rollout.environment,
                {"id": rollout.id, "deployments": list(rollout.deployments), "levels": rollout.levels},
                actor=actor,
                put=put,
            )
        self._site.boundary(f"{rollout.id}:requested")
        for deployment in numbered.values():
            self._announce(deployment, actor)
            self.supersede_others(deployment)
        self._site.durable.start("rollout", rollout.id)
        self._site.boundary(f"{rollout.id}:started")
        return rollout

    def _announce(self, deployment: Deployment, actor: str) -> None:
        self._site.journal.append(
            "deployment.requested",
            deployment.subject,
            {
                "id": deployment.id,
                "version": deployment.version,
                "kind": deployment.kind,
                "strategy": deployment.strategy.name,
                "previous": deployment.before.version,
                "automatic": deployment.automatic,
                "reason": deployment.reason,
            },
            actor=actor,
        )

    def _refuse_if_busy(self, deployment: Deployment) -> None:
        lease = at_work(self._site, deployment.environment, deployment.service)
        details: dict[str, Any] = {}
        if lease is not None:
            holder, reason = lease.holder, lease.reason
            details = {"expires_at": lease.expires_at}
        else:
            # Asked for, and not at work yet: just before, or by an opsbook that has not taken it up again.
            waiting = [
                found for found in self._site.records.unfinished() if found.subject == deployment.subject
            ]
            if not waiting:
                return
            holder = waiting[0].id
            reason = f"{waiting[0].kind} {waiting[0].version} by {waiting[0].requested_by}"
        raise Locked(
            f"{holder} is under way: {reason}",
            hint=f"wait for it (opsbook deployments watch {holder}), or --when-busy queue|supersede",
            where=deployment.subject,
            details={"holder": holder, "reason": reason, **details},
        )

    def supersede_others(self, deployment: Deployment) -> None:
        """Take back what was asked for earlier, where that is its policy. Asking again changes nothing."""
        for other in self._site.records.unfinished() if deployment.when_busy == "supersede" else ():
            if other.subject == deployment.subject and other.requested_at < deployment.requested_at:
                reason, actor = f"superseded by {deployment.id}", deployment.requested_by
                self.abort(other.id, reason, actor, superseded_by=deployment.id)

    def _only_waits(self, environment: str, service: str) -> bool:
        """Whether what is under way has not begun yet: it must not keep anybody from going back."""
        lease = at_work(self._site, environment, service)
        if lease is None:
            return False
        try:
            return self._site.records.deployment(lease.holder).phase in (Phase.PENDING, Phase.GATED)
        except NotFound:
            return False

    def _environment(self, book: Book, name: str) -> str:
        if name not in book.environments:
            raise NotFound(
                f"there is no environment {name}", hint=nearest(name, book.environments), where=name
            )
        runtime = book.environments[name].runtime
        if runtime != "process":
            raise Invalid(
                f"{name} runs on {runtime}, which this version of opsbook cannot deploy to",
                hint="runtime: process",
                where=f"environments/{name}.yaml",
            )
        return name

    def _effective(self, book: Book, environment: str, service: str) -> EffectiveService:
        known = book.environments[environment].services
        if service in known:
            return book.effective(environment, service)
        if service in book.services:
            raise NotFound(
                f"{service} is not in {environment}",
                hint=f"add it under services: in environments/{environment}.yaml",
                where=f"{environment}/{service}",
            )
        raise NotFound(f"there is no service {service}", hint=nearest(service, known), where=service)

    def _placed(self, environment: str, service: str) -> Placement:
        placement = self._site.records.placement(environment, service)
        if not placement.release:
            deployed = [p.service for p in self._site.records.placements(environment)]
            raise NotFound(
                f"{service} is not deployed in {environment}",
                hint=f"opsbook deploy {service} --to {environment}"
                + (f" (deployed there: {', '.join(sorted(deployed))})" if deployed else ""),
                where=f"{environment}/{service}",
            )
        return placement

    def _present_strategy(self, placement: Placement, *, switch: bool = False) -> Strategy:
        """The strategy that deployed it last, without steps and without keeping what it replaces."""
        kind: Any = "recreate" if placement.entry is None else "blue-green"
        last = next(
            (
                found.strategy
                for found in self._site.records.deployments(placement.environment, placement.service)
                if found.kind == "deploy" and found.outcome is Outcome.SUCCEEDED
            ),
            Strategy(name=placement.strategy or kind, type=kind),
        )
        changes: dict[str, Any] = {"steps": (), "keep_previous": 0.0}
        return last.but(**changes | ({"type": kind, "name": kind} if switch else {}))
