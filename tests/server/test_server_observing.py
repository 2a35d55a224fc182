"""What is handed over to be scraped."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from opsbook.server.observing import Observing
from opsbook.world.words import Address, Instance, InstanceState, Target


class Telemetry:
    def __init__(self) -> None:
        self.handed: list[list[Target]] = []
        self.intervals: list[float] = []

    def targets(self, targets: list[Target]) -> None:
        self.handed.append(list(targets))

    def interval(self, seconds: float) -> None:
        self.intervals.append(seconds)


def test_everything_is_scraped_without_a_word() -> None:
    """Machine, proxy, opsbook, every instance and what it exports, and further targets; handed over when it changes."""
    instance = Instance(
        "web-1", "web", "production", "web-r1", "v1", InstanceState.RUNNING, Address("127.0.0.1", 8000), pid=7
    )
    running, extra = [instance], list[Target]()
    site: Any = SimpleNamespace(
        records=SimpleNamespace(releases=lambda: [SimpleNamespace(id="web-r1", config={"metrics": "/m"})]),
        runtime=SimpleNamespace(instances=lambda: running),
        journal=SimpleNamespace(leases=SimpleNamespace(all=list)),
    )
    telemetry: Any = Telemetry()
    observing = Observing(site, telemetry, threading.Event(), print, extra=lambda: extra)
    observing.look()
    observing.look()
    (handed,) = telemetry.handed
    assert ["host", "envoy", "opsbook", "process", "metrics"] == [target.kind for target in handed]
    labels = {
        "service": "web",
        "environment": "production",
        "release": "web-r1",
        "version": "v1",
        "instance": "web-1",
    }
    assert (labels, 7) == (handed[3].labels, handed[3].pid)
    assert (labels, "/m", Address("127.0.0.1", 8000)) == (handed[4].labels, handed[4].path, handed[4].address)
    extra.append(Target("metrics", {"job": "postgres", "instance": "db:1"}, Address("10.0.0.1", 1)))
    running.clear()
    observing.look()
    assert ["host", "envoy", "opsbook", "metrics"] == [target.kind for target in telemetry.handed[-1]]
    assert {"job": "postgres", "instance": "db:1"} == telemetry.handed[-1][-1].labels
    assert [5.0] * 3 == telemetry.intervals
