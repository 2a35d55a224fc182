"""Queries answered by another server that speaks Prometheus' HTTP API, behind the face of our own engine."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from opsbook.errors import Failed, Invalid, NotAllowed, Unreachable
from opsbook.promql.expression import Expression
from opsbook.promql.model import Matrix, Result, Samples, Scalar, Text, Value, Vector
from opsbook.promql.series import ABSENT, Labels, Matcher
from opsbook.world.telemetry.connection import tls_context
from opsbook.world.words import Tls

if TYPE_CHECKING:
    import httpx

_LOOK = "look at `monitoring: {metrics: URL}` in opsbook.yaml"
LARGEST_ANSWER = 256 * 1024 * 1024  # bytes
PAUSE = 2.0  # seconds for which a server that did not answer is not asked again


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a target says of a metric."""

    kind: str
    help: str = ""
    unit: str = ""


class RemoteQueries:
    """The face of `opsbook.promql.Engine` and of the storage's catalogue, over HTTP. Thread-safe.

    Args:
        url: what stands before ``/api/v1``.
        token: a bearer token; or
        user, password: for basic authentication.
        timeout: seconds that an answer may take.
        headers: further ones, such as a tenant. Asked for before each question, so that they may change.
        tls: who must vouch for the server.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        user: str = "",
        password: str = "",
        timeout: float = 30.0,
        headers: Callable[[], Mapping[str, str]] = dict,
        tls: Tls = Tls(),  # noqa: B008 - frozen
    ) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._own_headers = {
            "User-Agent": "opsbook",
            **({"Authorization": f"Bearer {token}"} if token else {}),
        }
        self._headers = headers
        self._tls = tls
        self._auth = (user, password) if user else None
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()
        self._silent, self._silent_until = "", 0.0

    @property
    def url(self) -> str:
        """What stands before ``/api/v1``."""
        return self._url

    def instant(self, query: str | Expression, at_ms: int) -> Result:
        """The answer at one time (milliseconds).

        Raises:
            Invalid: the server does not understand the query.
            Failed: it cannot answer it.
            Unreachable: it does not answer at all, or not in Prometheus' form.
            NotAllowed: it does not let us in.
        """
        return _result(self._ask("query", {"query": str(query), "time": _seconds(at_ms)}), None)

    def range(self, query: str | Expression, start_ms: int, end_ms: int, step_ms: int) -> Result:
        """The answer at every step; its value is a Matrix. Raises as `instant`."""
        if step_ms <= 0 or end_ms < start_ms:
            raise Invalid("the step must be positive and the end not before the start", where="step")
        asked = {"start": _seconds(start_ms), "end": _seconds(end_ms), "step": _seconds(step_ms)}
        return _result(self._ask("query_range", {"query": str(query), **asked}), (start_ms, end_ms, step_ms))

    def series(self, matchers: Sequence[Matcher], start: int, end: int) -> tuple[Labels, ...]:
        """The labels of every series that all matchers fit."""
        data = self._ask("series", {"match[]": _selector(matchers), **_between(start, end)})["data"]
        return tuple(dict(labels) for labels in data)

    def names(self, matchers: Sequence[Matcher], start: int, end: int) -> tuple[str, ...]:
        """The names of labels that such series have."""
        return tuple(self._ask("labels", {**_match(matchers), **_between(start, end)})["data"])

    def label_values(self, label: str, matchers: Sequence[Matcher], start: int, end: int) -> tuple[str, ...]:
        """The values that one label has in such series."""
        asked = {**_match(matchers), **_between(start, end)}
        return tuple(self._ask(f"label/{label}/values", asked, method="GET")["data"])

    def metadata(self, metric: str | None = None) -> dict[str, tuple[Metadata, ...]]:
        """What targets say of a metric, or of all of them, by name."""
        data = self._ask("metadata", {"metric": metric} if metric else {}, method="GET")["data"]
        return {
            name: tuple(
                Metadata(each["type"], each.get("help", ""), each.get("unit", "")) for each in entries
            )
            for name, entries in data.items()
        }

    def close(self) -> None:
        """Give the connections back."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _ask(self, path: str, form: Mapping[str, str], *, method: str = "POST") -> dict[str, Any]:
        import httpx

        with self._lock:
            silent = self._silent if time.monotonic() < self._silent_until else ""
        if silent:  # a hundred rules must not wait for it one after the other
            raise Unreachable(silent, where=self._url, hint=_LOOK)
        parameters = dict(form) if method == "GET" else None
        fields = None if method == "GET" else dict(form)
        try:
            with self._connected().stream(
                method,
                f"{self._url}/api/v1/{path}",
                headers=dict(self._headers()),
                params=parameters,
                data=fields,
            ) as response:
                return self._answer(response.status_code, self._body(response))
        except httpx.HTTPError as error:
            timed_out = isinstance(error, httpx.TimeoutException)
            words = re.sub(r"^\[Errno -?\d+\] ", "", str(error))
            said = f"no answer within {self._timeout:g} s" if timed_out else words[:1].lower() + words[1:]
            said = f"the metrics server does not answer: {said or type(error).__name__}"
            with self._lock:
                self._silent, self._silent_until = said, time.monotonic() + PAUSE
            raise Unreachable(said, where=self._url, hint=_LOOK) from error

    def _body(self, response: httpx.Response) -> bytes:
        """All of it, within the bounds of size and time."""
        parts, size, until = [], 0, time.monotonic() + self._timeout
        for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > LARGEST_ANSWER:
                raise Failed("the metrics server's answer is too large", where=self._url, hint="ask for less")
            if time.monotonic() > until:
                raise Unreachable(
                    f"the metrics server does not answer: it is not done after {self._timeout:g} s",
                    where=self._url,
                    hint=_LOOK,
                )
        return b"".join(parts)

    def _answer(self, status: int, content: bytes) -> dict[str, Any]:
        if status in (401, 403):
            raise NotAllowed(
                "the metrics server does not let us in",
                where=self._url,
                hint="give token, or user and password, beside its url in opsbook.yaml",
            )
        try:
            body = json.loads(content)
        except ValueError:
            body = None
        if not isinstance(body, dict) or body.get("status") not in ("success", "error"):
            raise Unreachable(
                f"this does not speak Prometheus' API: it answered {status}", where=self._url, hint=_LOOK
            )
        if body["status"] == "success":
            return body
        kind, said = str(body.get("errorType")), str(body.get("error"))
        if kind == "bad_data":
            raise Invalid(said, where=self._url)
        if kind in ("unavailable", "canceled"):
            raise Unreachable(said, where=self._url)
        raise Failed(said, where=self._url, details={"errorType": kind})

    def _connected(self) -> httpx.Client:
        import httpx

        with self._lock:
            if self._client is None:
                self._client = httpx.Client(
                    timeout=httpx.Timeout(self._timeout, connect=min(5.0, self._timeout)),
                    headers=self._own_headers,
                    auth=self._auth,
                    verify=tls_context(self._tls),
                )
            return self._client


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.3f}"


