"""What a parsed template is made of, and what its values are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from opsbook.errors import Invalid


class TemplateError(Invalid):
    """A template that cannot be parsed, or could not be expanded with these values."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of a query's answer, as `query` hands it to a template."""

    Labels: Mapping[str, str]
    Value: float


class Time(float):
    """Epoch seconds that are printed as a moment (`toTime`)."""

    __slots__ = ()


class Duration(float):
    """Seconds that are printed as Go prints a duration (`toDuration`)."""

    __slots__ = ()


# --- operands ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Constant:
    value: Any


@dataclass(frozen=True, slots=True)
class Dot:
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Variable:
    name: str  # without the dollar; "" is the root
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    name: str


@dataclass(frozen=True, slots=True)
class Chain:
    """``(pipeline).Field``"""

    pipeline: Pipeline
    fields: tuple[str, ...] = ()


Operand: TypeAlias = Constant | Dot | Variable | Function | Chain


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands, each handed the result of the one before as its last argument; and what it is bound to."""

    commands: tuple[tuple[Operand, ...], ...]
    variables: tuple[str, ...] = ()
    declares: bool = False  # := and not =


# --- what a template does ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Print:
    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class Branch:
    """``if``, ``with`` and ``range``."""

    kind: str
    pipeline: Pipeline
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """``template "name" pipeline``"""

    name: str
    pipeline: Pipeline | None


@dataclass(frozen=True, slots=True)
class Jump:
    """``break`` and ``continue``."""

    kind: str


Node: TypeAlias = Text | Print | Branch | Call | Jump
