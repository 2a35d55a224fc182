"""The nouns of rules, as Prometheus has them: groups of recording and alerting rules.

Expressions are PromQL as text; who makes a group (a file, the defaults, an SLO) need not parse it. All durations are
seconds, all times UTC epoch seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingRule:
    """Writes what `expr` gives as the series `record`, with `labels` added (an empty value removes one)."""

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=lambda: NONE)
    where: str = ""  # "monitoring/alerts.yaml:7"

    @property
    def name(self) -> str:
        return self.record


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertingRule:
    """One alert for each series that `expr` gives, once it has given it for `for_` seconds.

    Args:
        alert: the name, label ``alertname``.
        expr: PromQL.
        for_: seconds that the condition must hold before the alert fires.
        keep_firing_for: seconds that it goes on firing after the condition has ended.
        labels: added to the series' own; templates.
        annotations: what is said about it; templates. ``runbook`` names a page of the handbook.
        actions: what the handbook wants done besides routing: ``{"page": "on-call"}``, ``{"channel": "ops-alerts"}``,
            ``{"run": "disk-full"}``.
        where: file and line.
    """

    alert: str
    expr: str
    for_: float = 0.0
    keep_firing_for: float = 0.0
    labels: Mapping[str, str] = field(default_factory=lambda: NONE)
    annotations: Mapping[str, str] = field(default_factory=lambda: NONE)
    actions: tuple[Mapping[str, str], ...] = ()
    where: str = ""

    @property
    def name(self) -> str:
        return self.alert


Rule: TypeAlias = RecordingRule | AlertingRule


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleGroup:
    """Rules that are evaluated one after the other at one moment, so that a later one sees what an earlier recorded.

    Args:
        name: unique within `source`.
        rules: in the order in which they run.
        interval: seconds between evaluations; None: whenever a scrape round has been committed.
        labels: added to every rule's, which win.
        source: the file the group is from (``monitoring/api.rules.yaml``), or ``opsbook:defaults``, ``opsbook:slos``.
        limit: more alerts or series than this from one rule are an error of that rule; 0: no limit.
        query_offset: evaluated as of so many seconds before the moment itself.
    """

    name: str
    rules: tuple[Rule, ...]
    interval: float | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: NONE)
    source: str = ""
    limit: int = 0
    query_offset: float = 0.0

    @property
    def key(self) -> str:
        """What tells this group from all others: Prometheus' ``file;name``."""
        return f"{self.source};{self.name}"
