"""Logs: from the end, by time, across rotation, as they come."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbook.errors import Invalid
from opsbook.world.runtimes.process_logs import append_checkpoint, log_path, rotate
from opsbook.world.telemetry.log_files import MAX_LINE, Checkpoints, lines_backwards
from opsbook.world.telemetry.logs import FileLogs
from opsbook.world.words import LogLine


class RealClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.01))


def logs(root: Path, mask: Callable[[str], str] = lambda text: text) -> FileLogs:
    return FileLogs(root, RealClock(), mask=mask)


def write(
    root: Path, instance: str, *lines: str | bytes, at: float | None = None, end: bytes = b"\n"
) -> Path:
    """Append lines to the log of an instance, with a checkpoint if a time is given."""
    log = log_path(root, "production", "web", instance)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        for line in lines:
            file.write((line if isinstance(line, bytes) else line.encode()) + end)
    if at is not None:
        append_checkpoint(log, log.stat().st_size, at)
    return log


def texts(lines: list[LogLine]) -> list[str]:
    return [line.text for line in lines]


WEB = {"environment": "production", "service": "web"}


def test_instances_are_merged_by_time(tmp_path: Path) -> None:
    """Lines of several instances come in the order of time, oldest first, with their times and origins."""
    for at in (100.0, 300.0):
        write(tmp_path, "web-a", f"a {at:g}", at=at)
    for at in (200.0, 400.0):
        write(tmp_path, "web-b", f"b {at:g}", at=at)
    found = logs(tmp_path).read(**WEB)
    assert ["a 100", "b 200", "a 300", "b 400"] == texts(found)
    assert LogLine(200.0, "web-b", "web", "production", "b 200") == found[1]
    assert ["a 300", "b 400"] == texts(logs(tmp_path).read(**WEB, limit=2))
    assert ["a 300", "b 400"] == texts(logs(tmp_path).read(**WEB, since=250.0))
    assert ["a 100", "a 300"] == texts(logs(tmp_path).read(**WEB, grep="^a"))
    assert [] == logs(tmp_path).read(**WEB, limit=0)


def test_rotated_files_are_read_on(tmp_path: Path) -> None:
    """Older files follow when the current one is not enough; their checkpoints went along."""
    for number in range(12):
        log = write(tmp_path, "web-a", f"line {number}", at=1000.0 + number)
        if number % 2:
            rotate(log)
    expected = [f"line {number}" for number in range(2, 12)]  # five files are kept
    assert expected == texts(logs(tmp_path).read(**WEB))
    assert [f"line {number}" for number in range(5, 12)] == texts(logs(tmp_path).read(**WEB, since=1005.0))
    assert [1009.0, 1010.0, 1011.0] == [line.at for line in logs(tmp_path).read(**WEB, limit=3)]


def test_without_an_index(tmp_path: Path) -> None:
    """A log that was never looked at has the time of its last change."""
    log = write(tmp_path, "web-a", "one", "two")
    os.utime(log, (500.0, 500.0))
    assert [(500.0, "one"), (500.0, "two")] == [(line.at, line.text) for line in logs(tmp_path).read(**WEB)]
    assert [] == logs(tmp_path).read(**WEB, since=501.0)


def test_the_clock_was_set_back(tmp_path: Path) -> None:
    """Lines from before the jump are not newer than those after it, so none is lost by `since`."""
    write(tmp_path, "web-a", "before", at=9000.0)
    write(tmp_path, "web-a", "after", at=1000.0)
    assert [1000.0, 1000.0] == [line.at for line in logs(tmp_path).read(**WEB)]


def test_a_damaged_index(tmp_path: Path) -> None:
    """Half a checkpoint, or rubbish, is passed over."""
    index = tmp_path / "web.index"
    index.write_bytes(b"10 100.000\n20 200.000\n30\n40 40")
    times = Checkpoints(index, 999.0)
    assert [100.0, 200.0, 999.0] == [times.at(10), times.at(11), times.at(25)]


def test_anything_may_be_written(tmp_path: Path) -> None:
    """Invalid UTF-8 is replaced, very long lines are cut with a mark, Windows ends go, an unfinished line shows."""
    write(tmp_path, "web-a", b"\xff\xfe binary", b"windows\r", b"x" * 100_000, b"", at=1.0)
    write(tmp_path, "web-a", b"no end", end=b"")
    found = texts(logs(tmp_path).read(**WEB))
    assert ["\ufffd\ufffd binary", "windows", "", "no end"] == [found[0], found[1], found[3], found[4]]
    assert "x" * MAX_LINE + f" … [{100_000 - MAX_LINE} more bytes]" == found[2]


def test_only_the_end_is_read(tmp_path: Path) -> None:
    """Twenty lines of a large file cost two reads, not the file."""
    log = write(tmp_path, "web-a", *(f"line {number}" for number in range(200_000)))
    size, asked = log.stat().st_size, 0

    def read(offset: int, length: int) -> bytes:
        nonlocal asked
        asked += length
        with log.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    lines = lines_backwards(read, size)
    assert "line 199999" == next(lines).text
    assert "line 199980" == [next(lines) for _ in range(19)][-1].text
    assert asked <= 128 * 1024


@settings(max_examples=100)
@given(
    st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b""))),
    st.booleans(),
    st.integers(1, 9),
)
def test_backwards_is_forwards(lines: list[bytes], ended: bool, chunk: int) -> None:
    """Whatever the lines and the chunks, reading backwards gives the same lines and offsets."""
    data = b"".join(line + b"\n" for line in lines)
    data = data if ended or not data else data[:-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("opsbook.world.telemetry.log_files._CHUNK", chunk)
        found = list(lines_backwards(lambda offset, size: data[offset : offset + size], len(data)))[::-1]
    expected = data.split(b"\n") if data else []
    if expected and not expected[-1]:
        expected.pop()
    assert expected == [line.head for line in found]
    ends = [data.find(b"\n", 0 if not index else found[index - 1].end) + 1 for index in range(len(found))]
    assert [end or len(data) for end in ends] == [line.end for line in found]


def test_secrets_are_masked_before_anything_else(tmp_path: Path) -> None:
    """They are not shown, and cannot be guessed by searching for them."""
    write(tmp_path, "web-a", "password is hunter2", at=1.0)
    reader = logs(tmp_path, lambda text: text.replace("hunter2", "***"))
    assert ["password is ***"] == texts(reader.read(**WEB))
    assert [] == reader.read(**WEB, grep="hunter")


@pytest.mark.parametrize("grep", ["(", "*", "[a"])
def test_an_invalid_regex(tmp_path: Path, grep: str) -> None:
    """It is Invalid for reading and following alike, at the call."""
    for ask in (logs(tmp_path).read, logs(tmp_path).follow):
        with pytest.raises(Invalid) as raised:
            ask(**WEB, grep=grep)
        assert "grep" == raised.value.where


@pytest.mark.parametrize("name", ["..", "../..", "a/b", "", "/etc"])
def test_names_do_not_leave_the_folder(tmp_path: Path, name: str) -> None:
    """A name that could be a path is refused."""
    with pytest.raises(Invalid):
        logs(tmp_path).read(environment="production", service=name)
    with pytest.raises(Invalid):
        logs(tmp_path).read(environment=name, service="web")


def test_nothing_was_written_yet(tmp_path: Path) -> None:
    """That is no error."""
    assert [] == logs(tmp_path).read(**WEB)


@contextmanager
def following(root: Path, **options: object) -> Iterator[list[str]]:
    """Lines as a follower gets them, in a thread."""
    stop, found = threading.Event(), list[str]()
    lines = logs(root).follow(**WEB, stop=stop.is_set, **options)  # type: ignore[arg-type]
    started = threading.Event()

    def collect() -> None:
        started.set()
        for line in lines:
            found.append(line.text)

    thread = threading.Thread(target=collect)
    thread.start()
    started.wait()
    try:
        yield found
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def test_following(tmp_path: Path) -> None:
    """The tail first, then new lines of old and new instances; unfinished lines wait a moment for their end."""
    write(tmp_path, "web-a", "one", "two", "three", at=1.0)
    with following(tmp_path, tail=2) as found:
        until(lambda: found == ["two", "three"])
        write(tmp_path, "web-a", "fo", end=b"")
        write(tmp_path, "web-a", "ur")
        until(lambda: found[2:] == ["four"])
        write(tmp_path, "web-b", "from a new instance")
        until(lambda: found[3:] == ["from a new instance"])
        write(tmp_path, "web-a", "Password: ", end=b"")
        until(lambda: found[4:] == ["Password: "])


def test_following_what_matches(tmp_path: Path) -> None:
    """Only lines that match are told, also of the tail."""
    write(tmp_path, "web-a", "error 1", "fine", at=1.0)
    with following(tmp_path, tail=10, grep="error|!") as found:
        write(tmp_path, "web-a", "fine", "error 2", "!")
        until(lambda: found == ["error 1", "error 2", "!"])


def test_the_end_of_a_followed_log(tmp_path: Path) -> None:
    """The log of an instance may be removed, and one of the same name appear."""
    log = write(tmp_path, "web-a", "old")
    with following(tmp_path, tail=1) as found:
        until(lambda: found == ["old"])
        log.unlink()
        write(tmp_path, "web-b", "b")
        until(lambda: found[1:] == ["b"])
        write(tmp_path, "web-a", "new")
        until(lambda: found[2:] == ["new"])


def test_a_log_that_was_emptied_by_hand(tmp_path: Path) -> None:
    """Without a copy to go on with, following begins anew."""
    log = write(tmp_path, "web-a", "some long line before")
    with following(tmp_path, tail=1) as found:
        until(lambda: found)
        os.truncate(log, 0)
        write(tmp_path, "web-a", "anew")
        until(lambda: found[1:] == ["anew"])


def test_following_through_rotation(tmp_path: Path) -> None:
    """Rotations between any two looks lose nothing, repeat nothing and keep the order."""
    log = write(tmp_path, "web-a", "0")
    numbers, written = count(1), 0
    with following(tmp_path, tail=1) as found:
        until(lambda: found)
        for rotation in range(12):
            for _ in range(50 + rotation * 37):
                written = next(numbers)
                write(tmp_path, "web-a", str(written))
            rotate(log)
            written = next(numbers)
            write(tmp_path, "web-a", str(written))
            until(lambda: len(found) >= written)  # noqa: B023
        until(lambda: len(found) > written)
        assert [str(number) for number in range(written + 1)] == found


def test_reading_while_rotating(tmp_path: Path) -> None:
    """A reader sees consecutive lines, whatever rotation does meanwhile."""
    log = write(tmp_path, "web-a", "0")
    done = threading.Event()
    problems: list[object] = []
    readings: list[int] = []

    def read() -> None:
        while not done.is_set():
            seen = [int(text) for text in texts(logs(tmp_path).read(**WEB, limit=300))]
            readings.append(len(seen))
            # All may be gone already: here five rotations take milliseconds, not at least five seconds.
            if seen and seen != list(range(seen[0], seen[0] + len(seen))):
                problems.append([(a, b) for a, b in pairwise(seen) if b != a + 1])

    thread = threading.Thread(target=read)
    thread.start()
    number = 0
    for _ in range(150):
        for _ in range(60):
            number += 1
            write(tmp_path, "web-a", str(number))
        rotate(log)
    done.set()
    thread.join()
    assert [] == problems
    assert any(readings)


def test_descriptors_are_closed(tmp_path: Path) -> None:
    """However many instances and files there are, and wherever reading stops."""
    for name in "abcdef":
        log = write(tmp_path, f"web-{name}", "one", "two", at=1.0)
        rotate(log)
        write(tmp_path, f"web-{name}", "three", at=2.0)
    folder = Path("/proc/self/fd")
    reader = logs(tmp_path)
    reader.read(**WEB, limit=1)
    before = len(list(folder.iterdir()))
    for limit in (1, 3, 7, 100):
        reader.read(**WEB, limit=limit)
        reader.read(**WEB, limit=limit, since=2.0)
    assert len(list(folder.iterdir())) <= before
