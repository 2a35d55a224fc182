"""What others push, over real HTTP: an OpenTelemetry SDK and a Prometheus as they are, and what is broken by hand."""

from __future__ import annotations

import gzip
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cramjam
import numpy as np
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from receiving_house import House, house, until

from opsbook.book.roles import Grant
from opsbook.promql.series import STALE
from opsbook.security.model import Identity
from opsbook.world.telemetry.receiving.unpacking import LARGEST
from opsbook.world.telemetry.receiving.wire import Status, WriteRequest

PROMETHEUS = shutil.which("prometheus")
PROTOBUF = {"content-type": "application/x-protobuf"}
SNAPPY = {**PROTOBUF, "content-encoding": "snappy", "x-prometheus-remote-write-version": "0.1.0"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as made:
        yield made


def write_request(*series: tuple[dict[str, str], list[tuple[int, float]]]) -> bytes:
    request = WriteRequest()
    for labels, samples in series:
        one = request.timeseries.add()
        for name, value in labels.items():
            one.labels.add(name=name, value=value)
        for at, value in samples:
            one.samples.add(timestamp=at, value=value)
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def now_ms() -> int:
    return int(time.time() * 1000)


# --- clients that nobody here wrote ---


def test_an_opentelemetry_application_sends_all_three_signals(served: House) -> None:
    """An application with the SDK as it is: its metrics can be asked for, its spans and its records belong together."""
    from opentelemetry._logs import SeverityNumber
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanKind, Status, StatusCode

    resource = Resource.create({
        "service.name": "shop", "service.instance.id": "shop-1", "service.version": "1.2",
        "deployment.environment.name": "production",
    })  # fmt: skip
    spans = TracerProvider(resource=resource)
    spans.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(f"{served.url}/v1/traces", compression=Compression.Gzip))
    )
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{served.url}/v1/metrics"), 600_000)
    meters = MeterProvider([reader], resource=resource)
    records = LoggerProvider(resource=resource)
    records.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(f"{served.url}/v1/logs")))

    meter, tracer = meters.get_meter("shop"), spans.get_tracer("shop.orders")
    orders = meter.create_counter("shop.orders", unit="{order}")
    seconds = meter.create_histogram("http.server.duration", unit="s")
    with tracer.start_as_current_span("POST /orders", kind=SpanKind.SERVER) as outer:
        outer.set_attribute("http.route", "/orders")
        with tracer.start_as_current_span("INSERT") as inner:
            inner.record_exception(ValueError("full"))
            inner.set_status(Status(StatusCode.ERROR, "no room"))
        orders.add(3, {"country": "ch"})
        seconds.record(0.2, {"http.route": "/orders"})
        records.get_logger("shop.log").emit(
            severity_number=SeverityNumber.ERROR, body="the order failed", attributes={"order": 17}
        )
    for provider in (spans, meters, records):
        assert provider.force_flush(10_000)
        provider.shutdown()

    place = {
        "job": "shop",
        "service": "shop",
        "instance": "shop-1",
        "environment": "production",
        "version": "1.2",
    }
    [(labels, value)] = served.value("shop_orders_total").items()
    assert (3.0, {**place, "country": "ch", "__name__": "shop_orders_total"}) == (value, dict(labels))
    [quantile] = served.value("http_server_duration_seconds_sum").values()
    assert quantile == pytest.approx(0.2)
    assert [1.0] == list(served.value('http_server_duration_seconds_bucket{le="+Inf"}').values())
    assert "python" == served.series("target_info")[0]["telemetry_sdk_language"]
    [found] = served.client.get("/api/monitoring/traces", params={"error": True}).json()["traces"]
    trace = served.client.get(f"/api/monitoring/traces/{found['trace_id']}").json()
    assert [("POST /orders", 0, "server"), ("INSERT", 1, "internal")] == [
        (span["name"], span["depth"], span["kind"]) for span in trace["spans"]
    ]
    assert ("no room", "ValueError") == (
        trace["spans"][1]["message"], trace["spans"][1]["events"][0]["attributes"]["exception.type"],
    )  # fmt: skip
    [record] = served.logs.records
    assert ("the order failed", "error", "shop", "production", "17", found["trace_id"]) == (
        record.text, record.level, record.service, record.environment, record.fields["order"], record.trace_id,
    )  # fmt: skip


@pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not here")
def test_a_prometheus_remote_writes(served: House, tmp_path: Path) -> None:
    """A Prometheus as it is scrapes itself and sends what it found; its metrics can be asked for here."""
    assert PROMETHEUS is not None
    (tmp_path / "p.yml").write_text(
        "global: {scrape_interval: 1s, external_labels: {cluster: old}}\n"
        f"remote_write: [{{url: '{served.url}/api/v1/write', metadata_config: {{send_interval: 1s}},"
        " queue_config: {batch_send_deadline: 200ms}}]\n"
        "scrape_configs: [{job_name: itself, static_configs: [{targets: ['127.0.0.1:0']}]}]\n"
    )
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(
            [PROMETHEUS, f"--config.file={tmp_path / 'p.yml'}", f"--storage.tsdb.path={tmp_path / 'data'}",
             "--web.listen-address=127.0.0.1:0", "--log.level=warn"],
            stdout=out, stderr=out,
        )  # fmt: skip
        try:
            until(lambda: served.value('up{cluster="old"}'))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
    [labels] = served.series('up{cluster="old"}')
    assert ("itself", "127.0.0.1:0") == (labels["job"], labels["instance"])
    assert "non-recoverable" not in (tmp_path / "out").read_text()


# --- remote write by hand ---


def test_samples_keep_their_times_and_the_mark_of_an_end(served: House) -> None:
    """What was sent can be asked for; after the mark the series is no more."""
    at, ended = now_ms(), float(np.array([STALE]).view(np.float64)[0])
    labels = {"__name__": "queue", "job": "j", "instance": "i"}
    sent = write_request(
        (labels, [(at - 20_000, 1.0), (at - 10_000, 2.0)]), ({**labels, "q": "b"}, [(at - 10_000, 7.0)])
    )
    assert 204 == served.client.post("/api/v1/write", content=sent, headers=SNAPPY).status_code
    assert {(): 9.0} == served.value("sum(queue)")
    sent = write_request((labels, [(at - 5000, ended)]))
    assert 204 == served.client.post("/prometheus/api/v1/write", content=sent, headers=SNAPPY).status_code
    assert {(): 7.0} == served.value("sum(queue)")


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"\xff\xff not snappy", SNAPPY, 400),
        (bytes(cramjam.snappy.compress_raw(b"\x0a\xff\xff\xff")), SNAPPY, 400),
        (b"\xff\xff\xff\xff\x0f", SNAPPY, 413),  # claims to be 4 GiB
        (b"", {**SNAPPY, "content-type": "text/plain"}, 415),
        (b"", {**SNAPPY, "content-encoding": "zstd"}, 415),
        (b"", {**SNAPPY, "content-type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}, 415),
    ],
)
def test_a_broken_write_is_not_to_be_sent_again(
    served: House, content: bytes, headers: dict[str, str], status: int
) -> None:
    """What cannot be read is said to be the sender's fault."""
    assert status == served.client.post("/api/v1/write", content=content, headers=headers).status_code


def test_what_is_wrong_in_a_batch_is_said_and_the_rest_is_kept(served: House) -> None:
    """A series without a name does not take the others with it."""
    at = now_ms()
    sent = write_request(({"job": "j"}, [(at, 1.0)]), ({"__name__": "fine"}, [(at, 1.0)]),
                         ({"__name__": "wide", **{f"l{n}": "x" for n in range(80)}}, [(at, 1.0)]))  # fmt: skip
    answer = served.client.post("/api/v1/write", content=sent, headers=SNAPPY)
    assert (400, "1: a series has no name; 1: a series has more than 64 labels") == (
        answer.status_code,
        answer.text,
    )
    assert 1 == len(served.series("fine"))


