"""What a new version must keep while it is judged: one named metric and one limit a rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from opsbook.book import quantities
from opsbook.book.fields import Part, Seconds, expected, wrong
from opsbook.book.problems import nearest

HOST_METRICS = ("disk_usage", "network_received", "network_sent")
"""Measured for machines only; a release has none of them."""

NAMED_METRICS = (
    "error_rate", "response_time_p50", "response_time_p95", "response_time_p99", "throughput", "availability",
    "request_count", "error_count", "active_requests", "cpu_usage", "memory_usage", "memory_bytes", "open_files",
    "restarts", "instances_up", *HOST_METRICS,
)  # fmt: skip
"""What telemetry computes by itself. The foundations do not know each other; a test keeps the two in step."""

RELEASE_METRICS = tuple(name for name in NAMED_METRICS if name not in HOST_METRICS)
_COMPARABLE = ("error_rate", "response_time_p50", "response_time_p95", "response_time_p99")
_TIMES = ("response_time_p50", "response_time_p95", "response_time_p99")
_RATIOS = ("error_rate", "availability", "memory_usage")
_THRESHOLD = "a percentage such as 1%, a duration such as 500ms, or a number"


def _threshold(value: Any) -> float:
    """Ratios as 0..1, durations as seconds, anything else as it is."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        for parse in (quantities.percentage, quantities.duration, quantities.size):
            try:
                return float(parse(value))
            except ValueError:
                continue
    return expected(_THRESHOLD)


Threshold = Annotated[
    float,
    BeforeValidator(_threshold),
    WithJsonSchema(
        {
            "type": ["string", "number"],
            "$comment": "limit",
            "description": _THRESHOLD,
            "examples": ["1%", "500ms", 100],
        }
    ),
]


def _metric(value: Any) -> Any:
    if isinstance(value, str) and value not in RELEASE_METRICS:
        if value in HOST_METRICS:
            wrong(f"{value} is measured for machines, and a release has none", _listed())
        if not value.isidentifier():
            wrong("expressions cannot be judged yet; expected a named metric", _listed())
        expected("a named metric", nearest(value, RELEASE_METRICS) or _listed())
    return value


def _listed() -> str:
    return f"known: {', '.join(RELEASE_METRICS)}"


def _refuse_other_unit(metric: str, side: str, limit: Any) -> None:
    if isinstance(limit, int | float) and not isinstance(limit, bool):
        if metric in _TIMES:
            wrong(f"{metric} is a time, and {limit} has no unit", f"write {side}: {limit}ms", at=(side,))
        if metric in _RATIOS and limit > 1:
            wrong(f"{metric} is a share, at most 100 %", f"write {side}: {limit}%", at=(side,))
    if isinstance(limit, str):
        if metric in _TIMES and _reads(quantities.percentage, limit):
            wrong(f"{metric} is a time, and {limit} is a share", f"write {side}: 500ms", at=(side,))
        if metric in _RATIOS and _reads(quantities.duration, limit):
            wrong(f"{metric} is a share, and {limit} is a time", f"write {side}: 1%", at=(side,))


def _reads(parse: Callable[[str], float], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


class AnalysisRule(Part):
    """What the new version must keep; exactly one of max, min and compare."""

    metric: Annotated[str, BeforeValidator(_metric)] = Field(
        description="A named metric of a release.",
        examples=["error_rate", "response_time_p95"],
        json_schema_extra={"enum": list(RELEASE_METRICS), "$comment": "named metric"},
    )
    max: Threshold | None = Field(None, description="Not above.", examples=["1%", "500ms"])
    min: Threshold | None = Field(None, description="Not below.", examples=["99%"])
    compare: Literal["stable"] | None = Field(
        None,
        description="Statistically not worse than the version that serves now; "
        "of error_rate and response_time_p50, p95, p99.",
    )
    limit: int = Field(0, ge=0, le=100, description="Consecutive failures that are tolerated.")
    window: Seconds = Field(
        60.0,
        gt=0,
        description="The time that max and min look back on.",
        examples=["60s"],
        json_schema_extra={"default": "60s"},
    )

    @model_validator(mode="before")
    @classmethod
    def _limit_fits_its_metric(cls, values: Any) -> Any:
        """Else 500 would be read as 500 seconds, and 5 as five hundred per cent."""
        if isinstance(values, dict):
            for side in ("max", "min"):
                _refuse_other_unit(str(values.get("metric")), side, values.get(side))
        return values

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if sum(limit is not None for limit in (self.max, self.min, self.compare)) != 1:
            wrong("expected exactly one of max, min and compare", "{metric: error_rate, max: 1%}")
        if self.compare is not None:
            if self.metric not in _COMPARABLE:
                hint = f"compare one of {', '.join(_COMPARABLE)}, or write max or min"
                wrong(f"{self.metric} cannot be compared statistically", hint, at=("compare",))
            if "window" in self.model_fields_set:
                wrong(
                    "a comparison looks at every request since the step began",
                    "remove window",
                    at=("window",),
                )
        return self
