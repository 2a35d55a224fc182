"""The rooms that watch, put together: samples, rules, alerts, notifications, objectives, probes, logs and traces.

`composition.py` makes one of these, hands parts of it to deployments, and then starts it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter
from fastapi.routing import APIRoute

import opsbook.monitoring.logs.pages as log_pages
import opsbook.monitoring.traces.pages as trace_pages
from opsbook.book.settings import MonitoringSettings
from opsbook.journal import Journal
from opsbook.monitoring.alerting.alertmanager_api import router as alertmanager_routes
from opsbook.monitoring.alerting.api import router as alerting_routes
from opsbook.monitoring.alerting.responding import Responders
from opsbook.monitoring.alerting.room import Alerting
from opsbook.monitoring.api import router as monitoring_routes
from opsbook.monitoring.backend import Backend
from opsbook.monitoring.dashboards.api import router as dashboard_routes
from opsbook.monitoring.dashboards.room import Dashboards
from opsbook.monitoring.dashboards.top import Top
from opsbook.monitoring.federation import router as federation_routes
from opsbook.monitoring.logs.api import router as log_routes
from opsbook.monitoring.pages.source import Source as Pages
from opsbook.monitoring.probes.api import router as probe_routes
from opsbook.monitoring.probes.room import Probes
from opsbook.monitoring.prometheus_api import router as prometheus_routes
from opsbook.monitoring.querying.api import router as query_routes
from opsbook.monitoring.receiving.api import router as receiving_routes
from opsbook.monitoring.room import Monitoring
from opsbook.monitoring.rules.api import router as rules_routes
from opsbook.monitoring.slos.api import router as slo_routes
from opsbook.monitoring.slos.room import Slos
from opsbook.monitoring.traces.api import router as trace_routes
from opsbook.server.console.shell import Shell
from opsbook.server.handbook import Handbook
from opsbook.server.observing import limits_by_release
from opsbook.server.suspects import failing, pending
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.hosts.faults import Boundary
from opsbook.world.hosts.tokens import new_token
from opsbook.world.logs.search import LogSearch
from opsbook.world.logs.sent import SentLogs
from opsbook.world.secrets.age import AgeSecrets
from opsbook.world.telemetry.engine import EmbeddedTelemetry
from opsbook.world.telemetry.history.compaction import Retention
from opsbook.world.telemetry.logs import FileLogs
from opsbook.world.telemetry.receiving.receiver import Receiver
from opsbook.world.telemetry.store import HotStore
from opsbook.world.traces.store import TraceStore
from opsbook.world.traffic.envoy import EnvoyTraffic

Place = tuple[str, str]
"""Environment and service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the rooms stand on.

    Args:
        book: the handbook's folder. state: what opsbook remembers.
        stopping: set at the end. log: a sentence for people.
        boundary: told each place where a crash matters.
        at_failure: ends what was begun when a later room cannot be started.
        address: where people reach the console, as it is at that moment; may be empty.
    """

    handbook: Handbook
    journal: Journal
    secrets: AgeSecrets
    clock: SystemClock
    traffic: EnvoyTraffic
    book: Path
    state: Path
    stopping: threading.Event
    log: Callable[[str], None]
    boundary: Boundary
    at_failure: contextlib.ExitStack
    address: Callable[[], str]


class Watching:
    """See the module.

    Args:
        deploying: the services that are being deployed; asked from `start` on only.
        responders: who is on call, and who opens incidents.
    """

    def __init__(
        self,
        ground: Ground,
        deploying: Callable[[], Collection[Place]],
        *,
        responders: Responders,
    ) -> None:
        self._ground = ground
        handbook, journal, secrets, clock = ground.handbook, ground.journal, ground.secrets, ground.clock
        closing = ground.at_failure.callback
        self.telemetry = _telemetry(handbook.current().monitoring, ground)
        closing(self.telemetry.close)
        self.telemetry.start()
        moment, log = self.telemetry.moment, ground.log
        self.backend = Backend(
            handbook.current,
            ground.book,
            self.telemetry.storage,
            secret=secrets.get,
            clock=clock,
            moment=moment,
            log=log,
        )
        closing(self.backend.close)
        queries, series = self.backend.queries, self.backend.series
        self.slos = Slos(queries, series, journal, book=handbook.current, moment=moment, log=log)
        self.slos.start()
        self.traces = TraceStore(ground.state / "traces.sqlite", clock, mask=secrets.mask, log=log)
        closing(self.traces.close)
        self.files = FileLogs(ground.state / "logs", clock, mask=secrets.mask)
        self.sent = SentLogs(ground.state / "sent-logs.sqlite", clock, mask=secrets.mask, log=log)
        closing(self.sent.close)
        self.logs = LogSearch(ground.state / "logs", self.sent, clock, mask=secrets.mask)
        self.alerting = Alerting(
            handbook.current,
            journal,
            secrets,
            clock,
            deploying=deploying,
            responders=responders,
            url=ground.address,
            new_id=new_token,
            log=log,
            boundary=ground.boundary,
        )
        closing(self.alerting.close)
        self.probes = Probes(
            handbook.current,
            self.telemetry.storage,
            journal,
            secret=secrets.get,
            mask=secrets.mask,
            moment=moment,
            log=log,
        )
        closing(self.probes.close)
        self.monitoring = Monitoring(
            queries,
            series,
            journal,
            book=handbook.current,
            moment=moment,
            receiver=self.alerting,
            told=self.alerting.told,
            generators=(self.probes.groups, self.backend.targets.groups, self.slos.groups),
            log=log,
        )
        closing(self.monitoring.close)
        self.dashboards = Dashboards(
            queries, self.backend.catalogue, journal, book=handbook.current, now=moment
        )
        self.top = Top(queries, self.monitoring.view, book=handbook.current, now=moment)

    def start(self) -> None:
        """Begin to look, to decide and to tell."""
        self.alerting.start()
        self.alerting.watch(
            pending(self.monitoring.rules), failing(self.probes, self._ground.handbook.current)
        )
        self.telemetry.on_scraped(self.alerting.scraped)
        self.telemetry.on_scraped(self.monitoring.rules.scraped)
        self.monitoring.start()
        self.probes.start()

    def loops(self) -> list[threading.Thread]:
        """What goes on until the end, not started yet."""
        stopping = (self._ground.stopping,)
        return [
            threading.Thread(target=self.monitoring.keep, args=stopping, name="monitoring", daemon=True),
            threading.Thread(target=self.probes.keep, args=stopping, name="probes", daemon=True),
            threading.Thread(
                target=self.backend.keep, args=(self.alerting, *stopping), name="backend", daemon=True
            ),
            threading.Thread(target=self.slos.keep, args=stopping, name="slos", daemon=True),
            threading.Thread(target=self.traces.keep, args=stopping, name="traces", daemon=True),
        ]

    def close(self) -> None:
        """End all of it, what asks before what is asked."""
        self.probes.close()
        self.monitoring.close()
        self.backend.close()
        self.alerting.close()
        self.telemetry.close()
        self.traces.close()
        self.sent.close()

    def routers(self) -> tuple[APIRouter, ...]:
        """The API."""
        book, clock, journal = self._ground.handbook.current, self._ground.clock, self._ground.journal
        queries, view, catalogue = self.monitoring.queries, self.monitoring.view, self.backend.catalogue
        return (
            monitoring_routes(self.files, self.telemetry, clock, stopping=self._ground.stopping.is_set),
            log_routes(self.logs, clock, stopping=self._ground.stopping.is_set),
            receiving_routes(Receiver(self.telemetry.storage, self.sent, self.traces, now=clock.now)),
            rules_routes(view),
            query_routes(queries, clock),
            dashboard_routes(self.dashboards, self.top),
            prometheus_routes(queries, catalogue, clock, rules=view, targets=self.telemetry),
            federation_routes(self.telemetry.storage, clock),
            probe_routes(self.probes),
            slo_routes(self.slos),
            trace_routes(self.traces, clock.now),
            alerting_routes(self.alerting, book, journal, clock),
            alertmanager_routes(self.alerting, book, clock),
        )

    def pages(self) -> Pages:
        """What the console shows of it."""
        return Pages(
            dashboards=self.dashboards,
            top=self.top,
            queries=self.monitoring.queries,
            catalogue=self.backend.catalogue,
            rules=self.monitoring.view,
            alerting=self.alerting,
            journal=self._ground.journal,
            book=self._ground.handbook.current,
            now=self._ground.clock.now,
            probes=self.probes,
            objectives=self.slos,
        )

    def further_pages(self) -> Sequence[Callable[[Shell, type[APIRoute]], APIRouter]]:
        """Pages of rooms of their own."""
        now = self._ground.clock.now
        ending = self._ground.stopping.is_set
        return (
            lambda shell, kind: log_pages.router(self.logs, shell, kind, now=now, stopping=ending),
            lambda shell, kind: trace_pages.router(self.traces, shell, kind, now=now),
        )


def _telemetry(settings: MonitoringSettings, ground: Ground) -> EmbeddedTelemetry:
    return EmbeddedTelemetry(
        ground.clock,
        envoy_stats=ground.traffic.stats_text,
        limits=limits_by_release(ground.journal),
        store=HotStore(max_series=settings.max_series, max_bytes=settings.memory),
        max_bytes=settings.max_answer,
        warn=lambda target, said: ground.log(f"{target.labels.get('instance', target.kind)}: {said}"),
        history=ground.state / "metrics",
        retention=Retention(raw=settings.retention, coarse=settings.long_retention),
        warn_history=ground.log,
    )
