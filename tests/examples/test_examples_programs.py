"""The programs of `examples/hello` and `examples/shop` behave as services should, above all at their end."""

from __future__ import annotations

import http.client
import socket
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def test_hello_says_hello(programs: Any) -> None:
    """It answers, says which version it is, and is well."""
    hello = programs.start("hello", "hello", OPSBOOK_VERSION="1.0")
    assert hello.get("/") == "Hello from version 1.0\n"
    assert hello.get("/healthz") == "ok\n"


@pytest.mark.parametrize(("handbook", "service"), [("hello", "hello"), ("shop", "web"), ("shop", "api")])
def test_a_stop_closes_idle_connections_and_ends_well(programs: Any, handbook: str, service: str) -> None:
    """A kept connection without a request must not hold up the end."""
    program = programs.start(handbook, service)
    idle = http.client.HTTPConnection("127.0.0.1", program.port, timeout=10)
    idle.request("GET", "/healthz")
    assert idle.getresponse().read() == b"ok\n"
    program.terminate()
    assert program.exit_code() == 0
    assert idle.sock.recv(1) == b""
    idle.close()


def test_connections_are_kept(programs: Any) -> None:
    """Fifty requests go over one connection, at web and api alike."""
    for service, path in (("web", "/healthz"), ("api", "/products")):
        program = programs.start("shop", service)
        connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=10)
        connection.connect()
        first = connection.sock
        for _ in range(50):
            connection.request("GET", path)
            assert connection.getresponse().read()
        assert connection.sock is first
        connection.close()


def test_the_storefront_shows_what_the_api_sells(programs: Any) -> None:
    """Web asks the API at the address it is given, including the path the proxy would strip."""
    api = programs.start("shop", "api")
    web = programs.start("shop", "web", API_URL=api.url(""), OPSBOOK_VERSION="2.0")
    page = web.get("/")
    assert "Lamp: 39" in page
    assert "2.0" in page


def test_the_storefront_is_closed_without_the_api(programs: Any) -> None:
    """It says so with 502 instead of hanging or dying."""
    web = programs.start("shop", "web", API_URL="http://127.0.0.1:1")
    with pytest.raises(urllib.error.HTTPError) as error:
        web.get("/")
    assert error.value.code == 502
    error.value.close()
    assert web.get("/healthz") == "ok\n"


def test_a_request_under_way_is_answered_before_the_end(programs: Any) -> None:
    """The slow fault keeps a page under way for a second; the stop comes in the middle of it."""
    api = programs.start("shop", "api")
    web = programs.start("shop", "web", API_URL=api.url(""), SHOP_FAULT="slow")
    with ThreadPoolExecutor() as pool:
        page = pool.submit(web.get, "/")
        time.sleep(0.3)  # within the second that the page takes
        web.terminate()
        assert "Lamp" in page.result()
    assert web.exit_code() == 0


def test_a_stream_under_way_is_finished_before_the_end(programs: Any) -> None:
    """All of its events come, although the stop came after the first."""
    api = programs.start("shop", "api")
    with urllib.request.urlopen(api.url("/stream?events=8&every=0.1"), timeout=10) as stream:
        first = stream.readline()
        api.terminate()
        rest = stream.read()
    assert first == b"id: 1\n"
    assert rest.endswith(b"data: 8 of 8\n\n")
    assert api.exit_code() == 0


def test_a_websocket_echoes_and_is_told_when_the_service_stops(programs: Any) -> None:
    """Code 1001, going away, asks the client to come again."""
    api = programs.start("shop", "api")
    with connect(f"ws://127.0.0.1:{api.port}/ws") as client:
        for message in ("hello", "x" * 300, "y" * 70_000):
            client.send(message)
            assert client.recv(timeout=10) == message
        api.terminate()
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    assert api.exit_code() == 0


