"""The rooms that respond, put together: runbooks, diagnoses, incidents, escalation, post-mortems.

`composition.py` makes one of these before deployments start, because runs are durable work too, and starts it after.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from fastapi import APIRouter
from fastapi.routing import APIRoute

import opsbook.response.diagnosis.pages as diagnosis_pages
import opsbook.response.oncall.pages as oncall_pages
import opsbook.response.pages as response_pages
from opsbook.book.runbooks import Runbook
from opsbook.deployment.entries import url_of
from opsbook.deployment.site import Site as DeploymentSite
from opsbook.errors import NotFound, OpsbookError
from opsbook.journal import Durable
from opsbook.promql.model import Matrix
from opsbook.response.diagnosis.api import router as diagnosis_routes
from opsbook.response.diagnosis.ports import Site as DiagnosisSite
from opsbook.response.diagnosis.rendering import markdown, text
from opsbook.response.diagnosis.room import Diagnoses
from opsbook.response.diagnosis.watching import DiagnosisWatch
from opsbook.response.drills.api import router as drill_routes
from opsbook.response.drills.room import Drills
from opsbook.response.drills.schedule import Schedule, in_a_process
from opsbook.response.escalation.chains import pages_somebody
from opsbook.response.escalation.desk import Desk
from opsbook.response.incidents.api import router as incident_routes
from opsbook.response.incidents.meant import about
from opsbook.response.incidents.model import Incident
from opsbook.response.incidents.room import Incidents
from opsbook.response.oncall.api import router as oncall_routes
from opsbook.response.pages.source import Source
from opsbook.response.pages.tested import evidence
from opsbook.response.postmortems.api import router as postmortem_routes
from opsbook.response.postmortems.room import Postmortems
from opsbook.response.postmortems.site import Site as PostmortemSite
from opsbook.response.runbooks.api import router as runbook_routes
from opsbook.response.runbooks.room import Runbooks
from opsbook.response.runbooks.site import Site as RunbookSite
from opsbook.server.belonging import Belonging
from opsbook.server.console.live import Watch
from opsbook.server.console.shell import Shell
from opsbook.server.duty import Duty
from opsbook.server.errands import Errands
from opsbook.server.handbook import WORKING_TREE_VARIABLE
from opsbook.server.watching import Ground, Watching
from opsbook.world.commands.places import Machines
from opsbook.world.hosts.keys import random_key
from opsbook.world.hosts.pages import FolderPages
from opsbook.world.hosts.publishing import publish
from opsbook.world.hosts.web import status_of

WAIT_FOR_DIAGNOSIS = 10.0
"""Seconds that a page waits for what was found out, so that both arrive together."""
AT_ONCE = 3
"""Diagnoses of incidents: fewer than are made at once, so that a person's never waits behind a storm."""


