"""Looks at the instances of one deployment: the runtime's word, a direct probe, the proxy's word."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from opsbook.deployment.looks import Look, Seen
from opsbook.deployment.model import Deployment, Phase, Placement
from opsbook.deployment.routing import backend_name
from opsbook.deployment.site import Site
from opsbook.world.words import EndpointState, Instance, InstanceState, Probe


@dataclass(slots=True)
class _Memory:
    """What has to be remembered of an instance between two looks; all on the monotonic clock."""

    unready_since: float
    ready_since: float | None = None
    was_ready: bool = False
    draining_since: float | None = None


class Lookout:
    """Remembers since when things are so. After a crash it starts afresh: waits become longer, never shorter."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._memory: dict[str, _Memory] = {}
        self._entered = site.clock.monotonic()
        self._probes = ThreadPoolExecutor(max_workers=8, thread_name_prefix="probe")

    def entered(self, phase: Phase) -> None:
        """A phase begins, or is taken up again after a crash."""
        del phase
        self._entered = self._site.clock.monotonic()

    def look(self, deployment: Deployment, placement: Placement, *, serving: bool) -> Seen:
        """All instances of the service in this environment, as they are now."""
        instances = {
            instance.id: instance
            for instance in self._site.runtime.instances(deployment.environment, deployment.service)
        }
        mine = {*deployment.instances, *deployment.baseline, *deployment.backups}
        asked = [i for i in instances.values() if i.alive and (i.id in mine or placement.entry is None)]
        probes = dict(zip((i.id for i in asked), self._probes.map(self._probe, asked), strict=True))
        endpoints = self._endpoints(placement)
        draining = placement.draining()
        now = self._site.clock.monotonic()
        looks = {
            name: self._look(
                instance, probes.get(name), endpoints, deployment, placement, now, draining=name in draining
            )
            for name, instance in instances.items()
        }
        return Seen(
            looks=looks,
            elapsed=now - self._entered,
            has_port=placement.entry is not None,
            serving=serving,
        )

    def close(self) -> None:
        self._probes.shutdown(wait=False, cancel_futures=True)

    def _probe(self, instance: Instance) -> Probe:
        return self._site.runtime.probe(instance.id)

    def _endpoints(self, placement: Placement) -> dict[str, EndpointState]:
        """By ``release|host:port``."""
        if placement.entry is None:
            return {}
        state = self._site.traffic.observe()
        found: dict[str, EndpointState] = {}
        for group in placement.groups:
            if backend := state.backends.get(backend_name(placement, group.release)):
                found |= {f"{group.release}|{endpoint.address}": endpoint for endpoint in backend.endpoints}
        return found

    def _look(
        self,
        instance: Instance,
        probe: Probe | None,
        endpoints: dict[str, EndpointState],
        deployment: Deployment,
        placement: Placement,
        now: float,
        *,
        draining: bool,
    ) -> Look:
        memory = self._memory.setdefault(instance.id, _Memory(unready_since=now))
        group = placement.instances().get(instance.id, instance.release)
        endpoint = endpoints.get(f"{group}|{instance.address}")
        proxied = endpoint is not None and endpoint.healthy
        healthy = instance.alive and (probe.healthy if probe is not None else proxied)
        if healthy:
            memory.ready_since = now if memory.ready_since is None else memory.ready_since
        else:
            if memory.ready_since is not None:
                memory.unready_since = now
            memory.ready_since = None
        ready = memory.ready_since is not None and now - memory.ready_since >= deployment.strategy.ready_for
        memory.was_ready = memory.was_ready or ready
        if draining:
            memory.draining_since = now if memory.draining_since is None else memory.draining_since
        else:
            memory.draining_since = None
        wall = self._site.clock.now()
        return Look(
            id=instance.id,
            release=instance.release,
            up=instance.alive,
            ready=ready,
            routed=instance.alive and (proxied if placement.entry is not None else ready),
            active=endpoint.active if endpoint is not None else 0,
            crashes=sum(1 for at in instance.recent_restarts if wall - at < deployment.strategy.crash_window),
            unready_for=0.0 if memory.ready_since is not None else now - memory.unready_since,
            was_ready=memory.was_ready,
            draining_for=now - memory.draining_since if memory.draining_since is not None else 0.0,
            failed=_failure(instance),
            detail=_detail(instance, probe),
        )


def _failure(instance: Instance) -> str:
    if instance.state is not InstanceState.FAILED:
        return ""
    return str(instance.last_exit) if instance.last_exit is not None else "it cannot be started"


def _detail(instance: Instance, probe: Probe | None) -> str:
    if instance.last_exit is not None and (probe is None or not probe.healthy):
        return str(instance.last_exit)
    return probe.detail if probe is not None else ""
