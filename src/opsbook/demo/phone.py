"""The phone of whoever is on call: takes the pages that the tour's opsbook sends, on a loopback port."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opsbook.errors import Failed


class Phone:
    """Rings at `port`. Use `close` at the end."""

    def __init__(self, port: int) -> None:
        self._pages: list[dict[str, Any]] = []
        self._news = threading.Condition()
        phone = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                said = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
                phone.ring(said)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Nothing: the tour says itself what happens."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def ring(self, said: dict[str, Any]) -> None:
        """Somebody is paged; other messages to the same channel are not."""
        page = said.get("opsbook", {}).get("page")
        if page is not None:
            with self._news:
                self._pages.append(page)
                self._news.notify_all()

    def wait(self, count: int, *, seconds: float) -> dict[str, Any]:
        """The page that comes as number `count`: title, text, url. Raises Failed."""
        deadline = time.monotonic() + seconds
        with self._news:
            while len(self._pages) < count:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Failed(f"nobody was paged within {seconds:g} s")
                self._news.wait(left)
            return self._pages[count - 1]

    @property
    def pages(self) -> int:
        """How often it rang."""
        with self._news:
            return len(self._pages)

    def close(self) -> None:
        """Take no more."""
        self._server.shutdown()
        self._server.server_close()
