"""Prometheus' remote write 1.0: the body of a request as series. Pure."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError

from opsbook.world.telemetry.metadata import Metadata
from opsbook.world.telemetry.receiving.labels import problem_with
from opsbook.world.telemetry.receiving.unpacking import Malformed
from opsbook.world.telemetry.receiving.wire import WriteRequest
from opsbook.world.telemetry.receiving.words import Pushed, Refusals, Series

_TYPES: Final = ("unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset")


def read_write_request(body: bytes) -> Pushed:
    """What an unpacked body says. Samples keep their bits: the marker of a series' end is one of them.

    Raises:
        Malformed: it is no ``prometheus.WriteRequest``.
    """
    try:
        request = WriteRequest.FromString(body)
    except DecodeError:
        raise Malformed("the body is no prometheus.WriteRequest", where="body") from None
    refusals = Refusals()
    series = [found for one in request.timeseries if (found := _series(one, refusals)) is not None]
    described = [
        (said.metric_family_name, Metadata(_kind(said.type), said.help[:1000], said.unit))
        for said in request.metadata
        if said.metric_family_name
    ]
    return Pushed(series, described, refusals)


def _series(one: Any, refusals: Refusals) -> Series | None:
    labels = {label.name: label.value for label in one.labels if label.value}
    samples = one.samples
    refusals.add("native histograms are not kept", len(one.histograms))
    if problem := problem_with(labels):
        refusals.add(problem, len(samples))
        return None
    if not samples:
        return None
    times = np.fromiter((sample.timestamp for sample in samples), np.int64, len(samples))
    values = np.fromiter((sample.value for sample in samples), np.float64, len(samples))
    return labels, times, values


def _kind(number: int) -> str:
    return _TYPES[number] if 0 <= number < len(_TYPES) else "unknown"
