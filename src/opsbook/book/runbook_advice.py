"""What the pages of `runbooks/` refer to and is not there, and what a good page does not lack."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from opsbook.book.alerts import DEFAULT_ALERTS, HOST_ALERTS
from opsbook.book.checklist import parted
from opsbook.book.document import parse
from opsbook.book.draft import Draft
from opsbook.book.fences import read_page
from opsbook.book.problems import Problem, did_you_mean
from opsbook.book.runbooks import Block, Runbook

_OF_OTHERS = ("ProbeDown", "TargetDown", "ErrorBudgetBurn")
"""Alerts that come with each probe, target and objective."""
_URL = re.compile(r"\{url:([a-z][a-z0-9-]*)\}")


def runbook_advice(draft: Draft) -> Iterator[Problem]:
    """Errors for names of nothing; warnings for the rest. Pages without blocks are documentation, and left alone."""
    alerts = _alerts(draft)
    for page in draft.pages.values():
        if page.blocks:
            yield from _names(draft, page, alerts)
            yield from _care(page, owned=draft.cover is not None and draft.cover.owner is not None)


def _names(draft: Draft, page: Runbook, alerts: frozenset[str]) -> Iterator[Problem]:
    contacts = draft.cover.contacts if draft.cover else {}
    document = draft.document(page.file)
    if page.head.owner is not None and contacts and page.head.owner not in contacts:
        hint = did_you_mean(page.head.owner, contacts)
        yield document.problem(("owner",), f'no contact is called "{page.head.owner}"', hint)
    unknown = [(index, alert) for index, alert in enumerate(page.head.alerts) if alert not in alerts]
    offered = offered_alerts(page.source) if unknown else frozenset[str]()
    for index, alert in unknown:
        if alert not in offered:
            hint = did_you_mean(alert, alerts)
            yield document.warning(("alerts", index), f'no alert is called "{alert}"', hint)
    for index, name in enumerate(page.head.environments or ()):
        if name not in draft.environment_names:
            hint = did_you_mean(name, draft.environment_names)
            yield document.problem(("environments", index), f'no environment is called "{name}"', hint)
    for block in page.blocks:
        if block.approve is not None and draft.cover is not None and block.approve not in contacts:
            hint = (
                did_you_mean(block.approve, contacts) or f"add {block.approve} under contacts in opsbook.yaml"
            )
            yield _at(page, block, f'no contact is called "{block.approve}"', hint, error=True)
        for service in _URL.findall(block.script) if block.language == "http" else ():
            if service not in draft.service_names:
                yield _at(
                    page,
                    block,
                    f'no service is called "{service}"',
                    did_you_mean(service, draft.service_names),
                    error=True,
                )


def offered_alerts(text: str) -> frozenset[str]:
    """The alerts whose rules a page shows, to be copied into `monitoring/`: those that lead to it are no mistake.

    Args:
        text: the page, with or without its front matter. Both forms are known, opsbook's and that of Prometheus.
    """
    _, body = parted(text)
    shown = [one for one in read_page(body).fences if one.info in {"yaml", "yml"} and not one.quoted]
    documents = [parse("", one.content.encode("utf-8", "surrogatepass"))[0] for one in shown]
    return frozenset(name for document in documents if document for name in _rules_of(document.data))


def _rules_of(data: object) -> Iterator[str]:
    match data:
        case {"alerts": [*rules]}:
            for rule in rules:
                if isinstance(rule, Mapping) and isinstance(rule.get("name"), str):
                    yield rule["name"]
        case {"groups": [*groups]}:
            for group in groups:
                yield from _rules_of_group(group)


def _rules_of_group(group: object) -> Iterator[str]:
    rules = group.get("rules") if isinstance(group, Mapping) else None
    for rule in rules if isinstance(rules, list | tuple) else ():
        if isinstance(rule, Mapping) and isinstance(rule.get("alert"), str):
            yield rule["alert"]


def _care(page: Runbook, *, owned: bool) -> Iterator[Problem]:
    if page.head.owner is None and not owned:
        yield Problem(page.file, 1, "owner", "nobody answers for this page", "owner: a contact", "warning")
    if page.head.reviewed is None:
        yield Problem(
            page.file, 1, "reviewed", "nobody says when it was read last", "reviewed: 2026-11-01", "warning"
        )
    for block in page.of_role("run"):
        if not page.checks_of(block.id):
            hint = f"a check block with for={block.id}"
            yield _at(page, block, f"nothing tells whether {block.id} has worked", hint)
        if block.risk != "read" and not page.rollbacks_of(block.id) and block.on_failure == "rollback":
            hint = f"a rollback block with for={block.id}, or on-failure=stop where there is no way back"
            yield _at(page, block, f"{block.id} changes something and nothing undoes it", hint)
    for block in page.of_role("rollback"):
        if not block.repeatable:
            message = f"{block.id} is not idempotent: after a crash in it, nobody finishes it"
            yield _at(page, block, message, "make it so, and add idempotent")


def _at(page: Runbook, block: Block, message: str, hint: str = "", *, error: bool = False) -> Problem:
    return Problem(page.file, block.line, "", message, hint, "error" if error else "warning")


def _alerts(draft: Draft) -> frozenset[str]:
    own = (alert.name for alert in draft.alerts.alerts)
    ruled = (
        rule.alert for file in draft.rule_files for group in file.groups for rule in group.rules if rule.alert
    )
    return frozenset([*own, *ruled, *DEFAULT_ALERTS, *HOST_ALERTS, *_OF_OTHERS])
