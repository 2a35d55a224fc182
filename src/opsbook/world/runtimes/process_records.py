"""What opsbook remembers of an instance that runs as a process: one JSON file each, replaced as a whole.

``<state>/instances/INSTANCE.json``, 0600. It holds the workload with its placeholders, never a secret's
value.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from opsbook.errors import Failed
from opsbook.world.hosts.files import atomic_write, private_folder
from opsbook.world.hosts.processes import ProcessIdentity
from opsbook.world.words import Address, Exit, Instance, InstanceState, Workload


@dataclass(frozen=True, slots=True)
class Record:
    """One instance. `process` is set from the moment one exists that may become the service."""

    id: str
    workload: Workload
    port: int | None
    created_at: float
    state: InstanceState = InstanceState.STARTING
    process: ProcessIdentity | None = None
    started_at: float | None = None
    restarts: int = 0
    recent_restarts: tuple[float, ...] = ()
    quick_ends: int = 0  # ends in a row without a long run between them
    proven: bool = False  # has run long enough to have its port for good
    restart_at: float | None = None
    last_exit: Exit | None = None
    grace: float | None = None  # of the stop under way

    def instance(self, host: str) -> Instance:
        """In the plain words of the world."""
        work = self.workload
        running = self.state in (InstanceState.STARTING, InstanceState.RUNNING, InstanceState.STOPPING)
        return Instance(
            id=self.id,
            service=work.service,
            environment=work.environment,
            release=work.release,
            version=work.version,
            state=self.state,
            address=None if self.port is None else Address(host, self.port),
            pid=self.process.pid if self.process and running else None,
            started_at=self.started_at if running else None,
            created_at=self.created_at,
            restarts=self.restarts,
            recent_restarts=self.recent_restarts,
            restart_at=self.restart_at,
            last_exit=self.last_exit,
        )


_RECORD: TypeAdapter[Record] = TypeAdapter(Record)


class Records:
    """The folder of records. Not a cache: every save is on the disk when it returns."""

    def __init__(self, folder: Path) -> None:
        # Others may enter but not look: the working folders of instances with another user lie here.
        self.folder = private_folder(folder, 0o711)

    def save(self, record: Record) -> None:
        """Replace the record.

        Raises:
            Failed: the disk is full; the earlier record stays.
        """
        atomic_write(self._path(record.id), _RECORD.dump_json(record, indent=1), mode=0o600)

    def remove(self, instance: str) -> None:
        """Forget the instance; nothing to forget is no error."""
        self._path(instance).unlink(missing_ok=True)

    def load(self) -> list[Record]:
        """All records, oldest first.

        Raises:
            Failed: a file is not a record, e.g. of a newer opsbook; nothing is guessed.
        """
        records = []
        for path in self.folder.glob("*.json"):
            try:
                records.append(_RECORD.validate_json(path.read_bytes()))
            except ValidationError as error:
                raise Failed(
                    "this is not the record of an instance",
                    hint="was it written by a newer opsbook? If not, move it away and end its processes",
                    where=str(path),
                ) from error
        return sorted(records, key=lambda record: (record.created_at, record.id))

    def token(self) -> str:
        """What marks the processes of this state folder and no other's."""
        path = self.folder / ".token"
        try:
            return path.read_text()
        except FileNotFoundError:
            token = secrets.token_hex(8)
            atomic_write(path, token, mode=0o600)
            return token

    def _path(self, instance: str) -> Path:
        return self.folder / f"{instance}.json"
