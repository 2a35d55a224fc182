"""What goes on between deployments: watch windows, warm releases that have been kept long enough, the proxy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from opsbook.deployment.alarms import condemning
from opsbook.deployment.draining import DRAIN_SETTLE, taking_out
from opsbook.deployment.evidence import Evidence
from opsbook.deployment.forward import leftovers
from opsbook.deployment.model import Placement, Watch
from opsbook.deployment.records import deployment_key, placement_key
from opsbook.deployment.requests import Requests
from opsbook.deployment.router import Router
from opsbook.deployment.routing import backend_name
from opsbook.deployment.side_by_side import side_by_side
from opsbook.deployment.site import Site
from opsbook.deployment.turns import LEASE_SECONDS, STEWARD, at_work, lease_subject
from opsbook.deployment.upkeep import Upkeep
from opsbook.errors import Locked, OpsbookError

UNHEALTHY_SECONDS = 5.0
"""In the watch window: how long an instance may be unhealthy before its release is taken back."""


class Steward:
    """Looks once a second; acts only where a placement asks for it."""

    def __init__(
        self,
        site: Site,
        router: Router,
        requests: Requests,
        upkeep: Upkeep,
        evidence: Evidence,
        stopping: threading.Event,
        log: Callable[[str], None],
    ) -> None:
        self._site = site
        self._router = router
        self._requests = requests
        self._upkeep = upkeep
        self._evidence = evidence
        self.watching = False  # whether anything is in its watch window
        self._stopping = stopping
        self._log = log
        self._unhealthy_since: dict[str, float] = {}

    def run(self) -> None:
        """Until opsbook ends. A failure in one placement is told and tried again; the others go on."""
        while not self._stopping.wait(1.0):
            try:
                self._upkeep.look()
                self.look()
            except OpsbookError as error:
                self._log(f"steward: {error}")

    def look(self) -> None:
        """One round."""
        now = self._site.clock.now()
        placements = [placement for placement in self._site.records.placements() if _wants_care(placement)]
        self.watching = any(placement.watch is not None for placement in placements)
        # A deployment under way does not always hold its lock: after a crash, or when the clock jumped past its end.
        under_way = {found.subject for found in self._site.records.unfinished()} if placements else set()
        for placement in placements:
            watch, previous = placement.watch, placement.previous
            if placement.subject in under_way:
                continue
            try:
                if watch is not None and (reason := self._trouble(placement, watch)):
                    self._revert(placement, watch, reason)
                elif watch is not None and now > watch.until:
                    self._end_watch(placement)
                elif previous is not None and watch is None and now > previous.until:
                    self._end_warm(placement)
                elif leftovers(placement):
                    self._put_away_leftovers(placement)
            except Locked:
                continue  # somebody is at work on it; the next round looks again

    # --- the watch window

    def _trouble(self, placement: Placement, watch: Watch) -> str:
        deployment = self._site.records.deployment(watch.deployment)
        strategy = deployment.strategy
        wall, now = self._site.clock.now(), self._site.clock.monotonic()
        members = {m.instance for m in placement.members(watch.release) if not m.draining}
        endpoints: dict[str, bool] = {}
        if placement.entry is not None:
            backend = self._site.traffic.observe().backends.get(backend_name(placement, watch.release))
            endpoints = {str(e.address): e.healthy for e in backend.endpoints} if backend else {}
        for instance in self._site.runtime.instances(placement.environment, placement.service):
            if instance.id not in members:
                continue
            crashes = sum(1 for at in instance.recent_restarts if wall - at < strategy.crash_window)
            if crashes > strategy.crash_loop and "crash" in strategy.rollback_on:
                return (
                    f"{instance.id} is in a crash loop: ended {crashes} times, last with {instance.last_exit}"
                )
            healthy = instance.alive and endpoints.get(str(instance.address), placement.entry is None)
            if healthy:
                self._unhealthy_since.pop(instance.id, None)
                continue
            since = self._unhealthy_since.setdefault(instance.id, now)
            if now - since > UNHEALTHY_SECONDS and "health" in strategy.rollback_on:
                return f"{instance.id} has been unhealthy for {now - since:.0f} s"
        if alarm := condemning(deployment, self._site.alerts(placement.environment, placement.service)):
            return alarm
        verdict = self._evidence.watch(deployment, placement, watch)
        judged = "analysis" in strategy.rollback_on and not strategy.dry_run
        return verdict.reason if judged and verdict is not None and verdict.kind == "fail" else ""

    def _revert(self, placement: Placement, watch: Watch, reason: str) -> None:
        self._refuse_if_busy(placement)
        self._evidence.forget(watch.deployment)
        back = self._requests.rollback(
            placement.service,
            placement.environment,
            watch.back_to,
            "opsbook",
            automatic=True,
            reverts=watch.deployment,
            reason=reason,
        )
        reverted = self._site.records.deployment(watch.deployment)
        self._site.journal.append(
            "deployment.reverted",
            placement.subject,
            {"id": watch.deployment, "by": back.deployments[0], "reason": reason},
            actor="opsbook",
            put={deployment_key(watch.deployment): reverted.but(reverted_by=back.deployments[0]).to_json()},
        )

    def _end_watch(self, placement: Placement) -> None:
        """From now on the release answers for itself: the one before is no fallback any more."""
        if placement.watch is not None:
            self._evidence.forget(placement.watch.deployment)
        self._change(placement, placement.but(watch=None))
        self._router.apply()

    # --- the warm previous release

    def _end_warm(self, placement: Placement) -> None:
        previous = placement.previous
        assert previous is not None
        lease = self._site.journal.leases.acquire(
            lease_subject(placement.environment, placement.service),
            holder=STEWARD,
            reason=f"stopping the previous release {previous.version}",
            ttl=LEASE_SECONDS,
            resume=True,  # what a steward that was killed had begun is for the next one to finish
        )
        try:
            placement = self._present(placement)
            if placement.previous != previous:
                return
            # It stays the previous release until all is done, so that after a crash all is done again; and who belongs
            # to it is asked of the runtime, because the placement may have forgotten them already.
            names = {
                instance.id
                for instance in self._site.runtime.instances(placement.environment, placement.service)
                if instance.release == previous.release
            }
            self._change(placement, taking_out(placement, names))
            self._router.apply()
            self._site.boundary("warm:drained")
            self._site.clock.sleep(DRAIN_SETTLE)
            self._router.forget(names, self._present(placement), lease)
            self._site.boundary("warm:forgotten")
            side_by_side([partial(self._site.runtime.stop, name) for name in names])
            self._site.boundary("warm:stopped")
            remaining = self._present(placement)
            self._site.journal.append(
                "placement.warm_ended",
                placement.subject,
                {"release": previous.release, "version": previous.version, "instances": sorted(names)},
                actor="opsbook",
                lease=lease,
                put={
                    placement_key(placement.environment, placement.service): remaining.but(
                        previous=None, revision=remaining.revision + 1
                    ).to_json()
                },
            )
        finally:
            self._site.journal.leases.release(lease)

    def _put_away_leftovers(self, placement: Placement) -> None:
        """Releases that neither serve nor stay warm. They are forgotten last, so that a crash forgets none of them."""
        lease = self._site.journal.leases.acquire(
            lease_subject(placement.environment, placement.service),
            holder=STEWARD,
            reason="stopping releases that serve no more",
            ttl=LEASE_SECONDS,
            resume=True,
        )
        try:
            placement = self._present(placement)
            old = leftovers(placement)
            names = {name for name, release in placement.instances().items() if release in old}
            if not names:
                return
            self._change(placement, taking_out(placement, names))
            self._router.apply()
            self._site.clock.sleep(DRAIN_SETTLE)
            side_by_side([partial(self._site.runtime.stop, name) for name in names])
            self._router.forget(names, self._present(placement), lease)
            self._site.journal.append(
                "instance.stopped",
                placement.subject,
                {"deployment": placement.deployment, "instances": sorted(names)},
                actor="opsbook",
                lease=lease,
            )
        finally:
            self._site.journal.leases.release(lease)

    def _present(self, placement: Placement) -> Placement:
        return self._site.records.placement(placement.environment, placement.service)

    def _change(self, before: Placement, after: Placement) -> None:
        """A change of bookkeeping only, refused while somebody is at work on the placement."""
        if after.watch is None and before.watch is not None:
            self._refuse_if_busy(before)
        key = placement_key(before.environment, before.service)
        self._site.journal.state.put(key, after.but(revision=before.revision + 1).to_json())

    def _refuse_if_busy(self, placement: Placement) -> None:
        lease = at_work(self._site, placement.environment, placement.service)
        if lease is not None:
            raise Locked(f"{lease.holder} is at work", where=placement.subject)


def _wants_care(placement: Placement) -> bool:
    return placement.watch is not None or placement.previous is not None or bool(leftovers(placement))
