"""The rooms that respond, put together: who is on call, runbooks, incidents.

`composition.py` makes one of these before deployments start, because runs are durable work too, and starts it after.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter

from opsbook.deployment.entries import url_of
from opsbook.deployment.site import Site as DeploymentSite
from opsbook.journal import Durable
from opsbook.monitoring.alerting.responding import Responders
from opsbook.response.oncall.api import router as oncall_routes
from opsbook.response.oncall.room import OnCall
from opsbook.response.runbooks.api import router as runbook_routes
from opsbook.response.runbooks.room import Runbooks
from opsbook.response.runbooks.site import Site
from opsbook.server.watching import Ground, Watching
from opsbook.world.commands.places import Machines
from opsbook.world.hosts.web import status_of


class Duty:
    """Who is on call, and what alerting asks of those who respond: it is made before there is anybody else."""

    def __init__(self, ground: Ground) -> None:
        self.oncall = OnCall(ground.handbook.current, ground.journal, now=ground.clock.now)

    @property
    def responders(self) -> Responders:
        """As alerting asks."""
        return Responders(on_call=self.oncall.people)


class Responding:
    """See the module.

    Args:
        server: the address by which what runs here reaches this opsbook's own command line.
    """

    def __init__(
        self, ground: Ground, duty: Duty, watching: Watching, deploying: DeploymentSite, durable: Durable
    ) -> None:
        self._ground = ground
        self.oncall = duty.oncall
        self.runbooks = Runbooks(
            Site(
                book=ground.handbook.fresh,
                journal=ground.journal,
                durable=durable,
                clock=ground.clock,
                places=Machines(variables=_own_opsbook(ground.book, ground.state)),
                queries=watching.monitoring.queries,
                moment=watching.telemetry.moment,
                instances=deploying.runtime.instances,
                url_of=_url_of(deploying),
                status_of=status_of,
                secret_values=ground.secrets.values,
                boundary=ground.boundary,
            )
        )
        self._at_end = contextlib.ExitStack()

    def start(self) -> None:
        """After durable work was launched: go on with what a crash interrupted."""
        self.runbooks.start()
        self._at_end.callback(self.runbooks.close)

    def close(self) -> None:
        """Wake those that wait; runs themselves end with the durable work."""
        self._at_end.close()

    def routers(self) -> tuple[APIRouter, ...]:
        """The API."""
        return (oncall_routes(self.oncall), runbook_routes(self.runbooks, self._ground.stopping.is_set))


def _own_opsbook(book: Path, state: Path) -> dict[str, str]:
    return {"OPSBOOK_BOOK": str(book), "OPSBOOK_STATE": str(state)}


def _url_of(site: DeploymentSite) -> Callable[[str, str], str]:
    return lambda environment, service: url_of(site, site.book(), environment, service)
