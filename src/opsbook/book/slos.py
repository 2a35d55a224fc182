"""What `monitoring/slos.yaml` says: how well services must be, and what follows when they are not.

The fields have OpenSLO's names; a document of OpenSLO v1 (``apiVersion: openslo/v1``) is taken as it is, alone or as an
entry of ``slos``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from opsbook.book import quantities
from opsbook.book.alerts import Labels
from opsbook.book.document import Document, Loc
from opsbook.book.expressions import fault
from opsbook.book.fields import Line, Name, Part, Ratio, Seconds, expected, wrong
from opsbook.book.open_slo import is_open_slo, translated
from opsbook.book.problems import Problem

SLOS = "monitoring/slos.yaml"
DAY = 86_400.0
SLICE = 300.0
"""Seconds in which events are counted together: what a window and a slice are made of."""
UNITS = ("day", "week", "month", "quarter", "year")
Unit = Literal["day", "week", "month", "quarter", "year"]
PLACEHOLDER = re.compile(r"\$(window|environment|service)\b|\$\{(window|environment|service)\}")
_SELECTOR = re.compile(r'\s*[A-Za-z_:][A-Za-z0-9_:]*\s*(\{(?:[^"{}]|"(?:[^"\\]|\\.)*")*\})?\s*')
_CALENDAR: Mapping[str, Unit] = {"1d": "day", "1w": "week", "1M": "month", "1Q": "quarter", "1Y": "year"}
_TARGET = "a target such as 99.9% or 0.999, below 100%"
_LEAST, _MOST = 3600.0, 366 * DAY


def is_selector(expression: str) -> bool:
    """Whether an expression is nothing but a metric with matchers."""
    return _SELECTOR.fullmatch(expression) is not None


def filled(expression: str, *, window: str = "5m", environment: str = "", service: str = "") -> str:
    """The expression with ``$window``, ``$environment`` and ``$service`` replaced; the latter two as in a label."""
    values = {"window": window, "environment": _quoted(environment), "service": _quoted(service)}
    return PLACEHOLDER.sub(lambda found: values[found[1] or found[2]], expression)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _target(value: Any) -> Any:
    try:
        found = quantities.percentage(value) if isinstance(value, str) else float(value)
    except (ValueError, TypeError):
        expected(_TARGET)
    if isinstance(value, bool) or not 0 < found < 1:
        expected(_TARGET, f'write "{value}%"' if not isinstance(value, str) and 1 < found < 100 else "")
    return round(found, 12)


def _window(value: Any) -> Any:
    if isinstance(value, list | tuple):
        if len(value) != 1:
            expected("one window")
        value = value[0]
    if value in UNITS:
        return {"calendar": value}
    if isinstance(value, str):
        return {"duration": value}
    if isinstance(value, Mapping):
        rest = {key: said for key, said in value.items() if key not in ("isRolling", "rolling")}
        calendar = rest.get("calendar")
        if isinstance(calendar, Mapping) or (calendar is None and value.get("isRolling") is False):
            unit = _CALENDAR.get(str(rest.pop("duration", "")))
            if unit is None:
                expected("1d, 1w, 1M, 1Q or 1Y as the duration of a calendar window")
            zone = calendar.get("timeZone", "UTC") if isinstance(calendar, Mapping) else "UTC"
            return {"calendar": unit, "timeZone": zone}
        return rest
    return value


def _zone(value: Any) -> Any:
    try:
        ZoneInfo(str(value))
    except (KeyError, ValueError, OSError):
        expected("a time zone such as Europe/Berlin")
    return value


def _under(key: str) -> BeforeValidator:
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


def _indicator(value: Any) -> Any:
    return {value: {}} if value == "availability" else value


Target = Annotated[
    float,
    BeforeValidator(_target),
    WithJsonSchema(
        {
            "type": ["string", "number"],
            "$comment": "percentage",
            "description": _TARGET,
            "examples": ["99.9%"],
        }
    ),
]
Operator = Literal["lt", "lte", "gt", "gte"]


class Window(Part):
    """Rolling (`duration`), or a calendar's unit."""

    duration: Seconds = Field(
        30 * DAY, ge=_LEAST, le=_MOST, description="The last so long.", examples=["30d"],
        json_schema_extra={"default": "30d"},
    )  # fmt: skip
    calendar: Unit | None = Field(
        None, description="Instead: since the day, week, month, quarter or year began.", examples=["month"]
    )
    time_zone: Annotated[str, BeforeValidator(_zone)] = Field(
        "UTC", alias="timeZone", description="Where a day begins.", examples=["Europe/Berlin"]
    )