class Responding:
    """See the module."""

    def __init__(
        self, ground: Ground, duty: Duty, watching: Watching, deploying: DeploymentSite, durable: Durable
    ) -> None:
        self._ground, self._duty, self._watching = ground, duty, watching
        self.oncall, self.incidents = duty.oncall, duty.incidents
        self.runbooks = _runbooks(ground, watching, deploying, durable, duty)
        self.diagnoses = _diagnoses(ground, watching, deploying, self.runbooks)
        book, journal, now = ground.handbook.current, ground.journal, ground.clock.now
        self.desk = Desk(
            book,
            journal,
            on_call=self.oncall.people,
            incidents=Waiting(self.incidents, self._is_to_be_paged),
            send=duty.page,
            failing=duty.failing,
            key=random_key(ground.state / "keys" / "links.key"),
            address=ground.address,
            secret=ground.secrets.get,
            status_of=status_of,
            now=now,
            trouble=lambda: watching.alerting.trouble,
            log=ground.log,
            boundary=ground.boundary,
        )
        self.postmortems = Postmortems(
            PostmortemSite(
                book=ground.handbook.fresh,
                folder=ground.book,
                journal=journal,
                incidents=self.incidents,
                pages=FolderPages(
                    ground.book,
                    ground.state / "patches",
                    use_git=os.environ.get(WORKING_TREE_VARIABLE) != "1",
                ),
                now=now,
                publish=publish,
                queries=watching.monitoring.queries,
                run=self.runbooks.records.run,
                mask=ground.secrets.mask,
                log=ground.log,
            )
        )
        self.looking = Errands("incident-diagnosis", AT_ONCE, ground.log)
        self.belonging = Belonging(
            journal,
            run=self.runbooks.records.run,
            unfinished=self.runbooks.records.unfinished,
            add=self.incidents.add_run,
            log=ground.log,
        )
        self.drills = Drills(book, journal, now=now, mask=ground.secrets.mask)
        self.schedule = Schedule(
            book,
            self.drills,
            now=now,
            rehearse=in_a_process(ground.book),
            tell=duty.drill_failed,
            log=ground.log,
        )
        self._source = Source(
            book=book,
            now=now,
            runbooks=self.runbooks,
            incidents=self.incidents,
            postmortems=self.postmortems,
            escalations=self.desk.room,
            charts=True,
            on_call=self.oncall.now,
            tested=lambda: evidence(self.drills.evidence()),
        )

    # --- life

    def start(self) -> None:
        """After durable work was launched: go on with what a crash interrupted."""
        self.incidents.on_opened(self._opened)
        self.incidents.on_changed(self.desk.room.follow)
        self.belonging.start()
        self.runbooks.start()
        self._duty.ready(self._watching.alerting, self.runbooks)
        self.incidents.start()
        self.desk.start()
        for incident in self.incidents.waiting():
            if self._is_to_be_paged(incident) and not self._is_paged(incident.id):
                self._opened(incident)  # a crash came between its opening and its first page
        self.postmortems.start()
        self.schedule.start()

    def close(self) -> None:
        """Wake those that wait; runs themselves end with the durable work."""
        self.schedule.close()
        self.desk.close()
        self.incidents.stop()
        self.postmortems.close()
        self.looking.close()
        self.diagnoses.close()
        self.runbooks.close()
        self.belonging.close()

    # --- what happens when an incident opens

    def _opened(self, incident: Incident) -> None:
        """Look at what fails, and page somebody with what was found; without it when that takes too long."""
        if self._is_to_be_paged(incident):
            self.desk.room.begin(incident, not_before=self._ground.clock.now() + WAIT_FOR_DIAGNOSIS)
        self.looking.run(lambda: self._look(incident))

    def _is_to_be_paged(self, incident: Incident) -> bool:
        return pages_somebody(self._ground.handbook.current(), told=bool(incident.alerts))

    def _look(self, incident: Incident) -> None:
        said = ""
        alert = incident.alerts[0].name if incident.alerts else ""
        service = incident.services[0] if incident.services else ""
        try:
            made = self.diagnoses.make(incident.environment, service, incident=incident.id, alert=alert)
            said = self._ground.secrets.mask(text(made))
            whole = markdown(made)
            self.incidents.attach(incident.id, f"Diagnosis of {service or 'the machines'}", "text", whole)
        except OpsbookError as error:
            self._ground.log(f"{incident.id} could not be diagnosed: {error}")
        except Exception as error:
            self._ground.log(f"{incident.id} could not be diagnosed: {type(error).__name__}: {error}")
        finally:
            self.desk.room.release(incident.id, diagnosis=said)

    def _is_paged(self, name: str) -> bool:
        try:
            self.desk.room.get(name)
        except NotFound:
            return False
        return True

    # --- faces

    def routers(self) -> tuple[APIRouter, ...]:
        """The API, and the pages behind signed links."""
        ending = self._ground.stopping.is_set
        return (
            oncall_routes(self.oncall),
            runbook_routes(self.runbooks, ending, self._incident_in, self._incident_of),
            diagnosis_routes(self.diagnoses, ending, self._incident_in),
            incident_routes(self.incidents),
            postmortem_routes(self.postmortems),
            drill_routes(self.drills),
            self.desk.router(),
            self.desk.pages(_spark(self._watching)),
        )

    def _incident_in(self, name: str) -> str | None:
        return self.incidents.get(name).environment or None

    def _incident_of(self, page: Runbook, params: Mapping[str, str]) -> str:
        return about(page, params, self.incidents.listed("open"))

    @property
    def source(self) -> Source:
        """What the console shows of it."""
        return self._source

    def watches(self) -> tuple[Watch, ...]:
        """What makes the pages of on call and of diagnoses live; the others come with `source`."""
        return (
            oncall_pages.OnCallWatch(self.oncall),
            DiagnosisWatch(self.diagnoses),
        )

    def pages(self) -> Sequence[Callable[[Shell, type[APIRoute]], APIRouter]]:
        """The console's pages."""
        book, now = self._ground.handbook.current, self._ground.clock.now

        def all_of(shell: Shell, kind: type[APIRoute]) -> APIRouter:
            routes = APIRouter()
            for one in response_pages.routers(self._source, shell, kind):
                routes.include_router(one)
            return routes

        return (
            all_of,
            lambda shell, kind: diagnosis_pages.router(self.diagnoses, shell, kind),
            lambda shell, kind: oncall_pages.router(self.oncall, book, shell, kind, now=now),
        )