def _between(start: int, end: int) -> dict[str, str]:
    return {"start": _seconds(start), "end": _seconds(end)}


def _selector(matchers: Sequence[Matcher]) -> str:
    return "{" + ",".join(str(matcher) for matcher in matchers) + "}"


def _match(matchers: Sequence[Matcher]) -> dict[str, str]:
    return {"match[]": _selector(matchers)} if matchers else {}


def _result(body: Mapping[str, Any], steps: tuple[int, int, int] | None) -> Result:
    try:
        value = _value(body["data"], steps)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise Unreachable(f"the metrics server's answer cannot be read: {error}") from error
    return Result(value, tuple(body.get("warnings") or ()), tuple(body.get("infos") or ()))


def _value(data: Mapping[str, Any], steps: tuple[int, int, int] | None) -> Value:
    kind, found = data["resultType"], data["result"]
    if kind == "scalar":
        return Scalar(float(found[1]), _milliseconds(found[0]))
    if kind == "string":
        return Text(str(found[1]), _milliseconds(found[0]))
    series = tuple(dict(each["metric"]) for each in found)
    if kind == "vector":
        values = np.array([float(each["value"][1]) for each in found], np.float64)
        times = np.array([_milliseconds(each["value"][0]) for each in found], np.int64)
        return Vector(series, values, times)
    rows = tuple(
        (
            np.array([_milliseconds(at) for at, _ in each["values"]], np.int64),
            np.array([float(number) for _, number in each["values"]], np.float64),
        )
        for each in found
    )
    if steps is None:
        return Samples(series, rows)
    start, end, step = steps
    times = np.arange(start, end + 1, step)
    values = np.full((len(rows), times.size), ABSENT).view(np.float64)
    for row, (at, numbers) in enumerate(rows):
        values[row, (at - start) // step] = numbers
    return Matrix(series, times, values)


def _milliseconds(seconds: float) -> int:
    return round(float(seconds) * 1000)
