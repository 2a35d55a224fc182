"""From the body of a scrape to slots and values, fast because scrapes look alike.

Nearly every line of a scrape is a prefix that was there the last time, a blank, and a new value. So a line is
parsed once, when its prefix is first seen. And while *all* prefixes are the same, in the same order, not even
they are looked up: one comparison of two tuples says that the values go where they went the last time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np

from opsbook.errors import Invalid
from opsbook.promql.series import Labels
from opsbook.world.telemetry.block import Block
from opsbook.world.telemetry.exposition import parse_line
from opsbook.world.telemetry.metadata import MetadataStore
from opsbook.world.telemetry.staleness import Floats, Integers

_MAX_PROBLEMS = 1000  # after so many unreadable lines the rest is not read: somebody serves something else
_REFUSED = -1
_MAX_LINE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Reading:
    """What a body said."""

    slots: Integers  # each once
    values: Floats
    lines: int  # samples in the body, refused ones included
    refused: int  # samples of series that are too many
    problems: int  # lines that could not be read, duplicates included
    first_problem: Invalid | None


@dataclass(frozen=True, slots=True)
class _Layout:
    prefixes: tuple[bytes, ...]
    chosen: tuple[bool, ...]  # which lines are samples that are stored
    skipped: tuple[bool, ...]  # the others, comments and blank lines,
    last_words: tuple[
        bytes, ...
    ]  # and what these end with: it must not change, or they may be something else
    slots: Integers


class ScrapeCache:
    """The lines of one target, as they were understood so far.

    Args:
        block: where its series get their slots.
        labels: put on every series; a label of the same name in the body is kept as ``exported_NAME``.
        metadata: gets what the comments say of the metrics.
    """

    def __init__(self, block: Block, labels: Labels, metadata: MetadataStore | None = None) -> None:
        self._block = block
        self._metadata = metadata
        self._said: list[bytes] = []  # the comments of the last body that was read line by line
        self._labels = dict(labels)
        self._slots: dict[bytes, int] = {}
        self._block_layout = block.layout
        self._layout: _Layout | None = None

    def read(self, body: bytes) -> Reading:
        """Understand a body.

        Lines that cannot be read are counted and skipped, so one bad metric does not blind us for the others.

        Raises:
            Invalid: no line could be read although there are some, or too many could not.
        """
        if self._block_layout != self._block.layout or len(self._slots) > 4 * self._block.max_series + 1000:
            self._slots.clear()
            self._layout = None
            self._block_layout = self._block.layout
        lines = body.split(b"\n")
        prefixes, _, texts = zip(*[line.rpartition(b" ") for line in lines], strict=True)
        layout = self._layout
        if (
            layout is not None
            and prefixes == layout.prefixes
            and tuple(compress(texts, layout.skipped)) == layout.last_words
        ):
            try:
                floats = map(float, compress(texts, layout.chosen))
                values = np.fromiter(floats, np.float64, layout.slots.size)
            except ValueError:
                pass  # a value that is none: line by line, to say where
            else:
                return Reading(layout.slots, values, len(values), 0, 0, None)
        return self._read_lines(lines, prefixes, texts)

    def _read_lines(self, lines: list[bytes], prefixes: tuple[bytes, ...], texts: Sequence[bytes]) -> Reading:
        slots: dict[int, float] = {}
        chosen = [False] * len(lines)
        refused, problems = 0, _Problems()
        known = self._slots
        for index, (line, prefix, text) in enumerate(zip(lines, prefixes, texts, strict=True)):
            if not line or line.startswith(b"#") or line.isspace():
                continue
            try:
                if prefix in known:
                    slot, value = known[prefix], float(text)
                elif refused > self._block.max_series:
                    slot, value = _REFUSED, 0.0  # no time is spent on understanding a flood
                else:
                    slot, value = self._first_seen(line, prefix, index + 1)
                if slot == _REFUSED:
                    refused += 1
                elif slot in slots:
                    problems.add(Invalid("the series is there twice", where=f"line {index + 1}"))
                else:
                    slots[slot] = value
                    chosen[index] = True
            except Invalid as error:
                problems.add(error)
            except ValueError:
                problems.add(Invalid(f"expected a value, found {text[:20]!r}", where=f"line {index + 1}"))
        if problems.first is not None and not slots and not refused:
            raise problems.first
        self._listen(lines)
        taken = np.fromiter(slots, np.int64, len(slots))
        # Only a body whose every line fits "prefix, blank, value" may be taken on sight the next time.
        simple = all(prefix in known for prefix in compress(prefixes, chosen))
        if simple and not problems.count and not refused:
            skipped = tuple(not each for each in chosen)
            self._layout = _Layout(prefixes, tuple(chosen), skipped, tuple(compress(texts, skipped)), taken)
        values = np.fromiter(slots.values(), np.float64, len(slots))
        return Reading(taken, values, len(slots) + refused, refused, problems.count, problems.first)

    def _listen(self, lines: list[bytes]) -> None:
        """What the comments say, when it is something else than the last time."""
        if self._metadata is not None:
            said = [line for line in lines if line.startswith(b"# ")]
            if said != self._said:
                self._said = said
                self._metadata.read(said)

    def _first_seen(self, line: bytes, prefix: bytes, number: int) -> tuple[int, float]:
        if len(line) > _MAX_LINE:
            raise Invalid(f"the line is longer than {_MAX_LINE} bytes", where=f"line {number}")
        try:
            parsed = parse_line(line.decode(), number)
        except UnicodeDecodeError as error:
            where = f"line {number}, byte {error.start + 1}"
            raise Invalid("expected UTF-8", where=where) from error
        slot = self._block.slot(self._with_target(parsed.labels))
        slot = _REFUSED if slot is None else slot
        if len(prefix.decode()) + 1 == parsed.value_at:  # the value is the last word, after one blank
            self._slots[prefix] = slot
        return slot, parsed.value

    def _with_target(self, labels: Labels) -> dict[str, str]:
        merged = {name: value for name, value in labels.items() if value}  # an empty label is no label
        for name, value in self._labels.items():
            if name in merged:
                merged[f"exported_{name}"] = merged[name]
            merged[name] = value
        return merged


class _Problems:
    """Counts unreadable lines and keeps the first."""

    def __init__(self) -> None:
        self.count = 0
        self.first: Invalid | None = None

    def add(self, error: Invalid) -> None:
        self.count += 1
        self.first = self.first or error
        if self.count > _MAX_PROBLEMS:
            raise Invalid(f"more than {_MAX_PROBLEMS} lines cannot be read; first: {self.first}")
