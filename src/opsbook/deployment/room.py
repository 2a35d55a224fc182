"""The room put together: what the server starts, asks and stops."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import opsbook.deployment.events as _kinds  # noqa: F401 - registers the kinds of events
from opsbook.deployment.changes import environment_plan
from opsbook.deployment.ending import end_services
from opsbook.deployment.gatekeeper import Gatekeeper
from opsbook.deployment.model import Deployment, Placement
from opsbook.deployment.requests import Requests
from opsbook.deployment.retrospective import retrospective
from opsbook.deployment.rollouts import Rollouts
from opsbook.deployment.router import Router
from opsbook.deployment.site import Site
from opsbook.deployment.steward import Steward
from opsbook.deployment.strategies import settled_strategy
from opsbook.deployment.turns import give_back
from opsbook.deployment.upkeep import Upkeep
from opsbook.deployment.views import deployment_view, service_view, serving_sentence
from opsbook.deployment.workflow import Workflow
from opsbook.errors import NotFound, OpsbookError
from opsbook.world.words import Instance


class Deployments:
    """Everything about deployments that the faces may ask."""

    def __init__(
        self,
        site: Site,
        stopping: threading.Event,
        log: Callable[[str], None],
        *,
        book_errors: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self.site = site
        self.router = Router(site)
        self.requests = Requests(site)
        self.gatekeeper = Gatekeeper(site, book_errors=book_errors, alerts=_named_alerts(site))
        self._workflow = Workflow(site, self.router, self.gatekeeper, stopping)
        self._rollouts = Rollouts(site, self.requests, stopping)
        self._upkeep = Upkeep(site, self.router, self._on_proxy)
        self._steward = Steward(
            site, self.router, self.requests, self._upkeep, self._workflow.evidence, stopping, log
        )
        self._thread = threading.Thread(target=self._steward.run, name="steward", daemon=True)
        site.durable.workflow("deployment", self._workflow.run)
        site.durable.workflow("rollout", self._rollouts.run)

    def start(self) -> None:
        """After a start of opsbook: adopt what runs, give the proxy its routes, take up unfinished work."""
        self.site.runtime.adopt()
        self.site.runtime.supervise(
            self._on_instance
        )  # before the proxy: what died starts while that comes up
        self._upkeep.begin()
        self.site.traffic.supervise(self._on_proxy)
        for lease in self.site.journal.leases.all():
            give_back(self.site, lease)
        self.site.durable.launch()
        for rollout in self.site.records.unfinished_rollouts():
            # One whose request was recorded just before a crash has no workflow yet; for others this does nothing.
            self.site.durable.start("rollout", rollout.id)
        self._thread.start()

    def stop_services(self) -> None:
        """End every instance and the proxy; what is recorded stays, so that they can be deployed again."""
        self._thread.join(timeout=5.0)  # nobody brings routes back meanwhile
        end_services(self.site, self.router)

    def view(self, name: str) -> dict[str, Any]:
        return self._view(self.site.records.deployment(name))

    def listed(self, environment: str | None, service: str | None, limit: int) -> list[dict[str, Any]]:
        return [self._view(found) for found in self.site.records.deployments(environment, service, limit)]

    def plans(self, environment: str | None, services: frozenset[str]) -> list[dict[str, Any]]:
        book = self.site.book()
        if environment is not None and environment not in book.environments:
            raise NotFound(f"there is no environment {environment}", hint=", ".join(book.environments))
        names = [environment] if environment is not None else list(book.environments)
        return [environment_plan(self.site, book, name, services).to_json() for name in names]

    def locks(self) -> list[dict[str, Any]]:
        now = self.site.clock.now()
        return [
            {
                "subject": lease.subject.removeprefix("deploy/"),
                "holder": lease.holder,
                "reason": lease.reason,
                "token": lease.token,
                "acquired_at": lease.acquired_at,
                "expires_at": lease.expires_at,
            }
            for lease in self.site.journal.leases.all()
            if lease.subject.startswith("deploy/") and lease.expires_at > now
        ]

    def break_lock(self, environment: str, service: str, actor: str) -> None:
        subject = f"deploy/{environment}/{service}"
        lease = self.site.journal.leases.get(subject)
        if lease is None or lease.expires_at <= self.site.clock.now():
            raise NotFound(f"nobody holds {environment}/{service}", hint="opsbook lock status")
        self.site.journal.leases.break_(subject, actor)

    def status(self, environment: str | None = None) -> dict[str, Any]:
        """The body of `status`, without the server's and the book's part."""
        book = self.site.book()
        if environment is not None and environment not in book.environments:
            raise NotFound(f"there is no environment {environment}", hint=", ".join(book.environments))
        instances = {instance.id: instance for instance in self.site.runtime.instances()}
        versions = {release.id: release.version for release in self.site.records.releases()}
        traffic = self.site.traffic.observe()
        health = {
            str(endpoint.address): endpoint.healthy
            for backend in traffic.backends.values()
            for endpoint in backend.endpoints
        }
        busy = {found.subject: found for found in self.site.records.unfinished()}
        placements = {placement.subject: placement for placement in self.site.records.placements()}
        found: dict[str, Any] = {}
        for name, described in book.environments.items():
            if environment not in (None, name):
                continue
            mine = {p.service for p in placements.values() if p.environment == name} | set(described.services)
            services = {}
            for service in sorted(mine):
                subject = f"{name}/{service}"
                placement = placements.get(subject, Placement(environment=name, service=service))
                healthy = {i: _healthy(instances.get(i), health, placement) for i in placement.instances()}
                services[service] = service_view(placement, instances, healthy, versions, busy.get(subject))
            found[name] = {
                "services": services,
                "entry": f"http://{described.entry.host}:{described.entry.port}",
                "proxy": {
                    "alive": traffic.alive,
                    "generation": traffic.generation,
                    "version": traffic.version,
                },
            }
        return {"environments": found}

    def _view(self, deployment: Deployment) -> dict[str, Any]:
        placement = self.site.records.placement(deployment.environment, deployment.service)
        waiting = self._workflow.waiting.get(deployment.id, "")
        instances: dict[str, Instance] = {}
        healthy: dict[str, bool] = {}
        if not deployment.finished:
            found = self.site.runtime.instances(deployment.environment, deployment.service)
            instances = {instance.id: instance for instance in found}
            states = self.site.traffic.observe().backends.values()
            seen = {
                str(endpoint.address): endpoint.healthy for state in states for endpoint in state.endpoints
            }
            healthy = {name: _healthy(instance, seen, placement) for name, instance in instances.items()}
        return deployment_view(
            deployment,
            serving_sentence(placement),
            waiting,
            self.site.clock.now(),
            placement=placement,
            instances=instances,
            healthy=healthy,
            gates=self.gatekeeper.look(deployment),
            analysis=self._workflow.evidence.last(deployment.id) or None,
        )

    def watching(self) -> bool:
        """Whether a release is in its watch window now: then it is looked at more often."""
        return self._steward.watching

    def analysis(self, name: str) -> dict[str, Any]:
        """What the chart of a canary shows."""
        return self._workflow.evidence.points(self.site.records.deployment(name).id)

    def judged_again(self, name: str, strategy: str | None) -> dict[str, Any]:
        """See `retrospective`. Raises NotFound when the deployment or the strategy is unknown."""
        deployment = self.site.records.deployment(name)
        chosen = deployment.strategy
        if strategy is not None:
            book = self.site.book()
            effective = book.effective(deployment.environment, deployment.service)
            chosen = settled_strategy(book, effective, strategy)
        return retrospective(deployment, chosen, *self._workflow.evidence.readings(deployment.id))

    def _on_instance(self, instance: Instance) -> None:
        try:
            self.site.journal.append(
                "instance.changed",
                f"{instance.environment}/{instance.service}",
                {
                    "instance": instance.id,
                    "release": instance.release,
                    "state": instance.state,
                    "restarts": instance.restarts,
                    "exit": str(instance.last_exit) if instance.last_exit else "",
                },
                actor="opsbook",
            )
        except OpsbookError:
            return  # the supervisor must go on restarting even when the journal cannot be written

    def _on_proxy(self, message: str) -> None:
        try:
            self.site.journal.append("traffic.proxy", "proxy", {"message": message}, actor="opsbook")
        except OpsbookError:
            return


def _named_alerts(site: Site) -> Callable[[str, str], Sequence[str]]:
    def named(environment: str, service: str) -> list[str]:
        return [str(alert) for alert in site.alerts(environment, service)]

    return named


def _healthy(instance: Instance | None, health: dict[str, bool], placement: Placement) -> bool:
    if instance is None or not instance.alive:
        return False
    return health.get(str(instance.address), False) if placement.entry is not None else True
