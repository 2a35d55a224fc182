"""Commands that the handbook names, run around a deployment: without a shell, with little of our own environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from opsbook.deployment.model import Deployment
from opsbook.deployment.site import Site
from opsbook.errors import OpsbookError
from opsbook.world.hosts import commands
from opsbook.world.runtimes.process_environment import basic_environment

KEPT = 64 * 1024  # bytes of output that are read
SHOWN = 4000  # characters of it that are kept: the end, where the reason is

RunCommand = Callable[..., commands.Finished]
"""As `opsbook.world.hosts.commands.run`."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended. `output` is the end of what it wrote, secrets masked."""

    passed: bool
    detail: str
    output: str
    seconds: float


class Commands:
    """Runs them in the handbook's folder, as whoever opsbook runs as."""

    def __init__(self, site: Site, run: RunCommand = commands.run) -> None:
        self._site = site
        self._run = run

    def run(self, command: Sequence[str], timeout: float, deployment: Deployment) -> Ran:
        """Run it to its end, at most `timeout` seconds; what it is about stands in ``OPSBOOK_*`` variables."""
        clock = self._site.clock
        begun = clock.monotonic()
        try:
            finished = self._run(
                command,
                cwd=self._site.root,
                env=basic_environment() | about(deployment),
                timeout=timeout,
                limit=KEPT,
                together=True,
            )
        except OpsbookError as error:
            return Ran(False, self._site.secrets.mask(error.message), "", clock.monotonic() - begun)
        output = self._site.secrets.mask(finished.text)[-SHOWN:]
        last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "")[:300]
        how = f"no end within {timeout:g} s" if finished.timed_out else f"exit code {finished.code}"
        passed = finished.code == 0 and not finished.timed_out
        return Ran(passed, f"{how}: {last}" if last else how, output, clock.monotonic() - begun)


def about(deployment: Deployment) -> dict[str, str]:
    """What a command is told."""
    return {
        "OPSBOOK_DEPLOYMENT": deployment.id,
        "OPSBOOK_SERVICE": deployment.service,
        "OPSBOOK_ENVIRONMENT": deployment.environment,
        "OPSBOOK_VERSION": deployment.version,
        "OPSBOOK_RELEASE": deployment.release,
        "OPSBOOK_REQUESTED_BY": deployment.requested_by,
    }
