"""The proxy in front of the instances: one Envoy process, told what to do by files."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from opsbook.errors import Conflict, Failed, OpsbookError, Unreachable
from opsbook.world.traffic import files, ports, record, watching
from opsbook.world.traffic.admin import Admin, Host
from opsbook.world.traffic.bootstrap import PUBLISHED, bootstrap
from opsbook.world.traffic.configuration import Folder
from opsbook.world.traffic.process import EnvoyProcess
from opsbook.world.traffic.publication import Publication, Refused
from opsbook.world.traffic.record import NOTHING, Record
from opsbook.world.traffic.validation import check
from opsbook.world.words import (
    Backend,
    BackendState,
    Clock,
    EndpointState,
    Listener,
    RouteTable,
    TrafficState,
)

START_SECONDS = 10.0  # until the administration answers
SERVING_SECONDS = 10.0  # until the listeners of a started Envoy serve
LOCK_SECONDS = 30.0
STOP_GRACE_SECONDS = 5.0
POLL_SECONDS = 0.005


class EnvoyTraffic:
    """The `Traffic` Protocol on Envoy; see there. Safe to use from several threads.

    Envoy is no child that dies with us: it runs in its own session and is adopted by the next opsbook.

    Args:
        state: folder of everything the proxy needs; made if missing, mode 0700.
        clock: for waiting and measuring.
        concurrency: Envoy's worker threads; by default 2, or 1 on a single core.
    """

    def __init__(self, state: Path, clock: Clock, *, concurrency: int | None = None) -> None:
        self.state = state.absolute()
        self._clock = clock
        self._lock = threading.RLock()
        self._depth = 0
        files.make_private(self.state)
        token = self._token()
        self._admin = Admin(files.socket_path(self.state, token))
        self._process = EnvoyProcess(
            self.state, token, concurrency=concurrency or min(2, os.cpu_count() or 1)
        )
        self._folder = Folder(self.state / "xds")
        # Nobody can guess it, so it takes no name away from the services and tells outsiders nothing.
        probe_host = f"{hashlib.sha256(token.encode()).hexdigest()[:32]}.probe.invalid"
        self._publication = Publication(
            self._folder, self._admin, self._process, clock, probe_host=probe_host, revive=self._boot
        )
        self._watch: watching.Watch | None = None
        self._version: tuple[object, str] = (None, "")  # of a process; it is the same for all its life
        self._stopped = False

    def ensure(self) -> None:
        """Adopt the running Envoy or start one, with the last table that was applied.

        What an apply that was killed half way has left is put back to that table.

        Raises:
            Failed: it does not come up, or a port is taken; the message says by whom. Listeners whose ports
                are free serve nevertheless.
            Locked: another opsbook is working in the state folder.
        """
        with self._exclusive():
            self._stopped = False
            if self._process.adopt() and self._answers():
                self._recover()
            else:
                self._start()

    def apply(self, table: RouteTable) -> int:
        """Write `table` make-before-break: new backends are warm before the first route changes.

        Starts Envoy if it does not run. See `Traffic.apply`.

        Raises:
            Invalid: the table contradicts itself. Failed: a port is taken, Envoy refuses the backends, or
                they were not ready in time. In each case no route has changed.
        """
        check(table)
        with self._exclusive():
            if not self._process.adopt():
                self.ensure()
            before = self._load()
            if before.applied.table == table and before.intended is None:
                self._publication.put(before.applied)
                return before.applied.generation
            self._check_ports(before.applied.table, table)
            watching.check_watches(_watched(before.applied.table, table), self._process.running)
            intent = before.intend(table)
            self._save(intent)
            assert intent.intended is not None
            try:
                self._publication.put(intent.intended, before.applied.table)
            except OpsbookError:
                self._publication.put_back(before.applied)
                self._save(intent.back_to(before.applied))
                raise
            self._save(intent.done())
            return intent.counter

    def confirm(self, generation: int, *, timeout: float = 10.0) -> float:
        """Wait until `generation` serves; see `Traffic.confirm`. Then drops what no route uses any more.

        Raises:
            Conflict: another table has been applied meanwhile. Refused (a Failed): Envoy's reason; the last
                good table has been restored. Failed: the time ran out; nothing was restored.
        """
        began = self._clock.monotonic()
        applied = self._current(generation).applied
        self._process.adopt()
        try:
            self._publication.await_serving(applied, timeout=timeout)
        except Refused as refused:
            with self._exclusive():
                self._restore(self._current(generation))
            raise self._explained(refused, applied.table) from refused
        took = self._clock.monotonic() - began
        with self._exclusive():
            self._save(self._current(generation).confirmed())
            self._publication.prune(applied)
        return took

    def observe(self) -> TrafficState:
        """What Envoy says of itself now; `alive` false when it runs not or does not answer."""
        known = self._load()
        try:
            hosts = self._admin.hosts()
            active = self._admin.active()
            if not self._process.alive():
                self._process.adopt()
            version = self._version_of_running()
        except Unreachable:
            return TrafficState(alive=False, generation=0)
        protocols = {
            backend.name: backend for backend in (*known.good.table.backends, *known.applied.table.backends)
        }
        return TrafficState(
            alive=True,
            generation=self._publication.generation(known.applied, known.good),
            backends={
                name: _backend_state(name, hosts[name], active.get(name, (0, 0)), protocols.get(name))
                for name in sorted(hosts)
                if "|" not in name  # with a fallback: its endpoints are those of the two backends
            },
            pid=self._process.running.pid if self._process.running else None,
            version=version,
        )

    def _version_of_running(self) -> str:
        """Asked once for each process. Unreachable when it does not answer."""
        running = self._process.running
        known, version = self._version
        if running is None or known != running:
            version = str(self._admin.server_info()["version"]).split("/")[1]
            self._version = (running, version)
        return version

    def stats_text(self) -> str:
        """Envoy's metrics in Prometheus' text format: those of backends and listeners an operator needs.

        The series of a cluster are labelled environment, service and release. Times are milliseconds.

        Raises:
            Unreachable: Envoy does not answer.
        """
        return self._admin.prometheus(PUBLISHED)

    def supervise(self, on_change: Callable[[str], None]) -> None:
        """Start Envoy again as soon as it dies, from a background thread; `on_change` is told each time."""
        if self._watch is None:
            self._watch = watching.Watch(
                self._running, self._revive, self._process.rotate_log, on_change, self._clock
            )

    def stop(self) -> None:
        """End Envoy. The table is kept for the next `ensure`."""
        with self._exclusive():
            self._stopped = True
            self._process.adopt()
            self._process.end(grace=STOP_GRACE_SECONDS)
            self._admin.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Stop watching; Envoy goes on."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    # --- starting and recovering

    def _start(self) -> None:
        """Start Envoy with the applied table, or with the last good one when it refuses that."""
        known = self._load()
        if known.intended is not None:
            known = known.back_to(known.applied)
            self._save(known)
        self._process.end(grace=0.0)
        self._publication.lay_out(known.applied)
        self._boot()
        try:
            self._publication.await_serving(known.applied, timeout=SERVING_SECONDS)
        except Refused as refused:
            if known.good not in (NOTHING, known.applied):
                self._restore(known)
                self._publication.await_serving(known.good, timeout=SERVING_SECONDS)
                return
            raise self._explained(refused, known.applied.table) from refused

    def _boot(self) -> None:
        """Start Envoy on the files as they are; returns when its administration answers."""
        path = self.state / "bootstrap.json"
        files.write(path, json.dumps(self._bootstrap(), indent=1))
        self._admin.path.unlink(missing_ok=True)
        mark = self._process.log_size()
        self._process.start(path)
        self._await_answer(mark)
        self._publication.mark_started(mark)

    def _recover(self) -> None:
        """Make an adopted Envoy serve what was applied, whatever an earlier opsbook did when it died."""
        known = self._load()
        self._publication.put(known.applied)
        if known.intended is not None:
            self._save(known.back_to(known.applied))
        self._retry_listeners(known.applied.table)

    def _retry_listeners(self, table: RouteTable) -> None:
        """Envoy tries to bind a port once only: ask again for what was taken, or say who still holds it."""
        absent = self._publication.absent_listeners(table)
        for listener in table.listeners:
            if listener.name in absent:
                self._check_port(listener)
        if absent:
            self._publication.repeat_listeners()

    def _revive(self) -> str | None:
        """Start a dead Envoy again; how it had ended, or None when it lives or nobody wants it to."""
        with self._exclusive():
            if self._stopped:
                return None
            ending = "did not answer" if self._process.alive() else self._process.ending()
            if self._process.adopt() and self._answers():
                return None
            self._start()
            return ending

    def _running(self) -> int | None:
        running = self._process.running
        return running.pid if running is not None and running.alive() and not self._stopped else None

    def _restore(self, known: Record) -> None:
        self._publication.put_back(known.good)
        self._save(known.back_to(known.good))

    def _answers(self) -> bool:
        try:
            self._admin.server_info()
        except Unreachable:
            return False
        return True

    def _await_answer(self, mark: int) -> None:
        deadline = self._clock.monotonic() + START_SECONDS
        while not self._answers():
            if not self._process.alive() or self._clock.monotonic() > deadline:
                log = self._process.log_since(mark, lines=20)
                raise Failed(
                    f"Envoy {self._process.ending() if not self._process.alive() else 'does not answer'}"
                    f" right after its start: {log[-1] if log else 'its log is empty'}",
                    hint=f"its log: {self._process.log}",
                    details={"log": list(log)},
                )
            self._clock.sleep(POLL_SECONDS)

    # --- what was asked

    def _current(self, generation: int) -> Record:
        known = self._load()
        if known.applied.generation != generation:
            raise Conflict(
                f"the route table is at generation {known.applied.generation}, not {generation}",
                hint="another deployment has changed the routes, or this change was refused: plan again",
            )
        return known

    def _check_ports(self, before: RouteTable, table: RouteTable) -> None:
        ours = {listener.address for listener in before.listeners}
        for listener in table.listeners:
            if listener.address not in ours:
                self._check_port(listener)

    def _check_port(self, listener: Listener) -> None:
        pid = self._process.running.pid if self._process.running else None
        taken_by = ports.holder(listener.address, except_pid=pid)
        if taken_by is not None:
            raise Failed(
                f"port {listener.address.port} is already taken by {taken_by}",
                hint="end it, or give the environment another port",
                where=listener.name,
            )

    def _explained(self, refused: Refused, table: RouteTable) -> OpsbookError:
        """`refused`, or the plainer reason that a port is taken."""
        for listener in table.listeners:
            try:
                self._check_port(listener)
            except Failed as taken:
                taken.details["reason"] = refused.message
                return taken
        return refused

    def _bootstrap(self) -> dict[str, object]:
        for name in ("cds", "lds", "eds", "rds"):  # Envoy watches the folders, so they must be there first
            files.make_private(self._folder.root / name)
        return bootstrap(
            admin_socket=self._admin.path,
            clusters_file=self._folder.clusters,
            listeners_file=self._folder.listeners,
        )

    def _token(self) -> str:
        path = self.state / "token"
        with self._exclusive():
            token = files.read(path).strip()
            if not token:
                token = secrets.token_hex(16)
                files.write(path, f"{token}\n")
            return token

    def _load(self) -> Record:
        return record.load(self.state / "table.json")

    def _save(self, known: Record) -> None:
        record.save(self.state / "table.json", known)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One thread of one opsbook at a time."""
        with self._lock:
            if self._depth:
                yield
                return
            with files.locked(
                self.state / "lock",
                timeout=LOCK_SECONDS,
                monotonic=self._clock.monotonic,
                sleep=self._clock.sleep,
            ):
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1


def _watched(*tables: RouteTable) -> int:
    """How many files Envoy watches while one of `tables` follows another."""
    backends = {backend.name for table in tables for backend in table.backends}
    listeners = {each.name for table in tables for each in table.listeners if each.kind == "http"}
    return len(backends) + len(listeners) + 2


def _backend_state(
    name: str, hosts: tuple[Host, ...], active: tuple[int, int], backend: Backend | None
) -> BackendState:
    tcp = backend is not None and backend.protocol == "tcp"
    endpoints = tuple(
        EndpointState(
            address=host.address,
            healthy=host.healthy,
            active=host.connections if tcp else host.requests,
            draining=host.draining,
        )
        for host in hosts
    )
    listed = sum(endpoint.active for endpoint in endpoints)
    requests, connections = active
    return BackendState(name=name, endpoints=endpoints, active=max(listed, connections if tcp else requests))
