"""A small service that behaves: it answers, says how it is, counts, and finishes its work before it goes.

Only the Python standard library. Try it alone: PORT=8000 python app.py
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType

PORT = int(os.environ.get("PORT", "8000"))
VERSION = os.environ.get("OPSBOOK_VERSION", "unknown")
GREETING = os.environ.get("GREETING", "Hello")
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Counts:
    """Requests by status code and how long they took, in the Prometheus text format."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.codes: dict[int, int] = {}
        self.buckets = [0] * len(BUCKETS)
        self.seconds = 0.0

    def add(self, code: int, seconds: float) -> None:
        with self.lock:
            self.codes[code] = self.codes.get(code, 0) + 1
            self.seconds += seconds
            for index, limit in enumerate(BUCKETS):
                self.buckets[index] += seconds <= limit

    def text(self) -> str:
        with self.lock:
            total = sum(self.codes.values())
            lines = ["# TYPE http_requests_total counter"]
            lines += [
                f'http_requests_total{{code="{code}"}} {count}' for code, count in sorted(self.codes.items())
            ]
            name = "http_request_duration_seconds"
            lines.append(f"# TYPE {name} histogram")
            lines += [
                f'{name}_bucket{{le="{limit}"}} {n}' for limit, n in zip(BUCKETS, self.buckets, strict=True)
            ]
            lines += [
                f'{name}_bucket{{le="+Inf"}} {total}',
                f"{name}_sum {self.seconds:.6f}",
                f"{name}_count {total}",
            ]
        return "\n".join(lines) + "\n"


COUNTS = Counts()


class Server(ThreadingHTTPServer):
    """One thread a connection; on `drain` no new connections, and those that wait for a request are closed."""

    daemon_threads = False  # server_close() waits for the requests under way
    request_queue_size = 128

    def __init__(self, address: tuple[str, int]) -> None:
        self.draining = False
        self.lock = threading.Lock()
        self.idle: set[socket.socket] = set()
        super().__init__(address, Handler)

    def drain(self) -> None:
        self.shutdown()
        while select.select([self.socket], [], [], 0)[0]:  # who has already connected is still answered
            self.handle_request()
        with self.lock:
            self.draining = True
            for connection in self.idle:
                # Reading ends, writing does not: a request that has just arrived is still answered.
                try:
                    connection.shutdown(socket.SHUT_RD)
                except OSError:
                    pass  # the other side has gone already
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else head and body, written apart, wait for each other
    server: Server

    def handle_one_request(self) -> None:
        with self.server.lock:
            if self.server.draining and not select.select([self.connection], [], [], 0)[0]:
                self.close_connection = True
                return
            self.server.idle.add(self.connection)
        super().handle_one_request()

    def parse_request(self) -> bool:
        with self.server.lock:
            self.server.idle.discard(self.connection)
        return super().parse_request()

    def finish(self) -> None:
        with self.server.lock:
            self.server.idle.discard(self.connection)
        super().finish()

    def do_GET(self) -> None:
        started = time.perf_counter()
        if self.path == "/healthz":
            self.answer(200, "ok\n")
        elif self.path == "/metrics":
            self.answer(200, COUNTS.text(), "text/plain; version=0.0.4; charset=utf-8")
        else:
            code = 200 if self.path == "/" else 404
            self.answer(code, f"{GREETING} from version {VERSION}\n" if code == 200 else "not found\n")
            COUNTS.add(code, time.perf_counter() - started)

    def answer(self, code: int, text: str, kind: str = "text/plain; charset=utf-8") -> None:
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Version", VERSION)
        if self.server.draining:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Successful requests are counted, not logged."""


def main() -> None:
    server = Server(("127.0.0.1", PORT))

    def stop(number: int, frame: FrameType | None) -> None:
        # serve_forever must go on to see the shutdown, so another thread asks for it.
        threading.Thread(target=server.drain).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"listening on port {PORT}, version {VERSION}", flush=True)
    server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
