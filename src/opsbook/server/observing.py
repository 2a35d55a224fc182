"""Keeps the telemetry's targets in step with what runs, and scrapes more often while something is decided."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from opsbook.deployment.records import Records
from opsbook.deployment.site import Site
from opsbook.deployment.workloads import limits
from opsbook.errors import OpsbookError
from opsbook.journal import Journal
from opsbook.world.words import Instance, Limits, Target, Telemetry

BUSY_SECONDS, IDLE_SECONDS = 1.0, 5.0


class Observing:
    """One loop; cheap while nothing changes.

    Args:
        extra: further targets, as the handbook has them; cheap to ask.
    """

    def __init__(
        self,
        site: Site,
        telemetry: Telemetry,
        stopping: threading.Event,
        log: Callable[[str], None],
        *,
        watching: Callable[[], bool] = lambda: False,
        extra: Callable[[], Sequence[Target]] = tuple,
    ) -> None:
        self._site = site
        self._telemetry = telemetry
        self._stopping = stopping
        self._log = log
        self._watching = watching
        self._extra = extra
        self._targets: list[Target] = []

    def run(self) -> None:
        """Until opsbook ends."""
        while not self._stopping.wait(1.0):
            try:
                self.look()
            except OpsbookError as error:
                self._log(f"observing: {error}")

    def look(self) -> None:
        """One round: hand over the targets where they changed."""
        metrics = {release.id: release.config.get("metrics") for release in self._site.records.releases()}
        targets = [Target("host", {}), Target("envoy", {}), Target("opsbook", {}), *self._extra()]
        for instance in self._site.runtime.instances():
            labels = _labels(instance)
            if instance.pid is not None and instance.alive:
                targets.append(Target("process", labels, pid=instance.pid))
            if instance.alive and instance.address is not None and (path := metrics.get(instance.release)):
                targets.append(Target("metrics", labels, address=instance.address, path=str(path)))
        if targets != self._targets:
            self._telemetry.targets(targets)
            self._targets = targets
        busy = self._watching() or bool(self._site.journal.leases.all())
        self._telemetry.interval(BUSY_SECONDS if busy else IDLE_SECONDS)


def limits_by_release(journal: Journal) -> Callable[[Target], Limits]:
    """What the instance behind a target may use, from its release."""
    records = Records(journal)

    def limits_of(target: Target) -> Limits:
        labels = target.labels
        if "release" not in labels:
            return Limits()
        try:
            release = records.release(labels["environment"], labels["service"], labels["release"])
        except OpsbookError:
            return Limits()
        return limits(release.config)

    return limits_of


def _labels(instance: Instance) -> Mapping[str, str]:
    return {
        "service": instance.service,
        "environment": instance.environment,
        "release": instance.release,
        "version": instance.version,
        "instance": instance.id,
    }
