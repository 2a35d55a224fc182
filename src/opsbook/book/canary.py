"""The parts that only a canary has: its steps, who is sent to it, and requests made for it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from opsbook.book.fields import Part, ProbePath, Ratio, Seconds, matching, wrong

_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}"  # noqa: S105 - what RFC 9110 calls a token
HeaderName = Annotated[str, matching(_TOKEN, "a header's name such as X-Canary")]
CookieName = Annotated[str, matching(_TOKEN, "a cookie's name such as canary")]


def some_but_not_all(weight: float) -> None:
    """Refuse a canary's `weight` that is no trial, or no longer one."""
    if not 0 < weight < 1:
        wrong(
            "expected a weight above 0% and below 100%",
            "the last step to 100% is the promotion",
            at=("weight",),
        )


class CanaryStep(Part):
    """A share of the requests, for a time."""

    weight: Ratio = Field(description="The share of requests that the new version gets.", examples=["10%"])
    hold: Seconds = Field(description="How long, while it is analysed.", examples=["30m"])

    @model_validator(mode="after")
    def _is_a_trial(self) -> Self:
        some_but_not_all(self.weight)
        return self


class Pin(Part):
    """Requests that always go to the new version; exactly one of header and cookie."""

    header: HeaderName | None = Field(
        None, description="Requests that carry this header, whatever its value.", examples=["X-Canary"]
    )
    cookie: CookieName | None = Field(
        None, description="Requests that carry this cookie, whatever its value.", examples=["canary"]
    )

    @model_validator(mode="after")
    def _one_mark(self) -> Self:
        if (self.header is None) == (self.cookie is None):
            wrong("expected exactly one of header and cookie", "pin: {header: X-Canary}")
        return self


class ProbeLoad(Part):
    """Requests that opsbook makes itself, to the new version only, where users bring too few."""

    path: ProbePath = Field("/", description="What is asked for, with GET.", examples=["/healthz"])
    rate: float = Field(
        5.0,
        ge=0.1,
        le=100,
        description="Requests a second, from 0.1 to 100.",
        examples=[5],
        json_schema_extra={"default": 5},
    )
