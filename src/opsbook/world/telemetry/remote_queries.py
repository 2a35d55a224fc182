"""Queries answered by another server that speaks Prometheus' HTTP API, behind the face of our own engine."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from opsbook.errors import Failed, Invalid, NotAllowed, Unreachable
from opsbook.promql.expression import Expression
from opsbook.promql.model import Matrix, Result, Samples, Scalar, Text, Value, Vector
from opsbook.promql.series import ABSENT, Labels, Matcher

if TYPE_CHECKING:
    import httpx

LARGEST_ANSWER = 256 * 1024 * 1024  # bytes


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
        headers: further ones, such as a tenant.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        user: str = "",
        password: str = "",
        timeout: float = 30.0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._headers = dict(headers or {})
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._auth = (user, password) if user else None
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()

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

        url = f"{self._url}/api/v1/{path}"
        try:
            if method == "GET":
                response = self._connected().get(url, params=dict(form))
            else:
                response = self._connected().post(url, data=dict(form))
        except httpx.HTTPError as error:
            raise Unreachable(
                f"the metrics server does not answer: {error or type(error).__name__}",
                where=self._url,
                hint="look at `monitoring: {metrics: URL}` in opsbook.yaml",
            ) from error
        return self._answer(response)

    def _answer(self, response: httpx.Response) -> dict[str, Any]:
        if response.status_code in (401, 403):
            raise NotAllowed("the metrics server does not let us in", where=self._url)
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict) or body.get("status") not in ("success", "error"):
            raise Unreachable(
                f"this does not speak Prometheus' API: it answered {response.status_code}", where=self._url
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
                    timeout=httpx.Timeout(self._timeout, connect=5.0), headers=self._headers, auth=self._auth
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
