"""The composition root: the one place where book, journal, world and capabilities are put together."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import opsbook
import opsbook.server.kinds as _kinds  # noqa: F401 - registers the server's kinds of events
from opsbook.deployment.api import router as deployment_routes
from opsbook.deployment.gate_api import router as gate_routes
from opsbook.deployment.pages.source import Source
from opsbook.deployment.room import Deployments
from opsbook.deployment.site import Site
from opsbook.journal import Durable, Journal
from opsbook.monitoring.alerting.alertmanager_api import router as alertmanager_routes
from opsbook.monitoring.alerting.api import router as alerting_routes
from opsbook.monitoring.alerting.room import Alerting
from opsbook.monitoring.api import router as monitoring_routes
from opsbook.monitoring.probes.api import router as probe_routes
from opsbook.monitoring.probes.room import Probes
from opsbook.monitoring.prometheus_api import router as prometheus_routes
from opsbook.monitoring.querying.api import router as query_routes
from opsbook.monitoring.room import Monitoring
from opsbook.monitoring.rules.api import router as rules_routes
from opsbook.promql import Engine
from opsbook.response.oncall.api import router as oncall_routes
from opsbook.response.oncall.room import OnCall
from opsbook.security.api import router as security_routes
from opsbook.security.room import Security
from opsbook.server.book_api import router as book_routes
from opsbook.server.console.console import Console, Parts
from opsbook.server.fires import Fires
from opsbook.server.handbook import Handbook
from opsbook.server.observing import Observing, limits_by_release
from opsbook.server.rooms import Rooms
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.hosts.faults import CRASH_VARIABLE, fault_at
from opsbook.world.hosts.ports import port_is_free
from opsbook.world.hosts.tokens import new_secret, new_token
from opsbook.world.releases.folder import FolderReleases
from opsbook.world.runtimes.process import ProcessRuntime
from opsbook.world.secrets.age import AgeSecrets
from opsbook.world.telemetry.engine import EmbeddedTelemetry
from opsbook.world.telemetry.logs import FileLogs
from opsbook.world.traffic.envoy import EnvoyTraffic
from opsbook.world.traffic.synthetic import SyntheticLoad

DATABASE_VARIABLE = "OPSBOOK_DATABASE"
"""A ``postgresql://`` URL; without it everything lies in SQLite files in the state folder."""


