"""Looking after the memory of instances that have a limit."""

from __future__ import annotations

from opsbook.world.hosts import processes
from opsbook.world.runtimes.process_decisions import exceeds
from opsbook.world.runtimes.process_end import kill
from opsbook.world.runtimes.process_table import InstanceTable
from opsbook.world.runtimes.process_watch import ProcessWatch
from opsbook.world.words import InstanceState

MEMORY_EVERY = 2.0  # seconds


class MemoryWatch:
    """Every two seconds, while some instance has a limit: one pass over /proc for all of them."""

    def __init__(self, table: InstanceTable, watch: ProcessWatch) -> None:
        self._table = table
        self._watch = watch
        self._begun = False

    def begin(self) -> None:
        """There is an instance with a limit. Begins to look, unless it does already."""
        if not self._begun:
            self._begun = True
            self._watch.after(MEMORY_EVERY, self._look)

    def _look(self) -> None:
        limited = [held for held in self._table.all() if held.record and held.record.workload.limits.memory]
        if not limited:
            self._begun = False
            return
        table = processes.table()
        for held in limited:
            record = held.record
            if record is not None and record.process is not None and record.state is InstanceState.RUNNING:
                members = processes.family(table, record.process)
                resident = sum(member.resident for member in members.values())
                if reason := exceeds(resident, record.workload.limits.memory):
                    held.kill_reason = reason  # before the kill: the end is noticed at once
                    kill(members)
        self._watch.after(MEMORY_EVERY, self._look)
