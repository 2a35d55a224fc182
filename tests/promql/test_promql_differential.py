"""The same queries over the same samples, asked of a real Prometheus: the answers are the same.

``OPSBOOK_PROMQL_QUERIES`` says how many (2000 for the full run), ``OPSBOOK_PROMQL_SEED`` which.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from generated import SECONDS, Queries, data
from peer import prometheus, write

from opsbook.errors import OpsbookError
from opsbook.promql import Engine, Matrix, Result, Vector
from opsbook.promql.series import ABSENT, is_sample
from opsbook.world.telemetry.remote_queries import RemoteQueries

START = 1_700_000_000
COUNT = int(os.environ.get("OPSBOOK_PROMQL_QUERIES", "300"))
SEED = int(os.environ.get("OPSBOOK_PROMQL_SEED", "1"))
NEAR = 1e-9

Rows = dict[frozenset[tuple[str, str]], dict[int, float]]


def rows_of(result: Result | str) -> Rows | str:
    """Samples by series and time; or that it failed."""
    if isinstance(result, str):
        return result
    value = result.value
    if isinstance(value, Vector):
        found = zip(value.series, value.values, strict=True)
        return {frozenset(labels.items()): {0: float(number)} for labels, number in found}
    assert isinstance(value, Matrix)
    rows: Rows = {}
    for row, labels in enumerate(value.series):
        there = is_sample(value.values[row])
        points = zip(value.timestamps[there].tolist(), value.values[row][there].tolist(), strict=True)
        rows[frozenset(labels.items())] = dict(points)
    return {labels: points for labels, points in rows.items() if points}


def near(ours: float, theirs: float, scale: float) -> bool:
    """Equal up to rounding: of the numbers themselves, or of those they were made of."""
    if np.isnan(ours) or np.isnan(theirs) or np.isinf(ours) or np.isinf(theirs):
        return bool(ours == theirs or (np.isnan(ours) and np.isnan(theirs)))
    return abs(ours - theirs) <= max(NEAR * max(abs(ours), abs(theirs)), scale)


def difference(ours: Rows | str, theirs: Rows | str) -> str:
    """What differs; empty if nothing."""
    if isinstance(ours, str) or isinstance(theirs, str):
        return (
            ""
            if isinstance(ours, str) and isinstance(theirs, str)
            else f"ours {ours}\n    theirs {theirs}"[:600]
        )
    if ours.keys() != theirs.keys():
        return f"series: only ours {list(ours.keys() - theirs.keys())}, only theirs {list(theirs.keys() - ours.keys())}"
    for labels, points in ours.items():
        if points.keys() != theirs[labels].keys():
            steps = sorted(points.keys() ^ theirs[labels].keys())
            return f"{sorted(labels)}: steps {steps[:5]}"
        for at, value in points.items():
            # Where numbers cancel, what is left is the rounding of each engine: below 1e-12 of numbers about 1e5.
            if not near(value, theirs[labels][at], 1e-11):
                return f"{sorted(labels)} at {at}: ours {value!r}, theirs {theirs[labels][at]!r}"
    return ""


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")
@pytest.mark.timeout(900)
def test_prometheus_answers_the_same(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """No difference above 1e-9 in generated instant and range queries."""
    memory = data(SEED, START)
    engine, wrong = Engine(memory), []
    with prometheus(tmp_path) as port:
        for times, series, values in memory.targets:
            kept = values.view(np.int64) != ABSENT
            write(
                port,
                [(labels, times[kept[row]], values[row][kept[row]]) for row, labels in enumerate(series)],
            )
        peer = RemoteQueries(f"http://127.0.0.1:{port}")
        queries = Queries(SEED, START)
        answered = 0
        for number in range(COUNT):
            query = queries.query()
            # Some are asked at the end of the data, and after it.
            since = SECONDS - 100 if number % 8 > 5 else SECONDS * 2 // 3 // 10 * 10
            at = (START + since + 10 * (number % 40) + 1) * 1000
            ranged = number % 2 == 1
            answers: list[Rows | str] = []
            for side in (engine, peer):
                try:
                    if ranged:
                        answers.append(
                            rows_of(side.range(query, at - 900_000, at, 30_000 if number % 3 else 10_000))
                        )
                    else:
                        answers.append(rows_of(side.instant(query, at)))
                except OpsbookError as error:
                    answers.append(f"failed: {error.message}")
            answered += not isinstance(answers[1], str) and bool(answers[1])
            what = difference(answers[0], answers[1])
            if what:
                wrong.append(f"{'range' if ranged else 'instant'} at {at}: {query}\n    {what}")
        peer.close()
    counts = f"{COUNT} queries, {answered} with an answer, {len(wrong)} differ"
    record_property("told", f"beside a real Prometheus: {counts}")
    assert not wrong, "\n".join(["", *wrong[:20]])
    assert answered > COUNT / 2
