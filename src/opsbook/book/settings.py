"""What `monitoring:` and `runbooks:` of `opsbook.yaml` say: how much is kept, and whose metrics are used."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from opsbook.book.fields import Bytes, Part, Seconds, matching, wrong
from opsbook.book.targets import Access

_DAY = 86_400.0
_URL = "an http or https URL such as http://prometheus.example.com:9090"


def _url(value: Any) -> Any:
    """A URL alone, for ``{url: ...}``."""
    return {"url": value} if isinstance(value, str) else value


class MetricsServer(Access):
    """A server with Prometheus' HTTP API that answers queries and rules."""

    url: Annotated[str, matching(r"https?://[^\s/?#@{}]+(/[^\s?#{}]*)?", _URL)] = Field(
        description="What stands before /api/v1.", examples=["http://prometheus.example.com:9090"]
    )
    timeout: Seconds = Field(
        30.0,
        gt=0,
        le=600,
        description="After which there was no answer.",
        examples=["30s"],
        json_schema_extra={"default": "30s"},
    )

    @model_validator(mode="after")
    def _certificates(self) -> Self:
        if (self.ca or self.insecure) and not self.url.startswith("https"):
            key = "ca" if self.ca else "insecure"
            wrong(f"{key} has a meaning with https only", at=(key,))
        return self


class MonitoringSettings(Part):
    """How much is kept, and whose metrics are used. Read when opsbook starts."""

    metrics: Annotated[MetricsServer | None, BeforeValidator(_url)] = Field(
        None,
        description="A server with Prometheus' HTTP API to be used instead of opsbook's own engine, by its URL or with "
        "more about it.",
        examples=["http://prometheus.example.com:9090"],
    )
    retention: Seconds = Field(
        15 * _DAY,
        ge=3600,
        description="How long every sample is kept.",
        examples=["30d"],
        json_schema_extra={"default": "15d"},
    )
    long_retention: Seconds = Field(
        400 * _DAY,
        ge=3600,
        description="How long five-minute and hourly figures are kept.",
        examples=["400d"],
        json_schema_extra={"default": "400d"},
    )
    memory: Bytes = Field(
        256 * 1024 * 1024,
        ge=16 * 1024 * 1024,
        description="What the samples of the last hours may take of memory.",
        examples=["512Mi"],
        json_schema_extra={"default": "256Mi"},
    )
    max_series: int = Field(
        10_000, ge=100, le=1_000_000, description="So many series are kept of one target; more are refused."
    )
    max_answer: Bytes = Field(
        10 * 1024 * 1024,
        ge=64 * 1024,
        description="A target's answer may not be larger.",
        examples=["50Mi"],
        json_schema_extra={"default": "10Mi"},
    )

    @model_validator(mode="after")
    def _longer(self) -> Self:
        if self.long_retention < self.retention:
            wrong("shorter than retention", at=("long_retention",))
        return self


class RunbookSettings(Part):
    """How much is kept of what ran. Read anew each time."""

    retention: Seconds = Field(
        400 * _DAY,
        ge=_DAY,
        description="How long a run is kept after its end, with its output. Runs of incidents and the last one of each "
        "page stay; how often a page worked and how long it took stays too, and the journal has what happened.",
        examples=["90d"],
        json_schema_extra={"default": "400d"},
    )
