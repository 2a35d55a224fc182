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
from opsbook.security.api import router as security_routes
from opsbook.security.room import Security
from opsbook.server.book_api import router as book_routes
from opsbook.server.console.console import Console, Parts
from opsbook.server.duty import Duty
from opsbook.server.fires import Fires
from opsbook.server.handbook import Handbook
from opsbook.server.observing import Observing
from opsbook.server.responding import Responding
from opsbook.server.rooms import Rooms
from opsbook.server.state import Running
from opsbook.server.watching import Ground, Watching
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.hosts.faults import CRASH_VARIABLE, fault_at
from opsbook.world.hosts.ports import port_is_free
from opsbook.world.hosts.tokens import new_secret, new_token
from opsbook.world.releases.folder import FolderReleases
from opsbook.world.runtimes.process import ProcessRuntime
from opsbook.world.secrets.age import AgeSecrets
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
        log = logging.getLogger("opsbook").warning
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
        ground = Ground(
            handbook=handbook,
            journal=journal,
            secrets=secrets,
            clock=clock,
            traffic=traffic,
            book=book,
            state=state,
            stopping=stopping,
            log=log,
            boundary=boundary,
            at_failure=at_failure,
            address=lambda: handbook.current().console or _own_address(state),
        )
        duty = Duty(ground)
        watching = Watching(
            ground,
            deploying=lambda: {(one.environment, one.service) for one in site.records.unfinished()},
            responders=duty.responders,
        )
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
            telemetry=watching.telemetry,
            synthetic=synthetic,
            new_token=new_token,
            clock=clock,
            root=book,
            free_port=port_is_free,
            write_version=handbook.write_version,
            alerts=fires.of,
            budget=watching.slos.decide,
            incident_open=duty.incident_open,
            boundary=boundary,
        )
        deployments = Deployments(site, stopping, log, book_errors=handbook.errors)
        responding = Responding(ground, duty, watching, site, durable)
        at_failure.callback(responding.close)
        deployments.start()
        responding.start()
        watching.start()
        fires.watch(watching.monitoring.rules)
        observing = Observing(
            site,
            watching.telemetry,
            stopping,
            log,
            watching=deployments.watching,
            extra=watching.backend.targets.targets,
        )
        loops = [
            threading.Thread(target=handbook.keep_reading, args=(stopping,), name="handbook", daemon=True),
            threading.Thread(target=observing.run, name="observing", daemon=True),
            *watching.loops(),
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
                watched=watching.pages(),
                further=(*watching.further_pages(), *responding.pages()),
                responded=responding.source,
                watches=responding.watches(),
            )
        )
        at_failure.pop_all()
    return Rooms(
        routers=(
            deployment_routes(deployments),
            gate_routes(deployments.gatekeeper, site.records, deployments.requests, deployments.view),
            security_routes(security),
            *watching.routers(),
            *responding.routers(),
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
            responding.close,
            durable.close,
            runtime.close,
            watching.close,
            traffic.close,
            journal.close,
        ),
    )


def _own_address(state: Path) -> str:
    found = Running.read(state)
    return found.url if found is not None else ""


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
