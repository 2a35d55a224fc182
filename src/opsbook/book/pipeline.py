"""What `deployment/pipeline.yaml` says: the stages a change goes through, as people describe them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from opsbook.book.document import Document
from opsbook.book.fields import NAME, NAME_PATTERN, OrEmpty, Part, expected, wrong
from opsbook.book.strategy import StrategyName


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: what is done in it, in order, in words."""

    name: str
    steps: tuple[str, ...]
    strategy: str | None = None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The stages in the order of the file."""

    stages: tuple[Stage, ...]

    @property
    def strategy(self) -> str | None:
        """The strategy that one of its stages names: that of every service whose placement names none."""
        return next((stage.strategy for stage in self.stages if stage.strategy is not None), None)


def _step(value: Any) -> str:
    """``run: unit tests`` as "run unit tests": a verb and what it is about."""
    if isinstance(value, dict) and len(value) == 1:
        ((verb, what),) = value.items()
        if isinstance(what, str):
            value = f"{verb} {what}"
    if not isinstance(value, str) or not value.strip() or "\n" in value:
        expected("a step in words, such as run: unit tests")
    return value


Step = Annotated[
    str,
    BeforeValidator(_step),
    WithJsonSchema(
        {
            "type": ["string", "object"],
            "$comment": "step",
            "additionalProperties": {"type": "string"},
            "maxProperties": 1,
        }
    ),
]


class StageSpec(Part):
    """One stage of the pipeline."""

    steps: tuple[Step, ...] = Field(
        (),
        description="What is done, in order; each a line of text, or a verb and what it is about.",
        examples=[[{"run": "unit tests"}, "create artifacts"]],
    )
    strategy: StrategyName | None = Field(
        None,
        description="How new versions replace old ones, where a placement names no strategy. In one stage only.",
        examples=["blue-green"],
    )


class PipelineFile(Part):
    """`deployment/pipeline.yaml`: stages by name, in their order; others than these three may be added."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[StageSpec, OrEmpty]]

    build: StageSpec | None = Field(
        None, description="Makes what is deployed.", examples=[{"steps": [{"compile": "application"}]}]
    )
    test: StageSpec | None = Field(
        None, description="Finds out whether it is good.", examples=[{"steps": [{"run": "e2e tests"}]}]
    )
    deploy: StageSpec | None = Field(
        None,
        description="Brings it to its users.",
        examples=[{"strategy": "blue-green", "steps": [{"switch": "traffic"}]}],
    )

    @model_validator(mode="after")
    def _stages(self) -> Self:
        for name in self.model_extra or ():
            if not re.fullmatch(NAME_PATTERN, name):
                wrong(f"expected {NAME}", at=(name,))
        named = [name for name, stage in self._by_name().items() if stage.strategy is not None]
        if len(named) > 1:
            wrong(f"a strategy is named in {named[0]} already", "keep one of them", at=(named[1], "strategy"))
        return self

    def _by_name(self) -> dict[str, StageSpec]:
        known = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            name: stage for name, stage in (known | (self.model_extra or {})).items() if stage is not None
        }

    def ordered(self, document: Document) -> Pipeline:
        """The pipeline, its stages as `document` has them one after the other."""
        found = self._by_name()
        return Pipeline(
            tuple(
                Stage(name, found[name].steps, found[name].strategy)
                for name in document.root.key_lines
                if name in found
            )
        )
