"""How OpenTelemetry's metrics and records become series and log records."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint

from opsbook.errors import Invalid
from opsbook.promql.series import is_stale
from opsbook.world.telemetry.receiving.deltas import Deltas
from opsbook.world.telemetry.receiving.histograms import cumulative, exponential_counts
from opsbook.world.telemetry.receiving.names import label_names, metric_name
from opsbook.world.telemetry.receiving.otlp_logs import read_logs
from opsbook.world.telemetry.receiving.otlp_metrics import read_metrics
from opsbook.world.telemetry.receiving.unpacking import unpacked

S = 1_000_000_000


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("http.server.duration", "s", "", "http_server_duration_seconds"),
        ("http.server.duration.seconds", "s", "", "http_server_duration_seconds"),
        ("requests", "{request}", "counter", "requests_total"),
        ("requests.total", "1", "counter", "requests_total"),
        ("io", "By", "counter", "io_bytes_total"),
        ("net.speed", "By/s", "gauge", "net_speed_bytes_per_second"),
        ("cpu.utilization", "1", "gauge", "cpu_utilization_ratio"),
        ("2xx", "", "counter", "_2xx_total"),
        ("über-metric", "", "", "ber_metric"),
        ("a:b", "ms", "", "a:b_milliseconds"),
    ],
)
def test_names_follow_the_specification(name: str, unit: str, kind: str, expected: str) -> None:
    """Units and ``_total`` are added once."""
    assert expected == metric_name(name, unit, counter=kind == "counter", gauge=kind == "gauge")


def test_attributes_that_become_one_label_share_it() -> None:
    """Their values stand side by side; names that are reserved are not taken."""
    assert {"a_b": "1;2", "key_9": "x", "key__name__": "y"} == label_names(
        {"a.b": "1", "a_b": "2", "9": "x", "__name__": "y"}
    )


def series_of(request: ExportMetricsServiceRequest, deltas: Deltas | None = None) -> dict[str, float]:
    pushed = read_metrics(request, deltas or Deltas())
    found = {}
    for labels, _, values in pushed.series:
        shown = ",".join(f"{name}={value}" for name, value in sorted(labels.items()) if name != "__name__")
        found[f"{labels['__name__']}{{{shown}}}"] = values[0]
    return found


def one_metric(**metric: Any) -> tuple[ExportMetricsServiceRequest, Any]:
    request = ExportMetricsServiceRequest()
    return request, request.resource_metrics.add().scope_metrics.add().metrics.add(**metric)


def test_deltas_are_summed_up_and_count_once() -> None:
    """A batch that is sent again adds nothing."""
    deltas = Deltas()
    for at, value, expected in ((1, 5, 5.0), (2, 7, 12.0)):
        request, metric = one_metric(name="jobs")
        metric.sum.is_monotonic, metric.sum.aggregation_temporality = True, 1
        metric.sum.data_points.add(time_unix_nano=at * S, as_int=value)
        assert {"jobs_total{}": expected} == series_of(request, deltas)
        assert {} == series_of(request, deltas)
        assert 1 == read_metrics(request, deltas).refusals.total


def test_deltas_of_histograms_are_summed_up_by_bucket() -> None:
    """Also when the buckets of an exponential one move."""
    deltas, found = Deltas(), {}
    for at, offset in ((1, 0), (2, 2)):
        request, metric = one_metric(name="t")
        metric.exponential_histogram.aggregation_temporality = 1
        metric.exponential_histogram.data_points.add(
            time_unix_nano=at * S,
            scale=0,
            count=3,
            sum=4,
            positive={"offset": offset, "bucket_counts": [1, 2]},
        )
        found = series_of(request, deltas)
    assert {
        "t_bucket{le=2.0}": 1, "t_bucket{le=4.0}": 3, "t_bucket{le=8.0}": 4, "t_bucket{le=16.0}": 6,
        "t_bucket{le=+Inf}": 6, "t_count{}": 6, "t_sum{}": 8,
    } == found  # fmt: skip


def test_the_longest_unheard_of_delta_is_forgotten() -> None:
    """Memory is bounded, whatever comes."""
    deltas = Deltas(most=2)
    for series in ("a", "b", "a", "c"):
        deltas.add(series, 10 if series != "a" else len(deltas._totals) + 1, {"sum": 1.0})
    assert {"a", "c"} == set(deltas._totals)


@given(st.integers(-3, 8), st.integers(-40, 40), st.lists(st.integers(0, 50), max_size=60))
def test_exponential_buckets_lose_nothing(scale: int, offset: int, counts: list[int]) -> None:
    """All that was counted is below infinity, and the counts only grow."""
    point = ExponentialHistogramDataPoint(
        scale=scale, zero_count=2, positive={"offset": offset, "bucket_counts": counts},  # type: ignore[arg-type]
    )  # fmt: skip
    found = cumulative(exponential_counts(point))
    totals = [total for _, total in found]
    assert ("+Inf", sum(counts) + 2) == found[-1]
    assert totals == sorted(totals)


def test_fine_buckets_are_merged_exactly() -> None:
    """At scale 3 eight buckets are between 1 and 2; the square root of 2 is a bound of both."""
    point = ExponentialHistogramDataPoint(scale=3, positive={"offset": 0, "bucket_counts": [1] * 8})  # type: ignore[arg-type]
    assert [("1.4142135623730951", 4.0), ("2.0", 8.0), ("+Inf", 8.0)] == cumulative(exponential_counts(point))


def test_resources_say_who_and_everything_else_is_info() -> None:
    """``job`` and ``instance`` as the specification has them, beside opsbook's own labels."""
    request, metric = one_metric(name="x")
    for name, value in (("service.namespace", "shop"), ("service.name", "api"), ("deployment.environment", "staging"),
                        ("os.type", "linux")):  # fmt: skip
        request.resource_metrics[0].resource.attributes.add(key=name).value.string_value = value
    metric.gauge.data_points.add(time_unix_nano=S, as_int=1)
    info, found = sorted(series_of(request), key=lambda name: not name.startswith("target_info"))
    assert "x{environment=staging,job=shop/api,service=api}" == found
    assert "os_type=linux" in info


