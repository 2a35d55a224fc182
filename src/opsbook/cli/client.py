"""The server's API over http.client: light enough for every command, on the Unix socket or over TCP."""

from __future__ import annotations

import contextlib
import getpass
import http.client
import json
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from opsbook.errors import Failed, Invalid, OpsbookError, Unreachable, from_json

ANSWER_SECONDS = 60.0
RECONNECT_SECONDS = 0.3


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is: a Unix socket's path, or a URL with a token."""

    socket: str = ""
    url: str = ""
    token: str = ""

    def connect(self, timeout: float | None) -> http.client.HTTPConnection:
        if self.socket:
            return _UnixConnection(self.socket, timeout)
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise Invalid(f"expected a URL, got {self.url!r}", hint="--server http://127.0.0.1:7373")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(parts.hostname, parts.port, timeout=timeout)

    def headers(self) -> dict[str, str]:
        authorization = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {"Accept": "application/json", "X-Opsbook-Actor": user_name(), **authorization}

    def __str__(self) -> str:
        return self.url or self.socket


def user_name() -> str:
    """The name that the journal writes down."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        name = f"uid-{os.getuid()}"
    return name.encode("ascii", "replace").decode("ascii")


class Client:
    """The API of one server; see `opsbook.terminal.Api`.

    Args:
        find: where the server is now, asked for every connection because it may have come back elsewhere;
            raises Unreachable when there is none.
    """

    def __init__(self, find: Callable[[], Address]) -> None:
        self._find = find

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        return self._ask("GET", _address(path, query))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._ask("POST", path, body)

    def delete(self, path: str) -> Any:
        return self._ask("DELETE", path)

    def lines(self, path: str, query: Mapping[str, Any] | None = None) -> Iterator[str]:
        connection, response = self._send("GET", _address(path, query), timeout=None)
        try:
            yield from _lines(response)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(
                "the connection to the opsbook server was lost",
                where=str(self._find()),
                hint="opsbook up --detach",
            ) from error
        finally:
            connection.close()

    def events(
        self,
        *,
        after: int | None = None,
        kinds: str | None = None,
        subject: str | None = None,
        wanted: Callable[[dict[str, Any]], bool] | None = None,
        gap: float = 0.0,
    ) -> Iterator[dict[str, Any] | None]:
        arrived: queue.Queue[dict[str, Any]] = queue.Queue(maxsize=10_000)
        ended = threading.Event()
        # http.client cannot resume a read that timed out, so the stream is read in a thread of its own.
        reader = threading.Thread(
            target=self._read_events, args=(arrived, ended, after, kinds, subject), daemon=True
        )
        reader.start()
        told = time.monotonic()
        try:
            while True:
                try:
                    event = arrived.get(timeout=1.0)
                except queue.Empty:
                    yield None
                    continue
                if wanted is not None and not wanted(event):
                    continue
                if gap:
                    time.sleep(max(0.0, told + gap - time.monotonic()))
                    for later in _arrived(arrived):
                        event = later if wanted is None or wanted(later) else event
                yield event
                told = time.monotonic()
        finally:
            ended.set()

    def _read_events(
        self,
        arrived: queue.Queue[dict[str, Any]],
        ended: threading.Event,
        after: int | None,
        kinds: str | None,
        subject: str | None,
    ) -> None:
        while not ended.is_set():
            connection = None
            try:
                query = {"after": after, "kinds": kinds, "subject": subject}
                connection, response = self._send("GET", _address("/api/events", query), timeout=40.0)
                for line in _lines(response):
                    if ended.is_set():
                        return
                    if line.startswith("data: "):
                        event = json.loads(line.removeprefix("data: "))
                        after = event["id"]
                        arrived.put(event)
            except (OpsbookError, OSError, http.client.HTTPException, ValueError):
                pass  # gone for now: whoever waits is woken each second, asks, and is told
            finally:
                if connection is not None:
                    connection.close()
            ended.wait(RECONNECT_SECONDS)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        connection, response = self._send(method, path, body)
        try:
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(method, path) from error
        finally:
            connection.close()
        try:
            return json.loads(content) if content else None
        except ValueError:
            raise Failed(
                "the answer of the server is not JSON: is it an opsbook?", where=str(self._find())
            ) from None

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = ANSWER_SECONDS,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """A connection and its response, whose status is a success."""
        address = self._find()
        connection = address.connect(timeout)
        try:
            connection.connect()
        except OSError as error:
            raise Unreachable(
                f"the opsbook server does not answer: {error.strerror or error}",
                where=str(address),
                hint="opsbook up --detach"
                if address.socket
                else "check the address and that the server runs",
            ) from None
        try:
            headers = address.headers()
            if body is None:
                connection.request(method, path, headers=headers)
            else:
                connection.request(
                    method, path, json.dumps(body), {**headers, "Content-Type": "application/json"}
                )
            response = connection.getresponse()
            if response.status < 400:
                return connection, response
            raise _said(response.read(), response.status, address)
        except (OSError, http.client.HTTPException):
            connection.close()
            raise self._lost(method, path) from None
        except OpsbookError:
            connection.close()
            raise

    def _lost(self, method: str, path: str) -> Unreachable:
        doubt = " before it answered; the request may have been carried out" if method != "GET" else ""
        return Unreachable(
            f"the opsbook server ended the connection{doubt}",
            where=path,
            hint="look what happened: opsbook status",
        )


def _address(path: str, query: Mapping[str, Any] | None) -> str:
    given = {name: value for name, value in (query or {}).items() if value is not None}
    plain = {name: str(value).lower() if isinstance(value, bool) else value for name, value in given.items()}
    return f"{path}?{urlencode(plain, doseq=True)}" if plain else path


def _said(content: bytes, status: int, address: Address) -> OpsbookError:
    try:
        return from_json(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return Failed(f"the server answered with status {status}: is it an opsbook?", where=str(address))


def _arrived(events: queue.Queue[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What is there already."""
    with contextlib.suppress(queue.Empty):
        while True:
            yield events.get_nowait()


def _lines(response: http.client.HTTPResponse) -> Iterator[str]:
    while line := response.readline():
        yield line.decode("utf-8", "replace").rstrip("\r\n")