class Availability(Part):
    """Of the requests that the proxy answered for the service: those without a status of 500 or more."""


class Latency(Part):
    """Of the same requests: those that were answered in time."""

    threshold: Seconds = Field(
        gt=0, description="In time; 1 ms to 10 s, taken down to the next bound of the proxy's histogram.",
        examples=["500ms"],
    )  # fmt: skip


class Freshness(Part):
    """How old the last success may be, looked at twice a minute."""

    metric: Line = Field(
        description="When it was, epoch seconds.", examples=["job_last_success_timestamp_seconds"]
    )
    threshold: Seconds = Field(gt=0, description="It may be so old.", examples=["15m"])


class RatioMetric(Part):
    """Two counters, or expressions over `$window`; exactly one of good and bad."""

    good: Line | None = Field(None, description="What went well.", examples=['jobs_total{result="ok"}'])
    bad: Line | None = Field(None, description="Instead: what did not.")
    total: Line = Field(description="All of it.", examples=["jobs_total"])

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.good is None) == (self.bad is None):
            wrong("expected exactly one of good and bad", "good: the counter of what went well")
        for key in ("good", "bad", "total"):
            text = getattr(self, key)
            if (
                text is not None
                and not is_selector(text)
                and "$window" not in text
                and "${window}" not in text
            ):
                wrong(
                    "expected a counter, or an expression that counts within $window",
                    "such as sum(increase(jobs_total[$window]))", at=(key,),
                )  # fmt: skip
        return self


class ThresholdMetric(Part):
    """A value that must keep a limit, looked at twice a minute; each look is an event."""

    query: Line = Field(description="PromQL.", examples=["queue_depth"])
    op: Operator = Field("lte", description="How the value must compare.")
    threshold: float = Field(description="With what.", examples=[1000.0], strict=False)


