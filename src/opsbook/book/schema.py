"""JSON Schemas of the files of a handbook, for editors; from the same models that validate."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from opsbook.book.alerts import ALERTS, AlertsFile
from opsbook.book.checklist import CHECKLIST, ChecklistHead
from opsbook.book.cover import Cover
from opsbook.book.dashboards import DashboardFile
from opsbook.book.drills import DrillHead
from opsbook.book.environment import Environment
from opsbook.book.fields import Part
from opsbook.book.freezes import FreezesFile
from opsbook.book.notifications import NOTIFICATIONS, NotificationsFile
from opsbook.book.oncall import POLICY, PolicyFile
from opsbook.book.pipeline import PipelineFile
from opsbook.book.postmortems import PostmortemHead
from opsbook.book.probes import PROBES, ProbesFile
from opsbook.book.roles import RolesFile
from opsbook.book.runbooks import RunbookHead
from opsbook.book.service import Service
from opsbook.book.slos import SLOS, SlosFile
from opsbook.book.strategy import StrategiesFile
from opsbook.book.targets import TARGETS, TargetsFile
from opsbook.book.troubleshooting import TroubleshootingHead

DIALECT = "https://json-schema.org/draft/2020-12/schema"

KINDS: Mapping[str, tuple[str, type[Part]]] = MappingProxyType(
    {
        "opsbook": ("opsbook.yaml", Cover),
        "service": ("services/NAME.yaml", Service),
        "environment": ("environments/NAME.yaml", Environment),
        "strategies": ("deployment/strategies.yaml", StrategiesFile),
        "pipeline": ("deployment/pipeline.yaml", PipelineFile),
        "checklist": (CHECKLIST, ChecklistHead),
        "freezes": ("deployment/freezes.yaml", FreezesFile),
        "roles": ("security/roles.yaml", RolesFile),
        "alerts": (ALERTS, AlertsFile),
        "notifications": (NOTIFICATIONS, NotificationsFile),
        "probes": (PROBES, ProbesFile),
        "targets": (TARGETS, TargetsFile),
        "slos": (SLOS, SlosFile),
        "policy": (POLICY, PolicyFile),
        "runbook": ("runbooks/NAME.md", RunbookHead),
        "drill": ("runbooks/drills/NAME.md", DrillHead),
        "troubleshooting": ("troubleshooting/NAME.md", TroubleshootingHead),
        "postmortem": ("incidents/DAY-NAME.md", PostmortemHead),
        "dashboard": ("monitoring/dashboards/NAME.yaml", DashboardFile),
    }
)
"""The kinds of files, each with where it lies and what reads it."""


def schemas() -> dict[str, dict[str, Any]]:
    """A JSON Schema (draft 2020-12) for each kind of file, by the names of `KINDS`."""
    return {kind: _schema(file, model) for kind, (file, model) in KINDS.items()}


def _schema(file: str, model: type[Part]) -> dict[str, Any]:
    schema = model.model_json_schema()
    for part in (schema, *schema.get("$defs", {}).values()):
        part["description"] = _one_line(str(part.get("description", "")))
        for name, value in part.get("properties", {}).items():
            value.pop("title", None)  # pydantic's title only repeats the key
            assert name
    return {"$schema": DIALECT, **schema, "title": file}


def _one_line(text: str) -> str:
    return " ".join(text.split())
