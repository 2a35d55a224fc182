"""Names that stand for something elsewhere in the handbook: each must be there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from opsbook.book.alerts import ALERTS, DEFAULT_ALERTS, HOST_ALERTS, Action
from opsbook.book.checklist import CHECKLIST
from opsbook.book.dependencies import find_cycle
from opsbook.book.document import Document, Loc
from opsbook.book.draft import COVER, FREEZES, PIPELINE, ROLES, Draft, environment_file, service_file
from opsbook.book.effective import HTTP_PORTS
from opsbook.book.notifications import NOTIFICATIONS, RouteSpec
from opsbook.book.oncall import POLICY
from opsbook.book.probes import PROBES
from opsbook.book.problems import Problem, did_you_mean
from opsbook.book.service import Service
from opsbook.book.slos import SLOS
from opsbook.book.templates import placeholders


def dangling(draft: Draft) -> Iterator[Problem]:
    """Every reference to nothing, and every circle of references."""
    yield from _contacts(draft)
    for name, service in draft.services.items():
        document = draft.document(service_file(name))
        yield from _owner(draft, document, service.owner)
        for index, needed in enumerate(service.depends_on):
            yield from _known(document, ("depends_on", index), "service", needed, draft.service_names)
        yield from _urls(draft, document, service)
    yield from _dependency_circle(draft)
    yield from _environments(draft)
    yield from _deployment(draft)
    yield from _checklist(draft)
    yield from _roles(draft)
    yield from _alerts(draft)
    yield from _notifications(draft)
    yield from _probes(draft)
    yield from _slos(draft)
    yield from _schedules(draft)
    yield from _status_page(draft)
    yield from _incidents(draft)
    yield from _drills(draft)


def _drills(draft: Draft) -> Iterator[Problem]:
    """A drill tries a page, and what is on the schedule is a page."""
    for drill in draft.drills.values():
        yield from _runbook(draft, draft.document(drill.file), (), drill.head.runbook)
    document = draft.document(POLICY)
    for index, page in enumerate(draft.drilled.pages):
        yield from _runbook(draft, document, ("drills", "pages"), page, key=index)


def _incidents(draft: Draft) -> Iterator[Problem]:
    document = draft.document(POLICY)
    if draft.cover is not None:
        for index, channel in enumerate(draft.incidents.channels):
            yield from _known(
                document, ("incidents", "channels", index), "channel", channel, draft.cover.channels
            )
    names = [one.name for one in draft.escalations]
    for severity, spec in draft.severities.items():
        if spec.escalation is not None and spec.escalation not in names:
            hint = did_you_mean(spec.escalation, names) or f"write {spec.escalation} under escalations:"
            at: Loc = ("severities", severity, "escalation")
            yield document.problem(at, f'no escalation is called "{spec.escalation}"', hint)


def _known(document: Document, loc: Loc, what: str, name: str, known: Iterable[str]) -> Iterator[Problem]:
    if name not in known:
        way_out = {
            "service": f"write services/{name}.yaml",
            "contact": f"add {name} under contacts in opsbook.yaml",
            "environment": f"write environments/{name}.yaml",
        }
        hint = did_you_mean(name, known) or way_out.get(what, "")
        yield document.problem(loc, f'no {what} is called "{name}"', hint)


def _owner(draft: Draft, document: Document, owner: str | None) -> Iterator[Problem]:
    """Without any contacts an owner is only a name, which `advice` mentions; with contacts it must be one."""
    if owner is not None and draft.cover is not None and draft.cover.contacts:
        yield from _known(document, ("owner",), "contact", owner, draft.cover.contacts)


def _contacts(draft: Draft) -> Iterator[Problem]:
    if draft.cover is None:
        return
    document = draft.document(COVER)
    yield from _owner(draft, document, draft.cover.owner)
    for name, contact in draft.cover.contacts.items():
        for index, member in enumerate(contact.members):
            yield from _known(
                document, ("contacts", name, "members", index), "contact", member, draft.cover.contacts
            )
        if contact.channel is not None:
            yield from _known(
                document, ("contacts", name, "channel"), "channel", contact.channel, draft.cover.channels
            )
        for index, channel in enumerate(contact.fallback):
            loc: Loc = ("contacts", name, "fallback", index)
            yield from _known(document, loc, "channel", channel, draft.cover.channels)
    circle = find_cycle({name: contact.members for name, contact in draft.cover.contacts.items()})
    if circle:
        yield document.problem(
            ("contacts", circle[0], "members"), f"teams are members of each other: {' → '.join(circle)}"
        )


def _urls(draft: Draft, document: Document, service: Service) -> Iterator[Problem]:
    for loc, text in templates(service):
        for placeholder in placeholders(text):
            if placeholder.kind == "port" and service.run.port is None:
                yield document.problem(
                    loc, "{port} is used, and the service has no port", "port: http under run"
                )
            if placeholder.kind != "url":
                continue
            yield from _known(document, loc, "service", placeholder.name, draft.service_names)
            target = draft.services.get(placeholder.name)
            if target is not None and target.run.port is None:
                yield document.problem(loc, f"{placeholder.name} has no port, so it has no URL")


def templates(service: Service) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every text of a service that may hold placeholders, with its place."""
    for index, word in enumerate(service.run.command or ()):
        yield ("run", "command", index), word
    for index, word in enumerate(service.health.command or ()):
        yield ("health", "command", index), word
    for variable, value in service.run.env.items():
        yield ("run", "env", variable), value


