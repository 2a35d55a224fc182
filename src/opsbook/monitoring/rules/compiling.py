"""From a handbook to the groups of rules that run: named metrics, recordings, defaults, own alerts, rule files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

from opsbook.book.alerts import ALERTS, Action, AlertsFile, AlertSpec, Override
from opsbook.book.conditions import compiled
from opsbook.book.quantities import spelled_duration
from opsbook.book.rule_files import FileGroup, FileRule, RuleFile
from opsbook.monitoring.rules.defaults import DEFAULTS, DefaultAlert
from opsbook.monitoring.rules.model import AlertingRule, RecordingRule, Rule, RuleGroup
from opsbook.monitoring.rules.named import named_groups

DEFAULT_SOURCE = "opsbook:defaults"
DOCUMENTATION = "docs/alerts.md"


class AlertsBook(Protocol):
    """The part of a handbook that is about rules."""

    @property
    def alerts(self) -> AlertsFile: ...
    @property
    def rule_files(self) -> tuple[RuleFile, ...]: ...
    @property
    def runbooks(self) -> Collection[str]: ...


def groups_of(book: AlertsBook, generated: Sequence[RuleGroup] = ()) -> tuple[RuleGroup, ...]:
    """All groups, in the order in which they run: what is recorded comes before what uses it.

    Args:
        generated: of SLOs and probes.
    """
    alerts = book.alerts
    return (
        *named_groups(),
        *recording_groups(alerts),
        *generated,
        *default_groups(alerts, book.runbooks),
        *alert_groups(alerts),
        *(group for file in book.rule_files for group in groups_of_file(file)),
    )


# --- the defaults -------------------------------------------------------------------------------------------------


def default_groups(alerts: AlertsFile, runbooks: Collection[str]) -> tuple[RuleGroup, ...]:
    """The default alerts with what the handbook says of them; those it disables or writes itself are left out."""
    unwanted = {*alerts.disable, *(alert.name for alert in alerts.alerts)}
    wanted = [alert for alert in DEFAULTS if alert.name not in unwanted]
    return tuple(
        RuleGroup(name=name, source=DEFAULT_SOURCE, rules=rules)
        for name in dict.fromkeys(alert.group for alert in DEFAULTS)
        if (
            rules := tuple(
                _default(alert, alerts.overrides.get(alert.name) or Override(), runbooks)
                for alert in wanted
                if alert.group == name
            )
        )
    )


def _default(alert: DefaultAlert, override: Override, runbooks: Collection[str]) -> AlertingRule:
    scope = {"service": override.services or (), "environment": override.environments or ()}
    if override.condition is not None:
        expression = compiled(override.condition, scope)
    else:
        limit = alert.limit if override.threshold is None else override.threshold
        # A matcher that always fits keeps the braces of the expression valid without a scope.
        bare = alert.expression.format(
            limit=_number(limit), only='service!=""' if alert.group == "services" else ""
        )
        expression = compiled(bare.replace("{,", "{"), scope)
    page = override.runbook or (alert.runbook if alert.runbook in runbooks else "")
    return AlertingRule(
        alert=alert.name,
        expr=expression,
        for_=alert.for_ if override.for_ is None else override.for_,
        keep_firing_for=alert.keep_firing_for
        if override.keep_firing_for is None
        else override.keep_firing_for,
        labels={**alert.labels, **override.labels, "severity": override.severity or alert.severity},
        annotations={
            "summary": alert.summary,
            "runbook": page or f"{DOCUMENTATION}#{alert.name.lower()}",
            **override.annotations,
        },
        actions=_actions(override.actions or ()),
        where=DEFAULT_SOURCE,
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.12g}"


# --- the short form -----------------------------------------------------------------------------------------------


def own_groups(alerts: AlertsFile) -> tuple[RuleGroup, ...]:
    """What `monitoring/alerts.yaml` itself defines."""
    return (*recording_groups(alerts), *alert_groups(alerts))


def recording_groups(alerts: AlertsFile) -> Iterator[RuleGroup]:
    """Its recordings."""
    if alerts.recordings:
        rules = tuple(
            RecordingRule(
                record=each.record, expr=compiled(each.expression), labels=dict(each.labels), where=ALERTS
            )
            for each in alerts.recordings
        )
        yield RuleGroup(name="recordings", rules=rules, source=ALERTS)


def alert_groups(alerts: AlertsFile) -> Iterator[RuleGroup]:
    """Its alerts."""
    if alerts.alerts:
        yield RuleGroup(name="alerts", rules=tuple(map(rule_of, alerts.alerts)), source=ALERTS)


def rule_of(alert: AlertSpec) -> AlertingRule:
    """The rule that an alert of the short form means."""
    said = {"summary": alert.summary, "description": alert.description, "runbook": alert.runbook}
    return AlertingRule(
        alert=alert.name,
        expr=alert.expression,
        for_=alert.for_,
        keep_firing_for=alert.keep_firing_for,
        labels={**alert.labels, "severity": alert.severity},
        annotations={**{name: text for name, text in said.items() if text}, **alert.annotations},
        actions=_actions(alert.actions),
        where=ALERTS,
    )


def _actions(actions: Sequence[Action]) -> tuple[Mapping[str, str], ...]:
    return tuple(action.to_json() for action in actions)


# --- rule files ---------------------------------------------------------------------------------------------------


def groups_of_file(file: RuleFile) -> tuple[RuleGroup, ...]:
    """The groups of a Prometheus rule file."""
    return tuple(_group(file.file, group) for group in file.groups)


def _group(file: str, group: FileGroup) -> RuleGroup:
    return RuleGroup(
        name=group.name,
        interval=group.interval,
        labels=dict(group.labels),
        limit=group.limit,
        query_offset=group.query_offset,
        source=file,
        rules=tuple(_rule(file, rule) for rule in group.rules),
    )


def _rule(file: str, rule: FileRule) -> Rule:
    where = f"{file}:{rule.line}"
    if rule.record:
        return RecordingRule(record=rule.record, expr=rule.expr, labels=dict(rule.labels), where=where)
    return AlertingRule(
        alert=rule.alert,
        expr=rule.expr,
        for_=rule.for_,
        keep_firing_for=rule.keep_firing_for,
        labels=dict(rule.labels),
        annotations=dict(rule.annotations),
        where=where,
    )


# --- and back ------------------------------------------------------------------------------------------------------


def file_of(groups: Sequence[RuleGroup], interval: str = "15s") -> dict[str, object]:
    """Groups as the content of a Prometheus rule file.

    Args:
        interval: of the groups that run whenever something was scraped.
    """
    return {
        "groups": [
            {"name": group.name, "interval": spelled_duration(group.interval) if group.interval else interval}
            | ({"limit": group.limit} if group.limit else {})
            | {"rules": [_written(rule, group.labels) for rule in group.rules]}
            for group in groups
        ]
    }


def _written(rule: Rule, labels: Mapping[str, str]) -> dict[str, object]:
    all_labels = {**labels, **rule.labels}
    if isinstance(rule, RecordingRule):
        return {"record": rule.record, "expr": rule.expr} | ({"labels": all_labels} if all_labels else {})
    written: dict[str, object] = {"alert": rule.alert, "expr": rule.expr}
    if rule.for_:
        written["for"] = spelled_duration(rule.for_)
    if rule.keep_firing_for:
        written["keep_firing_for"] = spelled_duration(rule.keep_firing_for)
    if all_labels:
        written["labels"] = all_labels
    return written | ({"annotations": dict(rule.annotations)} if rule.annotations else {})
