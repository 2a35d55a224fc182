"""A diagnosis while it is being made."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from opsbook.errors import OpsbookError
from opsbook.response.diagnosis.checks import Look
from opsbook.response.diagnosis.model import Check, Diagnosis


@dataclass(slots=True)
class Work:
    """A diagnosis under way, or made a moment ago."""

    id: str
    environment: str
    service: str
    at: float
    looks: tuple[Look, ...]
    checks: list[Check] = field(default_factory=list)
    diagnosis: Diagnosis | None = None
    error: OpsbookError | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def ended(self) -> bool:
        return self.diagnosis is not None or self.error is not None

    def to_json(self) -> dict[str, Any]:
        """As far as it has come."""
        if self.diagnosis is not None:
            return {"progress": "ended", **self.diagnosis.to_json()}
        done = {check.name for check in self.checks}
        return {
            "progress": "failed" if self.error is not None else "running",
            "error": self.error.to_json() if self.error is not None else None,
            "id": self.id,
            "environment": self.environment,
            "service": self.service,
            "at": self.at,
            "checks": [check.to_json() for check in self.checks],
            "waiting_for": [look.title for look in self.looks if look.name not in done],
        }