def test_a_flood_of_series_is_refused_loudly_and_others_are_kept(served: House) -> None:
    """Cardinality that explodes in one job is refused and named; another job goes on."""
    at = now_ms()
    refused = ""
    for batch in range(12):
        flood = [({"__name__": "m", "job": "bad", "id": f"{batch}-{n}"}, [(at, 1.0)]) for n in range(10_000)]
        answer = served.client.post("/api/v1/write", content=write_request(*flood), headers=SNAPPY)
        if answer.status_code == 400:
            refused = answer.text
            break
    assert "too many series from one job" in refused
    sent = write_request(({"__name__": "m", "job": "good"}, [(at, 1.0)]))
    assert 204 == served.client.post("/api/v1/write", content=sent, headers=SNAPPY).status_code


def test_a_clock_that_is_far_ahead_spoils_nothing(served: House) -> None:
    """What comes from the future is refused; what comes after it, with the right time, is kept."""
    labels = {"__name__": "m", "job": "j"}
    sent = write_request((labels, [(now_ms() + 86_400_000, 1.0)]))
    answer = served.client.post("/api/v1/write", content=sent, headers=SNAPPY)
    assert (400, "1: its time is more than 10 minutes ahead of ours") == (answer.status_code, answer.text)
    sent = write_request((labels, [(now_ms(), 2.0)]))
    assert 204 == served.client.post("/api/v1/write", content=sent, headers=SNAPPY).status_code
    assert [2.0] == list(served.value("m").values())


# --- OTLP by hand ---


def test_a_gzip_bomb_is_not_unpacked(served: House) -> None:
    """A small body that claims to be enormous is refused in its own protocol's words."""
    bomb = gzip.compress(bytes(LARGEST + 1024), 9)
    assert len(bomb) < LARGEST / 500
    for signal_ in ("metrics", "logs", "traces"):
        answer = served.client.post(
            f"/v1/{signal_}", content=bomb, headers={**PROTOBUF, "content-encoding": "gzip"}
        )
        assert 413 == answer.status_code
        assert "at most" in Status.FromString(answer.content).message


@pytest.mark.parametrize("signal_", ["metrics", "logs", "traces"])
def test_broken_protobuf_and_broken_json_are_the_senders_fault(served: House, signal_: str) -> None:
    """Neither is to be sent again, and each is answered in its own form."""
    answer = served.client.post(f"/v1/{signal_}", content=b"\x0a\xff\xff", headers=PROTOBUF)
    assert (400, 3) == (answer.status_code, Status.FromString(answer.content).code)
    for broken in (
        b"{",
        b"[]",
        b'{"resourceSpans": 3, "resourceLogs": 3, "resourceMetrics": 3}',
        b"[" * 100_000,
    ):
        answer = served.client.post(
            f"/v1/{signal_}", content=broken, headers={"content-type": "application/json"}
        )
        assert (400, 3) == (answer.status_code, answer.json()["code"])


