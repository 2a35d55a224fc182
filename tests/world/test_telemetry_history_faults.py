"""The history keeps what it has, whatever happens to files, disk, clock and process meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
from history_place import KEEP, MINUTE, START, place

from opsbook.promql.series import Matcher, is_sample

WRITER = """
import sys
import numpy as np
from pathlib import Path
from opsbook.world.telemetry.history import compaction
from opsbook.world.telemetry.history.history import History
from opsbook.world.telemetry.store import HotStore
compaction._MOST_SMALL = 5
hot = HotStore()
now = [int(sys.argv[2])]
history = History(Path(sys.argv[1]), hot, lambda: now[0], flush=3600.0)
history.start()
block = hot.block({"job": "metrics"})
at = max(now[0], (block.last or 0) + 1000)
while True:
    slots = np.array([block.slot({"__name__": f"m{n}", "job": "metrics"}) for n in (0, at // 1000 % 50 + 1)])
    block.append(at, slots, np.array([float(at)] * 2))
    now[0] = at
    history.flush()
    print(at, flush=True)
    history.maintain()
    at += 1000
"""


def test_a_damaged_file_is_moved_aside(tmp_path: Path) -> None:
    """It is told of, kept for whoever wants to look, and all the others are read and written."""
    with place(tmp_path) as first:
        for at in range(3):
            first.write(START + at * MINUTE, a=at)
            first.history.flush()
    files = sorted((tmp_path / "raw").iterdir())
    files[1].write_bytes(files[1].read_bytes()[:-40])
    with place(tmp_path, START + 5 * MINUTE) as second:
        assert [0.0, 2.0] == [value for _, value in second.points("a")]
        (told,) = second.told
        assert "damaged" in told
        assert [f"raw-{files[1].name}"] == [path.name for path in (tmp_path / "damaged").iterdir()]
        second.write(START + 5 * MINUTE, a=5)
        second.history.flush()
        assert "" == second.history.status().problem
        assert 1 == second.history.status().damaged


def test_a_damaged_catalogue_costs_the_names_only(tmp_path: Path) -> None:
    """The series go on under new numbers, and no old sample is taken for one of theirs."""
    with place(tmp_path) as first:
        first.write(START, a=1)
    (file,) = (tmp_path / "series").iterdir()
    file.write_bytes(b"no longer a file of ours")
    with place(tmp_path, START + MINUTE) as second:
        second.write(START + MINUTE, b=2)
        second.history.flush()
        assert [(START + MINUTE, 2.0)] == second.points("b")
        assert [] == second.points("a")
    with place(tmp_path, START + 2 * MINUTE) as third:
        assert [(START + MINUTE, 2.0)] == third.points("b")


def test_only_one_writes(tmp_path: Path) -> None:
    """A second opsbook says that the history is locked, watches all the same, and writes once it may."""
    with place(tmp_path) as first, place(tmp_path) as second:
        second.write(START, a=1)
        assert "another opsbook" in second.history.status().problem
        assert [(START, 1.0)] == second.points("a")
        first.history.close()
        second.history._open()
        second.history.flush()
        assert "" == second.history.status().problem
    with place(tmp_path, START + 1000) as third:
        assert [(START, 1.0)] == third.points("a")


def test_the_disk_is_full(tmp_path: Path) -> None:
    """It is told once, memory goes on, and nothing is missing once there is room again."""
    free = [10**12]
    with place(tmp_path, free=lambda _: free[0]) as here:
        here.write(START, a=0)
        here.history.flush()
        free[0] = 1000
        for at in range(1, 4):
            here.write(START + at * 1000, a=at)
            here.history.flush()
        status = here.history.status()
        assert ("the disk is full" in status.problem, 3) == (True, status.failures)
        assert 4 == len(here.points("a"))
        free[0] = 10**12
        here.history.flush()
        assert "" == here.history.status().problem
        assert 2 == len(here.told)
    with place(tmp_path, START + MINUTE) as again:
        assert 4 == len(again.points("a"))


def test_writing_fails_halfway(tmp_path: Path) -> None:
    """A folder that cannot be written to loses nothing that is in memory."""
    with place(tmp_path) as here:
        here.write(START, a=0)
        here.history.flush()
        (tmp_path / "raw").rename(tmp_path / "elsewhere")
        (tmp_path / "raw").write_text("in the way")
        here.write(START + 1000, a=1)
        here.history.flush()
        assert here.history.status().problem
        (tmp_path / "raw").unlink()
        (tmp_path / "elsewhere").rename(tmp_path / "raw")
        here.history.flush()
        assert "" == here.history.status().problem
    with place(tmp_path, START + MINUTE) as again:
        assert [0.0, 1.0] == [value for _, value in again.points("a")]


def test_a_crash_between_sorting_and_removing(tmp_path: Path) -> None:
    """The small files that are still there beside the sorted one count once."""
    with place(tmp_path, retention=60) as here:
        for at in range(300):
            here.now = START + at * 30_000
            here.write(here.now, a=at)
            if at % 50 == 0:
                here.history.flush()
        here.history.flush()
        small = {path: path.read_bytes() for path in (tmp_path / "raw").iterdir()}
        here.history.maintain()
    for path, content in small.items():
        path.write_bytes(content)
    (tmp_path / "raw" / "0-1-2-99-99.parquet.unfinished").write_bytes(b"half of a file")
    with place(tmp_path, here.now) as again:
        assert [float(at) for at in range(300)] == [value for _, value in again.points("a")]
        assert 1 == len(list((tmp_path / "raw").iterdir()))


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """Whatever the moment of a kill -9, among writing, sorting and coarsening: what was written is there, once."""
    random = np.random.default_rng(11)
    written: list[int] = []
    for number in range(8):
        now = str(START + number * 1_000_000)
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), now], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(int(random.integers(1, 12))):
            written.append(int(process.stdout.readline()))
        os.kill(process.pid, signal.SIGKILL)
        written += [int(line) for line in process.stdout.read().split()]
        process.wait()
        process.stdout.close()
    with place(tmp_path, written[-1] + 1000) as here:
        found = here.points("m0")
        assert [] == here.told
        assert set(written) <= {at for at, _ in found}
        assert len({at for at, _ in found}) == len(found)
        assert all(at == value for at, value in found)
        everything = here.storage.select([Matcher("__name__", "=~", "m.+")], 0, 2**61)
        assert 2 * len(found) == sum(int(is_sample(each.window.values).sum()) for each in everything)


def test_a_full_disk_does_not_keep_old_files(tmp_path: Path) -> None:
    """What is older than the retention goes although nothing can be written: often that is what makes room."""
    free = [10**12]
    with place(tmp_path, free=lambda _: free[0]) as here:
        here.write(START, a=0)
        here.history.flush()
        free[0] = 0
        here.now += int(KEEP.raw * 1000) + MINUTE
        here.history.maintain()
        here.now += 2 * MINUTE
        here.history.maintain()
        assert [] == list((tmp_path / "raw").iterdir())


def test_the_clock_was_wrong_for_a_while(tmp_path: Path) -> None:
    """Samples of 1970, and then of today: the old ones expire, and hide nothing of the others."""
    with place(tmp_path, 1_000_000, retention=60) as here:
        for at in (1_000_000, 1_030_000, START, START + 30_000):
            here.now = at
            here.write(at, x_total=at)
        here.history.flush()
        assert [1_000_000, 1_030_000, START, START + 30_000] == [at for at, _ in here.points("x_total")]
        assert 2 == len(list((tmp_path / "raw").iterdir()))
        here.now = START + 3 * 3_600_000
        here.history.maintain()
        here.now += 2 * MINUTE
        here.history.maintain()
        assert 1 == len(list((tmp_path / "raw").iterdir()))
    with place(tmp_path, here.now) as again:
        assert [START, START + 30_000] == [at for at, _ in again.points("x_total")]
    with place(tmp_path, START - 86_400_000) as back:  # set back by a day while nobody was looking
        back.write(START - 86_400_000, x_total=1)
        assert [START - 86_400_000] == [at for at, _ in back.points("x_total", 0, START - 3_600_000)]
        assert [] == back.told
