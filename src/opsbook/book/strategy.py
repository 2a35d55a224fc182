"""What `deployment/strategies.yaml` says: how a new version replaces the old one, and what takes it back.

A placement may say it in place, and both take the spellings of Kubernetes (`RollingUpdate`, `maxSurge`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, TypeAdapter, WithJsonSchema, WrapValidator, model_validator

from opsbook.book import quantities
from opsbook.book.analysis import AnalysisRule
from opsbook.book.canary import CanaryStep, Pin, ProbeLoad, some_but_not_all
from opsbook.book.fields import (
    NAME_PATTERN,
    CountOrShare,
    Name,
    OrEmpty,
    Part,
    Ratio,
    Seconds,
    expected,
    wrong,
)  # fmt: skip
from opsbook.book.problems import nearest

Loc = tuple[str | int, ...]
StrategyType = Literal["blue-green", "rolling", "recreate", "canary"]
TYPES: tuple[StrategyType, ...] = ("blue-green", "rolling", "recreate", "canary")

_TRIGGERS = ("analysis", "health", "crash")
_ONE, _NONE = quantities.CountOrShare(count=1), quantities.CountOrShare(count=0)
_ALERT = re.compile(r"alert:[A-Za-z_][A-Za-z0-9_-]{0,80}")


_SPELLINGS: Mapping[str, StrategyType] = MappingProxyType(
    {"rollingupdate": "rolling", **{kind.replace("-", ""): kind for kind in TYPES}}
)


def spelled_type(text: str) -> str:
    """`RollingUpdate`, `BlueGreen` ... in any case as the type that is meant; anything else as it is."""
    return _SPELLINGS.get(re.sub(r"[-_ ]", "", text.lower()), text)


def _type(value: Any) -> Any:
    return spelled_type(value) if isinstance(value, str) else value


def _name(value: Any) -> Any:
    """`RollingUpdate` can be no strategy's name, so it is the built-in one that is meant."""
    return value if isinstance(value, str) and re.fullmatch(NAME_PATTERN, value) else _type(value)


StrategyName = Annotated[Name, BeforeValidator(_name)]
SpelledType = Annotated[
    StrategyType,
    BeforeValidator(_type),
    WithJsonSchema({"type": "string", "enum": [*TYPES, "BlueGreen", "RollingUpdate", "Recreate", "Canary"]}),
]
Limit = Literal["max_surge", "max_unavailable"]
_LIMITS: tuple[Limit, ...] = ("max_surge", "max_unavailable")
Reaction = Literal["rollback", "wait"]


def _trigger(value: Any) -> Any:
    if isinstance(value, str) and value not in _TRIGGERS and not _ALERT.fullmatch(value):
        expected("analysis, health, crash, or alert: and its name or severity", nearest(value, _TRIGGERS))
    return value


Trigger = Annotated[str, BeforeValidator(_trigger)]


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
    min_samples: int = 50
    inconclusive_after: float = 600.0  # beyond the hold
    on_inconclusive: Reaction = "rollback"
    on_no_data: Reaction = "wait"
    on_error: Reaction = "rollback"
    dry_run: bool = False  # verdicts are recorded and never acted upon
    baseline: bool = False
    sticky: bool = False
    pin: Pin | None = None
    probe_load: ProbeLoad | None = None
    rollback_on: tuple[str, ...] = _TRIGGERS


class RollingUpdate(Part):
    """How many instances a rolling strategy replaces at a time, as Kubernetes spells it."""

    max_surge: CountOrShare | None = Field(None, alias="maxSurge", description="As max_surge.")
    max_unavailable: CountOrShare | None = Field(
        None, alias="maxUnavailable", description="As max_unavailable."
    )