def _dependency_circle(draft: Draft) -> Iterator[Problem]:
    circle = find_cycle({name: service.depends_on for name, service in draft.services.items()})
    if circle:
        document = draft.document(service_file(circle[0]))
        yield document.problem(
            ("depends_on",), f"services depend on each other in a circle: {' → '.join(circle)}"
        )


def _environments(draft: Draft) -> Iterator[Problem]:
    for name, environment in draft.environments.items():
        document = draft.document(environment_file(name))
        for service, place in environment.services.items():
            yield from _known(document, ("services", service), "service", service, draft.service_names)
            if isinstance(place.strategy, str) and draft.strategy_names is not None:
                at: Loc = ("services", service, "strategy")
                yield from _known(document, at, "strategy", place.strategy, draft.strategy_names)
        if environment.promote_from is not None:
            others = draft.environment_names - {name}
            yield from _known(
                document, ("promote_from",), "other environment", environment.promote_from, others
            )
        if environment.protect is not None and draft.cover is not None:
            for index, approver in enumerate(environment.protect.approvers):
                loc: Loc = ("protect", "approvers", index)
                yield from _known(document, loc, "contact", approver, draft.cover.contacts)
    graph = {
        name: [e.promote_from] if e.promote_from and e.promote_from != name else []
        for name, e in draft.environments.items()
    }
    circle = find_cycle(graph)
    if circle:
        yield draft.document(environment_file(circle[0])).problem(
            ("promote_from",), f"environments promote from each other in a circle: {' → '.join(circle)}"
        )


def _scope(
    draft: Draft,
    document: Document,
    loc: Loc,
    environments: Sequence[str] | None,
    services: Sequence[str] | None = None,
) -> Iterator[Problem]:
    """Lists of environments and services to which something is limited."""
    for index, name in enumerate(environments or ()):
        at: Loc = (*loc, "environments", index)
        yield from _known(document, at, "environment", name, draft.environment_names)
    for index, name in enumerate(services or ()):
        yield from _known(document, (*loc, "services", index), "service", name, draft.service_names)


