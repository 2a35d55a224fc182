"""From files to selections: the samples as they were, as long as those are kept; then one for each five minutes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from opsbook.promql.series import (
    ABSENT,
    NAME,
    STALE,
    Flags,
    Floats,
    Integers,
    LabelKey,
    Labels,
    Matcher,
    Selection,
    Window,
)
from opsbook.world.telemetry.history.catalogue import Catalogue, Entry, metric_of
from opsbook.world.telemetry.history.database import Columns, Database, plain
from opsbook.world.telemetry.history.segments import Segment
from opsbook.world.telemetry.history.shelf import Shelf

FIVE_MINUTES, HOUR = 300_000, 3_600_000  # milliseconds
_LISTED = 200  # keys that a query names; more are joined


@dataclass(frozen=True, slots=True)
class Aggregates:
    """What one series did in each stretch of five minutes or an hour.

    `timestamps` are the ends of the stretches, in milliseconds; a stretch without a sample is left out. `grown` is how
    much a counter grew, its resets taken out.
    """

    labels: Labels
    timestamps: Integers
    count: Integers
    sum: Floats
    min: Floats
    max: Floats
    last: Floats
    grown: Floats


class Reading:
    """Answers from files. Thread-safe.

    Args:
        catalogue: which series there are.
        database: reads the files.
        raw: the samples as they were.
        minutes: by five minutes.
        hours: by hours.
    """

    def __init__(
        self, catalogue: Catalogue, database: Database, raw: Shelf, minutes: Shelf, hours: Shelf
    ) -> None:
        self._catalogue = catalogue
        self._database = database
        self._raw = raw
        self._minutes = minutes
        self._hours = hours

    def select(self, matchers: Sequence[Matcher], start: int, end: int) -> list[Selection]:
        """The series that all matchers fit, between two times in milliseconds, both included.

        Raises:
            Failed: a file cannot be read.
        """
        entries = self._catalogue.find(matchers)
        if not entries or start > end:
            return []
        raw_since = self._raw_since()
        found = []
        if start < raw_since:
            found = self._select(entries, matchers, start, min(end, raw_since - 1), raw=False)
        return found + self._select(entries, matchers, max(start, raw_since), end, raw=True)

    def series(self, matchers: Sequence[Matcher], start: int, end: int) -> list[Labels]:
        """The labels of the series that have something between two times; five minutes more or less.

        Raises:
            Failed: a file cannot be read.
        """
        entries = {entry.key: entry for entry in self._catalogue.find(matchers)}
        if not entries:
            return []
        coarse = self._minutes.between(start, end + FIVE_MINUTES)
        fine = [
            segment
            for segment in self._raw.between(start, end)
            if not any(
                other.lowest <= segment.lowest and segment.highest <= other.highest for other in coarse
            )
        ]
        keys: set[int] = set()
        for segments, until in ((coarse, end + FIVE_MINUTES), (fine, end)):
            if segments:
                found = self._query("DISTINCT series", segments, list(entries), matchers, start, until)
                keys.update(found["series"].tolist())
        return [entries[key].labels for key in sorted(keys & entries.keys())]

    def aggregates(
        self, matchers: Sequence[Matcher], start: int, end: int, *, hours: bool
    ) -> tuple[list[Aggregates], int]:
        """What each series did in the stretches that end after `start`, until `end`; by five minutes or hours.

        Returns:
            One for each series, and until when all samples are in them: the last two hours or so are not.

        Raises:
            Failed: a file cannot be read.
        """
        entries = {entry.key: entry for entry in self._catalogue.find(matchers)}
        shelf = self._hours if hours else self._minutes
        segments, until = shelf.between(start + 1, end), self._summed_until(shelf)
        if not entries or not segments:
            return [], until
        found = self._query(
            "series, ts, sum(n)::BIGINT AS n, sum(total) AS total, min(least) AS least, max(most) AS most,"
            " arg_max(last, latest) AS last, sum(grown) AS grown",
            segments, list(entries), matchers, start + 1, end, "GROUP BY series, ts ORDER BY series, ts",
        )  # fmt: skip
        columns = {name: plain(column) for name, column in found.items()}
        columns["sum"] = np.ma.filled(found["total"], np.nan)  # of infinities of both signs
        keys, firsts = np.unique(columns["series"], return_index=True)
        answer = []
        for key, low, high in zip(keys.tolist(), firsts, [*firsts[1:], columns["series"].size], strict=True):
            parts = [columns[name][low:high] for name in ("ts", "n", "sum", "least", "most", "last", "grown")]
            answer.append(Aggregates(entries[key].labels, *parts))
        return answer, until

    def _summed_until(self, shelf: Shelf) -> int:
        """The newest sample that is in files of coarser ones; 0 when none is."""
        done = max((segment.highest for segment in shelf.segments), default=0)
        ends = [segment.last for segment in self._raw.segments if segment.highest <= done]
        # When those are gone already, the end of the last stretch says the same, to less than an hour.
        return max(ends) if ends else max((segment.last for segment in shelf.segments), default=0)

    def _raw_since(self) -> int:
        """From when on there are samples as they were; what lies before is coarser."""
        return min((segment.first for segment in self._raw.segments), default=2**62)

    def _select(
        self, entries: list[Entry], matchers: Sequence[Matcher], start: int, end: int, *, raw: bool
    ) -> list[Selection]:
        segments = (self._raw if raw else self._minutes).between(start, end)
        if start > end or not segments:
            return []
        columns = "series, ts, value" if raw else "series, ts, last, grown, latest"
        found = self._query(columns, segments, [entry.key for entry in entries], matchers, start, end)
        keys, times = plain(found["series"]), plain(found["ts"])
        if raw:
            values = with_stale(found["value"])
        else:
            keys, times, values = _as_samples(found, entries)
        return arranged(entries, keys, times, values)

    def _query(
        self,
        columns: str,
        segments: Sequence[Segment],
        keys: list[int],
        matchers: Sequence[Matcher],
        start: int,
        end: int,
        rest: str = "",
    ) -> Columns:
        query = [f"SELECT {columns} FROM read_parquet(?)"]  # noqa: S608 - a constant of ours
        tables: dict[str, dict[str, npt.NDArray[Any]]] = {}
        if len(keys) > _LISTED:
            tables["wanted"] = {"series": np.array(keys, np.uint64)}
            query.append("SEMI JOIN wanted USING (series)")
        query.append(f"WHERE ts BETWEEN {int(start)} AND {int(end)}")
        name = next((m.value for m in matchers if m.label == NAME and m.operator == "="), None)
        low, high = metric_of(name) if name is not None else (min(keys), max(keys))
        query.append(f"AND series BETWEEN {low} AND {high}")
        if len(keys) <= _LISTED:
            query.append(f"AND series IN ({', '.join(map(str, keys))})")
        return self._database.read(
            " ".join([*query, rest]), [[str(segment.path) for segment in segments]], **tables
        )


def is_counter(name: str) -> bool:
    """Whether a metric only grows, by the names that everybody gives."""
    return name.endswith(("_total", "_count", "_sum", "_bucket"))


def _as_samples(found: Columns, entries: list[Entry]) -> tuple[npt.NDArray[np.uint64], Integers, Floats]:
    """One sample for each stretch: the last value; of a counter one that only grows, and ends at the last value.

    So its increase between any two of them is what it really was, resets between them included.
    """
    order = np.lexsort((plain(found["latest"]), plain(found["ts"]), plain(found["series"])))
    keys, times = plain(found["series"])[order], plain(found["ts"])[order]
    values, grown = plain(found["last"])[order].copy(), plain(found["grown"])[order]
    counters = {entry.key for entry in entries if is_counter(entry.labels.get(NAME, ""))}
    ends = np.flatnonzero(np.append(keys[1:] != keys[:-1], True)) if keys.size else np.empty(0, np.int64)
    low = 0
    for high in (ends + 1).tolist():
        if int(keys[low]) in counters:
            after = np.cumsum(grown[low + 1 : high][::-1])[::-1]
            values[low : high - 1] = values[high - 1] - after
        low = high
    # A stretch that two files share is there twice; the later one is the whole story.
    last = (
        np.append((keys[1:] != keys[:-1]) | (times[1:] != times[:-1]), True)
        if keys.size
        else np.empty(0, bool)
    )
    return keys[last], times[last], values[last]


def with_stale(column: npt.NDArray[Any]) -> Floats:
    """Values with the marker where the files have NULL."""
    values: Floats = plain(column).copy()
    values.view(np.int64)[np.ma.getmaskarray(column)] = STALE
    return values


def arranged(
    entries: list[Entry], keys: npt.NDArray[np.uint64], times: Integers, values: Floats
) -> list[Selection]:
    """Samples in any order as one matrix for each target; what is there twice counts once.

    Args:
        entries: of all `keys`.
        keys, times, values: the samples.
    """
    if not keys.size:
        return []
    known = np.array(sorted(entry.key for entry in entries), np.uint64)
    by_key = {entry.key: entry for entry in entries}
    targets: dict[LabelKey, int] = {}
    target_of = np.array([targets.setdefault(by_key[key].target, len(targets)) for key in known.tolist()])
    place = np.searchsorted(known, keys)
    belongs = target_of[place]
    found = []
    for target, number in targets.items():
        mine: Flags | slice = belongs == number if len(targets) > 1 else slice(None)
        places, at, sample = place[mine], times[mine], values[mine]
        if not at.size:
            continue
        rows, row_of = _rows([by_key[key] for key in known.tolist()], places)
        stamps = np.unique(at)
        matrix = np.empty((len(rows), stamps.size))
        matrix.view(np.int64)[:] = ABSENT
        matrix[row_of[places], np.searchsorted(stamps, at)] = sample
        window = Window(stamps, matrix, np.ones(stamps.size, np.bool_))
        found.append(Selection(dict(target), tuple(rows), window))
    return found


def _rows(entries: list[Entry], places: npt.NDArray[np.int64]) -> tuple[list[Labels], Integers]:
    """The series that are there, and the row of each place: a series with two keys has one row."""
    rows: list[Labels] = []
    known: dict[LabelKey, int] = {}
    row_of = np.zeros(len(entries), np.int64)
    for place in np.unique(places).tolist():
        labels = entries[place].labels
        key = tuple(sorted(labels.items()))
        if key not in known:
            known[key] = len(rows)
            rows.append(labels)
        row_of[place] = known[key]
    return rows, row_of
