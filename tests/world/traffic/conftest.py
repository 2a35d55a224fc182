"""A real Envoy and small real servers behind it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest
import websockets.asyncio.server

from opsbook.world.hosts.clock import SystemClock
from opsbook.world.traffic.envoy import EnvoyTraffic
from opsbook.world.words import (
    Address,
    Backend,
    Endpoint,
    HealthCheck,
    Listener,
    Protocol_,
    Route,
    RouteTable,
    Split,
)


def until(condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
    """Poll `condition` until it holds; fail the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Upstreams:
    """Servers that answer with their name, in one event loop of a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._servers: dict[int, tuple[object, set[asyncio.StreamWriter]]] = {}
        self.release = threading.Event()  # lets /slow answer
        self.poisoned: list[str] = []  # whom /poison has reached

    def close(self) -> None:
        self.release.set()
        for port in list(self._servers):
            self.kill(port)
        asyncio.run_coroutine_threadsafe(self._end_tasks(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _end_tasks(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def http(self, name: str, port: int = 0) -> Address:
        """HTTP/1.1: the name; `/slow` once released, `/path` its own path, `/fail` 500; "broken" is always 503.

        `/head` is answered with what was received.

        `/poison` cuts the connection, as an instance does that dies of a request.
        """
        return self._serve(lambda reader, writer: self._http(name, reader, writer), port)

    def tcp(self, name: str) -> Address:
        """Says its name, then echoes."""

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(f"{name}\n".encode())
            while data := await reader.read(1000):
                writer.write(data)

        return self._serve(talk)

    def http2(self, name: str) -> Address:
        """HTTP/2 with the trailers of gRPC."""
        return self._serve(lambda reader, writer: self._http2(name, reader, writer))

    def websocket(self, name: str) -> Address:
        """A WebSocket that says its name and echoes."""

        async def talk(connection: websockets.asyncio.server.ServerConnection) -> None:
            await connection.send(name)
            async for message in connection:
                await connection.send(message)

        async def serve() -> int:
            server = await websockets.asyncio.server.serve(talk, "127.0.0.1", 0)
            port = int(next(iter(server.sockets)).getsockname()[1])
            self._servers[port] = (server, set())
            return port

        return Address("127.0.0.1", asyncio.run_coroutine_threadsafe(serve(), self.loop).result(5))

    def kill(self, port: int) -> None:
        """End a server as kill -9 would: listening socket and connections are gone at once."""

        async def end() -> None:
            server, writers = self._servers.pop(port)
            server.close()  # type: ignore[attr-defined]
            for writer in writers:
                writer.transport.abort()

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(5)

    def _serve(self, talk: Callable[..., object], port: int = 0) -> Address:
        writers: set[asyncio.StreamWriter] = set()

        async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.add(writer)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await talk(reader, writer)  # type: ignore[misc]
            writers.discard(writer)
            writer.close()

        async def serve() -> int:
            server = await asyncio.start_server(guarded, "127.0.0.1", port)
            bound = int(server.sockets[0].getsockname()[1])
            self._servers[bound] = (server, writers)
            return bound

        return Address("127.0.0.1", asyncio.run_coroutine_threadsafe(serve(), self.loop).result(5))

    async def _http(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ")[1]
            while path == "/slow" and not self.release.is_set():
                await asyncio.sleep(0.01)
            if path == "/poison":
                self.poisoned.append(name)
                writer.transport.abort()
                return
            body = {"/pat": path, "/hea": head}.get(path[:4], name)
            status = "500 Internal Server Error" if path == "/fail" else "200 OK"
            if name == "broken" and path != "/healthz":
                status = "503 Service Unavailable"
            writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())

    async def _http2(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.StreamEnded):
                    stream = event.stream_id
                    connection.send_headers(
                        stream, [(":status", "200"), ("content-type", "application/grpc")]
                    )
                    connection.send_data(stream, name.encode())
                    connection.send_headers(stream, [("grpc-status", "0")], end_stream=True)
            writer.write(connection.data_to_send())


class Stage:
    """One Envoy with one HTTP and one TCP port, and short words for tables."""

    def __init__(self, traffic: EnvoyTraffic, upstreams: Upstreams) -> None:
        self.traffic = traffic
        self.upstreams = upstreams
        self.port = free_port()
        self.tcp_port = free_port()

    def backend(
        self, release: str, *addresses: Address, protocol: Protocol_ = "http", **more: object
    ) -> Backend:
        endpoints = tuple(Endpoint(f"{release}-{n}", address) for n, address in enumerate(addresses))
        health = HealthCheck("http", path="/healthz") if protocol == "http" else HealthCheck("tcp")
        return Backend(f"test/web/{release}", protocol, endpoints, **{"health": health, **more})  # type: ignore[arg-type]

    def table(self, weights: dict[str, int], *backends: Backend, **route: object) -> RouteTable:
        split = Split(tuple((f"test/web/{release}", weight) for release, weight in weights.items()))
        return self.routes((Route("web", split, **route),), *backends)  # type: ignore[arg-type]

    def routes(self, routes: tuple[Route, ...], *backends: Backend) -> RouteTable:
        listener = Listener("test", Address("127.0.0.1", self.port), "http", routes)
        return RouteTable((listener,), backends)

    def serve(self, table: RouteTable) -> int:
        generation = self.traffic.apply(table)
        self.traffic.confirm(generation)
        return generation

    def get(self, path: str = "/", *, host: str = "localhost") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path, headers={"Host": host})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def ask(self, path: str = "/", **headers: str) -> tuple[str, str | None]:
        """The body, and the cookie that came with it; `_` in the name of a header stands for `-`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(
                "GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()}
            )
            response = connection.getresponse()
            return response.read().decode(), response.headers["set-cookie"]
        finally:
            connection.close()

    def post_http2(self) -> tuple[str, bytes, dict[str, str]]:
        """One POST of HTTP/2 with prior knowledge: status, body, trailers."""
        return http2_request(self.port)


