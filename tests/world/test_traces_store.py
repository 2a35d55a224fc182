"""The trace store: real files, killed writers, damage, full disks, bounds."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import opsbook.world.traces.searching as searching
import opsbook.world.traces.store as module
from opsbook.errors import Failed, Invalid, NotFound
from opsbook.world.traces.store import TraceStore
from opsbook.world.traces.words import Happening, Span, TraceQuery

DAY = 86400.0


class Clock:
    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def span(trace: int, number: int = 1, *, parent: int = 0, at: float = 1_800_000_000.0, ms: float = 5.0,
         **more: object) -> Span:  # fmt: skip
    return Span(
        trace_id=f"{trace:032x}", span_id=f"{number:016x}", parent_id=f"{parent:016x}" if parent else "",
        start_ns=int(at * 1e9), duration_ns=int(ms * 1e6),
        **{"name": "GET /", "service": "web", "environment": "production", **more},  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> TraceStore:
    return TraceStore(tmp_path / "traces.sqlite", clock, mask=lambda text: text.replace("hunter2", "***"))


def names(store: TraceStore, **query: object) -> list[str]:
    return [found.name for found in store.search(TraceQuery(**query))]  # type: ignore[arg-type]


def test_a_span_comes_back_as_it_was_without_secrets(store: TraceStore) -> None:
    """Everything that was said of it is kept, but for what must not be."""
    told = span(
        1, status="error", message="password hunter2 refused", scope="lib", kind="client", instance="web-1",
        attributes={"db": 'a"b\\c ü', "p": "hunter2"}, resource={"host": "h"},
        happenings=(Happening(5, "exception", {"m": "hunter2"}),), links=(("ab", "cd"),),
    )  # fmt: skip
    assert 1 == store.write([told])
    [found] = store.trace(told.trace_id.upper())
    assert "hunter2" not in repr(found)
    assert ({"db": 'a"b\\c ü', "p": "***"}, "password *** refused") == (found.attributes, found.message)
    assert (told.links, told.resource, told.kind) == (found.links, found.resource, found.kind)


def test_spans_of_a_trace_come_in_any_order_and_any_number_of_times(store: TraceStore) -> None:
    """A batch that is sent again changes nothing; the first span gives the name, whenever it comes."""
    child = span(1, 2, parent=1, at=1_800_000_000.001, name="SELECT", service="db", status="error")
    for _ in range(2):
        assert 1 == store.write([child])
    assert ["SELECT"] == names(store)
    store.write([span(1, ms=50)])
    [found] = store.search(TraceQuery())
    assert ("GET /", "web", 2, 1, ("db", "web"), 50_000_000) == (
        found.name, found.service, found.spans, found.errors, found.services, found.duration_ns,
    )  # fmt: skip


def test_every_way_to_search(store: TraceStore, clock: Clock) -> None:
    """By service, name, attribute, error, duration, time and environment, alone and together."""
    store.write([
        span(1, name="fast", ms=2, attributes={"http.route": "/a", "q": 'x"y'}),
        span(2, name="slow", ms=900, at=clock.at - 100),
        span(3, name="broken", service="api", status="error", at=clock.at - 200, resource={"host": "h1"}),
        span(3, 2, parent=1, name="db", service="db", at=clock.at - 200),
        span(4, name="staged", environment="staging", at=clock.at - 300),
    ])  # fmt: skip
    assert ["fast", "slow", "broken", "staged"] == names(store)
    assert ["slow", "broken"] == names(store, slowest=True)[:1] + names(store, service="db")
    assert (
        ["broken"]
        == names(store, error=True)
        == names(store, name="BROK")
        == names(store, attributes={"host": "h1"})
    )
    assert ["fast"] == names(store, attributes={"http.route": "/a", "q": 'x"y'})
    assert [] == names(store, attributes={"http.route": "/"}) == names(store, service="db", error=True)
    assert ["slow"] == names(store, shortest=0.5) == names(store, shortest=0.5, longest=1.0)
    assert ["fast", "slow"] == names(store, since=clock.at - 150)
    assert ["broken", "staged"] == names(store, until=clock.at - 150)
    assert ["staged"] == names(store, environment="staging") == names(store, visible=frozenset({"staging"}))
    assert ["fast"] == names(store, limit=1)
    assert ("api", "db", "web") == store.services(frozenset({"production"}))


def test_a_trace_beyond_what_one_may_see_is_not_there(store: TraceStore) -> None:
    """One span in a hidden environment hides the whole."""
    store.write([span(1), span(1, 2, parent=1, environment="secret")])
    assert 2 == len(store.trace(f"{1:032x}"))
    assert [] == names(store, visible=frozenset({"production"}))
    with pytest.raises(NotFound):
        store.trace(f"{1:032x}", frozenset({"production"}))
    with pytest.raises(NotFound, match="no trace nonsense"):
        store.trace("nonsense")


def test_a_trace_without_end_is_cut_and_that_is_said(
    store: TraceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one trace only so many spans are kept; the sender is told of the rest, other traces are not touched."""
    monkeypatch.setattr(module, "MOST_SPANS", 10)
    assert 8 == store.write([span(1, number) for number in range(1, 9)])
    assert 2 == store.write([span(1, number) for number in range(9, 19)])
    assert 1 == store.write([span(2)])
    assert 10 == len(store.trace(f"{1:032x}"))