def _deployment(draft: Draft) -> Iterator[Problem]:
    document = draft.document(PIPELINE)
    for stage in draft.pipeline.stages if draft.pipeline else ():
        if stage.strategy is not None and draft.strategy_names is not None:
            loc: Loc = (stage.name, "strategy")
            yield from _known(document, loc, "strategy", stage.strategy, draft.strategy_names)
    document = draft.document(FREEZES)
    names: set[str] = set()
    for index, freeze in enumerate(draft.freezes):
        loc = ("freezes", index)
        yield from _scope(draft, document, loc, freeze.environments, freeze.services)
        if freeze.name in names:
            yield document.problem((*loc, "name"), f'a freeze called "{freeze.name}" is already there')
        names.add(freeze.name)


def _checklist(draft: Draft) -> Iterator[Problem]:
    checklist = draft.checklist
    if checklist is None:
        return
    document = draft.document(CHECKLIST)
    yield from _scope(draft, document, (), checklist.environments, checklist.services)
    for item in checklist.items:
        for placeholder in placeholders(item.request.url) if item.request else ():
            service = draft.services.get(placeholder.name)
            if placeholder.name not in draft.service_names:
                hint = did_you_mean(placeholder.name, draft.service_names)
                message = f'no service is called "{placeholder.name}"'
                yield Problem(CHECKLIST, item.line, "", message, hint)
            elif service is not None and service.run.port not in HTTP_PORTS:
                yield Problem(CHECKLIST, item.line, "", f"{placeholder.name} does not speak HTTP")


def _roles(draft: Draft) -> Iterator[Problem]:
    document = draft.document(ROLES)
    for contact, grants in (draft.roles or {}).items():
        if draft.cover is not None:
            yield from _known(document, ("roles", contact), "contact", contact, draft.cover.contacts)
        for index, grant in enumerate(grants):
            yield from _scope(draft, document, ("roles", contact, index), grant.environments)


def _alerts(draft: Draft) -> Iterator[Problem]:
    document = draft.document(ALERTS)
    for index, alert in enumerate(draft.alerts.alerts):
        loc: Loc = ("alerts", index)
        yield from _scope(draft, document, loc, alert.environments, alert.services)
        yield from _runbook(draft, document, loc, alert.runbook)
        yield from _actions(draft, document, loc, alert.actions)
    for name, override in draft.alerts.overrides.items():
        loc = ("overrides", name)
        yield from _known(document, loc, "default alert", name, DEFAULT_ALERTS)
        yield from _scope(draft, document, loc, override.environments, override.services)
        for key in ("services", "environments"):
            if name in HOST_ALERTS and getattr(override, key) is not None:
                yield document.problem((*loc, key), f"{name} is about machines", f"remove {key}")
        yield from _runbook(draft, document, loc, override.runbook)
        yield from _actions(draft, document, loc, override.actions or ())
    for index, name in enumerate(draft.alerts.disable):
        yield from _known(document, ("disable", index), "default alert", name, DEFAULT_ALERTS)


def _runbook(
    draft: Draft, document: Document, loc: Loc, runbook: str | None, key: str | int = "runbook"
) -> Iterator[Problem]:
    if runbook is not None and runbook not in draft.runbooks:
        hint = did_you_mean(runbook, draft.runbooks) or f"write runbooks/{runbook}.md"
        yield document.problem((*loc, key), f'no runbook is called "{runbook}"', hint)


def _actions(draft: Draft, document: Document, loc: Loc, actions: Iterable[Action]) -> Iterator[Problem]:
    """Who is paged is a contact, or of incidents/policy.yaml; a channel is one of opsbook.yaml."""
    people = {*(draft.cover.contacts if draft.cover is not None else ())}
    people |= {one.name for one in draft.schedules} | {one.name for one in draft.escalations}
    for index, action in enumerate(actions):
        if action.page is not None and action.page not in people:
            hint = did_you_mean(action.page, people) or f"write it under schedules or escalations of {POLICY}"
            said = f'no contact, schedule or escalation is called "{action.page}"'
            yield document.problem((*loc, "actions", index, "page"), said, hint)
        if action.channel is not None and draft.cover is not None:
            at: Loc = (*loc, "actions", index, "channel")
            yield from _known(document, at, "channel", action.channel, draft.cover.channels)
        yield from _runbook(draft, document, (*loc, "actions", index), action.run, key="run")
        page = draft.pages.get(action.run or "")
        if page is not None and not page.executable:
            said = f"{page.name} is a page to read: none of its blocks has a role"
            yield document.problem(
                (*loc, "actions", index, "run"), said, f"opsbook runbooks import {page.file}"
            )


