"""Durable workflows on DBOS Transact: after a crash they go on behind the last recorded step.

The only module that knows DBOS, and it imports it on `launch`. DBOS is a process-wide singleton, so one
`Durable` can be launched at a time. Nothing leaves the machine: no admin server, no OTLP, no Conductor.

What is recorded is JSON, not DBOS's default pickle: who can write to the database must not be able to run
code.
"""

from __future__ import annotations

import contextvars
import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from opsbook.errors import Conflict, Failed, Invalid, NotFound, OpsbookError
from opsbook.journal.canonical import LARGEST_DATA, canonical, normal
from opsbook.journal.recorded import JsonSerializer, as_opsbook_error

T = TypeVar("T")
R = TypeVar("R")

Status = Literal["pending", "success", "error", "cancelled"]

_STATUS: dict[str, Status] = {
    "PENDING": "pending",
    "ENQUEUED": "pending",
    "DELAYED": "pending",
    "SUCCESS": "success",
    "ERROR": "error",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "error",
    "CANCELLED": "cancelled",
}

_COLLECTED_AT_A_TIME = 200


class Interrupted(BaseException):
    """This process is closing, and the workflow goes on at the next launch; or the workflow was cancelled.

    No `Exception`, so that a workflow's own error handling does not take it for a failure and roll back.
    """


