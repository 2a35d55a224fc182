"""What is to be done in the background, a few at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from opsbook.server.errands import Errands


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10.0
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def named(name: str) -> int:
    return sum(one.name == name for one in threading.enumerate())


def test_a_storm_takes_a_few_threads_and_leaves_none() -> None:
    """All of it is done, in the order in which it came; a fault ends nothing."""
    done, logged, gate = list[int](), list[str](), threading.Event()
    errands = Errands("errand-storm", 3, logged.append)

    def errand(number: int) -> None:
        gate.wait(10.0)
        if number == 7:
            raise RuntimeError("it broke")
        done.append(number)

    for number in range(200):
        errands.run(lambda number=number: errand(number))  # type: ignore[misc]
    assert 3 == named("errand-storm")
    gate.set()
    eventually(lambda: len(done) == 199)
    eventually(lambda: not named("errand-storm"))
    assert ["errand-storm: RuntimeError: it broke"] == logged


def test_after_the_end_nothing_begins() -> None:
    """What waits is left."""
    done, gate = list[int](), threading.Event()
    errands = Errands("errand-end", 1, lambda line: None)
    errands.run(lambda: gate.wait(10.0))
    errands.run(lambda: done.append(1))
    errands.close()
    errands.run(lambda: done.append(2))
    gate.set()
    eventually(lambda: not named("errand-end"))
    assert [] == done
