"""What `monitoring/notifications.yaml` says: who is told of which alerts, when, and when not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from opsbook.book.fields import Line, Name, OrEmpty, Part, Seconds, wrong
from opsbook.book.matchers import Matchers
from opsbook.book.moments import Clock, LocalTime, Timezone
from opsbook.book.windows import DAYS, Day, Weekly, Window

NOTIFICATIONS = "monitoring/notifications.yaml"
Severity = Literal["critical", "warning", "info"]

GROUP_BY = ("alertname", "environment", "service")
GROUP_WAIT, GROUP_INTERVAL, REPEAT_INTERVAL = 0.0, 30.0, 4 * 3600.0
CAUSE_WAIT, RESOLVE_TIMEOUT = 5.0, 300.0


def _positive(value: float) -> float:
    if value <= 0:
        wrong("expected more than no time at all", "30s")
    return value


Positive = Annotated[Seconds, AfterValidator(_positive)]
_GROUP_BY = Field(
    None,
    description="Alerts that agree in these labels are told together; `...` tells each by itself.",
    examples=[["alertname", "service"]],
)


def _check_times(starts: datetime | None, until: datetime | None, weekly: Weekly | None) -> None:
    if weekly is not None:
        for key, value in (("from", starts), ("until", until)):
            if value is not None:
                wrong(f"expected either {key} or weekly", "write it under weekly", at=(key,))
    elif starts is None or until is None:
        wrong("expected from and until, or weekly", "from: 2026-12-20T18:00")
    elif until <= starts:
        wrong("ends before it begins", at=("until",))


class RouteSpec(Part):
    """What happens to some alerts. What is left out is as in the route around it."""

    match: Matchers = Field(
        (), description="Which alerts; all of it must fit.", examples=[{"severity": "critical"}]
    )
    channels: tuple[Name, ...] | None = Field(
        None,
        description="Channels of opsbook.yaml. An empty list: nobody.",
        examples=[["pager", "ops-alerts"]],
    )
    continue_: bool = Field(
        False, alias="continue", description="The routes after this one see the alert too."
    )
    group_by: tuple[str, ...] | None = _GROUP_BY
    group_wait: Seconds | None = Field(
        None, description="How long the first alert of a group waits for others.", examples=["1s"]
    )
    group_interval: Positive | None = Field(
        None, description="The least time between two messages of a group.", examples=["5m"]
    )
    repeat_interval: Positive | None = Field(
        None, description="After which a group that still fires is told again.", examples=["12h"]
    )
    routes: tuple[RouteSpec, ...] = Field((), description="For some of its alerts something else.")


class InhibitSpec(Part):
    """Alerts that are not told while others fire."""

    source: Annotated[Matchers, Field(min_length=1)] = Field(
        description="While such an alert fires ...", examples=[{"severity": "critical"}]
    )
    target: Annotated[Matchers, Field(min_length=1)] = Field(
        description="... such ones are not told ...", examples=[{"severity": "warning"}]
    )
    equal: tuple[str, ...] = Field(
        (), description="... that agree with it in these labels.", examples=[["service", "environment"]]
    )


class Quiet(Part):
    """Hours in which a channel is left alone; what fires meanwhile and still does is told at their end."""

    days: tuple[Day, ...] = Field(
        DAYS, min_length=1, description="The days on which they begin. Left out: every day.",
        examples=[["fri", "sat"]], json_schema_extra={"default": None},
    )  # fmt: skip
    starts: Clock = Field(alias="from", description="When they begin.", examples=["22:00"])
    until: Clock = Field(
        description="When they end; on the next day when that is not after.", examples=["07:00"]
    )
    timezone: Timezone = Field("UTC", description="Whose clocks are meant.", examples=["Europe/Berlin"])
    except_: tuple[Severity, ...] = Field(
        ("critical",), alias="except", description="What is told nevertheless.", examples=[["critical"]]
    )

    @property
    def window(self) -> Window:
        """When it holds."""
        return Window(
            weekly=Weekly.model_construct(days=self.days, starts=self.starts, until=self.until),
            timezone=self.timezone,
        )


class RateLimit(Part):
    """How many messages a channel gets; what is more comes together, in one, as soon as it may."""

    messages: int = Field(ge=1, description="So many ...", examples=[10])
    per: Positive = Field(60.0, description="... in so long.", json_schema_extra={"default": "1m"})


class Delivery(Part):
    """How one channel is treated."""

    quiet: Quiet | None = Field(None, description="When it is left alone.")
    rate_limit: RateLimit | None = Field(
        None, description="How much it gets. Left out: 30 in a minute for url and email, no limit for others."
    )
    resolved: bool = Field(True, description="It is told the end of what it was told.")


class SilenceSpec(Part):
    """Alerts that are known and not told: from a time until another, weekly, or while something goes on."""

    name: Name = Field(description="What it is called.", examples=["nightly-batch"])
    match: Annotated[Matchers, Field(min_length=1)] = Field(
        description="Which alerts.", examples=[["alertname=HighCpuUsage", "service=worker"]]
    )
    comment: Line = Field(description="Why.", examples=["The batch uses all it can get"])
    during: Literal["deployment", "maintenance"] | None = Field(
        None, description="Only while the alert's service is deployed, or is within a maintenance window."
    )
    starts: LocalTime | None = Field(
        None, alias="from", description="When it begins.", examples=["2026-12-20T18:00"]
    )
    until: LocalTime | None = Field(None, description="When it ends.", examples=["2026-12-21T06:00"])
    weekly: Weekly | None = Field(
        None,
        description="When it comes again each week.",
        examples=[{"days": ["sun"], "from": "02:00", "until": "04:00"}],
    )
    timezone: Timezone = Field("UTC", description="Whose clocks are meant.", examples=["Europe/Berlin"])

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        if self.weekly is None and self.starts is None and self.until is None:
            if self.during is None:
                wrong("would hold forever", "write weekly, from and until, or during; or disable the alert")
            return self
        _check_times(self.starts, self.until, self.weekly)
        return self

    @property
    def window(self) -> Window | None:
        """When it holds; None: always."""
        if self.starts is None and self.weekly is None:
            return None
        return Window(self.starts, self.until, self.weekly, self.timezone)


class MaintenanceSpec(Part):
    """A time in which work is done on services: nothing about them is told."""

    name: Name = Field(description="What it is called.", examples=["database-patches"])
    comment: Line = Field(description="What is done.", examples=["PostgreSQL is patched"])
    environments: tuple[Name, ...] | None = Field(
        None, min_length=1, description="Where. Left out: in all.", examples=[["production"]]
    )
    services: tuple[Name, ...] | None = Field(
        None, min_length=1, description="What. Left out: everything, hosts too.", examples=[["db"]]
    )
    starts: LocalTime | None = Field(
        None, alias="from", description="When it begins.", examples=["2026-12-20T18:00"]
    )
    until: LocalTime | None = Field(None, description="When it ends.", examples=["2026-12-20T20:00"])
    weekly: Weekly | None = Field(
        None,
        description="When it comes again each week.",
        examples=[{"days": ["sun"], "from": "02:00", "until": "04:00"}],
    )
    timezone: Timezone = Field("UTC", description="Whose clocks are meant.", examples=["Europe/Berlin"])

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        _check_times(self.starts, self.until, self.weekly)
        return self

    @property
    def window(self) -> Window:
        """When it holds."""
        return Window(self.starts, self.until, self.weekly, self.timezone)

    def covers(self, labels: Mapping[str, str]) -> bool:
        """Whether an alert with these labels is about what is worked on."""
        return (self.environments is None or labels.get("environment") in self.environments) and (
            self.services is None or labels.get("service") in self.services
        )


class NotificationsFile(Part):
    """`monitoring/notifications.yaml`."""

    channels: tuple[Name, ...] | None = Field(
        None,
        description="Who is told of alerts that no route is about. Left out: whoever owns the service.",
        examples=[["ops-alerts"]],
    )
    group_by: tuple[str, ...] | None = _GROUP_BY
    group_wait: Seconds = Field(
        GROUP_WAIT,
        description="How long the first alert of a group waits for others, at most: not when none can come.",
        examples=["1s"],
        json_schema_extra={"default": "0s"},
    )  # fmt: skip
    group_interval: Positive = Field(
        GROUP_INTERVAL, description="The least time between two messages of a group.", examples=["5m"],
        json_schema_extra={"default": "30s"},
    )  # fmt: skip
    repeat_interval: Positive = Field(
        REPEAT_INTERVAL, description="After which a group that still fires is told again.", examples=["12h"],
        json_schema_extra={"default": "4h"},
    )  # fmt: skip
    dependencies: bool = Field(
        True,
        description="While what a service depends on is alerted, alerts of the service itself are not told.",
    )
    cause_wait: Seconds = Field(
        CAUSE_WAIT, description="How long an alert of a service waits for one of what it depends on.", examples=["10s"],
        json_schema_extra={"default": "5s"},
    )  # fmt: skip
    resolve_timeout: Positive = Field(
        RESOLVE_TIMEOUT, description="After which an alert that was pushed without an end has ended.", examples=["5m"],
        json_schema_extra={"default": "5m"},
    )  # fmt: skip
    routes: tuple[RouteSpec, ...] = Field(
        (),
        description="Who is told of which alerts; the first that fits decides.",
        examples=[[{"match": {"severity": "critical"}, "channels": ["pager"]}]],
    )
    inhibit: tuple[InhibitSpec, ...] = Field((), description="Alerts that are not told while others fire.")
    silences: tuple[SilenceSpec, ...] = Field((), description="Alerts that are known.")
    maintenance: tuple[MaintenanceSpec, ...] = Field((), description="Times in which work is done.")
    delivery: Annotated[Mapping[Name, Delivery], OrEmpty] = Field(
        default={}, description="How channels are treated, by name.",
        examples=[{"ops-alerts": {"quiet": {"from": "22:00", "until": "07:00"}}}],
    )  # fmt: skip