class Waiting:
    """The incidents as escalation asks for them.

    Args:
        is_paged: whether somebody is paged about an incident at all.
    """

    def __init__(self, incidents: Incidents, is_paged: Callable[[Incident], bool]) -> None:
        self._incidents = incidents
        self._is_paged = is_paged

    def acknowledge(self, id: str, actor: str) -> object:  # noqa: A002 - the port's name
        return self._incidents.acknowledge(id, actor)

    def get(self, id: str) -> Incident:  # noqa: A002 - the port's name
        return self._incidents.get(id)

    def waiting(self) -> Iterable[Incident]:
        return filter(self._is_paged, self._incidents.waiting())


def _runbooks(
    ground: Ground, watching: Watching, deploying: DeploymentSite, durable: Durable, duty: Duty
) -> Runbooks:
    return Runbooks(
        RunbookSite(
            book=ground.handbook.fresh,
            journal=ground.journal,
            durable=durable,
            clock=ground.clock,
            places=Machines(variables=_own_opsbook(ground.book, ground.state)),
            queries=watching.monitoring.queries,
            moment=watching.telemetry.moment,
            instances=deploying.runtime.instances,
            url_of=lambda environment, service: url_of(deploying, deploying.book(), environment, service),
            status_of=status_of,
            secret_values=ground.secrets.values,
            incident_runs=lambda: {one.id: one.runs for one in duty.incidents.every()},
            log=ground.log,
            boundary=ground.boundary,
        )
    )


def _diagnoses(
    ground: Ground, watching: Watching, deploying: DeploymentSite, runbooks: Runbooks
) -> Diagnoses:
    return Diagnoses(
        DiagnosisSite(
            book=ground.handbook.current,
            journal=ground.journal,
            clock=ground.clock,
            alerts=lambda: [one.alert for one in watching.alerting.alerts() if one.state != "resolved"],
            queries=watching.monitoring.queries,
            moment=watching.telemetry.moment,
            instances=deploying.runtime,
            traffic=ground.traffic.observe,
            deployments=deploying.records,
            logs=watching.logs,
            traces=watching.traces,
            runbooks=runbooks,
        )
    )


def _spark(watching: Watching) -> Callable[[str, str], tuple[float | None, ...]]:
    """The error rate of a service in the last hour, a figure a minute, for the page that somebody is woken with."""

    def spark(environment: str, service: str) -> tuple[float | None, ...]:
        now = int(watching.telemetry.moment() * 1000)
        only = f"service={json.dumps(service)}, environment={json.dumps(environment)}"
        try:
            asked = watching.monitoring.queries.range(
                f"max(opsbook:error_rate{{{only}}})", now - 59 * 60_000, now, 60_000
            )
        except OpsbookError:
            return ()
        if not isinstance(asked.value, Matrix) or not asked.value.series:
            return ()
        times, values = asked.value.points(0)
        known = dict(zip(times.tolist(), values.tolist(), strict=True))
        return tuple(known.get(int(at)) for at in asked.value.timestamps)

    return spark


def _own_opsbook(book: Path, state: Path) -> dict[str, str]:
    return {"OPSBOOK_BOOK": str(book), "OPSBOOK_STATE": str(state)}
