"""Prometheus' own tests of its language, where they are at hand: ``PROMQLTEST_DIR`` names the folder."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from promql_script import Case, Samples, run_script

from opsbook.errors import OpsbookError
from opsbook.promql import Engine, Matrix, Result, Scalar, Text, Vector
from opsbook.promql import Samples as SampleRows
from opsbook.promql.series import NAME

EPSILON = 1e-6
BESIDE = Path(__file__).parents[2].parent / "shared" / "promqltest"
FOLDER = Path(os.environ.get("PROMQLTEST_DIR") or BESIDE)
SCRIPTS = sorted(FOLDER.glob("*.test")) if FOLDER.is_dir() else []


def near(expected: float, actual: float) -> bool:
    """Equal up to rounding, as the suite itself has it."""
    if math.isnan(expected) or math.isnan(actual):
        return math.isnan(expected) and math.isnan(actual)
    if expected == actual:
        return True
    if math.isinf(expected) or math.isinf(actual):
        return False
    scale = abs(expected) + abs(actual)
    return abs(expected - actual) < EPSILON * (
        scale if scale > 2.3e-308 and expected and actual else 2.3e-308
    )


def rows_of(result: Result) -> dict[frozenset[tuple[str, str]], dict[int, float]]:
    """The answer as samples by series and time."""
    value = result.value
    if isinstance(value, Vector):
        return {
            frozenset(labels.items()): {int(at): float(number)}
            for labels, number, at in zip(value.series, value.values, value.timestamps, strict=True)
        }
    assert isinstance(value, Matrix | SampleRows)
    found = {}
    for row, labels in enumerate(value.series):
        times, values = value.points(row)
        found[frozenset(labels.items())] = {
            int(at): float(number) for at, number in zip(times, values, strict=True)
        }
    return {labels: points for labels, points in found.items() if points}


def expected_rows(case: Case) -> dict[frozenset[tuple[str, str]], dict[int, Any]]:
    """What the script expects, in the same form."""
    start, step = case.range_vector or (case.start, case.step)
    return {
        frozenset(labels.items()): {
            start + index * step: cell for index, cell in enumerate(cells) if cell is not None
        }
        for labels, cells in case.series
    }


def wrong(case: Case, samples: Samples) -> str:
    """What is wrong with the answer to a case; empty if nothing."""
    engine = Engine(samples)
    try:
        if case.step:
            result = engine.range(case.query, case.start, case.end, case.step)
        else:
            result = engine.instant(case.query, case.start)
    except OpsbookError as error:
        if not case.fails:
            return f"failed: {error}"
        if case.message is not None and not says(case.message, error.message):
            return f"said: {error.message}"
        return ""
    if case.fails:
        return "did not fail"
    return wrong_annotations(case, result) or wrong_value(case, result)


def says(wanted: tuple[str, str], said: str) -> bool:
    """Whether a message is the wanted one; positions in the query do not count."""
    kind, text = wanted
    text = re.sub(r"\s*\\?\([\d\[\]\-+0-9]+:[\d\[\]\-+0-9]+\\?\)$", "", text).replace("\\xc5", "\ufffd")
    return bool(re.search(text, said)) if kind == "regex" else text in said


def wrong_annotations(case: Case, result: Result) -> str:
    """What is wrong with the warnings and infos."""
    for what, messages in (("warn", result.warnings), ("info", result.infos)):
        if what in case.annotations and bool(messages) is not case.annotations[what]:
            return f"{what}: {messages}"
        if what in case.said and not any(says(case.said[what], message) for message in messages):
            return f"{what} said: {messages}"
    return ""


def wrong_value(case: Case, result: Result) -> str:
    """What is wrong with the value."""
    value = result.value
    if case.text is not None:
        return "" if isinstance(value, Text) and value.value == case.text else f"text: {value}"
    if case.scalar is not None:
        return "" if isinstance(value, Scalar) and near(case.scalar, value.value) else f"scalar: {value}"
    if isinstance(value, Scalar | Text):
        return f"no series: {value}"
    expected, actual = expected_rows(case), rows_of(result)
    if expected.keys() != actual.keys():
        missing, surplus = expected.keys() - actual.keys(), actual.keys() - expected.keys()
        return f"series: missing {sorted(map(sorted, missing))}, surplus {sorted(map(sorted, surplus))}"
    for labels, points in expected.items():
        if points.keys() != actual[labels].keys() or not all(
            near(number, actual[labels][at]) for at, number in points.items()
        ):
            return f"{sorted(labels)}: expected {points}, got {actual[labels]}"
    if case.ordered:
        order = [frozenset(labels.items()) for labels, _ in case.series]
        if order != [frozenset(labels.items()) for labels in value.series]:
            return "order"
    return ""


@pytest.mark.skipif(not SCRIPTS, reason="Prometheus' tests are not here; PROMQLTEST_DIR names their folder")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_of_prometheus(script: Path, record_property: Callable[[str, object], None]) -> None:
    """Every case of the script is answered as Prometheus answers; native histograms as values are skipped by name."""
    passed, skipped, failed = 0, [], []
    for case, samples in run_script(script.read_text()):
        if case.native:
            skipped.append(f"{script.name}:{case.line}: {case.query}")
            continue
        what = wrong(case, samples)
        if what:
            failed.append(f"{script.name}:{case.line}: {case.query}\n      {what}")
        else:
            passed += 1
    counts = f"{passed} passed, {len(skipped)} skipped (native histograms as values), {len(failed)} failed"
    record_property("told", f"Prometheus' {script.name}: {counts}")
    for each in skipped:
        record_property("told", f"Prometheus' {script.name}: skipped {each.partition(':')[2]}")
    assert not failed, "\n".join(["", *failed])


@pytest.mark.skipif(not SCRIPTS, reason="Prometheus' tests are not here; PROMQLTEST_DIR names their folder")
def test_how_many_cases_there_are(record_property: Callable[[str, object], None]) -> None:
    """Only cases that expect native histograms as values may be left out, and they are counted."""
    cases = [case for script in SCRIPTS for case, _ in run_script(script.read_text())]
    native = sum(bool(case.native) for case in cases)
    record_property(
        "told", f"Prometheus' own tests: {len(cases)} cases, {native} skipped (native histograms)"
    )
    assert native < len(cases) / 30


def test_labels_of_the_script_language() -> None:
    """The reader of the scripts gets names and labels right."""
    from promql_script import parse_series, values_of

    assert ({NAME: "a", "b": "c d"}, "1 2") == parse_series('a{b="c d"} 1 2')
    assert [0.0, 2.0, 4.0, None, "stale", -1.0] == values_of("0+2x2 _ stale -1")
    assert np.isnan(values_of("NaN")[0])