def _status_page(draft: Draft) -> Iterator[Problem]:
    document = draft.document(POLICY)
    for name in draft.status_page.services if draft.status_page else ():
        yield from _known(document, ("status_page", "services", name), "service", name, draft.service_names)
    if draft.status_page is not None:
        yield from _scope(draft, document, ("status_page",), draft.status_page.environments)


def _schedules(draft: Draft) -> Iterator[Problem]:
    document = draft.document(POLICY)
    contacts = draft.cover.contacts if draft.cover is not None else {}
    for number, schedule in enumerate(draft.schedules):
        if schedule.name in contacts:
            path = ("schedules", number, "name")
            yield document.problem(
                path, f"{schedule.name} is a contact already", "name the schedule otherwise"
            )
        for place, layer in enumerate(schedule.layers):
            for index, person in enumerate(layer.people):
                loc = ("schedules", number, "layers", place, "people", index)
                yield from _known(document, loc, "contact", person, contacts)


def _probes(draft: Draft) -> Iterator[Problem]:
    document = draft.document(PROBES)
    for number, probe in enumerate(draft.probes):
        path = ("probes", number)
        if probe.environment is not None:
            yield from _known(
                document, (*path, "environment"), "environment", probe.environment, draft.environments
            )
        if probe.service is not None:
            yield from _known(document, (*path, "service"), "service", probe.service, draft.services)
        if probe.runbook is not None and probe.runbook not in draft.runbooks:
            where = (*path, "runbook")
            yield document.warning(where, f"there is no runbooks/{probe.runbook}.md")


def _slos(draft: Draft) -> Iterator[Problem]:
    document = draft.document(SLOS)
    probes = [probe.name for probe in draft.probes]
    for number, slo in enumerate(draft.slos.slos):
        loc: Loc = ("slos", number)
        if slo.service is not None:
            yield from _known(document, (*loc, "service"), "service", slo.service, draft.service_names)
        yield from _scope(draft, document, loc, slo.environments)
        if slo.indicator.probe is not None:
            yield from _known(document, (*loc, "indicator", "probe"), "probe", slo.indicator.probe, probes)
        yield from _runbook(draft, document, (*loc, "alerting"), slo.alerting.runbook)


def _notifications(draft: Draft) -> Iterator[Problem]:
    document, said = draft.document(NOTIFICATIONS), draft.notifications
    if draft.cover is not None:
        known = draft.cover.channels
        for index, name in enumerate(said.channels or ()):
            yield from _known(document, ("channels", index), "channel", name, known)
        for name in said.delivery:
            yield from _known(document, ("delivery", name), "channel", name, known)
        yield from _routes(document, ("routes",), said.routes, known)
    for index, window in enumerate(said.maintenance):
        yield from _scope(draft, document, ("maintenance", index), window.environments, window.services)
    for key, names in (
        ("silences", [silence.name for silence in said.silences]),
        ("maintenance", [window.name for window in said.maintenance]),
    ):
        for index, name in enumerate(names):
            if name in names[:index]:
                yield document.problem((key, index, "name"), f'"{name}" is already there')


def _routes(
    document: Document, loc: Loc, routes: Sequence[RouteSpec], known: Iterable[str]
) -> Iterator[Problem]:
    for number, route in enumerate(routes):
        for index, name in enumerate(route.channels or ()):
            yield from _known(document, (*loc, number, "channels", index), "channel", name, known)
        yield from _routes(document, (*loc, number, "routes"), route.routes, known)
