"""What was asked of the proxy, on disk: the table intended, applied and proven good, with their generations.

``intended`` is written before the first of Envoy's files changes and becomes ``applied`` after the last. So
whoever starts after a crash knows that an apply was under way and puts ``applied`` back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from opsbook.errors import Failed
from opsbook.world.traffic import files
from opsbook.world.words import RouteTable


@dataclass(frozen=True, slots=True)
class Stamped:
    """A route table under its generation."""

    generation: int
    table: RouteTable


NOTHING = Stamped(0, RouteTable())


@dataclass(frozen=True, slots=True)
class Record:
    counter: int = 0  # the highest generation ever given out; never given out again
    intended: Stamped | None = None
    applied: Stamped = NOTHING
    good: Stamped = NOTHING  # the last one that was confirmed as serving

    def intend(self, table: RouteTable) -> Record:
        """An apply of `table` begins."""
        return replace(self, counter=self.counter + 1, intended=Stamped(self.counter + 1, table))

    def done(self) -> Record:
        """The intended table has been written."""
        return replace(self, applied=self.intended or self.applied, intended=None)

    def confirmed(self) -> Record:
        """The applied table is serving."""
        return replace(self, good=self.applied)

    def back_to(self, stamped: Stamped) -> Record:
        """`stamped` has been put back in place of what was intended or applied."""
        return replace(self, applied=stamped, intended=None)


_ADAPTER = TypeAdapter(Record)


def load(path: Path) -> Record:
    """The record at `path`; an empty one when there is none.

    Raises:
        Failed: it cannot be read. Guessing would drop every route.
    """
    text = files.read(path)
    if not text:
        return Record()
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise Failed(
            f"the record of the route table is damaged: {error.errors()[0]['msg']}",
            hint=f"move {path} away; the next deployment writes a new one",
            where=str(path),
        ) from error


def save(path: Path, record: Record) -> None:
    """Write `record` durably."""
    files.write(path, _ADAPTER.dump_json(record).decode())