class StrategySpec(Part):
    """A strategy as it is written; what is left out is the built-in one of its type."""

    type: SpelledType | None = Field(
        None, description="Left out: the strategy's own name, when it is one of these. In any case."
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
    min_samples: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Requests of the new version before a verdict can pass. Default 50.",
    )
    inconclusive_after: Seconds | None = Field(
        None,
        description="How long beyond its hold a step may stay undecided. Default 10m.",
        examples=["10m"],
    )
    on_inconclusive: Reaction | None = Field(
        None, description="What then happens. Default rollback; wait leaves it to a person."
    )
    on_no_data: Reaction | None = Field(
        None, description="What happens when the new version had no requests at all. Default wait."
    )
    on_error: Reaction | None = Field(
        None, description="What happens when a metric cannot be read. Default rollback."
    )
    dry_run: bool | None = Field(
        None, description="Verdicts are recorded and never acted upon. Default false."
    )
    baseline: bool | None = Field(
        None,
        description="canary: compared with fresh instances of the stable version, not with the old ones. "
        "Default false.",
    )
    sticky: bool | None = Field(
        None, description="canary: a client stays with the version that answered it first. Default false."
    )
    pin: Pin | None = Field(
        None,
        description="canary: requests that always go to the new version.",
        examples=[{"header": "X-Canary"}],
    )
    probe_load: ProbeLoad | None = Field(
        None,
        description="canary: requests that opsbook makes itself, to the new version only.",
        examples=[{"path": "/", "rate": 5}],
    )
    rollback_on: tuple[Trigger, ...] | None = Field(
        None,
        description="What takes the new version back: analysis, health, crash, alert:NAME or alert:SEVERITY. "
        "Default the first three.",
        examples=[["analysis", "health", "alert:critical"]],
    )
    kubernetes_surge: CountOrShare | None = Field(
        None, alias="maxSurge", description="The same as max_surge."
    )
    kubernetes_unavailable: CountOrShare | None = Field(
        None, alias="maxUnavailable", description="The same as max_unavailable."
    )
    rolling_update: RollingUpdate | None = Field(
        None,
        alias="rollingUpdate",
        description="max_surge and max_unavailable as Kubernetes nests them.",
        examples=[{"maxSurge": 1, "maxUnavailable": 1}],
    )
    weight: Ratio | None = Field(None, description="canary with a single step: its weight.", examples=["10%"])
    duration: Seconds | None = Field(
        None, description="canary with a single step: its hold.", examples=["30m"]
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        weights = [step.weight for step in self.steps or ()]
        for index, (before, after) in enumerate(pairwise(weights), 1):
            if after <= before:
                wrong("expected a weight above that of the step before", at=("steps", index, "weight"))
        self._single_step()
        surge, at = self._limit("max_surge")
        unavailable, _ = self._limit("max_unavailable")
        if surge is not None and surge.is_zero and (unavailable is None or unavailable.is_zero):
            wrong("nothing could ever be replaced: max_surge and max_unavailable are both 0", at=at)
        return self

    def _single_step(self) -> None:
        if self.weight is None and self.duration is None:
            return
        if self.steps is not None:
            key = "weight" if self.weight is not None else "duration"
            wrong(f"expected either steps or a single {key}", "write it as a step", at=(key,))
        if self.weight is None or self.duration is None:
            key, lacking = ("duration", "weight: 10%") if self.weight is None else ("weight", "duration: 30m")
            wrong("weight and duration belong together", lacking, at=(key,))
        some_but_not_all(self.weight)

    def _limit(self, key: Limit) -> tuple[quantities.CountOrShare | None, Loc]:
        """One of the two limits of a rolling strategy and where it is written; refuses a second spelling."""
        surge, nested = key == "max_surge", self.rolling_update or RollingUpdate()
        camel = "maxSurge" if surge else "maxUnavailable"
        spellings: list[tuple[quantities.CountOrShare | None, Loc]] = [
            (self.max_surge if surge else self.max_unavailable, (key,)),
            (self.kubernetes_surge if surge else self.kubernetes_unavailable, (camel,)),
            (nested.max_surge if surge else nested.max_unavailable, ("rollingUpdate", camel)),
        ]
        written = [(value, at) for value, at in spellings if value is not None]
        if len(written) > 1:
            wrong(f"the same as {'.'.join(map(str, written[0][1]))}", "remove one of them", at=written[1][1])
        return written[0] if written else (None, ())

    def resolved(self, name: str) -> Strategy:
        """This strategy under `name`, completed from the built-in one of its type.

        Raises:
            PydanticCustomError: the type is not written and `name` is none; or a key belongs to another type.
        """
        kind = self.type or next((known for known in TYPES if known == name), None)
        if kind is None:
            wrong(f"is missing: expected one of {', '.join(TYPES)}", "type: rolling", at=("type",))
        for key, owner in _OWNERS.items():
            if getattr(self, key) is not None and kind != owner:
                written = type(self).model_fields[key].alias or key
                wrong(f"{written} belongs to a {owner} strategy, and this one is {kind}", at=(written,))
        values = {
            key: value for key in _SAME & self.model_fields_set if (value := getattr(self, key)) is not None
        }
        for limit in _LIMITS:
            value, _ = self._limit(limit)
            values |= {limit: value} if value is not None else {}
        if self.weight is not None and self.duration is not None:
            values["steps"] = (CanaryStep.model_construct(weight=self.weight, hold=self.duration),)
        return Strategy(**{**_DEFAULTS[kind], **values, "name": name or kind, "type": kind})


_OF_CANARY = ("steps", "weight", "duration", "baseline", "sticky", "pin", "probe_load")
_OF_ROLLING = (*_LIMITS, "kubernetes_surge", "kubernetes_unavailable", "rolling_update")
_OWNERS: dict[str, StrategyType] = {
    **dict.fromkeys(_OF_CANARY, "canary"), **dict.fromkeys(_OF_ROLLING, "rolling"),
}  # fmt: skip
_SAME = frozenset(field.name for field in fields(Strategy)) - {"name", "type", *_LIMITS}
"""What is written as it is meant."""

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


def _name_or_spec(value: Any, _: Any) -> str | StrategySpec:
    """A name or a whole strategy; chosen by shape, so that a refusal is about what was meant."""
    if isinstance(value, str):
        return _NAME.validate_python(value)
    if not isinstance(value, dict):
        expected("a strategy's name, or a mapping with its type")
    spec = StrategySpec.model_validate(value)
    spec.resolved("")  # nothing else could complete it
    return spec


_NAME: TypeAdapter[str] = TypeAdapter(StrategyName)
StrategyChoice = Annotated[StrategyName | StrategySpec, WrapValidator(_name_or_spec)]


class StrategiesFile(Part):
    """`deployment/strategies.yaml`."""

    strategies: Annotated[Mapping[Name, Annotated[StrategySpec, OrEmpty]], OrEmpty] = Field(
        default={},
        description="Strategies by name. blue-green, rolling, recreate and canary are there unwritten.",
        examples=[{"careful": {"type": "canary", "steps": [{"weight": "5%", "hold": "10m"}]}}],
    )
