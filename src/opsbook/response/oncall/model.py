"""Shifts, and what people change about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Override:
    """Somebody stands in, for a time.

    Args:
        id: by which it is taken back.
        schedule: whose shifts it covers.
        person: who is on call instead.
        start, end: epoch seconds; the end is not part of it.
        instead_of: only the shifts of this person are covered; empty: whoever it is.
        by: who said so. reason: why.
    """

    id: str
    schedule: str
    person: str
    start: float
    end: float
    instead_of: str = ""
    by: str = ""
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it is kept, and told."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Override:
        """The inverse of `to_json`."""
        return cls(**{name: value for name, value in document.items() if name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Shift:
    """A stretch in which the same people are on call.

    Args:
        start, end: epoch seconds; the end is not part of it.
        people: contacts; more than one where a hand-over's hour comes twice; none: nobody is on call.
        source: the layer, or ``override ID``; empty when nobody is on call.
    """

    start: float
    end: float
    people: tuple[str, ...]
    source: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it is told."""
        return {
            "start": self.start,
            "end": self.end,
            "people": list(self.people),
            "source": self.source,
        }
