"""Requests that opsbook makes itself: their rate, their end, and targets that misbehave."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from opsbook.errors import Invalid
from opsbook.world.traffic.synthetic import SyntheticLoad
from opsbook.world.words import TRIAL_HEADER, Address, Pin, Route, Split


class Target(ThreadingHTTPServer):
    """Remembers when it was asked, by whom, for what."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[float, int, str, dict[str, str]]] = []
        self.hang = threading.Event()
        self.address = Address("127.0.0.1", self.server_address[1])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Target

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((time.monotonic(), self.client_address[1], self.path, headers))
        if self.path == "/hang":
            self.server.hang.wait(30)
        if self.path == "/endless":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            while not self.server.hang.is_set():
                try:
                    self.wfile.write(b"x" * 65536)
                except OSError:
                    return
        if self.path == "/cut":
            self.close_connection = True
            return
        self.send_response(500 if self.path == "/fail" else 200)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"2\r\nok\r\n0\r\n\r\n")
            return
        self.send_header("Content-Length", "2")
        self.end_headers()
        with suppress(OSError):  # who asked may be gone
            self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def target() -> Iterator[Target]:
    with Target() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.hang.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def load(clock) -> Iterator[SyntheticLoad]:
    made = SyntheticLoad(clock)
    yield made
    made.close()
    assert frozenset() == made.keys()


@pytest.mark.parametrize("path", ["/page?x=1", "/chunked", "/fail"])
def test_requests_at_a_rate_on_one_connection(target, load, until, path):
    """Never faster than asked for, with the headers given, on a connection that is kept."""
    began = time.monotonic()
    load.start("d-1", target.address, "shop.example.com", path, 50, {TRIAL_HEADER: "secret"})
    until(lambda: len(target.asked) >= 20)
    load.stop("d-1")
    assert all(at - began >= number / 50 for number, (at, *_) in enumerate(target.asked))
    assert 1 == len({port for _, port, *_ in target.asked})
    assert {path} == {found for _, _, found, _ in target.asked}
    headers = target.asked[-1][3]
    assert ("shop.example.com", "secret") == (headers["host"], headers[TRIAL_HEADER])
    assert 1 == sum(1 for name in headers if name == "host")


def test_it_ends_and_begins_anew(target, load, until):
    """After a stop nothing comes; the same start twice is one; another start takes the place of the first."""
    start = (target.address, "a", "/one", 100.0, {})
    load.start("d-1", *start)
    load.start("d-1", *start)
    until(lambda: len(target.asked) >= 10)
    assert 1 == len({port for _, port, *_ in target.asked})
    load.start("d-1", target.address, "a", "/two", 100.0, {})
    until(lambda: target.asked[-1][2] == "/two")
    count = sum(1 for *_, path, _ in target.asked if path == "/one")
    load.start("d-2", target.address, "a", "/three", 100.0, {})
    assert {"d-1", "d-2"} == load.keys()
    until(lambda: any(path == "/three" for *_, path, _ in target.asked))
    assert count == sum(1 for *_, path, _ in target.asked if path == "/one")
    load.stop("d-1")
    load.stop("d-1")
    load.stop("never there")
    assert {"d-2"} == load.keys()
    load.stop("d-2")
    seen = len(target.asked)
    threading.Event().wait(0.1)  # ten times the distance of the requests
    assert seen == len(target.asked)


def test_a_target_that_hangs_has_one_request(target, load, until):
    """Nothing piles up behind it, other keys go on, and stopping it does not wait for it."""
    load.start("stuck", target.address, "a", "/hang", 100.0, {})
    until(lambda: len(target.asked) == 1)
    load.start("well", target.address, "a", "/", 100.0, {})
    until(lambda: len(target.asked) >= 30)
    assert 1 == sum(1 for *_, path, _ in target.asked if path == "/hang")
    load.stop("stuck")
    assert "opsbook-synthetic-stuck" not in {thread.name for thread in threading.enumerate()}


def test_errors_end_nothing(target, load, until):
    """Errors, cut connections, answers without an end and a target that is not there: it goes on asking."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        absent = Address("127.0.0.1", nobody.getsockname()[1])
        load.start("absent", absent, "a", "/", 100.0, {})
        for path in ("/fail", "/cut", "/endless"):
            load.start(path, target.address, "a", path, 100.0, {})
        paths = ("/fail", "/cut", "/endless")
        until(lambda: all(sum(1 for *_, path, _ in target.asked if path == each) >= 3 for each in paths))
        assert {"absent", *paths} == load.keys()
        assert "opsbook-synthetic-absent" in {thread.name for thread in threading.enumerate()}
        load.close()


def test_what_cannot_be_sent_is_refused(load):
    """At once and by name, without repeating what may be secret."""
    for rate in (0.0, 0.09, 100.5, float("nan")):
        with pytest.raises(Invalid, match="requests a second"):
            load.start("d", Address("127.0.0.1", 1), "a", "/", rate, {})
    for path in ("", "page", "/a b", "/ä", "/\r\nx: y"):
        with pytest.raises(Invalid, match="cannot be asked for"):
            load.start("d", Address("127.0.0.1", 1), "a", path, 1, {})
    for host, headers in (("a\r\nb", {}), ("a", {"x y": "1"}), ("a", {"x-token": "s3cret\n"})):
        with pytest.raises(Invalid, match="cannot be sent") as caught:
            load.start("d", Address("127.0.0.1", 1), host, "/", 1, headers)
        assert "s3cret" not in str(caught.value)
    assert frozenset() == load.keys()


def test_only_the_canary_is_asked(stage, load, until):
    """Through the proxy, the header leads to the release under test although it has no share."""
    stable, canary = (stage.backend(name, stage.upstreams.http(name)) for name in ("s-1", "s-2"))
    pins = (Pin(canary.name, header=TRIAL_HEADER, value="token"),)
    route = Route("web", Split(((stable.name, 1),)), pins=pins)
    stage.serve(stage.routes((route,), stable, canary))
    load.start("d-1", Address("0.0.0.0", stage.port), "a", "/", 100.0, {TRIAL_HEADER: "token"})
    labels = 'environment="test",service="web",release="s-2"'
    ten = [f"envoy_cluster_upstream_rq_total{{{labels}}} {count}" for count in range(10, 1000)]
    until(lambda: any(line in ten for line in stage.traffic.stats_text().splitlines()))
    assert 'rq_total{environment="test",service="web",release="s-1"}' not in stage.traffic.stats_text()
