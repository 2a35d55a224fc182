"""OTLP's metrics as Prometheus' series: names with units, counters with ``_total``, histograms in buckets."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, DataPointFlags

from opsbook.promql.series import NAME, STALE
from opsbook.world.telemetry.metadata import Metadata
from opsbook.world.telemetry.receiving.deltas import Deltas
from opsbook.world.telemetry.receiving.histograms import (
    bound_text,
    bucket_counts,
    cumulative,
    exponential_counts,
)
from opsbook.world.telemetry.receiving.labels import problem_with
from opsbook.world.telemetry.receiving.names import label_names, metric_name
from opsbook.world.telemetry.receiving.otlp import attributes_of, place_of
from opsbook.world.telemetry.receiving.words import Pushed, Refusals, Series

_DELTA: Final = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
_NOTHING: Final = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_ENDED: Final = float(np.array([STALE]).view(np.float64)[0])
_AGAIN = "it was added before, or something later was"
_BOUND: Final = ("bound",)
"""Marks the keys of buckets among the amounts of a histogram, beside ``sum`` and ``count``."""


@dataclass(frozen=True, slots=True)
class _Metric:
    """One metric of one resource."""

    name: str
    around: Mapping[str, str]  # the labels of all its series


Sample = tuple[Mapping[str, str], int, float]


def read_metrics(request: ExportMetricsServiceRequest, deltas: Deltas) -> Pushed:
    """The request's points as series.

    Each resource gets the labels ``job`` and ``instance``, as the specification has it, and opsbook's own: ``service``,
    ``environment``, ``version``, ``release``. Everything it says of itself is in the labels of ``target_info``.

    Args:
        deltas: where counts that come in pieces are summed up.
    """
    refusals = Refusals()
    series: list[Series] = []
    described: list[tuple[str, Metadata]] = []
    for resource in request.resource_metrics:
        said = attributes_of(resource.resource.attributes)
        around = _around(said)
        last = 0
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for labels, at, value in _samples(metric, around, deltas, refusals, described):
                    last = max(last, at)
                    if problem := problem_with(labels):
                        refusals.add(problem)
                    else:
                        series.append((labels, np.array([at], np.int64), np.array([value], np.float64)))
        if last and said:
            info = {**label_names(said), **around, NAME: "target_info"}
            if not problem_with(info):
                series.append((info, np.array([last], np.int64), np.array([1.0])))
    return Pushed(series, described, refusals)


def _around(said: Mapping[str, str]) -> dict[str, str]:
    place = place_of(said)
    namespace, service = said.get("service.namespace", ""), place["service"]
    job = f"{namespace}/{service}" if namespace and service else service
    found = {"job": job, **place}
    return {name: value for name, value in found.items() if value}


def _samples(
    metric: Any,
    around: Mapping[str, str],
    deltas: Deltas,
    refusals: Refusals,
    described: list[tuple[str, Metadata]],
) -> Iterator[Sample]:
    kind = metric.WhichOneof("data")
    data: Any = getattr(metric, kind) if kind else None
    counter = kind == "sum" and data is not None and data.is_monotonic
    name = metric_name(metric.name, metric.unit, counter=counter, gauge=kind == "gauge")
    family = "counter" if counter else _FAMILIES.get(kind or "", "unknown")
    if name:
        described.append((name, Metadata(family, metric.description[:1000], metric.unit)))
    one = _Metric(name, around)
    if kind == "gauge":
        for point in data.data_points:
            yield from _number(one, point, refusals)
    elif kind == "sum":
        delta = data.aggregation_temporality == _DELTA
        for point in data.data_points:
            yield from _sum(one, point, deltas if delta else None, refusals)
    elif kind in ("histogram", "exponential_histogram"):
        delta = data.aggregation_temporality == _DELTA
        for point in data.data_points:
            yield from _histogram(
                one, point, deltas if delta else None, refusals, explicit=kind == "histogram"
            )
    elif kind == "summary":
        for point in data.data_points:
            yield from _summary(one, point)
    else:
        refusals.add("a metric without data of a known kind")


_FAMILIES: Final = {
    "gauge": "gauge",
    "sum": "gauge",
    "histogram": "histogram",
    "exponential_histogram": "histogram",
    "summary": "summary",
}


def _labels(metric: _Metric, point: Any, suffix: str = "", **more: str) -> dict[str, str]:
    own = label_names(attributes_of(point.attributes))
    merged = {**own, **metric.around, **more, NAME: metric.name + suffix}
    return {name: value for name, value in merged.items() if value}


def _at(point: Any) -> int:
    return int(point.time_unix_nano) // 1_000_000


def _value(point: Any) -> float | None:
    if point.flags & _NOTHING:
        return _ENDED
    kind = point.WhichOneof("value")
    return None if kind is None else float(getattr(point, kind))


def _number(metric: _Metric, point: Any, refusals: Refusals) -> Iterator[Sample]:
    value = _value(point)
    if value is None:
        refusals.add("a point has no value")
    else:
        yield _labels(metric, point), _at(point), value


def _sum(metric: _Metric, point: Any, deltas: Deltas | None, refusals: Refusals) -> Iterator[Sample]:
    if deltas is None or point.flags & _NOTHING:
        yield from _number(metric, point, refusals)
        return
    value = _value(point)
    if value is None or not math.isfinite(value):
        refusals.add("a point has no value")
        return
    labels, at = _labels(metric, point), _at(point)
    totals = deltas.add(tuple(sorted(labels.items())), at, {"sum": value})
    if totals is None:
        refusals.add(_AGAIN)
    else:
        yield labels, at, totals["sum"]


def _histogram(
    metric: _Metric, point: Any, deltas: Deltas | None, refusals: Refusals, *, explicit: bool
) -> Iterator[Sample]:
    labels, at = _labels(metric, point), _at(point)
    if point.flags & _NOTHING:
        for suffix in ("_count", "_sum"):
            yield _labels(metric, point, suffix), at, _ENDED
        return
    try:
        counts = (
            bucket_counts(point.explicit_bounds, point.bucket_counts)
            if explicit and point.bucket_counts
            else {float("inf"): float(point.count)}
            if explicit
            else exponential_counts(point)
        )
    except ValueError as problem:
        refusals.add(f"a histogram is not kept: {problem}")
        return
    amounts: dict[Hashable, float] = {(_BOUND, bound): count for bound, count in counts.items()}
    amounts["count"] = float(point.count)
    if point.HasField("sum"):
        amounts["sum"] = float(point.sum)
    if deltas is not None:
        totals = deltas.add(tuple(sorted(labels.items())), at, amounts)
        if totals is None:
            refusals.add(_AGAIN)
            return
        amounts = totals
    buckets = {name[1]: count for name, count in amounts.items() if isinstance(name, tuple)}
    for le, total in cumulative(buckets):
        yield _labels(metric, point, "_bucket", le=le), at, total
    yield _labels(metric, point, "_count"), at, amounts["count"]
    if "sum" in amounts:
        yield _labels(metric, point, "_sum"), at, amounts["sum"]


def _summary(metric: _Metric, point: Any) -> Iterator[Sample]:
    at = _at(point)
    for quantile in point.quantile_values:
        yield _labels(metric, point, quantile=bound_text(quantile.quantile)), at, quantile.value
    yield _labels(metric, point, "_count"), at, float(point.count)
    yield _labels(metric, point, "_sum"), at, float(point.sum)
