"""What `deployment/freezes.yaml` says: when nothing is deployed, where, and for whom that does not hold."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from opsbook.book.fields import Line, Name, OrEmpty, Part, wrong
from opsbook.book.moments import LocalTime, Timezone
from opsbook.book.roles import Role
from opsbook.book.windows import Weekly, Window


class Exceptions(Part):
    """For whom or when a freeze does not hold."""

    roles: tuple[Role, ...] = Field(
        (), description="People with one of these roles may deploy.", examples=[["admin"]]
    )
    incidents: bool = Field(False, description="A deployment that belongs to an open incident may go on.")


class Freeze(Part):
    """A time in which nothing is deployed; from a moment until another, or weekly."""

    name: Name = Field(description="What it is called.", examples=["christmas"])
    reason: Line = Field(description="Why; shown to who is stopped.", examples=["Nobody is there to help"])
    environments: tuple[Name, ...] | None = Field(
        None, min_length=1, description="Where. Left out: in all.", examples=[["production"]]
    )
    services: tuple[Name, ...] | None = Field(
        None, min_length=1, description="What. Left out: all services.", examples=[["web"]]
    )
    starts: LocalTime | None = Field(
        None, alias="from", description="When it begins.", examples=["2026-12-20T18:00"]
    )
    until: LocalTime | None = Field(None, description="When it ends.", examples=["2027-01-02T08:00"])
    weekly: Weekly | None = Field(
        None,
        description="Instead of from and until: when it comes again each week.",
        examples=[{"days": ["fri"], "from": "16:00", "until": "24:00"}],
    )
    timezone: Timezone = Field(
        "UTC", description="Whose clocks are meant. Default UTC.", examples=["Europe/Berlin"]
    )
    exceptions: Annotated[Exceptions, OrEmpty] = Field(
        default_factory=Exceptions,
        alias="except",
        description="Who may deploy nevertheless.",
        examples=[{"roles": ["admin"], "incidents": True}],
    )

    @model_validator(mode="after")
    def _once_or_weekly(self) -> Self:
        if self.weekly is not None:
            for key, value in (("from", self.starts), ("until", self.until)):
                if value is not None:
                    wrong(f"expected either {key} or weekly", "write it under weekly", at=(key,))
        elif self.starts is None or self.until is None:
            wrong("expected from and until, or weekly", "from: 2026-12-20T18:00")
        elif self.until <= self.starts:
            wrong("ends before it begins", at=("until",))
        return self

    def covers(self, environment: str, service: str) -> bool:
        """Whether it is about this service in this environment, at any time."""
        where, what = self.environments, self.services
        return (where is None or environment in where) and (what is None or service in what)

    @property
    def window(self) -> Window:
        """When it holds."""
        return Window(self.starts, self.until, self.weekly, self.timezone)

    def active(self, at: float) -> bool:
        """Whether it holds at `at` (epoch seconds)."""
        return self.window.active(at)

    def next_change(self, at: float) -> float | None:
        """The next moment after `at` at which it begins or ends (epoch seconds); None when there is none."""
        return self.window.next_change(at)


class FreezesFile(Part):
    """`deployment/freezes.yaml`."""

    freezes: tuple[Freeze, ...] = Field(
        default=(),
        description="When nothing is deployed. Rollbacks always are.",
        examples=[
            [{"name": "weekend", "reason": "Nobody is there to help", "weekly": {"days": ["sat", "sun"]}}]
        ],
    )
