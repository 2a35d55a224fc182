"""The book: what should be, read at one moment and known to hold together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from opsbook.book.alerts import AlertsFile
from opsbook.book.channels import Channel
from opsbook.book.checklist import Checklist, ChecklistItem, ItemStage
from opsbook.book.cover import Contact
from opsbook.book.dashboards import DashboardFile
from opsbook.book.drills import Drill, DrillsSpec
from opsbook.book.effective import EffectiveService
from opsbook.book.environment import Environment
from opsbook.book.escalations import EscalationSpec, HeartbeatSpec
from opsbook.book.freezes import Freeze
from opsbook.book.incidents import IncidentSeverity, IncidentsSpec, SeveritySpec
from opsbook.book.notifications import NotificationsFile
from opsbook.book.oncall import ScheduleSpec
from opsbook.book.pipeline import Pipeline
from opsbook.book.postmortems import PostmortemPage, PostmortemsSpec, StatusPageSpec
from opsbook.book.probes import ProbeSpec
from opsbook.book.problems import Problem, did_you_mean
from opsbook.book.roles import Grant
from opsbook.book.rule_files import RuleFile
from opsbook.book.runbooks import Runbook
from opsbook.book.service import Service
from opsbook.book.settings import MonitoringSettings, RunbookSettings
from opsbook.book.slos import SlosFile
from opsbook.book.strategy import Strategy
from opsbook.book.targets import TargetSpec
from opsbook.book.troubleshooting import TroubleshootingPage
from opsbook.errors import NotFound


@dataclass(frozen=True, slots=True)
class Book:
    """A handbook without errors.

    `environments` are in promotion order, the other mappings by name. `strategies` has the built-in ones too.
    `review` is in seconds. `roles` is by person: a team's are those of its members. `digest` is the SHA-256 of
    what the files say, whatever their comments and layout.
    """

    name: str
    owner: str | None
    contacts: Mapping[str, Contact]
    channels: Mapping[str, Channel]
    review: float | None
    services: Mapping[str, Service]
    environments: Mapping[str, Environment]
    strategies: Mapping[str, Strategy]
    write_back: bool
    console: str | None
    digest: str
    where: str
    commit: str
    placed: Mapping[str, Mapping[str, EffectiveService]] = field(repr=False)  # environment, service
    warnings: tuple[Problem, ...] = ()
    pipeline: Pipeline | None = None
    freezes: tuple[Freeze, ...] = ()
    checklist: Checklist | None = None
    roles: Mapping[str, tuple[Grant, ...]] = field(default_factory=dict)
    alerts: AlertsFile = field(default_factory=AlertsFile)
    rule_files: tuple[RuleFile, ...] = ()
    notifications: NotificationsFile = field(default_factory=NotificationsFile)
    probes: tuple[ProbeSpec, ...] = ()
    targets: tuple[TargetSpec, ...] = ()
    slos: SlosFile = field(default_factory=SlosFile)
    monitoring: MonitoringSettings = field(default_factory=MonitoringSettings)
    schedules: tuple[ScheduleSpec, ...] = ()
    postmortems: PostmortemsSpec = field(default_factory=PostmortemsSpec)
    postmortem_pages: Mapping[str, PostmortemPage] = field(default_factory=dict)  # by their paths
    status_page: StatusPageSpec | None = None
    severities: Mapping[IncidentSeverity, SeveritySpec] = field(default_factory=dict)
    incidents: IncidentsSpec = field(default_factory=IncidentsSpec)
    escalations: tuple[EscalationSpec, ...] = ()
    heartbeat: HeartbeatSpec | None = None
    drilled: DrillsSpec = field(default_factory=DrillsSpec)
    runs: RunbookSettings = field(default_factory=RunbookSettings)
    runbooks: Mapping[str, Runbook] = field(default_factory=dict)  # by the stems of runbooks/*.md
    drills: Mapping[str, Drill] = field(default_factory=dict)  # by the stems of runbooks/drills/*.md
    dashboards: Mapping[str, DashboardFile] = field(default_factory=dict)  # by the stems of their files
    troubleshooting: tuple[TroubleshootingPage, ...] = ()

    def service(self, name: str) -> Service:
        """Raises NotFound with the nearest name."""
        if name not in self.services:
            raise NotFound(f"no service {name}", hint=did_you_mean(name, self.services), where=self.where)
        return self.services[name]

    def environment(self, name: str) -> Environment:
        """Raises NotFound with the nearest name."""
        if name not in self.environments:
            raise NotFound(
                f"no environment {name}", hint=did_you_mean(name, self.environments), where=self.where
            )
        return self.environments[name]

    def runbook(self, name: str) -> Runbook:
        """Raises NotFound with the nearest name."""
        if name not in self.runbooks:
            hint = did_you_mean(name, self.runbooks) or f"opsbook runbooks new {name}"
            raise NotFound(f"no runbook {name}", hint=hint, where=self.where)
        return self.runbooks[name]

    def owner_of(self, page: Runbook) -> str | None:
        """Who answers for a page: the contact that it names, else the handbook's owner."""
        return page.head.owner or self.owner

    def effective(self, environment: str, service: str) -> EffectiveService:
        """The service as it is in the environment. Raises NotFound when either is unknown, or it is not in it."""
        placed = self.effective_services(environment)
        if service not in placed:
            self.service(service)
            raise NotFound(
                f"{service} is not in {environment}",
                hint=f"add it under services: of environments/{environment}.yaml",
                where=self.where,
            )
        return placed[service]

    def effective_services(self, environment: str) -> Mapping[str, EffectiveService]:
        """Every service of the environment, by name. Raises NotFound when it is unknown."""
        self.environment(environment)
        return self.placed[environment]

    def people(self, contact: str) -> frozenset[str]:
        """The contacts that are people behind a contact: itself, or a team's members and theirs."""
        return people(contact, self.contacts)

    def grants(self, person: str) -> tuple[Grant, ...]:
        """The roles of a person, with those of their teams; none for somebody the handbook does not know."""
        return self.roles.get(person, ())

    def checklist_items(self, environment: str, service: str, stage: ItemStage) -> tuple[ChecklistItem, ...]:
        """What is to be checked in one stage of a deployment of `service` to `environment`.

        A checklist that names no environments is followed in the protected ones; `protect: {checklist: false}`
        takes an environment out. Raises NotFound when the environment is unknown.
        """
        protect = self.environment(environment).protect
        if self.checklist is None or (protect is not None and not protect.checklist):
            return ()
        if self.checklist.environments is None and protect is None:
            return ()
        return self.checklist.for_(environment, service, stage)


