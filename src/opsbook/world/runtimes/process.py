"""Instances as local processes, which outlive opsbook and are taken over again.

An instance's process leads its own session, writes straight into its log and works in its own folder (see
process_folders.py), so nothing of it depends on opsbook being there. What opsbook knows of it is in one record
(process_records.py), written before each step; `adopt` compares the records with /proc after a start. One thread
(process_watch.py) sleeps until a process ends or a restart is due.

Limits: `open_files` is set before the command runs. `memory` is watched every 2 seconds, and the group is
killed when it is above. `cpu` is not enforced for plain processes; use the docker or kubernetes runtime
where that matters.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from opsbook.errors import Conflict, Failed, Invalid, NotFound, OpsbookError
from opsbook.world.hosts import processes
from opsbook.world.hosts.files import private_folder, remove_tree
from opsbook.world.runtimes import process_decisions as decide
from opsbook.world.runtimes import process_ports
from opsbook.world.runtimes.process_changes import Changes
from opsbook.world.runtimes.process_decisions import Adoption
from opsbook.world.runtimes.process_end import collect, end_family, end_orphans, kill_family
from opsbook.world.runtimes.process_environment import PinnedSecrets, filled_command
from opsbook.world.runtimes.process_health import probe
from opsbook.world.runtimes.process_logs import ProcessLogs, tail
from opsbook.world.runtimes.process_memory import MEMORY_EVERY, MemoryWatch
from opsbook.world.runtimes.process_records import Record, Records
from opsbook.world.runtimes.process_start import Boundary, Starter
from opsbook.world.runtimes.process_table import Held, InstanceTable
from opsbook.world.runtimes.process_watch import ProcessWatch
from opsbook.world.words import Clock, Exit, Instance, InstanceState, Probe, Workload

_BUSY = 0.05  # seconds after which an instance that somebody is working on is looked at again
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,100}")

ENFORCEMENT: Mapping[str, str] = MappingProxyType(
    {
        "open_files": "set before the command runs",
        "memory": f"watched every {MEMORY_EVERY:g} s; the process group is killed above it",
        "cpu": "not enforced for plain processes",
    }
)


class ProcessRuntime:
    """Satisfies `world.words.Runtime`. All verbs may be called from several threads at once.

    Args:
        state: opsbook's own folder; instances/, logs/ and data/ lie in it.
        secrets: fills ``{secret:NAME}`` at the moment of starting.
        address: where instances are told (by ``{port}``) to listen.
        port_range: ports to choose from; None takes what the system gives.
        boundary: called with the name of each point where a crash matters, for tests.
    """

    def __init__(
        self,
        state: Path,
        secrets: PinnedSecrets,
        clock: Clock,
        *,
        address: str = "127.0.0.1",
        port_range: range | None = None,
        boundary: Boundary = lambda _: None,
    ) -> None:
        self._secrets = secrets
        self._clock = clock
        self._host = address
        self._boundary = boundary
        self._records = Records(state / "instances")
        self._logs = ProcessLogs(private_folder(state / "logs", 0o750), clock)
        token = self._records.token()
        self._token = token
        self._starter = Starter(state, self._records, self._logs, secrets, clock, token, boundary)
        self._watch = ProcessWatch()
        self._changes = Changes()
        self._table = InstanceTable(self._records.load(), address, port_range)
        self._memory = MemoryWatch(self._table, self._watch)

    # --- the verbs ---------------------------------------------------------------------------------------------

    def start(self, workload: Workload, instance: str) -> Instance:
        """Start `instance`, or return it when it runs or waits for its next start. Does not wait for health.

        Raises:
            Invalid: the workload cannot be right (a secret in the command, an impossible name).
            Conflict: the instance runs another workload.
            OpsbookError: it cannot be started; it is then FAILED with `last_exit.reason`. When not even that can be
                recorded (disk full), there is no instance.
        """
        _check(workload, instance)
        with self._table.holding(instance) as held:
            record = held.record
            if record is not None and record.state is not InstanceState.FAILED:
                if record.workload != workload:
                    message = f"{instance} runs another workload ({record.workload.release})"
                    raise Conflict(
                        message, hint="stop it first, or choose another name", where=_where(workload)
                    )
                if record.state is not InstanceState.STOPPING:
                    return record.instance(self._host)
                self._stop(held, record)  # one that an earlier opsbook had begun, or that had failed
            else:
                self._table.assign_port(held, workload, instance)
                created = Record(instance, workload, held.port, created_at=self._clock.now())
                self._launch(held, created, first=True)
                assert held.record is not None
                return held.record.instance(self._host)
        return self.start(workload, instance)

    def stop(self, instance: str, *, grace: float | None = None) -> None:
        """End the instance with all it started, and forget it; its log stays. Unknown instances are stopped already.

        Args:
            grace: seconds between SIGTERM and SIGKILL; None takes the workload's. A second caller may shorten the
                time of the first.

        Raises:
            Failed: a process survives SIGKILL.
        """
        held = self._table.get(instance)
        if held is None:
            return
        record = held.record
        if record is not None:
            seconds = record.workload.stop_grace if grace is None else grace
            by = time.monotonic() + seconds
            held.stop_by = by if held.stop_by is None else min(held.stop_by, by)
        with held.lock:
            if held.record is not None and not held.gone:
                self._stop(held, decide.stopping(held.record, record_grace(held.record, grace)))

    def instances(self, environment: str | None = None, service: str | None = None) -> tuple[Instance, ...]:
        """Every instance, oldest first, as the world is now; an end nobody has noticed is noticed here."""
        found = []
        for held in self._table.all():
            record = held.record
            if record is None or (environment or record.workload.environment) != record.workload.environment:
                continue
            if (service or record.workload.service) != record.workload.service:
                continue
            if (
                record.state is InstanceState.RUNNING
                and record.process
                and not processes.runs(record.process)
            ):
                self._process_ended(held, record.process)
                record = held.record
            if record is not None:
                found.append(record.instance(self._host))
        return tuple(found)

    def probe(self, instance: str) -> Probe:
        """Ask the instance itself, now. One that does not run is not healthy; the detail says why.

        Raises:
            NotFound: there is no such instance.
        """
        held = self._table.get(instance)
        record = held.record if held else None
        if record is None:
            raise NotFound(f"no such instance: {instance}", hint="opsbook status")
        return probe(record, self._host, self._starter, self._secrets)

    def log_tail(self, instance: str, lines: int = 20) -> tuple[str, ...]:
        """The last lines it wrote, secrets masked; also of an instance that was stopped."""
        log = self._logs.find(instance)
        found = tail(log, lines) if log is not None else ()
        return tuple(self._secrets.mask(line) for line in found)

    def adopt(self) -> tuple[Instance, ...]:
        """Take over what an earlier opsbook left: what runs is watched, what died while nobody looked is due now,
        stops are finished, and processes that no record knows are ended.

        Raises:
            Failed: a process that should end survives SIGKILL.
        """
        end_orphans(self._has_process, self._token)
        for held in self._table.all():
            with held.lock:
                if held.record is not None:
                    self._adopt(held, held.record)
        return self.instances()

    def supervise(self, on_change: Callable[[Instance], None]) -> None:
        """Restart what dies, from now on. `on_change` is called in a thread of its own, one change after the other."""
        self._changes.start(on_change)
        self._watch.start()
        self._logs.start()

    def close(self) -> None:
        """Stop watching. Instances go on running."""
        self._watch.close()
        self._logs.close()
        self._changes.close()

    # --- starting ----------------------------------------------------------------------------------------------

    def _launch(self, held: Held, record: Record, *, first: bool = False) -> None:
        """Start the process of `record`, or record why it cannot be; the caller holds the lock."""

        def keep(state: Record) -> None:
            held.record = state

        held.kill_reason = ""
        try:
            running = self._starter.start(record, keep=keep)
        except OpsbookError as error:
            self._not_started(held, record, error, first=first)
            raise _named(error, record) from error
        assert running.process is not None
        self._observe(held, running)
        self._changed(held)

    def _not_started(self, held: Held, record: Record, error: OpsbookError, *, first: bool) -> None:
        if first and held.record is None:  # not even the intent could be recorded: nothing has happened
            self._table.drop(record.id, held)
            return
        reason = self._secrets.mask(error.message)
        transient = not first and bool(error.details.get("transient"))
        failed = decide.not_started(record, reason, now=self._clock.now(), transient=transient)
        self._save_if_possible(failed)
        held.record = failed
        self._schedule(held, failed)
        self._changed(held)

    def _observe(self, held: Held, record: Record) -> None:
        process = record.process
        assert process is not None
        self._watch.at_end(process, lambda: self._process_ended(held, process))
        if record.workload.limits.memory is not None:
            self._memory.begin()

    # --- ends and restarts -------------------------------------------------------------------------------------

    def _process_ended(self, held: Held, process: processes.ProcessIdentity) -> None:
        """Its process ended without being asked to: end the rest of its group, and plan the next start."""
        if not held.lock.acquire(blocking=False):  # it is being started or stopped; the watch must not wait
            self._watch.after(_BUSY, lambda: self._process_ended(held, process))
            return
        try:
            record = held.record
            if record is None or record.process != process or record.state is InstanceState.STOPPING:
                return
            ran = processes.seconds_run(process)
            # The zombie keeps its pid from being used again until the group has been found by it.
            kill_family(process, record.id, self._token)
            code, number = collect(process)
            end = Exit(code, number, self._clock.now(), held.kill_reason)
            waiting = decide.ended(record, end, ran=ran)
            self._save_if_possible(waiting)
            held.record = waiting
            self._schedule(held, waiting)
            self._changed(held)
        finally:
            held.lock.release()

    def _schedule(self, held: Held, record: Record) -> None:
        if record.state is InstanceState.BACKOFF and record.restart_at is not None:
            delay = min(max(0.0, record.restart_at - self._clock.now()), decide.LONGEST_DELAY)
            self._watch.after(delay, lambda: self._restart(held, record))

    def _restart(self, held: Held, planned: Record) -> None:
        if not held.lock.acquire(blocking=False):
            self._watch.after(_BUSY, lambda: self._restart(held, planned))
            return
        try:
            if held.record is not planned:  # stopped or started by somebody meanwhile
                return
            record = planned
            if record.port is not None and not process_ports.is_free(self._host, record.port):
                if record.proven:
                    self._wait_for_port(held, record)
                    return
                self._table.assign_port(held, record.workload, record.id)
                record = replace(record, port=held.port)
            with suppress(OpsbookError):  # it is in the record and has been told
                self._launch(held, record)
        finally:
            held.lock.release()

    def _wait_for_port(self, held: Held, record: Record) -> None:
        """The proxy knows this port already, so the instance keeps it and waits until it is free again."""
        assert record.port is not None
        reason = f"port {record.port} is taken by {process_ports.taken_by(record.port)}"
        waiting = decide.not_started(record, reason, now=self._clock.now(), transient=True)
        self._save_if_possible(waiting)
        held.record = waiting
        self._schedule(held, waiting)
        self._changed(held)

    def _save_if_possible(self, record: Record) -> None:
        """Where the disk is full, the older record leads `adopt` to the same end."""
        with suppress(Failed):
            self._records.save(record)

    # --- stopping ----------------------------------------------------------------------------------------------

    def _stop(self, held: Held, record: Record) -> None:
        # Stopping must work on a full disk: without the intent, a crash now means that it is started again.
        self._save_if_possible(record)
        held.record = record
        self._changed(held)
        self._boundary("stopping")
        if held.stop_by is None:
            held.stop_by = time.monotonic() + record_grace(record, None)
        if record.process is not None:
            end_family(record.process, record.id, self._token, deadline=lambda: held.stop_by or 0.0)
            collect(record.process)
        self._boundary("ended")
        work = record.workload
        log = self._logs.path(work.environment, work.service, record.id)
        self._logs.unwatch(log)
        remove_tree(self._records.folder / record.id)
        self._records.remove(record.id)
        self._boundary("forgotten")
        held.record = replace(record, state=InstanceState.STOPPED, process=None, restart_at=None)
        self._changed(held)
        self._table.drop(record.id, held)
        alive = {other.record.id for other in self._table.all() if other.record is not None}
        self._logs.prune(work.environment, work.service, alive)

    # --- adopting ----------------------------------------------------------------------------------------------

    def _has_process(self, instance: str) -> bool:
        """Whether a process of this instance is known; waits for a start that is under way."""
        held = self._table.get(instance)
        if held is None:
            return False
        with held.lock:
            return held.record is not None and held.record.process is not None

    def _adopt(self, held: Held, record: Record) -> None:
        alive = record.process is not None and processes.runs(record.process)
        match decide.adoption(record, alive=alive):
            case Adoption.KEEP:
                held.record = decide.running(record)
                work = record.workload
                self._logs.watch(self._logs.path(work.environment, work.service, record.id))
                self._observe(held, held.record)
            case Adoption.RESTART:
                if record.process is not None:
                    kill_family(record.process, record.id, self._token)
                    now = self._clock.now()
                    reason = "ended while opsbook was away"
                    record = decide.ended(record, Exit(None, None, now, reason), ran=None)
                else:  # it was waiting for its next start, or was about to be started for the first time
                    record = replace(record, state=InstanceState.BACKOFF, restart_at=self._clock.now())
                self._save_if_possible(record)
                held.record = record
                self._schedule(held, record)
                self._changed(held)
            case Adoption.FINISH_STOP:
                self._stop(held, record)
            case Adoption.LEAVE:
                pass

    # --- the rest ----------------------------------------------------------------------------------------------

    def _changed(self, held: Held) -> None:
        if held.record is not None:
            self._changes.tell(held.record.instance(self._host))


def record_grace(record: Record, grace: float | None) -> float:
    """Seconds between SIGTERM and SIGKILL: what was asked for now or before, or else what the workload says."""
    if grace is not None:
        return grace
    return record.workload.stop_grace if record.grace is None else record.grace


def _check(workload: Workload, instance: str) -> None:
    for what, name in (
        ("instance", instance),
        ("service", workload.service),
        ("environment", workload.environment),
    ):
        if not _NAME.fullmatch(name):
            message = f"{name!r} cannot be the name of the {what}"
            raise Invalid(message, hint="use letters, digits, dash and underscore", where=_where(workload))
    filled_command(workload.command, 0 if workload.port is not None else None)


def _where(workload: Workload) -> str:
    return f"{workload.environment}/{workload.service}"


def _named(error: OpsbookError, record: Record) -> OpsbookError:
    """The same error, said of the instance."""
    message = f"{record.id} cannot be started: {error.message}"
    return type(error)(message, hint=error.hint, where=_where(record.workload), details=error.details)
