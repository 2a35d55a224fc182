"""What `incidents/policy.yaml` says of incidents: which alerts open one, how bad they are, who is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from opsbook.book.fields import Line, Name, Part, Seconds, wrong
from opsbook.book.notifications import Severity

IncidentSeverity = Literal["SEV1", "SEV2", "SEV3", "SEV4"]

SEVERITY_OF: Mapping[Severity, IncidentSeverity] = {"critical": "SEV2", "warning": "SEV3", "info": "SEV4"}
UPDATES: Mapping[IncidentSeverity, float] = {"SEV1": 1800.0, "SEV2": 3600.0}


class SeveritySpec(Part):
    """What a severity means here."""

    description: Line | None = Field(
        None, description="When it is one.", examples=["Customers cannot buy anything"]
    )
    escalation: Name | None = Field(
        None, description="Who is paged, where the alert does not say.", examples=["usual"]
    )
    update_every: Seconds | None = Field(
        None,
        description="How often people are told how it goes. Left out: 30m for SEV1, 1h for SEV2, else never.",
        examples=["30m"],
    )


class IncidentsSpec(Part):
    """Which alerts open an incident, and which belong to one."""

    open: tuple[Severity, ...] = Field(
        ("critical",),
        description="Alerts of these severities open an incident; others do when they page an escalation.",
        examples=[["critical", "warning"]],
    )
    severity: Mapping[Severity, IncidentSeverity] = Field(
        default_factory=lambda: dict(SEVERITY_OF),
        description="How bad an incident is, by its worst alert; the page of the alert may say worse.",
        examples=[{"critical": "SEV2", "warning": "SEV3"}],
        json_schema_extra={"default": {str(alert): str(bad) for alert, bad in SEVERITY_OF.items()}},
    )
    join_within: Seconds = Field(
        600.0,
        description="An alert of the same environment and dependencies joins an incident whose last alert is no "
        "older; one that comes again so soon after the end reopens it.",
        examples=["10m"],
        json_schema_extra={"default": "10m"},
    )
    settle: Seconds = Field(
        120.0,
        description="An incident that nobody has touched ends by itself so long after its last alert.",
        examples=["2m"],
        json_schema_extra={"default": "2m"},
    )
    channels: tuple[Name, ...] = Field(
        (),
        description="Channels that are told of updates, of the beginning and the end.",
        examples=[["ops-alerts"]],
    )

    @model_validator(mode="after")
    def _times(self) -> Self:
        if self.join_within > 86_400:
            wrong("what is a day old has another cause", "join_within: 10m", at=("join_within",))
        return self