def build(*, book: Path, state: Path, stopping: threading.Event) -> Rooms:
    """Wire the rooms of one opsbook and start its background loops.

    Args:
        book: the handbook's folder. state: what opsbook remembers; exists, private. stopping: set at the end.

    Raises:
        OpsbookError: it cannot start; nothing is left running that did not run before, but adopted instances.
    """
    at_failure = contextlib.ExitStack()
    with at_failure:
        clock = SystemClock()
        boundary = fault_at(os.environ.get(CRASH_VARIABLE, ""))
        secrets = AgeSecrets(book / "security" / "secrets", state)
        database = os.environ.get(DATABASE_VARIABLE)
        journal = Journal.open(
            database or state / "journal.sqlite", keys=state / "keys", clock=clock, mask=secrets.mask
        )
        at_failure.callback(journal.close)
        durable = Durable(database or state / "durable.sqlite", now=clock.now)
        at_failure.callback(durable.close)
        handbook = Handbook(book, journal, clock)
        handbook.current()  # a handbook that cannot be read at all is said now, not at the first deployment
        runtime = ProcessRuntime(state, secrets, clock, boundary=lambda place: boundary(f"runtime:{place}"))
        at_failure.callback(runtime.close)
        traffic = EnvoyTraffic(state / "proxy", clock)
        at_failure.callback(traffic.close)
        telemetry = EmbeddedTelemetry(
            clock, envoy_stats=traffic.stats_text, limits=limits_by_release(journal)
        )
        at_failure.callback(telemetry.close)
        synthetic = SyntheticLoad(clock)
        at_failure.callback(synthetic.close)
        fires = Fires()
        site = Site(
            book=handbook.fresh,
            journal=journal,
            durable=durable,
            runtime=runtime,
            traffic=traffic,
            releases=FolderReleases(state / "releases", clock),
            secrets=secrets,
            telemetry=telemetry,
            synthetic=synthetic,
            new_token=new_token,
            clock=clock,
            root=book,
            free_port=port_is_free,
            write_version=handbook.write_version,
            alerts=fires.of,
            boundary=boundary,
        )
        log = logging.getLogger("opsbook").warning
        deployments = Deployments(site, stopping, log, book_errors=handbook.errors)
        deployments.start()
        oncall = OnCall(handbook.current, journal, now=clock.now)
        alerting = Alerting(
            handbook.current,
            journal,
            secrets,
            clock,
            deploying=lambda: {(found.environment, found.service) for found in site.records.unfinished()},
            new_id=new_token,
            log=log,
            boundary=boundary,
        )
        probes = Probes(
            handbook.current,
            telemetry.storage,
            journal,
            secret=secrets.get,
            mask=secrets.mask,
            moment=telemetry.moment,
            log=log,
        )
        at_failure.callback(probes.close)
        monitoring = Monitoring(
            Engine(telemetry.storage),
            telemetry.storage,
            journal,
            book=handbook.current,
            moment=telemetry.moment,
            receiver=alerting,
            told=_told(alerting),
            generators=(probes.groups,),
            log=log,
        )
        at_failure.callback(alerting.close)
        alerting.start()
        at_failure.callback(monitoring.close)
        telemetry.on_scraped(monitoring.rules.scraped)
        monitoring.start()
        fires.watch(monitoring.rules)
        probes.start()
        observing = Observing(site, telemetry, stopping, log, watching=deployments.watching)
        loops = [
            threading.Thread(target=handbook.keep_reading, args=(stopping,), name="handbook", daemon=True),
            threading.Thread(target=observing.run, name="observing", daemon=True),
            threading.Thread(target=monitoring.keep, args=(stopping,), name="monitoring", daemon=True),
            threading.Thread(target=probes.keep, args=(stopping,), name="probes", daemon=True),
        ]
        for loop in loops:
            loop.start()
        journal.append("server.started", "opsbook", {"version": opsbook.__version__}, actor="opsbook")
        security = Security(handbook.current, journal, clock.now, new_secret)
        console = Console(
            Parts(
                source=Source(
                    room=deployments,
                    verbs=deployments.requests,
                    records=site.records,
                    gates=deployments.gatekeeper,
                    book=handbook.current,
                    now=clock.now,
                ),
                journal=journal,
                handbook=handbook,
                security=security,
                stopping=stopping,
            )
        )
        logs = FileLogs(state / "logs", clock, mask=secrets.mask)
        at_failure.pop_all()
    return Rooms(
        routers=(
            deployment_routes(deployments),
            gate_routes(deployments.gatekeeper, site.records, deployments.requests, deployments.view),
            security_routes(security),
            monitoring_routes(logs, telemetry, clock, stopping=stopping.is_set),
            rules_routes(monitoring.view),
            query_routes(monitoring.queries, clock),
            prometheus_routes(
                monitoring.queries, telemetry.storage, clock, rules=monitoring.view, targets=telemetry
            ),
            probe_routes(probes),
            alerting_routes(alerting, handbook.current, journal, clock),
            alertmanager_routes(alerting, handbook.current, clock),
            oncall_routes(oncall),
            book_routes(handbook),
        ),
        events=journal,
        status=_status(deployments, handbook),
        health=_health(journal, traffic),
        security=security,
        install_pages=console.install,
        stop=_stop(deployments, loops, stopping),
        close=_close(
            synthetic.close,
            durable.close,
            runtime.close,
            probes.close,
            monitoring.close,
            alerting.close,
            telemetry.close,
            traffic.close,
            journal.close,
        ),
    )


def _told(alerting: Alerting) -> Callable[[str], dict[str, Any]]:
    """Why an alert that fires is told to nobody, by its fingerprint."""

    def told(fingerprint: str) -> dict[str, Any]:
        found = alerting.suppressions().get(fingerprint, ())
        return {
            "silenced_by": [one.by for one in found if one.kind == "silence"],
            "inhibited_by": [one.by for one in found if one.kind != "silence"],
        }

    return told


def _status(deployments: Deployments, handbook: Handbook) -> Callable[[str | None], dict[str, Any]]:
    def status(environment: str | None) -> dict[str, Any]:
        return {**deployments.status(environment), "book": handbook.to_json()}

    return status


def _health(journal: Journal, traffic: EnvoyTraffic) -> Callable[[], dict[str, Any]]:
    def health() -> dict[str, Any]:
        return {"ok": True, "journal": journal.head().id, "proxy": traffic.observe().alive}

    return health


def _stop(
    deployments: Deployments, loops: list[threading.Thread], stopping: threading.Event
) -> Callable[[bool], None]:
    def stop(services: bool) -> None:
        stopping.set()
        deployments.site.durable.close(timeout=2.0)
        for loop in loops:
            loop.join(timeout=2.0)
        if services:
            deployments.stop_services()
        deployments.site.journal.append("server.stopped", "opsbook", {"services": services}, actor="opsbook")

    return stop


def _close(*ends: Callable[[], None]) -> Callable[[], None]:
    def close() -> None:
        for end in ends:
            end()

    return close
