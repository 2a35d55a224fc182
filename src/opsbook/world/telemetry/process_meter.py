"""What is recorded of an instance: the usage of its process group, and what it may use."""

from __future__ import annotations

from opsbook.errors import Failed
from opsbook.world.telemetry.host_usage import Measured
from opsbook.world.telemetry.process_usage import Usage
from opsbook.world.words import Limits, Target


class ProcessMeter:
    """Turns the usage of one process, while it lives, into samples.

    CPU seconds fall when a process of the group ends and nobody waits for it (its parent ignores SIGCHLD). A reader
    would take that for a restart and count everything again, so what vanished is added on top.

    Args:
        target: with its pid; a restarted instance has another one, and needs a new meter.
        limits: recorded as they are, for ratios.
    """

    def __init__(self, target: Target, limits: Limits) -> None:
        self._target = target
        self._limits = limits
        self._started: float | None = None
        self._cpu_seconds = 0.0
        self._vanished = 0.0

    def samples(self, usage: Usage | None) -> list[Measured]:
        """The samples for `usage`.

        Raises:
            Failed: the process has ended (None), also when another one got its pid meanwhile.
        """
        if usage is None:
            raise Failed("the process has ended" if self._target.pid else "there is no process")
        self._started = self._started or usage.started
        if usage.started != self._started:
            raise Failed(f"the process has ended, and {self._target.pid} is another one now")
        self._vanished += max(0.0, self._cpu_seconds - usage.cpu_seconds)
        self._cpu_seconds = usage.cpu_seconds
        values = {
            "process_cpu_seconds_total": usage.cpu_seconds + self._vanished,
            "process_resident_memory_bytes": usage.resident,
            "process_open_fds": usage.open_files,
            "process_threads": usage.threads,
            "process_count": usage.processes,
            "process_start_time_seconds": self._started,
            "process_cpu_limit_cores": self._limits.cpu,
            "process_memory_limit_bytes": self._limits.memory,
        }
        return [({"__name__": name}, float(value)) for name, value in values.items() if value is not None]
