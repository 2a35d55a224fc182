"""What good operations do not lack. Few, and each one worth a line in front of somebody who is in a hurry."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import date

from opsbook.book.alerts import ALERTS
from opsbook.book.cover import Contact
from opsbook.book.draft import COVER, Draft, environment_file, service_file
from opsbook.book.effective import HTTP_PORTS, EffectiveService
from opsbook.book.environment import Environment
from opsbook.book.markdown import broken_links, overdue_review
from opsbook.book.model import granted, people
from opsbook.book.problems import Problem

FIRST_UNPRIVILEGED_PORT = 1024


def advice(
    draft: Draft, texts: Mapping[str, str], paths: Collection[str], today: date | None
) -> Iterator[Problem]:
    """The warnings of a handbook.

    Args:
        texts: the Markdown and recovery files, by path.
        paths: every file of the handbook.
        today: for pages past their review; None leaves them out.
    """
    yield from _contacts(draft)
    yield from _services(draft, texts)
    for name, environment in draft.environments.items():
        yield from _environment(draft, environment)
        for service in draft.placed[name].values():
            if environment.is_production:
                yield from _in_production(draft, environment, service)
    yield from _alerts(draft)
    yield from _missing_rooms(draft, paths)
    review = draft.cover.review if draft.cover else None
    for path, text in texts.items():
        if path.endswith(".md"):
            yield from broken_links(path, text, paths)
            if today is not None:
                yield from overdue_review(path, text, today, review)


def _contacts(draft: Draft) -> Iterator[Problem]:
    if draft.cover is None:
        return
    contacts = draft.cover.contacts
    document = draft.document(COVER)
    if not contacts and draft.cover.owner is not None:
        hint = f"contacts: {{{draft.cover.owner}: {{email: ...}}}}"
        yield document.warning(("owner",), f"{draft.cover.owner} is a name only: nobody can be reached", hint)
    for name, contact in contacts.items():
        reachable = _reachable(contact) or any(
            _reachable(contacts[person]) for person in people(name, contacts)
        )
        if not reachable:
            what = "an email, a phone or a channel"
            yield document.warning(
                ("contacts", name), "nobody can be reached here", f"add {what}, or members"
            )


def _reachable(contact: Contact) -> bool:
    return any((contact.email, contact.phone, contact.channel))


def _services(draft: Draft, texts: Mapping[str, str]) -> Iterator[Problem]:
    owned = draft.cover is not None and draft.cover.owner is not None
    used = {name for environment in draft.environments.values() for name in environment.services}
    recovery = "\n".join(text for path, text in texts.items() if path.startswith("recovery/"))
    for name, service in draft.services.items():
        document = draft.document(service_file(name))
        if service.owner is None and not owned:
            yield document.warning((), f"{name} has no owner", "owner: the contact who answers for it")
        if not service.description:
            yield document.warning(
                (), f"{name} has no description", "description: what it is for, in one line"
            )
        if service.run.port in HTTP_PORTS and service.health.kind == "alive":
            message = f"{name} has no health check: it counts as well when its port is open"
            yield document.warning((), message, "health: {path: /healthz}")
        if service.stateful and not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", recovery):
            yield document.warning(
                ("stateful",), f"{name} keeps data and has no backup", f"recovery/{name}.yaml"
            )
        if name not in used:
            message = f"{name} is in no environment"
            yield document.warning((), message, f"add {name}: {{}} under services of an environment")


def _environment(draft: Draft, environment: Environment) -> Iterator[Problem]:
    document = draft.document(environment_file(environment.name))
    if environment.entry.port < FIRST_UNPRIVILEGED_PORT:
        message = f"port {environment.entry.port} may be opened by root only"
        yield document.warning(("entry", "port"), message, "use a port from 1024 on, or run opsbook as root")
    if environment.is_production and environment.promote_from is None and len(draft.environments) > 1:
        message = "versions come here without having run elsewhere"
        yield document.warning((), message, "promote_from: the environment before this one")
    protect = environment.protect
    if protect is not None and draft.cover is not None:
        roles = granted(draft.roles, draft.cover.contacts, draft.environments)
        voters = {
            person
            for approver in protect.approvers
            for person in people(approver, draft.cover.contacts)
            if any(
                grant.role == "approver" and grant.holds_in(environment.name)
                for grant in roles.get(person, ())
            )
        }
        if len(voters) < protect.approvals:
            named = ", ".join(sorted(voters)) or "nobody"
            message = f"{protect.approvals} approvals are needed, and only {named} may give one"
            yield document.warning(("protect", "approvals"), message)
    shared = sum(1 for service in draft.placed[environment.name].values() if service.port in HTTP_PORTS) > 1
    for service in draft.placed[environment.name].values():
        if shared and service.port == "grpc" and service.route and service.route.strip_prefix:
            message = (
                f"{service.name} is reached below {service.route.path} only, which few gRPC clients can say"
            )
            yield document.warning(("services", service.name), message, "route: {host: ...}")


def _in_production(draft: Draft, environment: Environment, service: EffectiveService) -> Iterator[Problem]:
    document = draft.document(environment_file(environment.name))
    here = ("services", service.name)
    if service.version is None:
        hint = "version: what runs here; opsbook writes it after a deployment"
        yield document.warning(here, f"no version of {service.name} is pinned", hint)
    if service.replicas == 1 and service.port is not None and not service.stateful:
        message = f"one instance of {service.name}: when it fails, nothing answers"
        yield document.warning(here, message, "replicas: 2")
    if service.strategy.type == "recreate" and service.port is not None and not service.stateful:
        message = f"{service.name} is recreated: each deployment interrupts it"
        yield document.warning(here, message, "strategy: blue-green")
    if service.resources.memory is None and environment.protect is not None:
        message = f"{service.name} has no memory limit: one leak takes the machine with it"
        yield document.warning(here, message, "resources: {memory: 256Mi}")


def _alerts(draft: Draft) -> Iterator[Problem]:
    document = draft.document(ALERTS)
    for index, alert in enumerate(draft.alerts.alerts):
        if alert.runbook is None and not alert.annotations.keys() & {"runbook", "runbook_url"}:
            message = f"{alert.name} has no runbook: the one who is woken begins from nothing"
            yield document.warning(("alerts", index), message, "runbook: a page of runbooks/")
    for file in draft.rule_files:
        for rule in (rule for group in file.groups for rule in group.rules if rule.alert):
            written = rule.annotations.keys() & {"runbook", "runbook_url"}
            if not written:
                message = f"{rule.alert} has no runbook: the one who is woken begins from nothing"
                hint = "annotations: {runbook_url: ...}, or {runbook: a page of runbooks/}"
                yield Problem(file.file, rule.line, "", message, hint, "warning")
            page = rule.annotations.get("runbook", "")
            if page and "/" not in page and "{" not in page and page not in draft.runbooks:
                message, hint = f'no runbook is called "{page}"', f"write runbooks/{page}.md"
                yield Problem(file.file, rule.line, "", message, hint, "warning")


def _missing_rooms(draft: Draft, paths: Collection[str]) -> Iterator[Problem]:
    if not any(environment.is_production for environment in draft.environments.values()):
        return
    document = draft.document(COVER)
    if not any(path.startswith("monitoring/") for path in paths):
        yield document.warning((), "no alerts yet: users will tell you first", "monitoring/alerts.yaml")
    if not any(path.startswith("runbooks/") for path in paths):
        yield document.warning(
            (), "no runbooks yet: the one who is woken begins from nothing", "runbooks/NAME.md"
        )