class Durable:
    """Runs workflows whose steps are recorded, in SQLite or PostgreSQL."""

    _launched: ClassVar[Durable | None] = None
    _launching: ClassVar[threading.Lock] = threading.Lock()

    def __init__(
        self,
        url_or_path: str | Path,
        *,
        application_version: str = "1",
        name: str = "opsbook",
        executor_id: str = "local",
        now: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            url_or_path: the path of a SQLite file (not the journal's), or ``postgresql://…`` (may be the
                journal's).
            application_version: a constant. Work that another version left is not resumed, so an upgrade
                keeps it.
            name: lower case letters, digits, ``-`` and ``_``; at least three.
            executor_id: which control plane this is, when several share one PostgreSQL. A launch resumes what
                the same id left; a free control plane of the same version may then run it.
            now: wall clock for `sleep`, epoch seconds.
        """
        self._url_or_path = url_or_path
        self._version = application_version
        self._name = name
        self._executor = executor_id
        self._now = now
        self._functions: dict[str, Callable[[str], str]] = {}
        self._registered: dict[str, Callable[[str], str]] = {}
        self._closing = threading.Event()
        self._running = 0
        self._change = threading.Condition()  # notified when a workflow ends here, on cancel and on close
        self._cancelled: set[str] = set()

    def workflow(self, name: str, function: Callable[[str], str]) -> None:
        """Make `function(subject_id)` startable as `name`. All it does to the world, it does in `step`.

        Raises:
            Invalid: after `launch`, or the name is taken.
        """
        if Durable._launched is self:
            raise Invalid("workflows are registered before launch", where=name)
        if name in self._functions:
            raise Invalid(f"there is a workflow {name} already", where=name)
        self._functions[name] = function

    def launch(self) -> None:
        """Start, and resume at once what was pending when this executor last ended.

        Raises:
            Conflict: another `Durable` is launched in this process.
            Failed: the database cannot be used.
        """
        with Durable._launching:
            if Durable._launched is not None:
                raise Conflict(
                    "durable work is launched already in this process", hint="close the other first"
                )
            if os.environ.get("DBOS__CLOUD") == "true":
                raise Failed(
                    "DBOS__CLOUD is set, which would send workflow data to DBOS Cloud",
                    hint="unset DBOS__CLOUD",
                )
            dbos = _dbos()
            self._closing.clear()
            try:
                dbos.DBOS(config=self._config())
                for name, function in self._functions.items():
                    self._registered[name] = self._register(name, function)
                dbos.DBOS.launch()
            except Exception as error:
                dbos.DBOS.destroy(destroy_registry=True)
                if isinstance(error, OpsbookError):
                    raise
                raise Failed(
                    f"durable work cannot be launched: {_one_line(error)}",
                    hint="check that its database can be written",
                    where=self._where,
                ) from error
            Durable._launched = self

    def _config(self) -> dict[str, Any]:
        from opsbook.journal.database import database_url, prepare_sqlite

        url = database_url(self._url_or_path)
        self._where = url.render_as_string(hide_password=True)
        if url.get_backend_name() == "sqlite":
            prepare_sqlite(Path(url.database or ""), timeout=30.0)
        return {
            "name": self._name,
            "system_database_url": url.render_as_string(hide_password=False),
            "application_version": self._version,
            "executor_id": self._executor,
            "serializer": JsonSerializer(),
            "enable_otlp": False,
            "log_level": "ERROR",
            "sys_db_pool_size": 10,
            # Nobody waits for DBOS's notifications here: its listener only sleeps, so a short nap costs
            # nothing and lets `close` return soon. Schedules are opsbook's own.
            "notification_listener_polling_interval_sec": 0.1,
            "scheduler_polling_interval_sec": 300.0,
        }

    def _register(self, name: str, function: Callable[[str], str]) -> Callable[[str], str]:
        def run(subject_id: str) -> str:
            with self._change:
                if self._closing.is_set():
                    raise Interrupted
                self._running += 1
            try:
                result = function(subject_id)
            except OpsbookError:
                raise
            except Exception as error:
                raise as_opsbook_error(error) from error
            finally:
                with self._change:
                    self._running -= 1
                    self._cancelled.discard(subject_id)
                    self._change.notify_all()
            if not isinstance(result, str):
                raise Invalid(f"workflow {name} returned a {type(result).__name__}, not a string", where=name)
            return result

        # However often it was interrupted, it is resumed: giving up is the workflow's own decision.
        decorate = _dbos().DBOS.workflow(name=name, max_recovery_attempts=None)
        decorated: Callable[[str], str] = decorate(run)
        return decorated

    def start(self, name: str, id: str) -> None:  # noqa: A002
        """Run the workflow `name` with `id` in the background. The same id again changes nothing.

        Raises:
            NotFound: no such workflow. Failed: not launched. Conflict: `id` is one of another workflow.
        """
        dbos = self._live()
        if name not in self._registered:
            known = ", ".join(sorted(self._registered)) or "none"
            raise NotFound(f"there is no workflow {name}", hint=f"registered: {known}", where=name)

        def start() -> None:
            with dbos.SetWorkflowID(id):
                dbos.DBOS.start_workflow(self._registered[name], id)

        try:
            _outside(start)
        except dbos.error.DBOSConflictingWorkflowError as error:
            raise Conflict(f"{id} is the id of another workflow", where=id) from error

    def step(self, name: str, function: Callable[[], T]) -> T:
        """Inside a workflow: call `function` and record its result; on replay give back what was recorded.

        At least once: after a crash between the call and the record it is called again. The result must be
            JSON and at
        most 256 KiB; the caller gets it as JSON gives it back (tuples are lists). A failure is recorded as
        well, as an `OpsbookError` of the same kind; another exception becomes `Failed`.

        Raises:
            Interrupted: this process is closing, or the workflow was cancelled.
        """
        dbos = self._live()
        if not dbos.DBOS.workflow_id:
            raise Invalid("a step is called inside a workflow", where=name)
        if self._closing.is_set():
            raise Interrupted
        try:
            result: T = dbos.DBOS.run_step({"name": name}, _recordable(name, function))
        except dbos.error.DBOSBaseException as error:
            # It was cancelled, or another control plane has taken it over: not for this one to go on.
            raise Interrupted from error
        return result

    def sleep(self, seconds: float) -> None:
        """Inside a workflow: sleep until `seconds` after the first time this was reached, whatever crashes
        between.

        Raises:
            Interrupted: this process is closing, or the workflow was cancelled.
        """
        until = self.step("sleep", lambda: self._now() + seconds)
        own = _dbos().DBOS.workflow_id
        while (left := until - self._now()) > 0:
            with self._change:
                # In pieces, so that a wall clock set forward is noticed.
                self._change.wait_for(
                    lambda: self._closing.is_set() or own in self._cancelled, min(left, 60.0)
                )
            if self._closing.is_set() or own in self._cancelled:
                raise Interrupted

    @property
    def closing(self) -> threading.Event:
        """Set on `close`: a long step may watch it and raise `Interrupted`, to be called again later."""
        return self._closing

    def status(self, id: str) -> Status | None:  # noqa: A002
        """How the workflow stands; None when there is none of this id."""
        found = self._find(id)
        return None if found is None else _STATUS[found.status]

    def result(self, id: str) -> str | None:  # noqa: A002
        """What it returned, when it has succeeded."""
        found = self._find(id)
        return found.output if found is not None and found.status == "SUCCESS" else None

    def error(self, id: str) -> str | None:  # noqa: A002
        """The text of what it failed with, when it has."""
        found = self._find(id)
        return None if found is None or found.error is None else str(found.error)

    def wait(self, id: str, timeout: float) -> Status | None:  # noqa: A002
        """Wait until it has ended, at most `timeout` seconds. Returns its status then; None: no such id."""
        deadline = time.monotonic() + timeout
        pause = 0.01
        while (status := self.status(id)) == "pending":
            left = deadline - time.monotonic()
            if left <= 0 or self._closing.wait(min(pause, left)):
                break
            pause = min(pause * 1.5, 0.25)
        return status

    def cancel(self, id: str) -> None:  # noqa: A002
        """End it before its next step; it is not resumed. Nothing happens when it has ended."""
        dbos = self._live()
        _outside(lambda: dbos.DBOS.cancel_workflow(id))
        with self._change:
            self._cancelled.add(id)
            self._change.notify_all()

    def collect(self, older_than_seconds: float) -> int:
        """Forget workflows that ended more than so many seconds ago, a few at a time. Returns how many."""
        dbos = self._live()
        before = datetime.fromtimestamp(self._now() - older_than_seconds, UTC).isoformat()
        total = 0
        while not self._closing.is_set():
            found = _outside(
                lambda: dbos.DBOS.list_workflows(
                    status=["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"],
                    completed_before=before,
                    limit=_COLLECTED_AT_A_TIME,
                    load_input=False,
                    load_output=False,
                )
            )
            ids = [workflow.workflow_id for workflow in found]
            if not ids:
                return total
            _outside(lambda: dbos.DBOS.delete_workflows(ids))  # noqa: B023 # called at once
            total += len(ids)
        return total

    def close(self, timeout: float = 10.0) -> None:
        """Stop. Workflows end at their next step or sleep and stay pending for the next launch. Twice is
        fine.

        Args:
            timeout: seconds to wait for steps that are under way; what takes longer is called again after
                the launch.
        """
        with Durable._launching:
            if Durable._launched is not self:
                return
            with self._change:
                self._closing.set()
                self._change.notify_all()
                self._change.wait_for(lambda: self._running == 0, timeout)
            _dbos().DBOS.destroy(destroy_registry=True)
            self._registered.clear()
            Durable._launched = None

    def _find(self, id: str) -> Any | None:  # noqa: A002
        dbos = self._live()
        return _outside(lambda: dbos.DBOS.get_workflow_status(id))

    def _live(self) -> Any:
        if Durable._launched is not self:
            raise Failed("durable work is not launched", hint="call launch() first")
        return _dbos()


def _dbos() -> Any:
    # Before the import: DBOS adds a handler that writes to the terminal when its logger has none.
    log = logging.getLogger("dbos")
    if not log.handlers:
        log.addHandler(logging.NullHandler())
        log.propagate = False
    import dbos

    return dbos


def _outside(function: Callable[[], R]) -> R:
    """Call DBOS as if outside a workflow: inside one it would record the call as a step of it."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return contextvars.Context().run(function)
    except SQLAlchemyError as error:
        raise Failed(
            f"the database of durable work failed: {_one_line(getattr(error, 'orig', None) or error)}",
            hint="check that it can be reached and written, then try again",
        ) from error


def _recordable(name: str, function: Callable[[], Any]) -> Callable[[], Any]:
    def call() -> Any:
        try:
            result = normal(function(), where=f"result of step {name}")
        except OpsbookError:
            raise
        except Exception as error:
            raise as_opsbook_error(error) from error
        if len(canonical(result).encode()) > LARGEST_DATA:
            raise Invalid(
                f"the result of step {name} is larger than {LARGEST_DATA} bytes",
                hint="keep the bulk in a file and return its path",
                where=name,
            )
        return result

    return call


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500]
