"""What `deployment/strategies.yaml` says: how a new version replaces the old one, and what takes it back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from opsbook.book import quantities
from opsbook.book.fields import CountOrShare, Name, OrEmpty, Part, Ratio, Seconds, expected, wrong
from opsbook.book.problems import nearest

StrategyType = Literal["blue-green", "rolling", "recreate", "canary"]
TYPES: tuple[StrategyType, ...] = ("blue-green", "rolling", "recreate", "canary")

_TRIGGERS = ("analysis", "health", "crash")
_ONE, _NONE = quantities.CountOrShare(count=1), quantities.CountOrShare(count=0)
_ALERT = re.compile(r"alert:[A-Za-z_][A-Za-z0-9_-]{0,80}")
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


def _trigger(value: Any) -> Any:
    if isinstance(value, str) and value not in _TRIGGERS and not _ALERT.fullmatch(value):
        expected("analysis, health, crash, or alert: and its name or severity", nearest(value, _TRIGGERS))
    return value


Trigger = Annotated[str, BeforeValidator(_trigger)]


class CanaryStep(Part):
    """A share of the requests, for a time."""

    weight: Ratio = Field(description="The share of requests that the new version gets.", examples=["10%"])
    hold: Seconds = Field(description="How long, while it is analysed.", examples=["30m"])

    @model_validator(mode="after")
    def _some_but_not_all(self) -> Self:
        if not 0 < self.weight < 1:
            wrong(
                "expected a weight above 0% and below 100%",
                "the last step to 100% is the promotion",
                at=("weight",),
            )
        return self


class AnalysisRule(Part):
    """What the new version must keep; exactly one of max, min and compare."""

    metric: Annotated[str, Field(min_length=1)] = Field(
        description="A named metric, or a PromQL expression.", examples=["error_rate", "response_time_p95"]
    )
    max: Threshold | None = Field(None, description="Not above.", examples=["1%", "500ms"])
    min: Threshold | None = Field(None, description="Not below.", examples=["99%"])
    compare: Literal["stable"] | None = Field(
        None, description="Statistically not worse than the version that serves now."
    )

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if sum(limit is not None for limit in (self.max, self.min, self.compare)) != 1:
            wrong("expected exactly one of max, min and compare", "{metric: error_rate, max: 1%}")
        return self


class CrashLoop(Part):
    """From when on a restarting instance counts as crashing."""

    restarts: int = Field(3, ge=1, le=100, description="More restarts than this are too many.")
    within: Seconds = Field(
        60.0, gt=0, description="The window.", examples=["60s"], json_schema_extra={"default": "60s"}
    )


@dataclass(frozen=True, slots=True)
class Strategy:
    """A strategy with everything decided. Durations are seconds, weights ratios."""

    name: str
    type: StrategyType
    max_surge: quantities.CountOrShare = field(default=_ONE)
    max_unavailable: quantities.CountOrShare = field(default=_NONE)
    keep_previous: float = 0.0
    drain_timeout: float = 30.0
    ready_for: float = 0.0
    watch: float = 60.0
    crash_loop: CrashLoop = field(default_factory=CrashLoop)
    steps: tuple[CanaryStep, ...] = ()
    analysis: tuple[AnalysisRule, ...] = ()
    rollback_on: tuple[str, ...] = _TRIGGERS


class StrategySpec(Part):
    """A strategy as it is written; what is left out is the built-in one of its type."""

    type: StrategyType | None = Field(
        None, description="Left out: the strategy's own name, when it is one of these."
    )
    max_surge: CountOrShare | None = Field(
        None, description="rolling: instances above the wanted number. Default 1."
    )
    max_unavailable: CountOrShare | None = Field(
        None, description="rolling: instances below the wanted number. Default 0."
    )
    keep_previous: Seconds | None = Field(
        None,
        description="How long the previous release stays warm for a rollback. "
        "Default 10m for blue-green and canary, 0s for the others.",
        examples=["10m"],
    )
    drain_timeout: Seconds | None = Field(
        None, description="How long requests under way may take to end. Default 30s.", examples=["30s"]
    )
    ready_for: Seconds | None = Field(
        None,
        description="How long an instance must stay healthy before it gets requests. Default 0s.",
        examples=["10s"],
    )
    watch: Seconds | None = Field(
        None, description="How long after the end the triggers still roll back. Default 60s.", examples=["5m"]
    )
    crash_loop: CrashLoop | None = Field(
        None, description="When restarts count as crashing.", examples=[{"restarts": 3, "within": "60s"}]
    )
    steps: tuple[CanaryStep, ...] | None = Field(
        None,
        min_length=1,
        description="canary: shares of requests, growing.",
        examples=[[{"weight": "10%", "hold": "30m"}, {"weight": "50%", "hold": "10m"}]],
    )
    analysis: tuple[AnalysisRule, ...] | None = Field(
        None,
        description="What must hold at each step, and in the watch window.",
        examples=[[{"metric": "error_rate", "max": "1%"}, {"metric": "error_rate", "compare": "stable"}]],
    )
    rollback_on: tuple[Trigger, ...] | None = Field(
        None,
        description="What takes the new version back: analysis, health, crash, alert:NAME or alert:SEVERITY. "
        "Default the first three.",
        examples=[["analysis", "health", "alert:critical"]],
    )

    @model_validator(mode="after")
    def _grows(self) -> Self:
        weights = [step.weight for step in self.steps or ()]
        for index, (before, after) in enumerate(pairwise(weights), 1):
            if after <= before:
                wrong("expected a weight above that of the step before", at=("steps", index, "weight"))
        surge, unavailable = self.max_surge, self.max_unavailable
        if surge is not None and surge.is_zero and (unavailable is None or unavailable.is_zero):
            wrong(
                "nothing could ever be replaced: max_surge and max_unavailable are both 0", at=("max_surge",)
            )
        return self

    def resolved(self, name: str) -> Strategy:
        """This strategy under `name`, completed from the built-in one of its type.

        Raises:
            PydanticCustomError: the type is not written and `name` is none; or a key belongs to another type.
        """
        kind = self.type or next((known for known in TYPES if known == name), None)
        if kind is None:
            wrong(f"is missing: expected one of {', '.join(TYPES)}", "type: rolling", at=("type",))
        for key, owner in (("steps", "canary"), ("max_surge", "rolling"), ("max_unavailable", "rolling")):
            if getattr(self, key) is not None and kind != owner:
                wrong(f"{key} belongs to a {owner} strategy, and this one is {kind}", at=(key,))
        values = {
            field: value for field in self.model_fields_set if (value := getattr(self, field)) is not None
        }
        return Strategy(**{**_DEFAULTS[kind], **values, "name": name, "type": kind})


_CANARY_STEPS = tuple(CanaryStep.model_validate({"weight": w, "hold": "5m"}) for w in ("10%", "50%"))
_DEFAULTS: Mapping[StrategyType, Mapping[str, Any]] = MappingProxyType(
    {
        "blue-green": {"keep_previous": 600.0},
        "rolling": {},
        "recreate": {},
        "canary": {
            "keep_previous": 600.0,
            "steps": _CANARY_STEPS,
            "analysis": (AnalysisRule(metric="error_rate", compare="stable"),),
        },
    }
)

BUILT_IN: Mapping[str, Strategy] = MappingProxyType({name: StrategySpec().resolved(name) for name in TYPES})


class StrategiesFile(Part):
    """`deployment/strategies.yaml`."""

    strategies: Annotated[Mapping[Name, Annotated[StrategySpec, OrEmpty]], OrEmpty] = Field(
        default={},
        description="Strategies by name. blue-green, rolling, recreate and canary are there unwritten.",
        examples=[{"careful": {"type": "canary", "steps": [{"weight": "5%", "hold": "10m"}]}}],
    )