def test_json_has_ids_in_hex(served: House) -> None:
    """OTLP's JSON is not protobuf's own."""
    at = time.time_ns()
    span = {"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "eee19b7ec3c1b174", "name": "hello", "kind": 2,
            "startTimeUnixNano": str(at), "endTimeUnixNano": str(at + 5_000_000),
            "attributes": [{"key": "list", "value": {"arrayValue": {"values": [{"intValue": "1"}]}}}]}  # fmt: skip
    body = {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": [span, {**span, "spanId": "00"}]}]}]}
    answer = served.client.post("/v1/traces", json=body)
    assert {"partialSuccess": {"rejectedSpans": "1", "errorMessage": "1: a span has no id"}} == answer.json()
    found = served.client.get("/api/monitoring/traces/5b8efff798038103d269b633813fc60c").json()
    assert [("eee19b7ec3c1b174", "server", {"list": "[1]"}, 0.005)] == [
        (one["span_id"], one["kind"], one["attributes"], one["seconds"]) for one in found["spans"]
    ]


def test_full_stores_ask_to_be_sent_to_again(served: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is answered with 503 and a time to wait; what is sent again later is kept."""
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.add().body.string_value = "hello"
    served.logs.full = True
    answer = served.client.post("/v1/logs", content=request.SerializeToString(), headers=PROTOBUF)
    assert (503, "5", 14) == (
        answer.status_code, answer.headers["retry-after"], Status.FromString(answer.content).code,
    )  # fmt: skip
    served.logs.full = False
    answer = served.client.post("/v1/logs", content=request.SerializeToString(), headers=PROTOBUF)
    assert (200, "hello") == (answer.status_code, served.logs.records[0].text)


def test_a_store_of_traces_on_a_full_disk_asks_to_be_sent_to_again(served: House) -> None:
    """SQLite's own word for a full disk reaches the sender as 503; afterwards everything goes on."""
    request = ExportTraceServiceRequest()
    span = (
        request.resource_spans.add()
        .scope_spans.add()
        .spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, name="x" * 900, start_time_unix_nano=time.time_ns())
    )
    for number in range(100):
        span.attributes.add(key=f"a{number}").value.string_value = "v" * 8000
    body = request.SerializeToString()
    connection = served.traces._connection
    [pages] = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    answer = served.client.post("/v1/traces", content=body, headers=PROTOBUF)
    assert (503, True) == (answer.status_code, "full" in Status.FromString(answer.content).message)
    connection.execute("PRAGMA max_page_count = 1000000")
    answer = served.client.post("/v1/traces", content=body, headers=PROTOBUF)
    assert (200, 0) == (
        answer.status_code, ExportTraceServiceResponse.FromString(answer.content).partial_success.rejected_spans,
    )  # fmt: skip


def test_points_that_are_not_kept_are_counted_and_explained(served: House) -> None:
    """Partial success: what was kept is kept, what was not is told."""
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    good, bad = metrics.add(name="good"), metrics.add(name="bad")
    good.gauge.data_points.add(time_unix_nano=time.time_ns(), as_double=1.5)
    bad.histogram.data_points.add(
        time_unix_nano=time.time_ns(), explicit_bounds=[1, 1], bucket_counts=[1, 2, 3]
    )
    answer = served.client.post("/v1/metrics", content=request.SerializeToString(), headers=PROTOBUF)
    told = ExportMetricsServiceResponse.FromString(answer.content).partial_success
    assert (200, 1) == (answer.status_code, told.rejected_data_points)
    assert "do not belong together" in told.error_message
    assert [1.5] == list(served.value("good").values())


def test_only_who_may_send_sends(served: House) -> None:
    """A sender may send and not look; a viewer may look and not send."""

    def person(role: str) -> Identity:
        grants = (Grant.model_validate({"role": role}),)
        return Identity(name="app", grants=grants, authenticated=True, via="token")

    for role, sends, looks in (("sender", 200, 403), ("viewer", 403, 200), ("operator", 200, 200)):
        served.who[0] = person(role)
        sent = served.client.post("/v1/traces", content=b"", headers=PROTOBUF).status_code
        looked = served.client.get("/api/monitoring/traces").status_code
        assert (sends, looks) == (sent, looked)


def test_too_much_at_once_is_told_to_come_again(served: House) -> None:
    """Slow bodies fill the places there are; the next sender is told to wait, and none waits for ever."""
    import socket

    host, _, port = served.url.removeprefix("http://").partition(":")
    slow = []

    def begin_slowly() -> None:
        connection = socket.create_connection((host, int(port)), timeout=10)
        connection.sendall(
            b"POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        )
        slow.append(connection)

    try:
        for _ in range(4):
            begin_slowly()
        answers: list[Any] = []

        def busy() -> bool:
            answers.append(served.client.post("/v1/logs", json={}))
            if answers[-1].status_code == 429:
                return True
            if len(slow) < 16:
                begin_slowly()  # one of them may have come while our own question had the last place, and was sent away
            return False

        until(busy)
        assert ("1", 8) == (answers[-1].headers["retry-after"], json.loads(answers[-1].content)["code"])
    finally:
        for connection in slow:
            connection.close()
    until(lambda: served.client.post("/v1/logs", json={}).status_code == 200)
