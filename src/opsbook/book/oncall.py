"""What `incidents/policy.yaml` says of who is on call: schedules of layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from opsbook.book.drills import DrillsSpec
from opsbook.book.escalations import EscalationSpec, HeartbeatSpec
from opsbook.book.fields import Line, Name, OrEmpty, Part, wrong
from opsbook.book.incidents import IncidentSeverity, IncidentsSpec, SeveritySpec
from opsbook.book.moments import LocalTime, Timezone
from opsbook.book.postmortems import PostmortemsSpec, StatusPageSpec
from opsbook.book.windows import Weekly

POLICY = "incidents/policy.yaml"

Rhythm = Literal["hour", "day", "week", "month"]


class LayerSpec(Part):
    """People who take turns."""

    name: Name = Field(description="What it is called.", examples=["weekly"])
    people: tuple[Name, ...] = Field(
        min_length=1, description="Contacts, in the order of their turns.", examples=[["alice", "bob"]]
    )
    every: Rhythm = Field("week", description="When the next one's turn begins.")
    times: int = Field(1, ge=1, le=366, description="A turn is so many of them long: every: day, times: 3.")
    starts: LocalTime = Field(
        alias="from",
        description="When the first one's first turn begins; hand-over is at the same time of day ever after.",
        examples=["2026-01-05T09:00"],
    )
    until: LocalTime | None = Field(None, description="When nobody of this layer is on call any more.")
    only: tuple[Weekly, ...] = Field(
        (),
        description="Hours of the week in which the layer counts. Left out: always.",
        examples=[[{"days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:00", "until": "17:00"}]],
    )

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.until is not None and self.until <= self.starts:
            wrong("ends before it begins", at=("until",))
        return self


class ScheduleSpec(Part):
    """Who is on call when. `page: NAME` tells who it is at that moment."""

    name: Name = Field(description="What it is called.", examples=["on-call"])
    timezone: Timezone = Field("UTC", description="Whose clocks are meant.", examples=["Europe/Berlin"])
    layers: tuple[LayerSpec, ...] = Field(
        min_length=1, description="A later layer goes before those above it, in the hours in which it counts."
    )
    description: Line | None = Field(None, description="What they are on call for.")

    @model_validator(mode="after")
    def _layers_named_once(self) -> Self:
        names = [layer.name for layer in self.layers]
        for number, name in enumerate(names):
            if name in names[:number]:
                wrong(f"there are two layers {name}", "give each its own name", at=("layers", number, "name"))
        return self


class PolicyFile(Part):
    """The whole file."""

    schedules: tuple[ScheduleSpec, ...] = Field((), description="Who is on call when.")
    severities: Annotated[Mapping[IncidentSeverity, SeveritySpec], OrEmpty] = Field(
        default={},
        description="What each severity of an incident means here.",
        examples=[{"SEV1": {"description": "Customers cannot buy anything", "update_every": "30m"}}],
    )
    incidents: Annotated[IncidentsSpec, OrEmpty] = Field(
        default_factory=IncidentsSpec,
        description="When an incident opens, and what belongs to it.",
        examples=[{"open": ["critical"], "join_within": "10m"}],
        json_schema_extra={"default": {}},
    )
    postmortems: Annotated[PostmortemsSpec, OrEmpty] = Field(
        default_factory=PostmortemsSpec,
        description="Which incidents get one.",
        examples=[{"severities": ["SEV1", "SEV2"]}],
        json_schema_extra={"default": {}},
    )
    status_page: StatusPageSpec | None = Field(
        None,
        description="What customers see. Left out: there is none.",
        examples=[{"services": {"web": "Web shop"}}],
    )
    escalations: tuple[EscalationSpec, ...] = Field(
        (), description="Who is paged about an incident; the first is the usual one."
    )
    drills: Annotated[DrillsSpec, OrEmpty] = Field(
        default_factory=DrillsSpec,
        description="Pages that are tried on the real fault, again and again.",
        examples=[{"pages": ["disk-full"], "every": "30d"}],
        json_schema_extra={"default": {}},
    )
    heartbeat: HeartbeatSpec | None = Field(
        None, description="What is asked again and again, so that somebody notices when opsbook is gone."
    )

    @model_validator(mode="after")
    def _escalations_named_once(self) -> Self:
        names = [one.name for one in self.escalations]
        for number, name in enumerate(names):
            if name in names[:number]:
                hint = "give each its own name"
                wrong(f"there are two escalations {name}", hint, at=("escalations", number, "name"))
        return self

    @model_validator(mode="after")
    def _schedules_named_once(self) -> Self:
        names = [schedule.name for schedule in self.schedules]
        for number, name in enumerate(names):
            if name in names[:number]:
                wrong(
                    f"there are two schedules {name}",
                    "give each its own name",
                    at=("schedules", number, "name"),
                )
        return self
