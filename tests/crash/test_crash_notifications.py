"""kill -9 in the middle of a storm of alerts, again and again: nobody is told too little, and hardly anybody twice."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from storm import INSTANCES

from opsbook.journal import Journal
from opsbook.world.hosts.clock import SystemClock

KILLS = int(os.environ.get("OPSBOOK_CRASH_KILLS", "5"))

pytestmark = [pytest.mark.crash, pytest.mark.timeout(60 + 10 * KILLS)]


@dataclass(frozen=True)
class Heard:
    """A message that was taken."""

    channel: str
    id: str
    instance: int
    status: str
    starts_at: str
    kills: int  # that there had been by then


class Storm:
    """The process, what is wrong, and two receivers: one is quick, one takes its time, fails and hangs up.

    An alert ends only after both have heard of it, and fires again only after both have heard of its end: so each of
    these messages must come, however often the process is killed.
    """

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder = folder
        self.chance = chance
        self.log: list[Heard] = []
        self.kills = 0
        self.spells = Counter[int]()
        self._wrong: set[int] = set()
        self._news = threading.Condition()
        self._known: dict[str, set[int]] = {"quick": set(), "slow": set()}
        self._process: subprocess.Popen[bytes] | None = None
        self._server = self._receiver()
        url = f"http://127.0.0.1:{self._server.server_address[1]}"
        channels = {name: {"webhook": f"{url}/{name}"} for name in self._known}
        (folder / "monitoring").mkdir()
        (folder / "opsbook.yaml").write_text(json.dumps({"name": "storm", "channels": channels}))
        (folder / "monitoring/notifications.yaml").write_text("group_by: ['...']\ngroup_interval: 1ms\n")

    def _receiver(self) -> ThreadingHTTPServer:
        storm = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                channel = self.path.strip("/")
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                fate = storm.chance.random() if channel == "slow" else 1.0
                if fate < 0.004:  # it has gone before it took it
                    self.close_connection = True
                    return
                taken = fate >= 0.008
                if taken:
                    storm.hear(channel, self.headers["Idempotency-Key"], body)
                if fate < 0.3:
                    time.sleep(fate / 10)  # a kill may come between taking it and saying so
                with contextlib.suppress(OSError):
                    self.send_response(200 if taken else 503)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *args: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.handle_error = lambda *args: None  # type: ignore[method-assign] # a process that was killed hangs up
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def hear(self, channel: str, name: str, body: dict[str, list[dict[str, dict[str, str]]]]) -> None:
        """Write down what came."""
        with self._news:
            for alert in body["alerts"]:
                instance, status = int(alert["labels"]["instance"]), str(alert["status"])
                self.log.append(Heard(channel, name, instance, status, str(alert["startsAt"]), self.kills))
                known = self._known[channel]
                (known.add if status == "firing" else known.discard)(instance)
            self._news.notify_all()

    # --- the world ---

    def goes_on(self, seconds: float, *, calm: bool = False) -> None:
        """Things break and are mended, for so long; `calm`: they are only mended, until all is well and all know it."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            with self._news:
                for number in range(INSTANCES):
                    knows = [number in known for known in self._known.values()]
                    if number in self._wrong and all(knows):
                        self._wrong.discard(number)
                    elif (
                        number not in self._wrong
                        and not any(knows)
                        and not calm
                        and self.chance.random() < 0.5
                    ):
                        self._wrong.add(number)
                        self.spells[number] += 1
                self._tell()
                if calm and not self._wrong and not any(self._known.values()):
                    return
                self._news.wait(min(left, 0.02))
        assert not calm, f"never heard: {sorted(self._wrong)} {self._known} {self.output()}"

    def _tell(self) -> None:
        new = self.folder / "truth.new"
        new.write_text(json.dumps(sorted(self._wrong)))
        new.replace(self.folder / "truth.json")

    # --- the process ---

    def start(self) -> None:
        (self.folder / "started").unlink(missing_ok=True)
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).parent / "storm.py"), str(self.folder)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip

    def started(self) -> None:
        """Wait until it is at work."""
        deadline = time.monotonic() + 60
        while not (self.folder / "started").exists():
            assert self._process is not None
            assert self._process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            self.goes_on(0.02)

    def kill(self) -> None:
        if self._process is not None:
            assert self._process.poll() is None, self.output()
            self._process.kill()
            self._process.wait()
        with self._news:
            self.kills += 1

    def output(self) -> str:
        return (self.folder / "output").read_text()[-3000:]

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def storm(tmp_path: Path) -> Iterator[Storm]:
    made = Storm(tmp_path, random.Random(int.from_bytes(os.urandom(4), "big")))
    yield made
    made.end()


def test_nothing_is_lost_in_a_storm_of_kills(storm: Storm, capsys: pytest.CaptureFixture[str]) -> None:
    """Every firing and every end reaches both receivers, in order; a message comes twice only if a kill hit it."""
    for _ in range(KILLS):
        storm.start()
        if storm.chance.random() < 0.2:
            storm.goes_on(storm.chance.uniform(0, 1.0))  # perhaps while it reads what was before
        else:
            storm.started()
            storm.goes_on(storm.chance.uniform(0, 0.8))
        storm.kill()
    storm.start()
    storm.goes_on(90, calm=True)

    twice = 0
    for channel in ("quick", "slow"):
        for instance in range(INSTANCES):
            heard = [one for one in storm.log if (one.channel, one.instance) == (channel, instance)]
            first = {one.id: one for one in reversed(heard)}
            story = [first[name].status for name in dict.fromkeys(one.id for one in heard)]
            assert ["firing", "resolved"] * storm.spells[instance] == story
            for name, one in first.items():
                again = [other.kills for other in heard if other.id == name][1:]
                assert len(again) == len({one.kills, *again}) - 1, "twice without a kill in between"
                twice += len(again)
    journal = Journal.open(storm.folder / "journal.sqlite", keys=storm.folder / "keys", clock=SystemClock())
    assert {} == journal.state.items("alerting/told/")
    assert journal.verify().ok
    journal.close()
    with capsys.disabled():
        said = f"{len(storm.log)} messages of {storm.spells.total()} alerts, 0 lost, {twice} twice"
        print(f"\n  {storm.kills} kills: {said}")
