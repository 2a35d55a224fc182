"""A query as a tree: what the parser gives, in frozen nodes of our own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from opsbook.promql.model import Selector
from opsbook.promql.series import Matcher

Card: TypeAlias = Literal["one-to-one", "many-to-one", "one-to-many", "many-to-many"]
Kind: TypeAlias = Literal["scalar", "string", "vector", "matrix"]


@dataclass(frozen=True, slots=True)
class Number:
    """A literal number."""

    value: float


@dataclass(frozen=True, slots=True)
class String:
    """A literal text."""

    value: str


@dataclass(frozen=True, slots=True)
class Shift:
    """When a selector looks: `at` instead of the time of evaluation, then `offset` (milliseconds) earlier."""

    at: int | Literal["start", "end"] | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Select:
    """A vector selector, or with `range` (milliseconds) a matrix selector."""

    name: str | None
    matchers: tuple[Matcher, ...]
    shift: Shift
    range: int | None = None


@dataclass(frozen=True, slots=True)
class Subquery:
    """An expression over a range of its own steps; `step` None: the engine's default."""

    operand: Node
    range: int
    step: int | None
    shift: Shift


@dataclass(frozen=True, slots=True)
class Negation:
    """Unary minus."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Matching:
    """How the series of two vectors find each other."""

    card: Card
    on: bool
    labels: tuple[str, ...]
    include: tuple[str, ...]
    fill_left: float | None
    fill_right: float | None


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two expressions; `matching` is None unless both are vectors."""

    operator: str
    left: Node
    right: Node
    as_bool: bool
    matching: Matching | None


@dataclass(frozen=True, slots=True)
class Aggregation:
    """An aggregation over the series of a vector."""

    operator: str
    operand: Node
    parameter: Node | None
    by: bool
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function."""

    function: str
    arguments: tuple[Node, ...]


Node: TypeAlias = Number | String | Select | Subquery | Negation | Binary | Aggregation | Call


@dataclass(frozen=True, slots=True)
class Expression:
    """A query that parsed.

    Attributes:
        text: as it was written.
        kind: of its value.
        root: the tree.
        selectors: all that it reads.
    """

    text: str
    kind: Kind
    root: Node
    selectors: tuple[Selector, ...]

    def __str__(self) -> str:
        return self.text


def children(node: Node) -> Iterator[Node]:
    """The operands of a node, in the order they are written."""
    match node:
        case Subquery() | Negation():
            yield node.operand
        case Binary():
            yield node.left
            yield node.right
        case Aggregation():
            if node.parameter is not None:
                yield node.parameter
            yield node.operand
        case Call():
            yield from node.arguments
        case _:
            return
