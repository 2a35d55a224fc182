"""Rules as files for a Prometheus that records and alerts itself."""

from __future__ import annotations

import re
from collections.abc import Sequence

import yaml

from opsbook.book.rule_files import prometheus_duration
from opsbook.errors import Invalid
from opsbook.monitoring.rules.compiling import AlertsBook, file_of, groups_of
from opsbook.monitoring.rules.model import RuleGroup


def exported(
    book: AlertsBook, generated: Sequence[RuleGroup] = (), *, interval: str = "15s"
) -> dict[str, str]:
    """The content of every file by its name, one file for each source.

    Args:
        generated: groups of SLOs and probes.
        interval: of groups that run whenever something was scraped.

    Raises:
        Invalid: `interval` is no duration.
    """
    if not prometheus_duration(interval):
        raise Invalid(f"{interval!r} is no duration", hint="write 15s or 1m", where="--interval")
    by_source: dict[str, list[RuleGroup]] = {}
    for group in groups_of(book, generated):
        by_source.setdefault(_file_name(group.source), []).append(group)
    return {name: _text(groups, interval) for name, groups in by_source.items()}


def _file_name(source: str) -> str:
    """``monitoring/web.rules.yaml`` as ``web.rules.yaml``, ``opsbook:defaults`` as ``opsbook-defaults.yaml``."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", source.removeprefix("monitoring/"))
    return name if name.endswith((".yaml", ".yml")) else f"{name}.yaml"


def _text(groups: Sequence[RuleGroup], interval: str) -> str:
    head = "# Written by `opsbook monitoring export`; changes belong into the handbook.\n"
    return head + yaml.safe_dump(file_of(groups, interval), sort_keys=False, allow_unicode=True, width=1000)
