"""Routes for what others push: Prometheus' remote write, and OTLP over HTTP for metrics, logs and traces.

Senders of both protocols decide by the status what they do next: after 400, 413 and 415 they drop the batch, after 429
and 503 they send it again. So those are what is answered, in the bodies that each protocol wants.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from anyio import fail_after
from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.requests import ClientDisconnect

from opsbook.errors import Invalid, OpsbookError
from opsbook.security.api import requires
from opsbook.world.telemetry.receiving.unpacking import (
    LARGEST_PACKED,
    Malformed,
    TooLarge,
    Unsupported,
    unpacked,
)
from opsbook.world.telemetry.receiving.wire import Status
from opsbook.world.telemetry.receiving.words import Outcome

MOST_AT_ONCE: Final = 8  # requests being read or kept
LONGEST_SENDING: Final = 30.0  # seconds that a body may take to come
PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
_SIGNALS: Final[Mapping[str, tuple[Any, str]]] = {
    "metrics": (ExportMetricsServiceResponse, "rejected_data_points"),
    "logs": (ExportLogsServiceResponse, "rejected_log_records"),
    "traces": (ExportTraceServiceResponse, "rejected_spans"),
}


class Receiver(Protocol):
    """Keeps what comes; `opsbook.world.telemetry.receiving.receiver.Receiver` is one."""

    def remote_write(self, body: bytes) -> Outcome: ...

    def metrics(self, body: bytes, *, as_json: bool) -> Outcome: ...

    def logs(self, body: bytes, *, as_json: bool) -> Outcome: ...

    def traces(self, body: bytes, *, as_json: bool) -> Outcome: ...


class Busy(OpsbookError):
    """So much comes at once that this must come again."""

    http_status = 429


def router(receiver: Receiver, *, most: int = MOST_AT_ONCE) -> APIRouter:
    """``/api/v1/write``, ``/prometheus/api/v1/write``, ``/v1/metrics``, ``/v1/logs`` and ``/v1/traces``.

    All need the right to send, in every environment: what is sent says itself where it belongs.

    Args:
        most: requests at once; beyond, senders are told to come again.
    """
    routes = APIRouter(tags=["receiving"], dependencies=[requires("send")])
    door = _Door(most)

    async def write(request: Request) -> Response:
        """Prometheus' remote write, version 1."""
        try:
            _spoken(request, PROTOBUF)
            if "2.0.0" in request.headers.get("x-prometheus-remote-write-version", "") or "v2" in (
                request.headers.get("content-type", "")
            ):
                raise Unsupported(
                    "remote write 2 is not spoken here", hint="protobuf_message: prometheus.WriteRequest"
                )
            encoding = request.headers.get("content-encoding", "snappy")
            outcome = await door.through(request, encoding, receiver.remote_write)
        except OpsbookError as error:
            return _plainly(error)
        # A sender that is told 400 logs why and goes on with the next batch: what could be kept has been.
        return Response(outcome.why, 400) if outcome.rejected else Response(status_code=204)

    for path in ("/api/v1/write", "/prometheus/api/v1/write"):
        routes.add_api_route(path, write, methods=["POST"], response_model=None, name=path.strip("/"))
    for signal in _SIGNALS:
        routes.add_api_route(
            f"/v1/{signal}",
            _otlp(door, signal, getattr(receiver, signal)),
            methods=["POST"],
            response_model=None,
            name=f"otlp {signal}",
            summary=f"OTLP's {signal}, as protobuf or JSON.",
        )
    return routes


class _Door:
    """Lets only so many in at once: each holds a whole body in memory."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside = 0

    async def through(self, request: Request, encoding: str, keep: Callable[[bytes], Outcome]) -> Outcome:
        if self._inside >= self._most:
            raise Busy("too much is sent at once", hint="send it again in a moment")
        self._inside += 1
        try:
            packed = await _body(request)
            return await run_sync(lambda: keep(unpacked(packed, encoding)))
        finally:
            self._inside -= 1


async def _body(request: Request) -> bytes:
    claimed = request.headers.get("content-length", "")
    body = bytearray()
    too_large = TooLarge(f"at most {LARGEST_PACKED} bytes are taken at once", hint="send smaller batches")
    if claimed.isdigit() and int(claimed) > LARGEST_PACKED:
        raise too_large
    try:
        with fail_after(LONGEST_SENDING):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LARGEST_PACKED:
                    raise too_large
    except (TimeoutError, ClientDisconnect):
        raise Malformed(f"the body did not come within {LONGEST_SENDING:g} s", where="body") from None
    return bytes(body)


def _spoken(request: Request, *kinds: str) -> str:
    """The kind of the body. Raises Unsupported when it is none of `kinds`."""
    kind = request.headers.get("content-type", kinds[0]).partition(";")[0].strip().lower()
    if kind not in kinds:
        raise Unsupported(f"a body of {kind[:60]!r} is not understood", hint=f"send {' or '.join(kinds)}")
    return kind


def _otlp(door: _Door, signal: str, keep: Callable[..., Outcome]) -> Callable[[Request], object]:
    response, rejected = _SIGNALS[signal]

    async def respond(request: Request) -> Response:
        as_json = request.headers.get("content-type", "").startswith(JSON)
        try:
            _spoken(request, PROTOBUF, JSON)
            encoding = request.headers.get("content-encoding", "")
            outcome = await door.through(request, encoding, lambda body: keep(body, as_json=as_json))
        except OpsbookError as error:
            return _status(error, as_json=as_json)
        told = response()
        if outcome.rejected:
            setattr(told.partial_success, rejected, outcome.rejected)
            told.partial_success.error_message = outcome.why
        if not as_json:
            return Response(told.SerializeToString(), media_type=PROTOBUF)
        first, *rest = rejected.split("_")
        counted = first + "".join(word.capitalize() for word in rest)
        partial = {counted: str(outcome.rejected), "errorMessage": outcome.why}
        return Response(json.dumps({"partialSuccess": partial} if outcome.rejected else {}), media_type=JSON)

    return respond


def _code(error: OpsbookError) -> int:
    """The status by which a sender decides: its own fault, or ours, or of the moment."""
    if isinstance(error, Busy):
        return 429
    if isinstance(error, Invalid):
        return error.http_status if error.http_status in (400, 413, 415) else 400
    return 503


def _headers(code: int) -> dict[str, str]:
    return {"Retry-After": "5" if code == 503 else "1"} if code in (429, 503) else {}


def _said(error: OpsbookError) -> str:
    return f"{error}; {error.hint}" if error.hint else str(error)


def _plainly(error: OpsbookError) -> Response:
    code = _code(error)
    return Response(_said(error), code, _headers(code), media_type="text/plain")


def _status(error: OpsbookError, *, as_json: bool) -> Response:
    """A ``google.rpc.Status``: 3 is an invalid argument, 8 an exhausted resource, 14 something unavailable."""
    code = _code(error)
    number = {429: 8, 503: 14}.get(code, 3)
    if as_json:
        body = json.dumps({"code": number, "message": _said(error)}).encode()
    else:
        body = Status(code=number, message=_said(error)).SerializeToString()
    return Response(body, code, _headers(code), media_type=JSON if as_json else PROTOBUF)