def granted(
    roles: Mapping[str, tuple[Grant, ...]] | None,
    contacts: Mapping[str, Contact],
    environments: Mapping[str, Environment],
) -> Mapping[str, tuple[Grant, ...]]:
    """The roles of each person, from those of contacts and teams.

    Where no roles are written at all, those who may approve by `protect` are approvers there: one fact need not be
    written twice, and a protected environment is never one that nobody could open.
    """
    if roles is None:
        roles = {}
        for name, environment in environments.items():
            for approver in environment.protect.approvers if environment.protect else ():
                grant = Grant(role="approver", environments=(name,))
                roles[approver] = (*roles.get(approver, ()), grant)
    found: dict[str, tuple[Grant, ...]] = {}
    for contact, grants in roles.items():
        for person in sorted(people(contact, contacts)):
            known = found.get(person, ())
            found[person] = (*known, *(grant for grant in dict.fromkeys(grants) if grant not in known))
    return MappingProxyType(found)


def people(contact: str, contacts: Mapping[str, Contact]) -> frozenset[str]:
    """The people behind `contact`; unknown names are left out and circles do no harm."""
    found: set[str] = set()
    waiting, seen = [contact], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in contacts:
            continue
        seen.add(name)
        members = contacts[name].members
        if not members:
            found.add(name)
        waiting += members
    return frozenset(found)
