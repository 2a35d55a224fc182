"""Logs of processes: checkpoints, rotation that loses nothing that was copied, crashes in between, tails."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from opsbook.errors import Failed
from opsbook.world.runtimes import process_logs
from opsbook.world.runtimes.process_logs import ProcessLogs, index_path, rotate, tail


class FixedClock:
    """Says what it was told."""

    at = 1000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


def logs(tmp_path: Path, clock: FixedClock, **more: int) -> tuple[ProcessLogs, Path, int]:
    made = ProcessLogs(tmp_path / "logs", clock, **more)
    path = made.path("test", "web", "web-test-1")
    return made, path, made.open(path)


def test_a_checkpoint_is_written_when_the_log_grew(tmp_path: Path, clock: FixedClock) -> None:
    """Each look at a log that grew adds one line; a quiet log adds none."""
    made, path, descriptor = logs(tmp_path, clock)
    made.look()
    os.write(descriptor, b"hello\n")
    made.look()
    clock.at = 1002.5
    made.look()
    os.write(descriptor, b"world\n")
    made.look()
    os.close(descriptor)
    assert index_path(path).read_text() == "6 1000.000\n12 1002.500\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.parent.stat().st_mode & 0o777 == 0o750


def test_a_large_log_is_rotated_with_its_index(tmp_path: Path, clock: FixedClock) -> None:
    """The writer goes on in the same file; older files move up and the oldest goes."""
    made, path, descriptor = logs(tmp_path, clock, max_bytes=10, keep=2)
    for number in range(4):
        clock.at = float(number)
        os.write(descriptor, f"{number}: more than ten bytes\n".encode())
        made.look()
    os.write(descriptor, b"now\n")
    made.look()
    os.close(descriptor)
    folder = path.parent
    contents = {file.name.removeprefix("web-test-1."): file.read_text() for file in folder.iterdir()}
    assert contents == {
        "log": "now\n",
        "index": "4 3.000\n",
        "log.1": "3: more than ten bytes\n",
        "index.1": "23 3.000\n",
        "log.2": "2: more than ten bytes\n",
        "index.2": "23 2.000\n",
    }


def test_what_comes_while_copying_is_kept(tmp_path: Path) -> None:
    """Bytes that are written between the copy and the truncation are in the rotated file."""
    path = tmp_path / "a.log"
    path.write_bytes(b"first\n")

    def more() -> None:
        with path.open("ab") as file:
            file.write(b"second\n")

    assert rotate(path, copied=more) == 0
    assert (path.read_bytes(), Path(f"{path}.1").read_bytes()) == (b"", b"first\nsecond\n")


@pytest.mark.parametrize("truncated", [False, True])
def test_a_rotation_cut_short_is_finished_or_undone(
    tmp_path: Path, clock: FixedClock, truncated: bool
) -> None:
    """After a crash before the truncation nothing is doubled; after it nothing is lost."""
    _, path, descriptor = logs(tmp_path, clock)
    os.close(descriptor)
    Path(f"{path}.new").write_bytes(b"old content\n")
    path.write_bytes(b"later\n" if truncated else b"old content\nand more\n")
    Path(f"{path}.2").write_bytes(b"older\n")
    again = ProcessLogs(tmp_path / "logs", clock)
    again.watch(path)
    rotated = Path(f"{path}.1")
    if truncated:
        assert (rotated.read_bytes(), path.read_bytes()) == (b"old content\n", b"later\n")
    else:
        assert not rotated.exists()
        assert path.read_bytes() == b"old content\nand more\n"
    assert not Path(f"{path}.new").exists()
    assert Path(f"{path}.2").read_bytes() == b"older\n"


def test_a_busy_writer_loses_hardly_a_line(tmp_path: Path, clock: FixedClock) -> None:
    """While a real process writes without pause, nothing is doubled or torn, and next to nothing is lost."""
    made, path, descriptor = logs(tmp_path, clock, max_bytes=20_000, keep=100)
    program = "import os\nfor n in range(20000): os.write(1, b'%07d\\n' % n)"
    writer = subprocess.Popen([sys.executable, "-c", program], stdout=descriptor)
    os.close(descriptor)
    while writer.poll() is None:
        made.look()
    files = sorted(path.parent.glob("*.log.*"), key=lambda file: -int(file.suffix[1:]))
    numbers = [int(line) for file in (*files, path) for line in file.read_text().split()]
    assert len(files) >= 2
    assert numbers == sorted(set(numbers))
    assert len(numbers) > 10_000


def test_tails_reach_into_the_rotated_file(tmp_path: Path) -> None:
    """The last lines are found however they are spread, in order, with bad bytes replaced."""
    path = tmp_path / "a.log"
    assert tail(path, 5) == ()
    Path(f"{path}.1").write_bytes(b"one\r\ntwo\n")
    path.write_bytes(b"three\n\xff\nfive")
    assert tail(path, 4) == ("two", "three", "�", "five")
    assert tail(path, 1) == ("five",)
    path.write_bytes(b"x" * 200_000 + b"\n" + b"".join(b"%d\n" % n for n in range(100_000)))
    assert tail(path, 2) == ("99998", "99999")


def test_logs_of_long_ended_instances_go(tmp_path: Path, clock: FixedClock) -> None:
    """The newest ended ones and all that run are kept, with everything that belongs to them."""
    made = ProcessLogs(tmp_path / "logs", clock)
    for number in range(6):
        path = made.path("test", "web", f"i{number}")
        os.close(made.open(path))
        Path(f"{path}.1").write_text("old")
        index_path(path).write_text("0 1\n")
        os.utime(path, (number, number))
    made.prune("test", "web", alive=["i0"], keep=2)
    left = {file.name.split(".")[0] for file in path.parent.iterdir()}
    assert left == {"i0", "i4", "i5"}
    assert len(list(path.parent.iterdir())) == 9
    assert made.find("i5") == path
    assert made.find("i1") is None


def test_the_thread_looks_by_itself(
    tmp_path: Path, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started, checkpoints come without being asked for; closed, the thread is gone."""
    monkeypatch.setattr(process_logs, "CHECKPOINT_EVERY", 0.01)
    made, path, descriptor = logs(tmp_path, clock)
    made.start()
    made.start()
    os.write(descriptor, b"hello\n")
    deadline = time.monotonic() + 10
    while not index_path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    made.close()
    os.close(descriptor)
    assert index_path(path).read_text() == "6 1000.000\n"
    assert "opsbook-process-logs" not in {thread.name for thread in threading.enumerate()}


def test_a_log_that_cannot_be_opened_is_said(tmp_path: Path, clock: FixedClock) -> None:
    """The error names the file."""
    (tmp_path / "logs").write_text("in the way")
    with pytest.raises(Failed, match="the log cannot be opened"):
        logs(tmp_path, clock)
