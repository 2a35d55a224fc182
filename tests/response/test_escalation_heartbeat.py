"""The heartbeat leaves as long as opsbook is well, and only then."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from escalation_house import POLICY, Incidents, Time, book

from opsbook.errors import NotFound
from opsbook.journal import Journal
from opsbook.response.escalation.desk import Desk
from opsbook.response.escalation.heartbeat import Heartbeat
from opsbook.response.escalation.model import Subject
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.hosts.keys import random_key
from opsbook.world.hosts.web import status_of


class Receiver:
    """Counts what it gets."""

    def __init__(self) -> None:
        seen = self.seen = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.append(self.path)
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


class Beating:
    def __init__(self, url: str, every: str = "1s") -> None:
        written = book(f"{POLICY}heartbeat: {{url: '{url}/{{secret:beat}}', every: {every}}}\n")
        self.trouble, self.secrets, self.log = "", {"beat": "s3cret"}, list[str]()
        self.beats = Heartbeat(
            lambda: written,
            self.secret,
            status_of,
            lambda: self.trouble,
            now=Time().now,
            log=self.log.append,
        )

    def secret(self, name: str) -> str:
        if name not in self.secrets:
            raise NotFound(f"there is no secret {name}")
        return self.secrets[name]


def test_it_beats_by_itself(receiver: Receiver) -> None:
    """With the secret filled in, until it is closed."""
    beating = Beating(receiver.url)
    beating.beats.start()
    deadline = time.monotonic() + 20
    while len(receiver.seen) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    beating.beats.close()
    assert {"/s3cret"} == set(receiver.seen)


def test_in_trouble_it_stays_away(receiver: Receiver) -> None:
    """What cannot wake people must not say that all is well; the log says so once, without the address."""
    beating = Beating(receiver.url)
    beating.trouble = "escalation has not gone round for 2m"
    assert not beating.beats.beat()
    assert not beating.beats.beat()
    assert [] == receiver.seen
    assert ["heartbeat: not sent: escalation has not gone round for 2m"] == beating.log
    beating.trouble = ""
    assert beating.beats.beat()
    receiver.status = 500
    assert not beating.beats.beat()
    beating.secrets.clear()
    assert not beating.beats.beat()
    assert "there is no secret beat" == beating.beats.error
    assert "s3cret" not in "".join(beating.log)


def test_nobody_there() -> None:
    """It is said and tried again; without a heartbeat in the handbook there is none."""
    beating = Beating("http://127.0.0.1:9")
    assert not beating.beats.beat()
    assert "no answer" in beating.beats.error
    assert "s3cret" not in beating.log[0]
    quiet = Heartbeat(book, lambda name: "", status_of, str, now=Time().now)
    assert not quiet.beat()


def test_all_of_it_together(tmp_path: Path, receiver: Receiver) -> None:
    """The desk starts and ends everything; its heartbeat leaves while escalation goes round."""
    written = book(f"{POLICY}heartbeat: {{url: '{receiver.url}/x', every: 1s}}\n")
    clock = SystemClock()
    sent: list[str] = []
    with Journal.open(tmp_path / "journal.sqlite", keys=tmp_path / "keys", clock=clock) as journal:
        desk = Desk(
            lambda: written,
            journal,
            on_call=lambda name: ("ana",) if name == "on-call" else None,
            incidents=Incidents(),
            send=lambda channel, page: sent.append(channel),
            failing=lambda channel: False,
            key=random_key(tmp_path / "keys" / "links.key"),
            address=lambda: "https://ops.example.com",
            secret=lambda name: "",
            status_of=status_of,
            now=clock.now,
        )
        desk.start()
        desk.room.begin(Subject("inc-1", "web is down"))
        deadline = time.monotonic() + 20
        while not sent or not receiver.seen:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        desk.close()
        assert {"/api/response/escalations/next", "/answer/{token}"} <= {
            route.path for made in (desk.router(), desk.pages()) for route in made.routes
        }
    assert ["ana-chat"] == sent
