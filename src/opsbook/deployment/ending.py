"""``down --services``: everything that serves ends, the requests under way first."""

from __future__ import annotations

import contextlib
from functools import partial

from opsbook.deployment.draining import DRAIN_SETTLE
from opsbook.deployment.records import placement_key
from opsbook.deployment.router import Router
from opsbook.deployment.side_by_side import side_by_side
from opsbook.deployment.site import Site
from opsbook.errors import OpsbookError

REQUEST_SECONDS = 10.0
"""How long requests under way are waited for."""


def end_services(site: Site, router: Router) -> None:
    """End every instance and the proxy. What is recorded of releases stays, so that they can be deployed again.

    Raises:
        Failed: a process survives SIGKILL.
    """
    for placement in site.records.placements():
        _record(site, placement.environment, placement.service, weights={})
    # Where the proxy takes no new routes it ends all the same.
    with contextlib.suppress(OpsbookError):
        router.apply()
        _await_requests(site)
    # Before the instances: its idle connections would keep many a server from ending before its time is up.
    site.traffic.stop()
    side_by_side([partial(site.runtime.stop, instance.id) for instance in site.runtime.instances()])
    for placement in site.records.placements():
        _record(
            site, placement.environment, placement.service, weights={}, groups=(), previous=None, watch=None
        )


def _await_requests(site: Site) -> None:
    site.clock.sleep(DRAIN_SETTLE)
    deadline = site.clock.monotonic() + REQUEST_SECONDS
    while any(backend.active for backend in site.traffic.observe().backends.values()):
        if site.clock.monotonic() > deadline:
            return
        site.clock.sleep(0.05)


def _record(site: Site, environment: str, service: str, **changes: object) -> None:
    placement = site.records.placement(environment, service)
    changed = placement.but(revision=placement.revision + 1, **changes)
    site.journal.state.put(placement_key(environment, service), changed.to_json())