def http2_request(port: int) -> tuple[str, bytes, dict[str, str]]:
    """One POST with prior knowledge: status, body, trailers."""
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    connection.send_headers(
        1,
        [
            (":method", "POST"),
            (":path", "/web.Echo/Say"),
            (":scheme", "http"),
            (":authority", "localhost"),
            ("te", "trailers"),
        ],
    )
    connection.end_stream(1)
    status, body, trailers = "", b"", {}
    with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        peer.sendall(connection.data_to_send())
        while data := peer.recv(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    status = text(dict(event.headers)[b":status"])
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.TrailersReceived):
                    trailers = {text(name): text(value) for name, value in event.headers}
                elif isinstance(event, h2.events.StreamEnded):
                    return status, body, trailers
            peer.sendall(connection.data_to_send())
    raise AssertionError("the stream did not end")


def text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


@pytest.fixture(scope="session", name="until")
def until_fixture() -> Callable[..., None]:
    return until


@pytest.fixture(scope="session")
def clock() -> SystemClock:
    return SystemClock()


@pytest.fixture
def state() -> Iterator[Path]:
    """A folder with a short path, as the admin socket lies in it."""
    folder = Path(tempfile.mkdtemp(prefix="traffic-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def upstreams() -> Iterator[Upstreams]:
    servers = Upstreams()
    yield servers
    servers.close()


@pytest.fixture(scope="module")
def stage(upstreams: Upstreams, clock: SystemClock) -> Iterator[Stage]:
    """One running Envoy for a module's tests."""
    folder = Path(tempfile.mkdtemp(prefix="traffic-", dir="/tmp"))
    traffic = EnvoyTraffic(folder, clock, concurrency=2)
    traffic.ensure()
    yield Stage(traffic, upstreams)
    traffic.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def stage_of() -> type[Stage]:
    return Stage
