"""What `monitoring/alerts.yaml` says: alerts in the short form, and what is different about the default ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from opsbook.book.analysis import Threshold
from opsbook.book.conditions import compiled
from opsbook.book.document import Document, Loc
from opsbook.book.expressions import fault
from opsbook.book.fields import Line, Name, Part, Seconds, matching, wrong
from opsbook.book.problems import Problem

ALERTS = "monitoring/alerts.yaml"

DEFAULT_ALERTS = (
    "HighErrorRate", "HighResponseTime", "LowAvailability", "HighCpuUsage", "HighMemoryUsage", "ServiceDown",
    "InstanceDown", "CrashLoop", "MetricsUnreachable", "MetricsMissing", "TooManySeries", "ProxyDown",
    "HostHighCpuUsage", "HostHighMemoryUsage", "DiskFull", "DiskFullSoon", "HostMetricsMissing",
    "CertificateExpiring", "CertificateExpired",
)  # fmt: skip
"""What is watched without a word in the handbook. The rules are monitoring's; a test keeps the two in step."""

HOST_ALERTS = (
    "ProxyDown",
    "HostHighCpuUsage",
    "HostHighMemoryUsage",
    "DiskFull",
    "DiskFullSoon",
    "HostMetricsMissing",
)
"""Those of them that are about machines: no service and no environment has them."""

Severity = Literal["critical", "warning", "info"]

_ALERT = r"[A-Za-z_][A-Za-z0-9_]{0,127}"
AlertName = Annotated[
    str, matching(_ALERT, "a name such as HighErrorRate, of letters, digits and underscores")
]
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OURS = frozenset({"alertname", "severity", "__name__"})


def _labels(value: Mapping[str, str]) -> Mapping[str, str]:
    for label in value:
        if not _LABEL.fullmatch(label):
            wrong(f"{label} is no name of a label", "letters, digits and underscores", at=(label,))
        if label in _OURS:
            wrong(f"{label} is set by opsbook", "severity: critical beside labels", at=(label,))
    return value


