"""Everything that is pushed comes through here: unpacked, read, kept, and told what became of it."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from opsbook.world.logs.words import LogSink
from opsbook.world.telemetry.receiving.deltas import Deltas
from opsbook.world.telemetry.receiving.otlp import read_request
from opsbook.world.telemetry.receiving.otlp_logs import read_logs
from opsbook.world.telemetry.receiving.otlp_metrics import read_metrics
from opsbook.world.telemetry.receiving.otlp_traces import read_traces
from opsbook.world.telemetry.receiving.remote_write import read_write_request
from opsbook.world.telemetry.receiving.words import Outcome, Pushed
from opsbook.world.telemetry.storage import Storage
from opsbook.world.traces.words import SpanSink

AHEAD = 600.0  # seconds: what clocks may differ


class Receiver:
    """Takes the bodies of requests, already unpacked. Thread-safe.

    Every method raises Malformed when a body cannot be read, and what the stores raise when they cannot keep anything:
    then nothing was taken, and sending it again is right.

    Args:
        storage: for samples. logs: for records. traces: for spans.
        now: epoch seconds.
    """

    def __init__(
        self, storage: Storage, logs: LogSink, traces: SpanSink, *, now: Callable[[], float]
    ) -> None:
        self._storage = storage
        self._logs = logs
        self._traces = traces
        self._now = now
        self._deltas = Deltas()

    def remote_write(self, body: bytes) -> Outcome:
        """Prometheus' remote write 1.0."""
        return self._keep(read_write_request(body))

    def metrics(self, body: bytes, *, as_json: bool) -> Outcome:
        """OTLP's metrics. Counted are samples, of which a histogram's point has one for each bucket."""
        request = read_request(body, ExportMetricsServiceRequest, as_json=as_json)
        return self._keep(read_metrics(request, self._deltas))

    def logs(self, body: bytes, *, as_json: bool) -> Outcome:
        """OTLP's logs."""
        request = read_request(body, ExportLogsServiceRequest, as_json=as_json)
        records = read_logs(request, int(self._now() * 1000))
        kept = self._logs.write(records) if records else 0
        refused = len(records) - kept
        return Outcome(kept, refused, f"{refused}: more than is kept" if refused else "")

    def traces(self, body: bytes, *, as_json: bool) -> Outcome:
        """OTLP's traces."""
        spans, refusals = read_traces(read_request(body, ExportTraceServiceRequest, as_json=as_json))
        kept = self._traces.write(spans) if spans else 0
        refusals.add("the trace has as many spans as are kept of one", len(spans) - kept)
        return Outcome(kept, refusals.total, str(refusals))

    def _keep(self, pushed: Pushed) -> Outcome:
        if pushed.described:
            with self._storage.hot.lock:
                for name, said in pushed.described:
                    self._storage.hot.metadata.add(name, said)
        refusals = pushed.refusals
        latest = int((self._now() + AHEAD) * 1000)
        sane = [one for one in pushed.series if one[1].max() <= latest]
        # One sample of the far future would make all that comes after it too old.
        refusals.add(
            f"its time is more than {AHEAD // 60:g} minutes ahead of ours", len(pushed.series) - len(sane)
        )
        received = self._storage.receive(sane)
        refusals.add(
            "too many series from one job and instance: are there ids or times in labels?", received.refused
        )
        refusals.add("there is another value at that time", received.out_of_order)
        refusals.add("older than what can still be placed", received.too_old)
        return Outcome(received.accepted, refusals.total, str(refusals))
