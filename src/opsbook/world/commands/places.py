"""Every place where scripts run, behind one door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opsbook.world.commands import local
from opsbook.world.commands.instances import in_process
from opsbook.world.commands.local import LocalRunner
from opsbook.world.commands.ssh import SshRunner
from opsbook.world.commands.words import Runner
from opsbook.world.runtimes.process_environment import basic_environment


@dataclass(frozen=True, slots=True)
class Machines:
    """This machine and, over SSH, others.

    Args:
        ssh: options for asyncssh, beyond what the user's own files say.
        variables: for scripts on this machine, e.g. those by which `opsbook` itself finds its handbook and its server.
    """

    ssh: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    grace: float = 1.0  # seconds that what a crash has left gets to end by itself

    def here(self) -> Runner:
        return LocalRunner(environment={**basic_environment(), **self.variables})

    def on(self, host: str) -> Runner:
        return SshRunner(host, self.ssh)

    def beside(self, pid: int) -> Runner:
        """In the place of process `pid`. Raises Failed."""
        return in_process(pid)

    def end_all(self, token: str) -> int:
        """End what carries the token; returns how many processes."""
        return local.end_all(token, grace=self.grace)
