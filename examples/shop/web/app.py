"""The shop's storefront: it asks the API, through the proxy, for what it shows. Standard library only."""

from __future__ import annotations

import argparse
import html
import http.client
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

from faults import fault
from serving import Handler, Server

VERSION = os.environ.get("OPSBOOK_VERSION") or Path(__file__).with_name("version.txt").read_text().strip()
BANNER = os.environ.get("SHOP_BANNER", "Welcome to the shop")
FAULT = fault()
STARTED = time.monotonic()
API = urlsplit(os.environ.get("API_URL", "http://127.0.0.1:8001"))
REQUESTS: Counter[int] = Counter()
ended_badly = threading.Event()


class Connections(threading.local):
    """Each thread keeps its own connection to the API."""

    api: http.client.HTTPConnection | None = None


connections = Connections()


def products() -> list[dict[str, object]]:
    """What the API sells. A kept connection that turns out to be closed is opened once more.

    Raises:
        OSError: the API does not answer with 200.
    """
    for attempt in (1, 2):
        if connections.api is None:
            connections.api = http.client.HTTPConnection(API.hostname, API.port, timeout=10)
        try:
            connections.api.request("GET", f"{API.path.rstrip('/')}/products")
            answer = connections.api.getresponse()
            body = answer.read()
        except (http.client.HTTPException, OSError):
            connections.api.close()
            connections.api = None
            if attempt == 2:
                raise
            continue
        if answer.status != 200:
            raise OSError(f"the API answered {answer.status}")
        return json.loads(body)
    raise AssertionError


def page() -> bytes:
    rows = "".join(f"<li>{html.escape(str(item['name']))}: {item['price']} €</li>" for item in products())
    banner = html.escape(BANNER)
    return f"<!doctype html><title>Shop</title><h1>{banner}</h1><ul>{rows}</ul><p>{VERSION}</p>\n".encode()


class Storefront(Handler):
    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/healthz":
                self._text(
                    503 if FAULT == "never-healthy" else 200, "no\n" if FAULT == "never-healthy" else "ok\n"
                )
            case "/metrics":
                counts = [f'shop_requests_total{{code="{code}"}} {n}' for code, n in sorted(REQUESTS.items())]
                self._text(200, "\n".join(["# TYPE shop_requests_total counter", *counts, ""]))
            case "/":
                self._page()
            case _:
                self._text(404, "no such page\n")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path == "/orders/gift-card" and FAULT == "gift":
            print("fatal: gift cards have no weight: division by zero", file=sys.stderr, flush=True)
            self._text(202, "ordered\n")
            self._die()
        elif self.path.startswith("/orders/"):
            self._text(202, "ordered\n")
        else:
            self._text(404, "no such page\n")

    def _page(self) -> None:
        if FAULT == "slow":
            time.sleep(1.0)
        erring = FAULT == "errors" or (FAULT == "late" and time.monotonic() - STARTED > 8)
        if erring and REQUESTS.total() % 5 == 4:
            self._text(500, "a fault\n")
            return
        try:
            body, status = page(), 200
        except (OSError, http.client.HTTPException) as error:
            print(f"the API does not answer: {error}", file=sys.stderr, flush=True)
            body, status = b"the shop is closed\n", 502
        REQUESTS[status] += 1
        self.answer(status, "text/html; charset=utf-8", body, {"X-Version": VERSION})

    def _text(self, status: int, text: str) -> None:
        REQUESTS[status] += 1
        self.answer(status, "text/plain; charset=utf-8", text.encode(), {"X-Version": VERSION})

    def _die(self) -> None:
        ended_badly.set()
        self.server.stop()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "8000")))
    port = parser.parse_args().port
    if FAULT == "no-start":
        print("fatal: the setting PRICE_LIST is missing", file=sys.stderr, flush=True)
        return 1
    server = Server(port, Storefront)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN if FAULT == "stubborn" else lambda *_: server.stop())
    if FAULT == "crash":
        threading.Thread(target=_crash, args=(server,), daemon=True).start()
    print(f"web {VERSION} listens on {port}", flush=True)
    server.serve()
    return 1 if ended_badly.is_set() else 0


def _crash(server: Server) -> None:
    time.sleep(2.0)
    print("fatal: the cache is full", file=sys.stderr, flush=True)
    ended_badly.set()
    server.stop()


if __name__ == "__main__":
    sys.exit(main())
