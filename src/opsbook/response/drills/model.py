"""The nouns of drills. Times are UTC epoch seconds, durations seconds."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

State = Literal["passed", "failed", "skipped"]
TEXT = 2000
"""Characters that are kept of what went wrong."""


class Result(BaseModel):
    """How a drill went.

    Args:
        detect_seconds: from when the fault was there until its alert fired.
        fix_seconds: from when the page was started until it was done and the alert was over.
        stage: what was being done when it failed; empty when it did not.
        standard: whether the page is the shipped one rather than the handbook's own.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    page: str = Field(max_length=200)
    state: State
    fault: str = Field("", max_length=500)
    alert: str = Field("", max_length=200)
    detect_seconds: float | None = Field(None, ge=0)
    fix_seconds: float | None = Field(None, ge=0)
    seconds: float = Field(0.0, ge=0)
    at: float = 0.0
    stage: str = Field("", max_length=100)
    reason: str = Field("", max_length=TEXT)
    digest: str = Field("", max_length=64)
    standard: bool = False

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, data: Any) -> Result:
        return cls.model_validate(data)
