"""What `incidents/policy.yaml` says of escalation: who is paged, who next when nobody answers, and the heartbeat."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from opsbook.book.fields import Line, Name, Part, Seconds, SecretText, matching, wrong

NEXT_AFTER = 300.0
"""Seconds that a step waits for an answer to the one before it, where it does not say."""


def _names(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class StepSpec(Part):
    """Who is paged next."""

    page: Annotated[tuple[Name, ...], BeforeValidator(_names), Field(min_length=1)] = Field(
        description="Contacts, teams and schedules; all of them at once.", examples=[["on-call"], "team-lead"]
    )
    after: Seconds | None = Field(
        None,
        description="How long after the step before it, if nobody has answered. "
        "Left out: 5m; in the first step at once.",
        examples=["5m"],
    )


class EscalationSpec(Part):
    """Who is paged about an incident, one step after the other until somebody answers."""

    name: Name = Field(
        description="What it is called: `page: NAME` in an alert's actions begins it.", examples=["usual"]
    )
    description: Line | None = Field(None, description="What it is for.")
    steps: tuple[StepSpec, ...] = Field(
        min_length=1, description="In their order.", examples=[[{"page": ["on-call"]}, {"page": ["cto"]}]]
    )
    repeat: int = Field(1, ge=0, le=10, description="How often it begins anew when nobody has answered.")
    repeat_after: Seconds = Field(
        300.0, description="How long after the last step it begins anew.", json_schema_extra={"default": "5m"}
    )
    acknowledge_timeout: Seconds = Field(
        1800.0,
        description="How long an acknowledged incident may stay unsolved before it begins anew; 0s: for ever.",
        examples=["30m"],
        json_schema_extra={"default": "30m"},
    )

    @model_validator(mode="after")
    def _takes_its_time(self) -> Self:
        if self.repeat and self.repeat_after < 10:
            wrong("it would page without a pause", "repeat_after: 5m", at=("repeat_after",))
        if 0 < self.acknowledge_timeout < 60:
            wrong(
                "nobody solves an incident in less than a minute", "0s: for ever", at=("acknowledge_timeout",)
            )
        return self

    @property
    def waits(self) -> tuple[float, ...]:
        """The seconds before each step."""
        first, *later = self.steps
        return (first.after or 0.0, *(NEXT_AFTER if one.after is None else one.after for one in later))


class HeartbeatSpec(Part):
    """A request that is made as long as opsbook is well: whoever gets it tells people when it stays away."""

    url: Annotated[SecretText, matching(r"https?://\S+", "an http or https address")] = Field(
        description="What is asked with GET; {secret:NAME} is filled in.",
        examples=["https://hc-ping.com/{secret:heartbeat}"],
    )
    every: Seconds = Field(
        60.0, description="How often.", examples=["1m"], json_schema_extra={"default": "1m"}
    )

    @model_validator(mode="after")
    def _not_too_often(self) -> Self:
        if not 1.0 <= self.every <= 86_400.0:
            wrong("expected a time from a second to a day", "every: 1m", at=("every",))
        return self
