"""From files to a book: read each file, validate it, then see whether all of it holds together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic_core import PydanticCustomError

from opsbook.book.advice import advice
from opsbook.book.alerts import ALERTS, AlertsFile, alert_faults
from opsbook.book.checklist import CHECKLIST, Checklist, read_checklist
from opsbook.book.conflicts import conflicts
from opsbook.book.cover import Cover
from opsbook.book.dashboards import FOLDER as DASHBOARDS
from opsbook.book.dashboards import DashboardFile, dashboard_faults
from opsbook.book.dependencies import levels
from opsbook.book.document import Document, parse
from opsbook.book.draft import COVER, FREEZES, PIPELINE, ROLES, STRATEGIES, Draft
from opsbook.book.drills import Drill, DrillsSpec, is_drill, read_drill
from opsbook.book.effective import resolve
from opsbook.book.environment import Environment
from opsbook.book.escalation_advice import escalation_faults
from opsbook.book.fields import Part
from opsbook.book.files import Files
from opsbook.book.freezes import FreezesFile
from opsbook.book.incidents import IncidentsSpec
from opsbook.book.layout import unknown_files
from opsbook.book.model import Book, granted
from opsbook.book.notifications import NOTIFICATIONS, NotificationsFile
from opsbook.book.oncall import POLICY, PolicyFile
from opsbook.book.pipeline import Pipeline, PipelineFile
from opsbook.book.postmortems import (
    PostmortemPage,
    PostmortemsSpec,
    is_postmortem,
    postmortem_advice,
    read_postmortem,
)
from opsbook.book.probes import PROBES, ProbesFile
from opsbook.book.problems import HandbookError, Problem, in_order
from opsbook.book.references import dangling
from opsbook.book.roles import RolesFile
from opsbook.book.rule_files import OWN, RuleFile, has_groups, read_rules
from opsbook.book.runbook_advice import runbook_advice
from opsbook.book.runbook_pages import read_runbook
from opsbook.book.runbooks import FOLDER as RUNBOOKS
from opsbook.book.runbooks import Runbook
from opsbook.book.service import Service
from opsbook.book.slos import SLOS, SlosFile, slo_faults
from opsbook.book.strategy import BUILT_IN, StrategiesFile, Strategy
from opsbook.book.targets import TARGETS, TargetsFile
from opsbook.book.troubleshooting import (
    TroubleshootingPage,
    is_troubleshooting,
    naming,
    read_troubleshooting,
    troubleshooting_advice,
)
from opsbook.book.validation import refused, validate
from opsbook.errors import OpsbookError

M = TypeVar("M", bound=Part)


def load(files: Files, *, today: date | None = None) -> Book:
    """Read a handbook.

    Args:
        today: the date against which reviews of pages are due; None leaves that check out.

    Raises:
        HandbookError: it has errors; `problems` has all of them. Warnings are in `Book.warnings`.
        OpsbookError: the place of the files does not exist.
    """
    book, problems = load_or_problems(files, today=today)
    if book is None:
        raise HandbookError((p for p in problems if p.severity == "error"), where=files.where)
    return book


def load_or_problems(files: Files, *, today: date | None = None) -> tuple[Book | None, tuple[Problem, ...]]:
    """The book, or None when there are errors; and all errors and warnings in order.

    Raises:
        OpsbookError: the place of the files does not exist.
    """
    paths = files.paths()
    reading = _Reading(files)
    reading.problems += unknown_files(paths)
    draft = reading.draft(paths)
    reading.problems += dangling(draft)
    reading.problems += conflicts(draft)
    reading.problems += runbook_advice(draft)
    reading.problems += escalation_faults(draft)
    contacts = draft.cover.contacts if draft.cover else {}
    reading.problems += postmortem_advice(draft.postmortem_pages, contacts, today)
    reading.problems += troubleshooting_advice(
        draft.troubleshooting, draft.service_names, draft.environment_names
    )
    texts = reading.texts(paths)
    reading.problems += advice(draft, texts, frozenset(paths), today)
    problems = in_order(reading.problems)
    if draft.cover is None or any(problem.severity == "error" for problem in problems):
        return None, problems
    return _book(files, draft, draft.cover, problems), problems


def _book(files: Files, draft: Draft, cover: Cover, warnings: tuple[Problem, ...]) -> Book:
    before = {n: [e.promote_from] if e.promote_from else [] for n, e in draft.environments.items()}
    order = [name for level in levels(before) for name in level]
    return Book(
        name=cover.name,
        owner=cover.owner,
        contacts=MappingProxyType(dict(cover.contacts)),
        channels=MappingProxyType(dict(cover.channels)),
        review=cover.review,
        services=MappingProxyType(dict(draft.services)),
        environments=MappingProxyType({name: draft.environments[name] for name in order}),
        strategies=MappingProxyType(dict(draft.strategies)),
        write_back=cover.write_back,
        console=cover.console,
        digest=_digest(draft),
        where=files.where,
        commit=files.commit,
        placed=MappingProxyType(dict(draft.placed)),
        warnings=warnings,
        pipeline=draft.pipeline,
        freezes=draft.freezes,
        checklist=draft.checklist,
        roles=granted(draft.roles, cover.contacts, draft.environments),
        alerts=draft.alerts,
        rule_files=draft.rule_files,
        notifications=draft.notifications,
        probes=draft.probes,
        targets=draft.targets,
        slos=draft.slos,
        monitoring=cover.monitoring,
        schedules=draft.schedules,
        postmortems=draft.postmortems,
        postmortem_pages=MappingProxyType(dict(draft.postmortem_pages)),
        status_page=draft.status_page,
        severities=MappingProxyType(dict(draft.severities)),
        incidents=draft.incidents,
        escalations=draft.escalations,
        heartbeat=draft.heartbeat,
        drilled=draft.drilled,
        runs=cover.runbooks,
        runbooks=MappingProxyType(dict(draft.pages)),
        drills=MappingProxyType(dict(draft.drills)),
        dashboards=MappingProxyType(dict(draft.dashboards)),
        troubleshooting=naming(draft.troubleshooting, draft.services),
    )


def _digest(draft: Draft) -> str:
    content: dict[str, Any] = {file: document.data for file, document in draft.documents.items()}
    if draft.checklist is not None:  # the lines of its items are layout
        items = [{**asdict(item), "line": 0} for item in draft.checklist.items]
        content[f"{CHECKLIST} items"] = items
    if scripts := {name: page.digest for name, page in draft.pages.items() if page.executable}:
        content["runbooks"] = scripts
    if draft.rule_files:
        content["rules"] = [file.said() for file in draft.rule_files]
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(slots=True)
class _Reading:
    files: Files
    problems: list[Problem] = field(default_factory=list)
    documents: dict[str, Document] = field(default_factory=dict)

    def draft(self, paths: tuple[str, ...]) -> Draft:
        service_files = _definitions(paths, "services")
        environment_files = _definitions(paths, "environments")
        cover = self._model(COVER, Cover) if COVER in paths else None
        services = self._named(service_files, Service, "service")
        environments = self._named(environment_files, Environment, "environment")
        strategies, whole = self._strategies(STRATEGIES in paths)
        pipeline = self._pipeline() if PIPELINE in paths else None
        usual = pipeline.strategy if pipeline else None
        freezes = self._model(FREEZES, FreezesFile) if FREEZES in paths else None
        roles = self._model(ROLES, RolesFile) if ROLES in paths else None
        notifications = self._model(NOTIFICATIONS, NotificationsFile) if NOTIFICATIONS in paths else None
        probes = self._model(PROBES, ProbesFile) if PROBES in paths else None
        targets = self._model(TARGETS, TargetsFile) if TARGETS in paths else None
        policy = self._model(POLICY, PolicyFile) if POLICY in paths else None
        return Draft(
            documents=self.documents,
            cover=cover,
            services=services,
            environments=environments,
            strategies=strategies,
            placed={
                name: resolve(place, services, strategies, usual) for name, place in environments.items()
            },
            service_names=frozenset(service_files),
            environment_names=frozenset(environment_files),
            strategy_names=frozenset(strategies) if whole else None,
            pipeline=pipeline,
            freezes=freezes.freezes if freezes else (),
            checklist=self._checklist() if CHECKLIST in paths else None,
            roles=roles.roles if roles else None,
            alerts=self._alerts() if ALERTS in paths else AlertsFile(),
            rule_files=self._rule_files(paths),
            notifications=notifications or NotificationsFile(),
            probes=probes.probes if probes else (),
            targets=targets.targets if targets else (),
            slos=self._slos() if SLOS in paths else SlosFile(),
            schedules=policy.schedules if policy else (),
            postmortems=policy.postmortems if policy else PostmortemsSpec(),
            postmortem_pages=self._postmortems(paths),
            status_page=policy.status_page if policy else None,
            severities=policy.severities if policy else {},
            incidents=policy.incidents if policy else IncidentsSpec(),
            escalations=policy.escalations if policy else (),
            heartbeat=policy.heartbeat if policy else None,
            drilled=policy.drills if policy else DrillsSpec(),
            runbooks=frozenset(_pages(paths)),
            pages=self._runbooks(paths),
            drills=self._drills(paths),
            dashboards=self._dashboards(paths),
            troubleshooting=self._troubleshooting(paths),
        )

    def texts(self, paths: tuple[str, ...]) -> dict[str, str]:
        """Pages, and what recovery says; a page that is no text is not a page."""
        texts: dict[str, str] = {}
        for path in paths:
            if path.endswith(".md") or (path.startswith("recovery/") and path.endswith(".yaml")):
                content = self._read(path)
                if content is not None:
                    texts[path] = content.decode(errors="replace")
        return texts

    def _named(self, files: Mapping[str, str], model: type[M], key: str) -> dict[str, M]:
        found: dict[str, M] = {}
        for stem, file in files.items():
            part = self._model(file, model)
            if part is None:
                continue
            name = getattr(part, key)
            if name != stem:
                self.problems.append(
                    self.documents[file].problem(
                        (key,), f'expected the file\'s name "{stem}", got "{name}"',
                        f"write {key}: {stem}, or rename the file to {name}.yaml",
                    )
                )  # fmt: skip
                part = part.model_copy(update={key: stem})
            found[stem] = part
        return found

    def _strategies(self, written: bool) -> tuple[dict[str, Strategy], bool]:
        """The strategies, the built-in ones first, and whether those of the file are all there."""
        strategies = dict(BUILT_IN)
        if not written:
            return strategies, True
        part = self._model(STRATEGIES, StrategiesFile)
        if part is None:
            return strategies, False
        whole = True
        for name, spec in part.strategies.items():
            try:
                strategies[name] = spec.resolved(name)
            except PydanticCustomError as error:
                self.problems.append(refused(self.documents[STRATEGIES], ("strategies", name), error))
                whole = False
        return strategies, whole

    def _alerts(self) -> AlertsFile:
        part = self._model(ALERTS, AlertsFile)
        if part is None:
            return AlertsFile()
        self.problems += alert_faults(self.documents[ALERTS], part)
        return part

    def _slos(self) -> SlosFile:
        part = self._model(SLOS, SlosFile)
        if part is None:
            return SlosFile()
        self.problems += slo_faults(self.documents[SLOS], part)
        return part

    def _rule_files(self, paths: tuple[str, ...]) -> tuple[RuleFile, ...]:
        """Every other file of monitoring/ that is a Prometheus rule file."""
        found = []
        for path in paths:
            if (
                path.startswith("monitoring/")
                and path.endswith((".yaml", ".yml"))
                and path not in OWN
                and not path.startswith(DASHBOARDS)
            ):
                content = self._read(path)
                if content is not None and has_groups(content):
                    file, problems = read_rules(path, content)
                    self.problems += problems
                    found += [file] if file is not None else []
        return tuple(found)

    def _dashboards(self, paths: tuple[str, ...]) -> dict[str, DashboardFile]:
        found = {}
        for path in paths:
            stem = path.removeprefix(DASHBOARDS)
            if stem != path and path.endswith(".yaml") and "/" not in stem:
                part = self._model(path, DashboardFile)
                if part is not None:
                    self.problems += dashboard_faults(self.documents[path], part)
                    found[stem[:-5]] = part
        return found

    def _runbooks(self, paths: tuple[str, ...]) -> dict[str, Runbook]:
        found = {}
        for name in _pages(paths):
            content = self._read(f"{RUNBOOKS}{name}.md")
            if content is not None:
                page, head, problems = read_runbook(name, content)
                self.problems += problems
                if head is not None:
                    self.documents[head.file] = head
                if page is not None:
                    found[name] = page
        return found

    def _drills(self, paths: tuple[str, ...]) -> dict[str, Drill]:
        found = {}
        for path in filter(is_drill, paths):
            content = self._read(path)
            if content is not None:
                drill, head, problems = read_drill(path, content)
                self.problems += problems
                if head is not None:
                    self.documents[path] = head
                if drill is not None:
                    found[drill.name] = drill
        return found

    def _postmortems(self, paths: tuple[str, ...]) -> dict[str, PostmortemPage]:
        found = {}
        for path in filter(is_postmortem, paths):
            content = self._read(path)
            if content is not None:
                page, problems = read_postmortem(path, content)
                self.problems += problems
                if page is not None:
                    found[path] = page
        return found

    def _troubleshooting(self, paths: tuple[str, ...]) -> dict[str, TroubleshootingPage]:
        found = {}
        for path in filter(is_troubleshooting, paths):
            content = self._read(path)
            if content is not None:
                page, problems = read_troubleshooting(path, content)
                self.problems += problems
                if page is not None:
                    found[path] = page
        return found

    def _pipeline(self) -> Pipeline | None:
        part = self._model(PIPELINE, PipelineFile)
        return part.ordered(self.documents[PIPELINE]) if part else None

    def _checklist(self) -> Checklist | None:
        content = self._read(CHECKLIST)
        if content is None:
            return None
        checklist, head, problems = read_checklist(content)
        self.problems += problems
        if head is not None:
            self.documents[CHECKLIST] = head
        return checklist

    def _model(self, file: str, model: type[M]) -> M | None:
        content = self._read(file)
        if content is None:
            return None
        document, problems = parse(file, content)
        self.problems += problems
        if document is None:
            return None
        self.documents[file] = document
        part, refusals = validate(document, model)
        # What could not be read is not blamed a second time for what it was taken for.
        unread = tuple(f"{problem.path}{after}" for problem in problems if problem.path for after in ".[")
        self.problems += (refusal for refusal in refusals if not f"{refusal.path}.".startswith(unread))
        return part

    def _read(self, file: str) -> bytes | None:
        try:
            return self.files.read(file)
        except OpsbookError as error:
            self.problems.append(Problem(file, 0, "", error.message, error.hint))
            return None


def _pages(paths: tuple[str, ...]) -> list[str]:
    """The names of the pages of runbooks/."""
    return [
        path[len(RUNBOOKS) : -3]
        for path in paths
        if path.startswith(RUNBOOKS) and path.endswith(".md") and not is_drill(path)
    ]


def _definitions(paths: tuple[str, ...], folder: str) -> dict[str, str]:
    """The files of one folder by stem."""
    inside = (path for path in paths if path.startswith(f"{folder}/") and path.count("/") == 1)
    return {path.partition("/")[2][:-5]: path for path in inside if path.endswith(".yaml")}
