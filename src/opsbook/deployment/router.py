"""Brings the proxy to what the placements say, and waits until it is serving."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from opsbook.deployment.model import BASELINE, Placement, Release
from opsbook.deployment.records import Records, placement_key
from opsbook.deployment.routing import route_table
from opsbook.deployment.site import Site
from opsbook.journal import Lease
from opsbook.world.hosts.faults import Boundary, no_fault
from opsbook.world.words import RouteTable


@dataclass(frozen=True, slots=True)
class Served:
    """A route table that was seen to serve."""

    generation: int
    seconds: float  # from writing it to serving it


class Router:
    """One table for the whole proxy, so one at a time may change it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._one_at_a_time = threading.Lock()
        self._releases: dict[str, Release] = {}
        self._applied: RouteTable | None = None
        self._generation = 0

    def apply(self, passed: Boundary = no_fault) -> Served:
        """Write the table of all placements as they are recorded now, and wait until it serves.

        Args:
            passed: told ``applied`` when it is written and ``confirmed`` when it serves.

        Raises:
            OpsbookError: the proxy refused it, its last good table is back; or the time ran out.
        """
        with self._one_at_a_time:
            table = self._table()
            started = self._site.clock.monotonic()
            generation = self._site.traffic.apply(table)
            self._applied = None
            passed("applied")
            self._site.traffic.confirm(generation)
            passed("confirmed")
            self._applied, self._generation = table, generation
            return Served(generation, self._site.clock.monotonic() - started)

    def serves_present(self) -> bool:
        """Whether the table of the placements as recorded now is the one that was confirmed last."""
        with self._one_at_a_time:
            return self._applied is not None and self._applied == self._table()

    def forget(self, instances: set[str], placement: Placement, lease: Lease) -> None:
        """Take instances that have no request left out of the placement and the table."""
        remaining = placement.without(instances)
        if remaining == placement:
            return
        self._site.journal.append(
            "traffic.shifting",
            placement.subject,
            {
                "deployment": placement.deployment,
                "weights": remaining.weights,
                "message": f"{len(instances)} drained",
            },
            actor="opsbook",
            lease=lease,
            put={
                placement_key(placement.environment, placement.service): remaining.but(
                    revision=placement.revision + 1
                ).to_json()
            },
        )
        self.apply()

    def _table(self) -> RouteTable:
        records = Records(self._site.journal)
        placements = records.placements()
        addresses = {
            instance.id: instance.address
            for instance in self._site.runtime.instances()
            if instance.address is not None
        }
        for placement in placements:
            for group in placement.groups:
                name = group.release.removesuffix(BASELINE)
                if name not in self._releases:
                    self._releases[name] = records.release(placement.environment, placement.service, name)
        return route_table(placements, self._releases, addresses)
