"""Takes the webhooks of both, and writes down when each came."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Heard:
    """An alert in a webhook: who sent it, what it says, and when it came (`time.perf_counter`)."""

    sender: str
    labels: dict[str, str]
    status: str
    starts_at: str
    at: float
    key: str  # what the sender calls the message; empty where it does not name them


class Receiver:
    """Listens on a port of its own; the path says who sends.

    Args:
        pause: seconds that each answer takes.
    """

    def __init__(self, pause: float = 0.0) -> None:
        self.heard: list[Heard] = []
        self._news = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver._take(self.path.strip("/"), body, self.headers.get("Idempotency-Key", ""))
                time.sleep(pause)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: object) -> None:
                """Who was killed hangs up."""

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _take(self, sender: str, body: dict[str, Any], key: str) -> None:
        now = time.perf_counter()
        with self._news:
            for alert in body["alerts"]:
                labels, status = alert["labels"], alert["status"]
                self.heard.append(Heard(sender, labels, status, alert["startsAt"], now, key))
            self._news.notify_all()

    def url(self, sender: str) -> str:
        """Where `sender` is to send to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{sender}"

    def first(
        self, fits: Callable[[Heard], bool], *, since: float = 0.0, seconds: float = 120.0
    ) -> Heard | None:
        """The first that fits and came after `since`; waits for it, at most so long."""
        deadline = time.perf_counter() + seconds
        seen = 0
        with self._news:
            while True:
                for one in self.heard[seen:]:
                    if one.at >= since and fits(one):
                        return one
                seen = len(self.heard)
                left = deadline - time.perf_counter()
                if left <= 0:
                    return None
                self._news.wait(left)

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
