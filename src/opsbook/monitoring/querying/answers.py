"""Answers as JSON in Prometheus' form: numbers are texts, times are seconds.

Written by hand: a range query has ten thousands of numbers, and a general encoder would take longer than the query.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from operator import add

import numpy as np

from opsbook.promql import Matrix, Result, Samples, Scalar, Text, Vector
from opsbook.promql.series import Floats, Integers, Labels, is_sample

_EXACT = 1e15  # whole numbers below have all their digits
_SPECIAL = {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}


def result_json(result: Result) -> str:
    """``{"resultType": ..., "result": ...}``."""
    match result.value:
        case Scalar(value, at):
            kind, body = "scalar", f"[{_time(at)},{_text(value)}]"
        case Text(value, at):
            kind, body = "string", f"[{_time(at)},{json.dumps(value)}]"
        case Vector() as vector:
            kind, body = "vector", _vector(vector)
        case Matrix() as matrix:
            kind, body = "matrix", _matrix(matrix)
        case Samples() as samples:
            rows = (_points(*samples.points(row)) for row in range(len(samples.series)))
            kind, body = "matrix", _series(samples.series, rows)
    return f'{{"resultType":"{kind}","result":{body}}}'


def success(data: str, *, warnings: Sequence[str] = (), infos: Sequence[str] = ()) -> str:
    """The whole body of a good answer."""
    more = f',"warnings":{json.dumps(list(warnings))}' if warnings else ""
    more += f',"infos":{json.dumps(list(infos))}' if infos else ""
    return f'{{"status":"success","data":{data}{more}}}'


def _vector(vector: Vector) -> str:
    times = vector.timestamps.tolist()
    found = [
        f'{{"metric":{_labels(labels)},"value":[{_time(at)},"{number}"]}}'
        for labels, number, at in zip(vector.series, _texts(vector.values), times, strict=True)
    ]
    return f"[{','.join(found)}]"


def _matrix(matrix: Matrix) -> str:
    opened = [f'[{_time(at)},"' for at in matrix.timestamps.tolist()]
    present = is_sample(matrix.values)
    complete = np.logical_and.reduce(present, axis=1)
    rows = []
    series = []
    for row, labels in enumerate(matrix.series):
        if complete[row]:
            series.append(labels)
            rows.append(_pairs(opened, matrix.values[row]))
        elif present[row].any():
            series.append(labels)
            own = [each for each, there in zip(opened, present[row].tolist(), strict=True) if there]
            rows.append(_pairs(own, matrix.values[row][present[row]]))
    return _series(series, rows)


def _points(timestamps: Integers, values: Floats) -> str:
    return _pairs([f'[{_time(at)},"' for at in timestamps.tolist()], values)


def _pairs(opened: list[str], values: Floats) -> str:
    """Times and values; `opened` is what stands before each value."""
    if not opened:
        return ""
    return '"],'.join(map(add, opened, _texts(values))) + '"]'


def _series(series: Sequence[Labels], rows: Iterable[str]) -> str:
    found = [
        f'{{"metric":{_labels(labels)},"values":[{row}]}}' for labels, row in zip(series, rows, strict=True)
    ]
    return f"[{','.join(found)}]"


def _labels(labels: Labels) -> str:
    return json.dumps(dict(sorted(labels.items())), separators=(",", ":"), ensure_ascii=False)


def _time(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds}.{rest:03d}" if rest else str(seconds)


def _text(value: float) -> str:
    return f'"{_texts(np.array([value]))[0]}"'


def _texts(values: Floats) -> list[str]:
    """Numbers as the shortest texts that read back as the same; whole ones without a point."""
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.int64)
    if np.array_equal(whole, values) and (np.abs(values) < _EXACT).all():
        return list(map(str, whole.tolist()))
    texts = [text.removesuffix(".0") for text in map(repr, values.tolist())]
    return texts if np.isfinite(values).all() else [_SPECIAL.get(text, text) for text in texts]
