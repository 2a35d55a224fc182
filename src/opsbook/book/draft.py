"""What was read from the files and is valid by itself, before it is known to hold together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from opsbook.book.alerts import AlertsFile
from opsbook.book.checklist import Checklist
from opsbook.book.cover import Cover
from opsbook.book.dashboards import DashboardFile
from opsbook.book.document import Document, Node
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
from opsbook.book.roles import Grant
from opsbook.book.rule_files import RuleFile
from opsbook.book.runbooks import Runbook
from opsbook.book.service import Service
from opsbook.book.slos import SlosFile
from opsbook.book.strategy import Strategy
from opsbook.book.targets import TargetSpec
from opsbook.book.troubleshooting import TroubleshootingPage

COVER = "opsbook.yaml"
STRATEGIES = "deployment/strategies.yaml"
PIPELINE = "deployment/pipeline.yaml"
FREEZES = "deployment/freezes.yaml"
ROLES = "security/roles.yaml"


def service_file(name: str) -> str:
    return f"services/{name}.yaml"


def environment_file(name: str) -> str:
    return f"environments/{name}.yaml"


@dataclass(frozen=True, slots=True)
class Draft:
    """The valid parts by name, and the names that are written somewhere, valid or not.

    A reference to a part that is itself broken is not called dangling: one mistake, one problem.
    """

    documents: Mapping[str, Document]
    cover: Cover | None
    services: Mapping[str, Service]
    environments: Mapping[str, Environment]
    strategies: Mapping[str, Strategy]
    placed: Mapping[str, Mapping[str, EffectiveService]]
    service_names: frozenset[str]
    environment_names: frozenset[str]
    strategy_names: frozenset[str] | None  # None: the file is broken, so anything may be there
    pipeline: Pipeline | None = None
    freezes: tuple[Freeze, ...] = ()
    checklist: Checklist | None = None
    roles: Mapping[str, tuple[Grant, ...]] | None = None  # by contact, teams too; None: not written
    alerts: AlertsFile = field(default_factory=AlertsFile)
    rule_files: tuple[RuleFile, ...] = ()
    notifications: NotificationsFile = field(default_factory=NotificationsFile)
    probes: tuple[ProbeSpec, ...] = ()
    targets: tuple[TargetSpec, ...] = ()
    slos: SlosFile = field(default_factory=SlosFile)
    schedules: tuple[ScheduleSpec, ...] = ()
    postmortems: PostmortemsSpec = field(default_factory=PostmortemsSpec)
    postmortem_pages: Mapping[str, PostmortemPage] = field(default_factory=dict)
    troubleshooting: Mapping[str, TroubleshootingPage] = field(default_factory=dict)
    status_page: StatusPageSpec | None = None
    severities: Mapping[IncidentSeverity, SeveritySpec] = field(default_factory=dict)
    incidents: IncidentsSpec = field(default_factory=IncidentsSpec)
    escalations: tuple[EscalationSpec, ...] = ()
    heartbeat: HeartbeatSpec | None = None
    drilled: DrillsSpec = field(default_factory=DrillsSpec)
    runbooks: frozenset[str] = frozenset()  # the stems of runbooks/*.md
    pages: Mapping[str, Runbook] = field(default_factory=dict)  # those of them that are sound
    drills: Mapping[str, Drill] = field(default_factory=dict)  # by the stems of runbooks/drills/*.md
    dashboards: Mapping[str, DashboardFile] = field(default_factory=dict)

    def document(self, file: str) -> Document:
        """The document of `file`; an empty one when it is not written."""
        return self.documents.get(file) or Document(file, Node("mapping", 1, {}))
