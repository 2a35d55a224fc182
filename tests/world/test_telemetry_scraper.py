"""The engine against real targets: sound ones, slow ones, hostile ones."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from opsbook.errors import Invalid, NotFound
from opsbook.promql.series import Matcher
from opsbook.world.telemetry.engine import EmbeddedTelemetry
from opsbook.world.telemetry.recording import TargetStatus
from opsbook.world.telemetry.staleness import is_stale
from opsbook.world.telemetry.store import HotStore
from opsbook.world.words import Address, Limits, Target


class MovableClock:
    """The real clocks, but the wall clock can be set."""

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> float:
        return time.time() + self.offset

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def web(answer: Answer) -> Iterator[Address]:
    """A server that answers every GET with `answer`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            try:
                answer(self)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Address("127.0.0.1", server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def say(body: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@contextmanager
def engine(**options: object) -> Iterator[EmbeddedTelemetry]:
    telemetry = EmbeddedTelemetry(MovableClock(), **options)  # type: ignore[arg-type]
    telemetry.interval(1)
    try:
        yield telemetry
    finally:
        telemetry.close()


def status_of(telemetry: EmbeddedTelemetry, instance: str) -> TargetStatus:
    return next(each for each in telemetry.status() if each.target.labels.get("instance") == instance)


def scraped(telemetry: EmbeddedTelemetry, instance: str) -> TargetStatus:
    """The status after at least one scrape."""
    until(lambda: any(each.at for each in telemetry.status() if each.target.labels["instance"] == instance))
    return status_of(telemetry, instance)


def metrics(instance: str, address: Address) -> Target:
    return Target("metrics", {"service": "web", "instance": instance}, address)


def latest(telemetry: EmbeddedTelemetry, name: str, **labels: str) -> float | None:
    matchers = [Matcher("__name__", "=", name), *(Matcher(key, "=", value) for key, value in labels.items())]
    for selection in telemetry.store.select(matchers, 0, 2**60):
        _, values = selection.points(0)
        if values.size:
            return float(values[-1])
    return None


def test_a_scrape_and_what_it_says_of_itself() -> None:
    """Samples get the target's labels; up, duration and count are recorded beside them."""
    with web(say(b"# TYPE a gauge\na 1\nb 2\n")) as address, engine() as telemetry:
        telemetry.targets([metrics("web-1", address)])
        assert (True, 2, "") == (
            (status := scraped(telemetry, "web-1")).up,
            status.samples,
            status.problem,
        )
        assert 1.0 == latest(telemetry, "a", service="web", instance="web-1", job="metrics")
        assert 1.0 == latest(telemetry, "up", instance="web-1")
        assert 2.0 == latest(telemetry, "scrape_samples_scraped", instance="web-1")
        assert 0.0 < (latest(telemetry, "scrape_duration_seconds", instance="web-1") or 0) < 5


def test_connections_are_kept() -> None:
    """Many scrapes use one connection; when the target closes it, the next scrape opens another and succeeds."""
    connections, count = set[object](), 0

    def answer(request: BaseHTTPRequestHandler) -> None:
        nonlocal count
        count += 1
        connections.add(request.client_address)
        say(b"a 1\n")(request)
        request.close_connection = count == 2  # without telling beforehand

    with web(answer) as address, engine() as telemetry:
        telemetry.targets([metrics("web-1", address)])
        until(lambda: count >= 4)
        assert 2 == len(connections)
        assert "opsbook_scrape_failures_total 0\n" in telemetry.own_metrics()


HOSTILE: dict[str, tuple[Answer, str]] = {}


def hostile(expected: str) -> Callable[[Answer], Answer]:
    def register(answer: Answer) -> Answer:
        HOSTILE[answer.__name__] = answer, expected
        return answer

    return register


@hostile("no answer within")
def hangs(request: BaseHTTPRequestHandler) -> None:
    time.sleep(3)


@hostile("no answer within")
def drips(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "100000")
    request.end_headers()
    while True:
        request.wfile.write(b"a")
        time.sleep(0.05)


@hostile("larger than 100000 bytes")
def announces_a_gigabyte(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(10**9))
    request.end_headers()
    request.wfile.write(b"a 1\n" * 1000)


@hostile("larger than 100000 bytes")
def sends_a_gigabyte(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Connection", "close")
    request.end_headers()
    for _ in range(10**4):
        request.wfile.write(b"a 1\n" * 25_000)


@hostile("500, not 200")
def fails(request: BaseHTTPRequestHandler) -> None:
    say(b"a 1\n", 500)(request)


@hostile("encoded (gzip)")
def compresses(request: BaseHTTPRequestHandler) -> None:
    say(b"\x1f\x8b", Content_Encoding="gzip")(request)


@hostile("not valid HTTP")
def speaks_something_else(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    request.close_connection = True


@hostile("closed without an answer")
def hangs_up(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True


@hostile("not valid HTTP")
def stops_halfway(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "100")
    request.end_headers()
    request.wfile.write(b"a 1\n")
    request.close_connection = True


@hostile("expected a metric name")
def serves_a_page(request: BaseHTTPRequestHandler) -> None:
    say(b"<html><body>Welcome</body></html>")(request)


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_targets_fail_alone(name: str) -> None:
    """Whatever a target does, it is down with the reason, and its neighbour is scraped meanwhile."""
    answer, expected = HOSTILE[name]
    with (
        web(answer) as bad,
        web(say(b"a 1\n")) as good,
        engine(timeout=1.0, max_bytes=100_000) as telemetry,
    ):
        telemetry.targets([metrics("bad", bad), metrics("good", good)])
        assert scraped(telemetry, "good").up
        status = scraped(telemetry, "bad")
        assert not status.up
        assert expected in status.problem
        assert 0.0 == latest(telemetry, "up", instance="bad")
        assert latest(telemetry, "a", instance="bad") is None
        assert status_of(telemetry, "good").up


def test_a_target_that_hangs_delays_nobody() -> None:
    """While one target hangs for its whole timeout, another is scraped at its usual pace."""
    with web(hangs) as bad, web(say(b"a 1\n")) as good, engine(timeout=60.0) as telemetry:
        telemetry.targets([metrics("bad", bad), metrics("good", good)])
        matcher = [Matcher("__name__", "=", "a")]
        until(
            lambda: any(
                len(found.window.timestamps) >= 3 for found in telemetry.store.select(matcher, 0, 2**60)
            )
        )
        assert status_of(telemetry, "bad").at is None


def test_nobody_listens() -> None:
    """A refused connection and a name that does not exist are told as such."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = Address("127.0.0.1", free.getsockname()[1])
        with engine() as telemetry:
            telemetry.targets([metrics("off", address), metrics("lost", Address("no-such-host.invalid", 80))])
            assert "connection refused" in scraped(telemetry, "off").problem
            assert "cannot be resolved" in scraped(telemetry, "lost").problem


def test_a_target_leaves() -> None:
    """Its series end with a marker, and it is gone from the status; the other goes on."""
    with web(say(b"a 1\n")) as address, engine() as telemetry:
        telemetry.targets([metrics("stays", address), metrics("leaves", address)])
        scraped(telemetry, "stays")
        scraped(telemetry, "leaves")
        telemetry.targets([metrics("stays", address)])
        until(lambda: len(telemetry.status()) == 1)
        ends = {
            labels["instance"]: bool(is_stale(selection.window.values[row])[-1])
            for selection in telemetry.store.select([Matcher("__name__", "=", "a")], 0, 2**60)
            for row, labels in enumerate(selection.series)
        }
        assert {"stays": False, "leaves": True} == ends


def test_a_target_fails_and_recovers() -> None:
    """A failed scrape ends the series; they go on in the same rows afterwards."""
    status = [200]

    def answer(request: BaseHTTPRequestHandler) -> None:
        say(b"a 1\n", status[0])(request)

    with web(answer) as address, engine() as telemetry:
        telemetry.targets([metrics("web-1", address)])
        until(lambda: latest(telemetry, "up") == 1.0)
        status[0] = 503
        until(lambda: latest(telemetry, "up") == 0.0)
        status[0] = 200
        until(lambda: latest(telemetry, "up") == 1.0)
        (found,) = telemetry.store.select([Matcher("__name__", "=", "a")], 0, 2**60)
        assert 1 == len(found.series)
        assert is_stale(found.window.values[0]).any()


def test_too_many_series_are_told() -> None:
    """They are refused, counted in a metric, and the warning is given once."""
    told: list[tuple[str, str]] = []
    body = "\n".join(f'a{{x="{index}"}} 1' for index in range(100)).encode()
    with (
        web(say(body)) as address,
        engine(
            store=HotStore(max_series=20),
            warn=lambda target, text: told.append((target.labels["instance"], text)),
        ) as telemetry,
    ):
        telemetry.targets([metrics("web-1", address)])
        until(lambda: (latest(telemetry, "opsbook_scrape_series_refused") or 0) > 0)
        status = scraped(telemetry, "web-1")
        until(lambda: status_of(telemetry, "web-1").at != status.at)
        assert status.up
        assert 100 == status.samples
        assert [("web-1", status.problem)] == told
        assert "more than 20 series" in status.problem


def test_a_process_and_its_children() -> None:
    """CPU, memory, files and threads are those of the whole group; limits make ratios; its end is seen."""
    code = (
        "import subprocess, sys, time\n"
        "busy = 'import time\\nwhile True: sum(range(10000)); time.sleep(0.001)'\n"
        "for session in (False, True):\n"
        "    child = subprocess.Popen([sys.executable, '-c', busy], start_new_session=session)\n"
        "    print(child.pid, flush=True)\n"
        "time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    children = [int(process.stdout.readline()) for _ in range(2)]
    limits = Limits(cpu=2.0, memory=1024**3)
    labels = {"service": "web", "environment": "test", "instance": "web-1"}
    try:
        with engine(limits=lambda _: limits) as telemetry:
            telemetry.targets([Target("process", labels, pid=process.pid)])
            until(lambda: latest(telemetry, "process_count") == 3.0)
            until(lambda: (sample := telemetry.named("cpu_usage", {"service": "web"})) and sample.value > 0)
            memory = telemetry.named("memory_bytes", {"service": "web"})
            ratio = telemetry.named("memory_usage", {"service": "web"})
            assert memory is not None
            assert ratio is not None
            assert memory.value > 3 * 5_000_000
            assert 0 < ratio.value < 1
            assert 1.0 == telemetry.named("instances_up", {"service": "web"}).value  # type: ignore[union-attr]
            assert (latest(telemetry, "process_open_fds") or 0) >= 9
            assert (latest(telemetry, "process_threads") or 0) >= 3
            process.kill()
            until(lambda: latest(telemetry, "up") == 0.0)
            assert "the process has ended" == scraped(telemetry, "web-1").problem
            assert telemetry.named("memory_bytes", {"service": "web"}) is None
            assert 0.0 == telemetry.named("instances_up", {"service": "web"}).value  # type: ignore[union-attr]
            # The instance is started again: the same labels, another pid.
            telemetry.targets([Target("process", labels, pid=os.getpid())])
            until(lambda: (sample := telemetry.named("restarts", {"service": "web"})) and sample.value == 1)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        for child in children:
            os.kill(child, signal.SIGKILL)


def test_a_host() -> None:
    """The named metrics of a host are ratios of the machine."""
    with engine() as telemetry:
        telemetry.targets([Target("host", {"host": "here"})])
        until(lambda: telemetry.named("cpu_usage", {"host": "here"}))
        for name in ("cpu_usage", "memory_usage", "disk_usage"):
            sample = telemetry.named(name, {"host": "here"})
            assert sample is not None
            assert 0 <= sample.value <= 1
        assert telemetry.named("disk_usage", {"host": "elsewhere"}) is None
        assert (telemetry.named("memory_bytes", {"host": "here"}).value or 0) > 10**7  # type: ignore[union-attr]


def test_a_proxy_that_hangs_delays_nobody() -> None:
    """Its statistics are asked for in another thread; late ones are a failure, and it recovers."""
    release = threading.Event()
    answers = iter([lambda: release.wait(30)])

    def stats() -> str:
        next(answers, lambda: None)()
        return "envoy_server_live 1\n"

    with web(say(b"a 1\n")) as address, engine(envoy_stats=stats, timeout=1.0) as telemetry:
        telemetry.targets([Target("envoy", {"instance": "proxy"}), metrics("web-1", address)])
        assert scraped(telemetry, "web-1").up
        assert "no answer within 1 s" == scraped(telemetry, "proxy").problem
        release.set()
        until(lambda: latest(telemetry, "envoy_server_live") == 1.0)


def test_the_clock_jumps_while_we_scrape() -> None:
    """Rates stay right and times ascend although the wall clock is set back by an hour."""
    count = 0

    def stats() -> str:
        nonlocal count
        count += 10
        return f'envoy_cluster_upstream_rq_xx{{service="web",response_code_class="2"}} {count}\n'

    with engine(envoy_stats=stats) as telemetry:
        telemetry.targets([Target("envoy", {})])
        until(lambda: count >= 20)
        telemetry._scraper._clock.offset = -3600.0  # type: ignore[attr-defined]
        until(lambda: count >= 40)
        until(lambda: (sample := telemetry.named("request_count", {"service": "web"})) and sample.value >= 30)
        (found,) = telemetry.store.select([Matcher("service", "=", "web")], 0, 2**60)
        assert sorted(set(found.window.timestamps.tolist())) == found.window.timestamps.tolist()
        assert found.window.timestamps[-1] - found.window.timestamps[0] < 60_000
        assert "opsbook_telemetry_clock_ahead_seconds 35" in telemetry.own_metrics()


def test_questions_that_cannot_be_answered() -> None:
    """An unknown metric is NotFound with the list; an impossible target is Invalid; no data is None."""
    with engine() as telemetry:
        with pytest.raises(NotFound) as raised:
            telemetry.named("eror_rate", {})
        assert "error_rate" in raised.value.hint
        with pytest.raises(Invalid):
            telemetry.targets([Target("metrics", {"instance": "a"})])
        with pytest.raises(Invalid):
            telemetry.targets([Target("host", {}), Target("host", {})])
        assert telemetry.named("error_rate", {}) is None


def test_closing_is_quick_and_may_be_repeated() -> None:
    """Even with a request under way and targets handed in afterwards."""
    with web(hangs) as address:
        telemetry = EmbeddedTelemetry(MovableClock())
        telemetry.targets([metrics("web-1", address)])
        until(telemetry.status)
        assert "opsbook-scraper" in {thread.name for thread in threading.enumerate()}
        telemetry.close()
        telemetry.close()
        telemetry.targets([])
        assert "opsbook-scraper" not in {thread.name for thread in threading.enumerate()}


def test_a_round_is_told_when_its_samples_are_stored() -> None:
    """Who runs rules is called after each round with a time that covers it, although one target hangs."""
    told: list[tuple[int, float | None]] = []
    with web(say(b"a 1\n")) as good, web(hangs) as bad, engine(timeout=30.0) as telemetry:

        def note(at: int) -> None:
            found = telemetry.storage.select([Matcher("__name__", "=", "a")], 0, at)
            told.append((at, float(found[0].window.timestamps.size) if found else None))

        telemetry.on_scraped(note)
        telemetry.targets([metrics("web-1", good), metrics("web-2", bad)])
        until(lambda: len(told) >= 3)
    assert [1.0, 2.0, 3.0] == [count for _, count in told[:3]]