def test_summaries_and_what_was_not_recorded() -> None:
    """Quantiles are labels; a point without a value ends the series."""
    request, metric = one_metric(name="q")
    metric.summary.data_points.add(
        time_unix_nano=S, count=2, sum=3, quantile_values=[{"quantile": 0.5, "value": 1}]
    )
    assert {"q{quantile=0.5}": 1, "q_count{}": 2, "q_sum{}": 3} == series_of(request)
    request, metric = one_metric(name="g")
    metric.gauge.data_points.add(time_unix_nano=S, flags=1)
    [(_, _, values)] = read_metrics(request, Deltas()).series
    assert is_stale(values).all()


def test_records_without_a_time_or_a_level() -> None:
    """What is missing is taken from elsewhere, or left empty; nothing is made up."""
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add(scope={"name": "app"}).log_records
    records.add(body={"string_value": "a"})
    records.add(body={"kvlist_value": {"values": [{"key": "k", "value": {"int_value": 1}}]}}, severity_text="WARN",
                observed_time_unix_nano=5 * S, trace_id=bytes(16))  # fmt: skip
    records.add(event_name="paid", severity_number=21, time_unix_nano=6 * S, trace_id=b"\x01" * 16)
    found = read_logs(request, 99)
    assert [(99, "", "a"), (5000, "warning", '{"k":1}'), (6000, "critical", "paid")] == [
        (one.at_ms, one.level, one.text) for one in found
    ]
    assert ["", "", "01" * 16] == [one.trace_id for one in found]
    assert {"logger": "app", "event": "paid"} == found[2].fields


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "snappy", "identity"]))
def test_any_bytes_are_unpacked_or_refused(body: bytes, encoding: str) -> None:
    """Never anything else."""
    try:
        size = len(unpacked(body, encoding, largest=1000))
    except Invalid as error:
        size = {400: 0, 413: 0}[error.http_status]
    assert size <= 1000