def _as_text(value: object) -> object:
    """Numbers and truths are text in a label, as Prometheus reads them."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


SeriesName = Annotated[
    str, matching(r"[A-Za-z_:][A-Za-z0-9_:]*", "the name of a series, such as shop:orders:rate5m")
]
Condition = Annotated[str, matching(r"(?s).*\S.*", "a named metric with a limit, or PromQL")]
Value = Annotated[str, BeforeValidator(_as_text)]
Labels = Annotated[Mapping[str, Value], AfterValidator(_labels)]
Annotations = Mapping[
    Annotated[str, matching(_LABEL.pattern, "a name of letters, digits and underscores")], Value
]


class Action(Part):
    """What is done besides what the routes of notifications say; exactly one of them."""

    page: Line | None = Field(
        None, description="Whom to wake: a contact, a schedule or an escalation.", examples=["on-call"]
    )
    channel: Line | None = Field(
        None, description="A channel of opsbook.yaml to tell.", examples=["ops-alerts"]
    )

    run: Name | None = Field(
        None,
        description="A page of runbooks/ to run; the alert's labels are its parameters of the same names.",
        examples=["disk-full"],
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(one is not None for one in (self.page, self.channel, self.run)) != 1:
            wrong("expected exactly one of page, channel and run", "{channel: ops-alerts}")
        return self

    def to_json(self) -> dict[str, str]:
        """What is written of it."""
        return {key: text for key in ("page", "channel", "run") if (text := getattr(self, key)) is not None}


class AlertSpec(Part):
    """An alert: a condition, and for how long it must hold."""

    name: AlertName = Field(
        description="What it is called. The name of a default alert replaces that one.",
        examples=["HighErrorRate"],
    )
    condition: Condition = Field(
        description="A named metric with a limit, or any PromQL.",
        examples=["error_rate > 1%", "sum by (service) (rate(jobs_failed_total[5m])) > 0"],
    )
    for_: Seconds = Field(
        0.0,
        alias="for",
        description="How long it must hold before the alert fires.",
        examples=["1m"],
        json_schema_extra={"default": "0s"},
    )
    keep_firing_for: Seconds = Field(
        0.0,
        description="How long it goes on firing after the condition has ended.",
        examples=["5m"],
        json_schema_extra={"default": "0s"},
    )
    severity: Severity = Field("warning", description="How bad it is.", examples=["critical"])
    summary: str | None = Field(
        None,
        description="One sentence; a template.",
        examples=["{{ $labels.service }} fails {{ $value | humanizePercentage }} of its requests"],
    )
    description: str | None = Field(None, description="More of it; a template.")
    runbook: Name | None = Field(
        None, description="The page of runbooks/ that says what to do.", examples=["high-error-rate"]
    )
    actions: tuple[Action, ...] = Field(
        (),
        description="Who is told, and what is run.",
        examples=[[{"page": "on-call"}, {"channel": "ops-alerts"}]],
    )
    services: tuple[Name, ...] | None = Field(
        None, min_length=1, description="Only of these services.", examples=[["web"]]
    )
    environments: tuple[Name, ...] | None = Field(
        None, min_length=1, description="Only in these environments.", examples=[["production"]]
    )
    labels: Labels = Field(
        default_factory=dict, description="More labels; templates.", examples=[{"team": "shop"}]
    )
    annotations: Annotations = Field(
        default_factory=dict, description="More to say; templates.", examples=[{"dashboard": "https://…"}]
    )

    @property
    def expression(self) -> str:
        """The condition as PromQL, limited to its services and environments."""
        return compiled(
            self.condition, {"service": self.services or (), "environment": self.environments or ()}
        )


class Override(Part):
    """What is different about a default alert; what is left out stays as it is."""

    threshold: Threshold | None = Field(None, description="Another limit.", examples=["5%"])
    condition: Condition | None = Field(None, description="Another condition.", examples=["cpu_usage > 95%"])
    for_: Seconds | None = Field(None, alias="for", description="How long it must hold.", examples=["10m"])
    keep_firing_for: Seconds | None = Field(None, description="How long it goes on firing.", examples=["5m"])
    severity: Severity | None = Field(None, description="How bad it is.", examples=["info"])
    runbook: Name | None = Field(None, description="Another page of runbooks/.", examples=["high-error-rate"])
    actions: tuple[Action, ...] | None = Field(None, description="Who is told.")
    services: tuple[Name, ...] | None = Field(None, min_length=1, description="Only of these services.")
    environments: tuple[Name, ...] | None = Field(
        None, min_length=1, description="Only in these environments."
    )
    labels: Labels = Field(default_factory=dict, description="More labels; templates.")
    annotations: Annotations = Field(default_factory=dict, description="More to say; templates.")

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if self.threshold is not None and self.condition is not None:
            wrong("expected either threshold or condition", at=("condition",))
        return self


class Recording(Part):
    """A series that is computed again and again, so that asking for it is cheap."""

    record: SeriesName = Field(description="What the series is called.", examples=["shop:orders:rate5m"])
    expression: Condition = Field(
        description="A named metric, or any PromQL.", examples=["sum by (service) (rate(orders_total[5m]))"]
    )
    labels: Annotated[Mapping[str, Value], AfterValidator(_labels)] = Field(
        default_factory=dict, description="More labels."
    )


class AlertsFile(Part):
    """`monitoring/alerts.yaml`."""

    alerts: tuple[AlertSpec, ...] = Field(
        (),
        description="Alerts.",
        examples=[[{"name": "HighErrorRate", "condition": "error_rate > 1%", "for": "1m"}]],
    )
    recordings: tuple[Recording, ...] = Field(
        (), description="Series to compute beforehand; alerts may use them."
    )
    overrides: Mapping[AlertName, Override] = Field(
        default_factory=dict,
        description="What is different about default alerts, by name.",
        examples=[{"HighResponseTime": {"threshold": "800ms"}}],
    )
    disable: tuple[AlertName, ...] = Field(
        (), description="Default alerts that are not wanted.", examples=[["DiskFull"]]
    )


def alert_faults(document: Document, alerts: AlertsFile) -> Iterator[Problem]:
    """Conditions that are no PromQL, and names that are there twice."""
    seen: set[str] = set()
    for index, alert in enumerate(alerts.alerts):
        yield from _condition(document, ("alerts", index, "condition"), alert.expression)
        if alert.name in seen and alert.services is None and alert.environments is None:
            yield document.problem(
                ("alerts", index, "name"), f'an alert called "{alert.name}" is already there'
            )
        seen.add(alert.name)
    for index, recording in enumerate(alerts.recordings):
        yield from _condition(document, ("recordings", index, "expression"), compiled(recording.expression))
    for name, override in alerts.overrides.items():
        if override.condition is not None:
            yield from _condition(document, ("overrides", name, "condition"), compiled(override.condition))


def _condition(document: Document, loc: Loc, expression: str) -> Iterator[Problem]:
    if (message := fault(expression)) is not None:
        yield document.problem(loc, f"not PromQL: {message}", "see docs/promql.md")
