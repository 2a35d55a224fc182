"""Searching logs: files of instances and records that were sent, alike."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbook.errors import Failed, Invalid
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.logs import narrowing
from opsbook.world.logs.narrowing import candidates
from opsbook.world.logs.query import LogQuery, compiled
from opsbook.world.logs.reading import read_line
from opsbook.world.logs.search import LogSearch
from opsbook.world.logs.sent import SentLogs
from opsbook.world.logs.words import LogRecord
from opsbook.world.runtimes.process_logs import append_checkpoint, log_path, rotate

NOW = 1_790_000_000.0
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def searching(root: Path) -> LogSearch:
    return LogSearch(
        root / "logs", SentLogs(root / "sent.sqlite", SystemClock()), SystemClock(),
        mask=lambda text: text.replace("hunter2", "***"),
    )  # fmt: skip


def write(root: Path, service: str, *lines: str, at: float = NOW, environment: str = "production") -> Path:
    log = log_path(root / "logs", environment, service, f"{service}-1")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)
    append_checkpoint(log, log.stat().st_size, at)
    return log


def send(root: Path, *records: LogRecord) -> None:
    store = SentLogs(root / "sent.sqlite", SystemClock(), mask=lambda text: text.replace("hunter2", "***"))
    assert len(records) == store.write(records)
    store.close()


def texts(logs: LogSearch, query: LogQuery) -> list[str]:
    return [record.text for record in logs.search(query).records]


@pytest.mark.parametrize(
    ("line", "level", "text", "fields", "trace"),
    [
        ('{"level":50,"msg":"no","user":{"id":7}}', "error", "no", {"user.id": "7"}, ""),
        (f'{{"severity":"WARN","message":"m","traceId":"{TRACE}"}}', "warning", "m", {}, TRACE),
        ('level=info msg="two words" took=3ms', "info", "two words", {"took": "3ms"}, ""),
        (
            "2026-11-20 10:00:00,123 ERROR [db] lost",
            "error",
            "2026-11-20 10:00:00,123 ERROR [db] lost",
            {},
            "",
        ),
        ("E0102 10:00:00.1 1 x.go:3] broken", "error", "E0102 10:00:00.1 1 x.go:3] broken", {}, ""),
        ("nothing to see", "", "nothing to see", {}, ""),
        ('{"broken', "", '{"broken', {}, ""),
    ],
)
def test_lines_are_read(line: str, level: str, text: str, fields: dict[str, str], trace: str) -> None:
    """JSON, logfmt and plain text give their level, message, fields and trace."""
    found = read_line(line, NOW, environment="p", service="s", instance="i")
    assert (level, text, fields, trace) == (found.level, found.text, dict(found.fields), found.trace_id)


def test_a_printed_time_is_taken_where_it_is_near() -> None:
    """A time that stands in the line is exacter than the checkpoint; one of long ago is no time of the line."""
    line = json.dumps({"ts": NOW - 0.25, "msg": "x"})
    assert int((NOW - 0.25) * 1000) == read_line(line, NOW, environment="", service="", instance="").at_ms
    old = json.dumps({"ts": NOW - 9999, "msg": "x"})
    assert int(NOW * 1000) == read_line(old, NOW, environment="", service="", instance="").at_ms


def test_one_search_over_all(tmp_path: Path) -> None:
    """What was written and what was sent is found by level, field, text, pattern, trace, origin and time alike."""
    write(tmp_path, "web", "ERROR lost hunter2", "INFO fine", at=NOW)
    write(tmp_path, "api", f'{{"level":"info","msg":"order","id":7,"trace_id":"{TRACE}"}}', at=NOW + 10)
    send(
        tmp_path,
        LogRecord(int(NOW * 1000) + 5000, "pay", "production", "pay-1", "", "error", "refused hunter2",
                  {"id": "7"}, TRACE),
        LogRecord(int(NOW * 1000) + 6000, "pay", "staging", "pay-2", "", "debug", "tried", {"id": "8"}),
    )  # fmt: skip
    logs = searching(tmp_path)
    everything = ["order", "tried", "refused ***", "INFO fine", "ERROR lost ***"]
    assert everything == texts(logs, LogQuery())
    assert ["refused ***", "ERROR lost ***"] == texts(logs, LogQuery(level="error"))
    assert ["order", "refused ***"] == texts(logs, LogQuery(fields={"id": "7"}))
    assert ["order", "refused ***"] == texts(logs, LogQuery(trace_id=TRACE.upper()))
    assert ["refused ***", "ERROR lost ***"] == texts(logs, LogQuery(grep=r"\*\*\*"))
    assert [] == texts(logs, LogQuery(grep="hunter"))
    assert ["INFO fine"] == texts(logs, LogQuery(text="FINE"))
    assert ["order", "INFO fine", "ERROR lost ***"] == texts(
        logs, LogQuery(services=frozenset({"web", "api"}))
    )
    assert ["tried"] == texts(logs, LogQuery(visible=frozenset({"staging"})))
    assert [] == texts(logs, LogQuery(visible=frozenset()))
    assert ["tried", "refused ***"] == texts(logs, LogQuery(since=NOW + 1, until=NOW + 9))
    histogram = logs.histogram(LogQuery(), start=NOW - 5, end=NOW + 15, steps=2)
    assert {"error": 2, "info": 2, "debug": 1} == {level: sum(row) for level, row in histogram.counts.items()}
    assert (
        ("production", "api"),
        ("production", "pay"),
        ("production", "web"),
        ("staging", "pay"),
    ) == logs.origins()


def test_pages_leave_nothing_out(tmp_path: Path) -> None:
    """Page after page gives every line once, across rotation and many lines of the same moment."""
    for number in range(4):
        log = write(tmp_path, "web", *(f"w{number}-{line}" for line in range(9)), at=NOW + number)
        if number % 2:
            rotate(log)
    send(tmp_path, *(LogRecord(int(NOW * 1000) + 1000, "api", "production", text=f"s{n}") for n in range(9)))
    logs, found, cursor = searching(tmp_path), list[str](), ""
    while True:
        page = logs.search(LogQuery(limit=4, cursor=cursor))
        found += [record.text for record in page.records]
        if not (cursor := page.cursor):
            break
    assert texts(logs, LogQuery(limit=1000)) == found
    assert 45 == len(set(found)) == len(found)


def test_what_cannot_be_understood(tmp_path: Path) -> None:
    """Patterns, levels and cursors that are none are refused."""
    for query in (LogQuery(grep="("), LogQuery(level="loud"), LogQuery(cursor="x")):
        with pytest.raises(Invalid):
            searching(tmp_path).search(query)


def test_time_is_bounded(tmp_path: Path) -> None:
    """A search whose time is up says how far it came, and goes on from there."""
    for number in range(5):
        write(tmp_path, "web", f"line {number}", at=NOW + number)
    page = searching(tmp_path).search(LogQuery(budget=-1.0))
    found, rounds = [record.text for record in page.records], 1
    while page.cursor and rounds < 20:
        page = searching(tmp_path).search(LogQuery(budget=-1.0 if rounds < 3 else 20.0, cursor=page.cursor))
        found += [record.text for record in page.records]
        rounds += 1
    assert [f"line {number}" for number in range(4, -1, -1)] == found


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([b"a", b"bb", b"needle", b"x needle y", b""]), max_size=30), st.integers(1, 40)
)
def test_narrowing_loses_nothing(lines: list[bytes], piece: int) -> None:
    """Whatever the pieces, exactly the lines with the pattern come, the last first, with their ends."""
    data = b"".join(line + b"\n" for line in lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(narrowing, "PIECE", piece)
        read = lambda offset, size: data[offset : offset + size]  # noqa: E731
        came = [
            one
            for one in candidates(read, len(data), compiled(b"needle"), lambda _: False)
            if one.length >= 0
        ]
    ends = [sum(len(line) + 1 for line in lines[: place + 1]) for place in range(len(lines))]
    expected = [(line, end) for line, end in zip(lines, ends, strict=True) if b"needle" in line]
    assert expected[::-1] == [(one.head, one.end) for one in came]


def test_following(tmp_path: Path) -> None:
    """The newest, then what is written and sent, of several services; fitting only."""
    write(tmp_path, "web", "ERROR old", "INFO old", at=time.time())
    logs, done = searching(tmp_path), False
    coming = logs.follow(LogQuery(level="error"), stop=lambda: done, tail=5)
    first = next(record for record in coming if record)
    assert "ERROR old" == first.text
    assert next(coming) is None
    write(tmp_path, "api", "ERROR new", "INFO new", at=time.time())
    send(tmp_path, LogRecord(int(time.time() * 1000), "pay", "production", level="error", text="sent"))
    found: set[str] = set()
    deadline = time.monotonic() + 10
    while len(found) < 2 and time.monotonic() < deadline:
        record = next(coming)
        if record is not None:
            found.add(record.text)
    done = True
    assert {"ERROR new", "sent"} == found
    assert [] == [record for record in coming if record]


def test_what_comes_at_the_beginning_is_told_once(tmp_path: Path) -> None:
    """A record that comes between the question and the first look is not in the tail and again behind it."""
    send(tmp_path, LogRecord(int(time.time() * 1000), "pay", "production", text="before"))
    looks = 0

    def stop() -> bool:
        nonlocal looks
        looks += 1
        return looks > 3

    coming = searching(tmp_path).follow(LogQuery(), stop=stop, tail=10)
    send(tmp_path, LogRecord(int(time.time() * 1000), "pay", "production", text="between"))
    assert ["before", "between"] == [record.text for record in coming if record]


def test_sent_records_are_let_go(tmp_path: Path) -> None:
    """The oldest go by age, and by size."""
    store = SentLogs(tmp_path / "s.sqlite", SystemClock(), max_age=3600.0, max_bytes=2_000_000)
    now = int(time.time() * 1000)
    store.write([LogRecord(now - 7_200_000, text="old"), LogRecord(now, text="new")])
    store.sweep()
    assert ["new"] == [record.text for record in store.newest_first(LogQuery(), None)]
    store.write([LogRecord(now + n, text="x" * 400) for n in range(20_000)])
    store.sweep()
    kept = [record.at_ms for record in store.newest_first(LogQuery(), None)]
    assert now + 19_999 == kept[0]
    assert 0 < len(kept) < 12_000
    store.close()


def test_a_damaged_file_and_a_full_disk(tmp_path: Path) -> None:
    """A damaged file is put aside; a write that fails says so and keeps nothing."""
    path = tmp_path / "s.sqlite"
    path.write_bytes(b"no database at all, but long enough to be read as one" * 100)
    said: list[str] = []
    store = SentLogs(path, SystemClock(), log=said.append)
    assert 1 == len(said)
    assert 1 == len(list(tmp_path.glob("*.damaged-*")))
    store._connection.execute("PRAGMA max_page_count = 20")
    with pytest.raises(Failed):
        store.write([LogRecord(1, text="x" * 5000) for _ in range(100)])
    assert [] == list(store.newest_first(LogQuery(), None))
    store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        store._connection.execute("SELECT 1")