class Indicator(Part):
    """What is counted; exactly one of them."""

    availability: Availability | None = Field(None, description="Requests without an error of the server.")
    latency: Annotated[Latency, _under("threshold")] | None = Field(
        None, description="Requests that were answered in time."
    )
    freshness: Freshness | None = Field(None, description="How old something is.")
    probe: Name | None = Field(None, description="Looks of a probe that found it well.")
    ratio_metric: RatioMetric | None = Field(None, alias="ratioMetric", description="Good ones of all.")
    threshold_metric: ThresholdMetric | None = Field(
        None, alias="thresholdMetric", description="A value and its limit."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if len([name for name in type(self).model_fields if getattr(self, name) is not None]) != 1:
            wrong(
                "expected exactly one of availability, latency, freshness, probe, ratioMetric and thresholdMetric"
            )
        return self

    @property
    def kind(self) -> str:
        """availability, latency, freshness, probe, ratio_metric or threshold_metric."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)


class BudgetPolicy(Part):
    """What a spent budget forbids."""

    gate: bool = Field(True, description="Whether it stands between deployments and their end.")
    max_weight: Ratio = Field(
        0.1, description="A canary gets no more of the requests.", json_schema_extra={"default": "10%"}
    )
    block: bool = Field(False, description="Nothing new begins, either.")
    except_roles: tuple[Literal["operator", "approver", "admin"], ...] = Field(
        (), description="People with one of these roles may go on.", examples=[["admin"]]
    )
    except_incidents: bool = Field(True, description="A deployment for an open incident may go on.")


class AlertPolicy(Part):
    """When it is told that the budget burns."""

    enabled: bool = Field(True, description="Whether it is told at all.")
    min_events: int = Field(20, ge=1, description="Of fewer events nothing is told.")
    min_bad: int = Field(3, ge=1, description="Of fewer bad ones neither.")
    runbook: Name | None = Field(None, description="The page of runbooks/ that says what to do.")


class SloSpec(Part):
    """One objective."""

    name: Name = Field(description="What it is called.", examples=["checkout"])
    display_name: Line | None = Field(None, alias="displayName", description="What people call it.")
    description: Line | None = Field(None, description="What it is for.")
    service: Name | None = Field(None, description="Whose it is.", examples=["web"])
    environments: tuple[Name, ...] | None = Field(
        None, min_length=1, description="Where. Left out: wherever the service is.", examples=[["production"]]
    )
    indicator: Annotated[Indicator, BeforeValidator(_indicator)] = Field(
        description="What is counted.", examples=[{"latency": "500ms"}]
    )
    target: Target = Field(description="The share that must be good.", examples=["99.9%"])
    time_window: Annotated[Window, BeforeValidator(_window)] = Field(
        default_factory=Window, alias="timeWindow", description="Over which time.", examples=["30d", "month"]
    )
    budgeting_method: Literal["Occurrences", "Timeslices"] = Field(
        "Occurrences",
        alias="budgetingMethod",
        description="Count events, or stretches of time that were good.",
    )
    time_slice_target: Target = Field(
        0.95, alias="timeSliceTarget", description="A stretch is good when so much of it was.",
        json_schema_extra={"default": "95%"},
    )  # fmt: skip
    time_slice_window: Literal["1m", "5m"] = Field(
        "5m", alias="timeSliceWindow", description="How long a stretch is."
    )
    alerting: AlertPolicy = Field(default_factory=AlertPolicy, description="When the budget burns.")
    budget_policy: BudgetPolicy | None = Field(None, description="What follows when it is spent.")
    labels: Labels = Field(default_factory=dict, description="Further labels of its series and alerts.")

    @model_validator(mode="before")
    @classmethod
    def _open_slo(cls, value: Any) -> Any:
        return translated(value) if is_open_slo(value) else value

    @model_validator(mode="after")
    def _whose(self) -> Self:
        if self.service is None and self.indicator.kind in ("availability", "latency"):
            wrong(f"{self.indicator.kind} is a service's", "service: NAME", at=("indicator",))
        return self


class DefaultSlos(Part):
    """What every service with HTTP has, unless the file gives it objectives of its own."""

    enabled: bool = Field(True, description="Whether they have them.")
    availability: Target = Field(
        0.999, description="Requests without an error.", json_schema_extra={"default": "99.9%"}
    )
    latency: Seconds = Field(
        0.5, gt=0, description="95 % of the requests within it.", json_schema_extra={"default": "500ms"}
    )
    time_window: Annotated[Window, BeforeValidator(_window)] = Field(
        default_factory=Window, alias="timeWindow", description="Over which time."
    )


class SlosFile(Part):
    """The whole file."""

    slos: tuple[SloSpec, ...] = Field((), description="The objectives.")
    defaults: DefaultSlos = Field(default_factory=DefaultSlos, description="Those of all other services.")
    budget_policy: BudgetPolicy | None = Field(
        None, description="Of all objectives that do not say it themselves."
    )

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, value: Any) -> Any:
        return {"slos": (value,)} if is_open_slo(value) else value

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        seen: set[str] = set()
        for number, slo in enumerate(self.slos):
            if slo.name in seen:
                wrong(f"there are two SLOs {slo.name}", "give each its own name", at=("slos", number, "name"))
            seen.add(slo.name)
        return self


def slo_faults(document: Document, file: SlosFile) -> Iterator[Problem]:
    """Expressions that are no PromQL."""
    for number, slo in enumerate(file.slos):
        loc: Loc = ("slos", number, "indicator")
        said = slo.indicator
        texts: list[tuple[Loc, str]] = []
        if said.ratio_metric is not None:
            ratio = said.ratio_metric
            every = (("good", ratio.good), ("bad", ratio.bad), ("total", ratio.total))
            texts = [(("ratioMetric", key), text) for key, text in every if text is not None]
        elif said.threshold_metric is not None:
            texts = [(("thresholdMetric", "query"), said.threshold_metric.query)]
        elif said.freshness is not None:
            texts = [(("freshness", "metric"), said.freshness.metric)]
            if not is_selector(said.freshness.metric):
                yield document.problem((*loc, "freshness", "metric"), "expected the name of a metric")
                continue
        for path, text in texts:
            if (wrongly := fault(filled(text, environment="e", service="s"))) is not None:
                yield document.problem((*loc, *path), wrongly)