def test_the_ledger_adds_up_and_says_goodbye(programs: Any) -> None:
    """One line in, one line out; BYE when it stops."""
    ledger = programs.start("shop", "ledger", OPSBOOK_VERSION="1.0")
    with socket.create_connection(("127.0.0.1", ledger.port), timeout=10) as connection:
        lines = connection.makefile("rw", newline="\n")
        answers = []
        for said in ("SELL 40", "SELL 2", "PING 7", "VERSION", "what?"):
            lines.write(said + "\n")
            lines.flush()
            answers.append(lines.readline())
        ledger.terminate()
        answers.append(lines.readline())
    assert answers == [
        "OK 40\n",
        "OK 42\n",
        "PONG 7\n",
        "VERSION 1.0\n",
        "ERROR expected PING, SELL amount or VERSION\n",
        "BYE\n",
    ]
    assert ledger.exit_code() == 0


def test_the_worker_books_sales_and_stops_after_a_whole_one(programs: Any) -> None:
    """It takes its prices from the API and books them in the ledger."""
    api, ledger = programs.start("shop", "api"), programs.start("shop", "ledger")
    urls = {"API_URL": api.url(""), "LEDGER_URL": f"tcp://127.0.0.1:{ledger.port}"}
    worker = programs.start("shop", "worker", **urls, WORKER_EVERY="0.05")
    lines = [worker.process.stdout.readline() for _ in range(3)]
    assert lines[1:] == ["sale 0: OK 39\n", "sale 1: OK 159\n"]
    worker.terminate()
    assert worker.exit_code() == 0


def test_the_worker_waits_while_the_ledger_is_away(programs: Any) -> None:
    """A sale is tried again, not lost."""
    api = programs.start("shop", "api")
    urls = {"API_URL": api.url(""), "LEDGER_URL": "tcp://127.0.0.1:1"}
    worker = programs.start("shop", "worker", **urls, WORKER_EVERY="0.05")
    lines = [worker.process.stdout.readline() for _ in range(3)]
    assert all(line.startswith("sale 0 waits: ") for line in lines[1:])


def test_the_fault_no_start(programs: Any) -> None:
    """It ends at once and says why."""
    web = programs.start("shop", "web", wait=False, SHOP_FAULT="no-start")
    assert web.exit_code() == 1
    assert "PRICE_LIST is missing" in web.process.stdout.read()


def test_the_fault_never_healthy(programs: Any) -> None:
    """It runs and listens, and is not well."""
    web = programs.start("shop", "web", SHOP_FAULT="never-healthy")
    with pytest.raises(urllib.error.HTTPError) as error:
        web.get("/healthz")
    assert error.value.code == 503
    error.value.close()


def test_the_fault_crash(programs: Any) -> None:
    """It is well at first."""
    web = programs.start("shop", "web", SHOP_FAULT="crash")
    assert web.get("/healthz") == "ok\n"
    assert web.exit_code() == 1


def test_the_fault_gift(programs: Any) -> None:
    """One order kills it, after it was answered; other orders do not."""
    web = programs.start("shop", "web", SHOP_FAULT="gift")
    for item in ("lamp", "gift-card"):
        with urllib.request.urlopen(web.url(f"/orders/{item}"), data=b"1", timeout=10) as answer:
            assert answer.status == 202
    assert web.exit_code() == 1


def test_the_fault_errors(programs: Any) -> None:
    """Every fifth page fails."""
    api = programs.start("shop", "api")
    web = programs.start("shop", "web", API_URL=api.url(""), SHOP_FAULT="errors")
    codes = []
    for _ in range(10):
        try:
            web.get("/")
            codes.append(200)
        except urllib.error.HTTPError as error:
            codes.append(error.code)
            error.close()
    assert codes.count(500) >= 1
    assert codes.count(200) >= 5


def test_the_fault_stubborn(programs: Any) -> None:
    """Only SIGKILL ends it."""
    web = programs.start("shop", "web", SHOP_FAULT="stubborn")
    web.terminate()
    assert web.get("/healthz") == "ok\n"
    assert web.process.poll() is None


def test_an_unknown_fault_is_refused(programs: Any) -> None:
    """A misspelt fault would look like a good version."""
    web = programs.start("shop", "web", wait=False, SHOP_FAULT="gifts")
    assert web.exit_code() == 1
    assert "unknown fault 'gifts'" in web.process.stdout.read()
