"""The instances in memory: who may change which, and whose port is whose."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from opsbook.errors import Failed
from opsbook.world.runtimes import process_ports
from opsbook.world.runtimes.process_records import Record
from opsbook.world.words import Workload


@dataclass(slots=True, eq=False)
class Held:
    """One instance. `lock` is held by whoever changes it; `record`, which is frozen, may be read without."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    record: Record | None = None
    port: int | None = None
    stop_by: float | None = None  # monotonic: when the stop under way turns to SIGKILL
    kill_reason: str = ""
    gone: bool = False  # forgotten: whoever waited for the lock has to look it up again


class InstanceTable:
    """All instances by name.

    Args:
        host: the address whose ports are given out.
        ports: to choose from; None takes what the system gives.
    """

    def __init__(self, records: Iterable[Record], host: str, ports: range | None) -> None:
        self._host = host
        self._ports = ports
        self._lock = threading.Lock()
        self._held = {record.id: Held(record=record, port=record.port) for record in records}

    def get(self, instance: str) -> Held | None:
        """The instance, or None when there is none of that name."""
        return self._held.get(instance)

    def all(self) -> list[Held]:
        """Every instance, in the order of their making."""
        with self._lock:
            return list(self._held.values())

    @contextmanager
    def holding(self, instance: str) -> Iterator[Held]:
        """The instance, locked; made when it is not there. Never one that a stop is just forgetting."""
        while True:
            with self._lock:
                held = self._held.setdefault(instance, Held())
            with held.lock:
                if not held.gone:
                    yield held
                    return

    def drop(self, instance: str, held: Held) -> None:
        """Forget it; its port may be given to another. The caller holds its lock."""
        with self._lock:
            self._held.pop(instance, None)
            held.record, held.port, held.stop_by, held.gone = None, None, None, True

    def assign_port(self, held: Held, workload: Workload, instance: str) -> None:
        """Choose a port and remember it in one step, so that two starts at once never get the same.

        A port that it has already stays, unless somebody else listens there now.

        Raises:
            Failed: there is no free port.
        """
        with self._lock:
            if workload.port is None:
                held.port = None
            elif held.port is None or not process_ports.is_free(self._host, held.port):
                taken = {other.port for other in self._held.values() if other.port is not None}
                try:
                    held.port = process_ports.choose(self._host, taken, self._ports)
                except Failed:
                    if held.record is None:
                        del self._held[instance]
                        held.gone = True
                    raise
