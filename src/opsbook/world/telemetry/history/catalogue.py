"""Which series the history knows: a number for each, and the labels behind it.

A key is 64 bits: above the checksum of the metric's name, below a number that is given once. So all series of a metric
lie side by side in files that are sorted by key. A series that comes back after it was forgotten may get a second key.
"""

from __future__ import annotations

import json
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from opsbook.promql.series import NAME, LabelKey, Labels, Matcher, key_of
from opsbook.world.telemetry.history.database import Database
from opsbook.world.telemetry.history.segments import Segment, listed

_MOST_REMEMBERED = 100_000  # entries over all names
_MOST_FILES = 32
_AT_A_TIME = 5000  # entries written: as text they take much memory
_COLUMNS = ("key", "name", "target", "labels")
_WRITER = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Entry:
    """One series."""

    key: int
    target: LabelKey
    labels: Labels


def metric_of(name: str) -> tuple[int, int]:
    """The lowest and the highest key that a series of this metric may have."""
    high = zlib.crc32(_name({NAME: name}).encode()) << 32
    return high, high | 0xFFFFFFFF


class Catalogue:
    """The entries, in files of their own; the ones asked for last in memory too. One thread writes, any reads.

    Args:
        folder: of its files.
        database: reads and writes them.
        first: the lowest number to give; higher than all that were ever given.

    Raises:
        OSError: the folder cannot be read.
    """

    def __init__(self, folder: Path, database: Database, *, first: int = 1) -> None:
        self.files = listed(folder)
        self._folder = folder
        self._database = database
        self._next = max([first, *(segment.highest + 1 for segment in self.files)])
        self._unsaved: list[Entry] = []
        self._lock = threading.Lock()  # `files` and `_known` say the same
        self._known: OrderedDict[str, list[Entry]] = OrderedDict()

    def enter(self, target: LabelKey, labels: Labels) -> int:
        """A key for a new series; it counts once `save` was called."""
        key = metric_of(labels.get(NAME, ""))[0] | self._next
        self._next += 1
        entry = Entry(key, target, labels)
        self._unsaved.append(entry)
        return key

    def save(self) -> None:
        """Write the entries that are new.

        Raises:
            Failed: they cannot be written; the next call tries again.
        """
        while self._unsaved:
            self._write(self._unsaved[:_AT_A_TIME])

    def find(self, matchers: Sequence[Matcher]) -> list[Entry]:
        """The series that all matchers fit.

        Raises:
            Failed: the files cannot be read.
        """
        name = next((m.value for m in matchers if m.label == NAME and m.operator == "="), None)
        entries = self._read("", ()) if name is None else self._named(_name({NAME: name}))
        return [entry for entry in entries if all(matcher.matches(entry.labels) for matcher in matchers)]

    def by_keys(self, keys: Iterable[int]) -> list[Entry]:
        """The entries with these keys.

        Raises:
            Failed: the files cannot be read.
        """
        wanted = {"key": np.array(sorted(keys), np.uint64)}
        return self._read("SEMI JOIN wanted USING (key)", (), wanted=wanted)

    def tidy(self, used: np.ndarray[tuple[int], np.dtype[np.uint64]] | None = None) -> list[Path]:
        """Make one file of many, without the entries that are not `used` (None: all are).

        Returns:
            The files that it replaces; to be removed when nobody reads them any more.

        Raises:
            Failed: the files cannot be read or written; nothing has changed.
        """
        if not self.files or (used is None and len(self.files) < _MOST_FILES):
            return []
        old = self.files
        level = max(segment.level for segment in old) + 1
        merged = Segment(0, 0, level, min(s.lowest for s in old), max(s.highest for s in old), self._folder)
        join, tables = ("", {}) if used is None else ("SEMI JOIN used USING (key)", {"used": {"key": used}})
        self._database.write(
            f"SELECT key, name, target, labels FROM read_parquet(?) {join} ORDER BY name, key",  # noqa: S608
            merged.path, [[str(segment.path) for segment in old]], final=True, **tables,
        )  # fmt: skip
        with self._lock:
            self.files = [merged]
            self._known.clear()
        return [segment.path for segment in old]

    def forget_file(self, path: Path) -> None:
        """A damaged file is no more."""
        with self._lock:
            self.files = [segment for segment in self.files if segment.path != path]
            self._known.clear()

    def _write(self, new: list[Entry]) -> None:
        numbers = [entry.key & 0xFFFFFFFF for entry in new]
        segment = Segment(0, 0, 0, min(numbers), max(numbers), self._folder)
        # As lines of one text: of each string in a list or an array DuckDB asks at length what it is.
        columns = (
            [str(entry.key) for entry in new],
            [_name(entry.labels) for entry in new],
            [_written(dict(entry.target)) for entry in new],
            [_written(entry.labels) for entry in new],
        )
        parts = ", ".join(f"unnest(string_split(?, chr(10))) AS {name}" for name in _COLUMNS)
        self._database.write(
            f"SELECT key::UBIGINT AS key, name, target, labels FROM (SELECT {parts}) ORDER BY name, key",  # noqa: S608
            segment.path, ["\n".join(lines) for lines in columns], final=False,
        )  # fmt: skip
        with self._lock:
            self.files = [*self.files, segment]
            for entry in new:
                name = _name(entry.labels)
                if name in self._known:
                    self._known[name] = [*self._known[name], entry]
        del self._unsaved[: len(new)]

    def _named(self, name: str) -> list[Entry]:
        with self._lock:
            known = self._known.get(name)
            if known is None:
                known = self._known[name] = self._read("WHERE name = ?", (name,))
                while sum(map(len, self._known.values())) > _MOST_REMEMBERED and len(self._known) > 1:
                    self._known.popitem(last=False)
            else:
                self._known.move_to_end(name)
            return known

    def _read(
        self, condition: str, parameters: Sequence[object], **tables: dict[str, np.ndarray]
    ) -> list[Entry]:
        if not self.files:
            return []
        found = self._database.read(
            f"SELECT key, target, labels FROM read_parquet(?) {condition}",  # noqa: S608 - a constant of ours
            [[str(segment.path) for segment in self.files], *parameters],
            **tables,
        )
        targets: dict[str, LabelKey] = {}
        entries = []
        for key, target, labels in zip(found["key"].tolist(), found["target"], found["labels"], strict=True):
            if target not in targets:
                targets[target] = key_of(json.loads(target))
            entries.append(Entry(key, targets[target], json.loads(labels)))
        return entries


def _name(labels: Labels) -> str:
    """The metric's name in a form without line ends, which holds whatever somebody may push."""
    return json.dumps(labels.get(NAME, ""))


def _written(labels: Labels) -> str:
    return _WRITER.encode(dict(sorted(labels.items())))