def test_old_traces_are_let_go(store: TraceStore, clock: Clock) -> None:
    """After their time, counted from when they were last heard of."""
    store.write([span(1)])
    clock.at += 6 * DAY
    store.write([span(2)])
    clock.at += 2 * DAY
    assert 1 == store.sweep()
    assert [f"{2:032x}"] == [found.trace_id for found in store.search(TraceQuery())]


def test_old_traces_are_let_go_also_while_nobody_sends(
    store: TraceStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a loop of its own, which ends when it is told."""
    monkeypatch.setattr(module, "KEEP_SECONDS", 0.01)
    store.write([span(1)])
    clock.at += 8 * DAY
    stopping = threading.Event()
    thread = threading.Thread(target=store.keep, args=(stopping,))
    thread.start()
    deadline = time.monotonic() + 20
    while names(store):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    stopping.set()
    thread.join(10)
    assert not thread.is_alive()


def test_the_file_stays_within_its_bounds(tmp_path: Path, clock: Clock) -> None:
    """However much is sent, the oldest go, and the newest can be found."""
    store = TraceStore(tmp_path / "t.sqlite", clock, max_bytes=1_000_000)
    text = {"text": "v" * 500}
    for batch in range(40):
        clock.at += 31  # the store looks after itself while it is written to
        store.write([span(batch * 100 + n + 1, at=clock.at, attributes=text) for n in range(100)])
    assert (tmp_path / "t.sqlite").stat().st_size < 2_500_000
    assert (tmp_path / "t.sqlite-wal").stat().st_size < 20_000_000
    assert 50 == len(store.search(TraceQuery(since=clock.at - 1)))
    store.close()


def test_a_writer_that_is_killed_loses_nothing_it_had_confirmed(tmp_path: Path) -> None:
    """kill -9 in the midst of writing: every batch that was answered is there, whole, and the store goes on."""
    program = (
        "import sys, pathlib, time\n"
        "from opsbook.world.traces.store import TraceStore\n"
        "from opsbook.world.traces.words import Span\n"
        "from opsbook.world.hosts.clock import SystemClock\n"
        "store = TraceStore(pathlib.Path(sys.argv[1]), SystemClock())\n"
        "for n in range(1, 100000):\n"
        "    store.write([Span(trace_id=f'{n:032x}', span_id=f'{i:016x}', name='x', start_ns=n, duration_ns=1)"
        " for i in range(1, 51)])\n"
        "    print(n, flush=True)\n"
    )
    path = tmp_path / "traces.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) < 20:
            pass
        process.send_signal(signal.SIGKILL)
        confirmed = 20 + len(process.stdout.read().split("\n")) - 1
    store = TraceStore(path, Clock())
    found = {int(one.trace_id, 16): one.spans for one in store.search(TraceQuery(limit=100_000))}
    assert {50} == set(found.values())
    assert set(range(1, confirmed)) <= set(found)
    store.write([span(999_999_999)])
    store.close()


def test_a_damaged_file_is_put_aside_and_said(tmp_path: Path, clock: Clock) -> None:
    """Nothing is thrown away, and new traces are kept."""
    (tmp_path / "t.sqlite").write_bytes(b"this is no database, it is a text of some length" * 100)
    said: list[str] = []
    store = TraceStore(tmp_path / "t.sqlite", clock, log=said.append)
    assert 1 == store.write([span(1)])
    [aside] = tmp_path.glob("*.damaged-*")
    assert aside.name in said[0]
    assert 0o600 == (tmp_path / "t.sqlite").stat().st_mode & 0o777
    store.close()


def test_a_full_disk_is_said_and_nothing_is_half_kept(store: TraceStore) -> None:
    """The batch is kept whole or not at all."""
    [pages] = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    big = [span(1, number, attributes={"t": "v" * 3000}) for number in range(1, 30)]
    with pytest.raises(Failed, match="full"):
        store.write(big)
    store._connection.execute("PRAGMA max_page_count = 100000")
    with pytest.raises(NotFound):
        store.trace(f"{1:032x}")
    assert 29 == store.write(big)


def test_letting_go_on_a_full_disk_leaves_no_transaction_open(store: TraceStore, clock: Clock) -> None:
    """When old traces cannot be let go, new ones can be kept as soon as there is room."""
    store.write([span(1)])
    clock.at += 8 * DAY
    store._connection.set_authorizer(
        lambda action, table, *_: int(action == 9 and table == "traces")
    )  # DELETE
    with pytest.raises(Failed, match="let go"):
        store.sweep()
    store._connection.set_authorizer(None)
    assert 1 == store.write([span(2)])
    assert (1, 1) == (store.sweep(), len(names(store)))


def test_a_search_that_takes_too_long_ends(store: TraceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said how to ask for less, instead of holding the server."""
    store.write([span(number) for number in range(1, 3000)])
    monkeypatch.setattr(searching, "LONGEST", 0.0)
    monkeypatch.setattr(searching, "_LOOK_EVERY", 100)
    with pytest.raises(Invalid, match="takes longer"):
        store.search(TraceQuery(name="nowhere"))


def test_many_write_and_read_at_once(store: TraceStore) -> None:
    """Senders and readers do not stand in each other's way."""
    problems: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for number in range(first, first + 50):
                store.write([span(number)])
                store.search(TraceQuery(limit=5))
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(1 + n * 1000,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [] == problems
    assert 200 == len(store.search(TraceQuery(limit=500)))


def test_times_beyond_all_sense_are_no_trouble(store: TraceStore) -> None:
    """Clocks of others are wrong at times."""
    store.write([span(1, at=9e9), span(2, at=1.0)])
    assert 2 == len(store.search(TraceQuery(since=-5, until=1e30)))
