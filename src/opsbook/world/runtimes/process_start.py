"""Turning a record into a running process: intent first, then a process that waits, then its name, then the word."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from opsbook.errors import Failed
from opsbook.world.hosts.spawning import Order, spawn
from opsbook.world.hosts.users import User, closed_folder, other_user
from opsbook.world.runtimes import process_decisions as decide
from opsbook.world.runtimes.process_environment import (
    PinnedSecrets,
    Surroundings,
    environment,
    filled_command,
)
from opsbook.world.runtimes.process_folders import data_folder, work_folder
from opsbook.world.runtimes.process_logs import ProcessLogs
from opsbook.world.runtimes.process_records import Record, Records
from opsbook.world.words import Clock

Boundary = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Starter:
    """All that starting needs. `boundary` is called at each point where a crash matters; tests die there."""

    state: Path
    records: Records
    logs: ProcessLogs
    secrets: PinnedSecrets
    clock: Clock
    token: str
    boundary: Boundary

    def start(self, record: Record, *, keep: Callable[[Record], None]) -> Record:
        """Start the process of `record`; `keep` is told every state as soon as it is on the disk.

        Returns:
            The record, RUNNING: the process has become the command.

        Raises:
            OpsbookError: it could not be started; there is no process.
        """
        record = decide.starting(record, self.clock.now())
        self.records.save(record)
        keep(record)
        self.boundary("intended")
        order = self.order(record)
        try:
            waiting = spawn(order)
        finally:
            os.close(order.output)
        self.boundary("spawned")
        record = decide.identified(record, waiting.identity)
        try:
            self.records.save(record)
        except Failed:
            waiting.abandon()
            raise
        keep(record)
        self.boundary("identified")
        waiting.release()
        self.boundary("released")
        # Not saved: a record with a process that runs is a running instance, whatever its state says.
        record = decide.running(record)
        keep(record)
        return record

    def order(self, record: Record) -> Order:
        """What to execute, with the placeholders filled in and the folders made; the caller closes `output`."""
        work = record.workload
        user = other_user(work.user)
        command = filled_command(work.command, record.port)
        surroundings = self.surroundings(record, user)
        env = environment(
            work,
            instance=record.id,
            token=self.token,
            port=record.port,
            surroundings=surroundings,
            secrets=self.secrets,
            user=user,
        )
        output = self.logs.open(self.logs.path(work.environment, work.service, record.id))
        return Order(command, env, surroundings.work, output, user, work.limits.open_files)

    def surroundings(self, record: Record, user: User | None) -> Surroundings:
        """The folders of the instance, made when they are not there.

        Raises:
            Failed: the release is gone, the disk is full, or the user cannot enter a folder on the way.
        """
        work = record.workload
        if work.folder is not None and not work.folder.is_dir():
            message = f"the snapshot of release {work.release} is gone"
            raise Failed(message, hint="deploy the version again", where=str(work.folder))
        folder = work_folder(self.records.folder / record.id, work.folder, user)
        data = data_folder(self.state / "data", work.environment, work.service, user)
        if user is not None and (closed := closed_folder(folder, user)):
            raise Failed(
                f"{user.name} cannot enter {closed}",
                hint=f"chmod o+x {closed}, or keep the state elsewhere ($OPSBOOK_STATE)",
            )
        return Surroundings(folder, data, work.folder)
