"""What the tests of alerting share: a receiver that writes down what it gets, and an alerting over a real journal."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opsbook.book import Book, TextFiles, load
from opsbook.journal import Journal
from opsbook.monitoring.alerting.model import Alert
from opsbook.monitoring.alerting.responding import NOBODY, Responders
from opsbook.monitoring.alerting.room import Alerting
from opsbook.world.hosts.tokens import new_token


class RealClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.02))


class Secrets:
    """Every secret is its own name, reversed."""

    def get(self, name: str) -> str:
        return name[::-1]

    def mask(self, text: str) -> str:
        return text.replace("terces", "***")


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What `condition` gives as soon as it is something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)
    return found


@dataclass
class Got:
    at: float
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


@dataclass
class Receiver:
    """An HTTP server that takes POSTs; `answers` are the statuses to give, then 200."""

    answers: list[int] = field(default_factory=list)
    got: list[Got] = field(default_factory=list)  # that were answered with 2xx
    refused: list[Got] = field(default_factory=list)
    hang: threading.Event | None = None  # answered only once it is set
    said: bytes = b"thanks"
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                got = Got(time.time(), {k.lower(): v for k, v in self.headers.items()}, body)
                if receiver.hang is not None:
                    receiver.hang.wait(30)
                status = receiver.answers.pop(0) if receiver.answers else 200
                (receiver.got if status < 300 else receiver.refused).append(got)
                self.send_response(status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(receiver.said)))
                self.end_headers()
                self.wfile.write(receiver.said)

            def log_message(self, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    def statuses(self) -> list[str]:
        return [one.body["status"] for one in self.got]

    def wait(self, count: int, seconds: float = 20.0) -> list[Got]:
        until(lambda: len(self.got) >= count, seconds)
        return self.got

    def close(self) -> None:
        if self.hang is not None:
            self.hang.set()
        self.server.shutdown()
        self.server.server_close()


class House:
    """Alerting with a journal in a folder; can be closed and opened again."""

    def __init__(
        self,
        folder: Path,
        cover: str,
        notifications: str = "",
        *,
        responders: Responders = NOBODY,
        **services: str,
    ) -> None:
        self.folder = folder
        self.responders = responders
        self.logged: list[str] = []
        self.clock = RealClock()
        self.book = self.read(cover, notifications, **services)
        self.deploying: set[tuple[str, str]] = set()
        self.open()

    @staticmethod
    def read(cover: str, notifications: str = "", **services: str) -> Book:
        files = {"opsbook.yaml": f"name: shop\n{cover}".encode()}
        if notifications:
            files["monitoring/notifications.yaml"] = notifications.encode()
        for name, text in services.items():
            files[f"services/{name}.yaml"] = (
                f"service: {name}\nrun: {{command: [x], port: http}}\n{text}".encode()
            )
        return load(TextFiles(files))

    def open(self) -> None:
        self.journal = Journal.open(
            self.folder / "journal.sqlite", keys=self.folder / "keys", clock=self.clock, mask=Secrets().mask
        )
        self.alerting = Alerting(
            lambda: self.book,
            self.journal,
            Secrets(),
            self.clock,
            deploying=lambda: self.deploying,
            responders=self.responders,
            new_id=new_token,
            log=self.logged.append,
        )
        self.alerting.start()

    def close(self) -> None:
        self.alerting.close()
        self.journal.close()

    def fire(self, name: str = "Down", *, ended: bool = False, source: str = "rules", **labels: str) -> Alert:
        now = time.time()
        alert = Alert(
            {"alertname": name, **labels},
            {"summary": f"{name} it is"},
            starts_at=now - 10 if ended else now,
            ends_at=now if ended else None,
            source=source,
        )
        self.alerting.receive([alert])
        return alert

    def kinds(self) -> list[str]:
        return [event.kind for event in self.journal.events()]
