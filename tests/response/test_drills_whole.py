"""A whole drill in processes of its own, to its end and cut off in the middle: nothing of it is left."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM

from drill_house import House, until


def test_a_drill_that_passes_leaves_nothing(tmp_path: Path) -> None:
    """The alert fires, the page ends it, the fault is undone, and the scratch place is gone."""
    house = House(tmp_path)
    with house.begin() as begun:
        out, said = begun.communicate(timeout=120)
    (result,) = json.loads(out)["drills"]
    assert (0, "passed", "") == (begun.returncode, result["state"], result["reason"]), said
    assert 0 < result["detect_seconds"] < result["seconds"]
    assert 0 < result["fix_seconds"] < result["seconds"]
    assert result["standard"] is False
    assert (False, False, 1) == (house.place.exists(), house.broken, house.undone)
    assert [] == house.inhabitants()


def test_drills_that_are_cut_off_leave_nothing(tmp_path: Path) -> None:
    """Ctrl-C, an order to end or kill -9, while the fault is there: it is undone, once, and all is cleared.

    Three drills at the same time, which know nothing of each other.
    """
    houses = {number: House(tmp_path / number.name) for number in (SIGINT, SIGTERM, SIGKILL)}
    with ExitStack() as stack:
        begun = {number: stack.enter_context(house.begin()) for number, house in houses.items()}
        for number, house in houses.items():
            process = begun[number]
            until(lambda house=house, process=process: house.broken or process.poll() is not None)
            assert house.broken, process.communicate()
            assert house.inhabitants(), "there is something that could be left"
            if number == SIGINT:
                os.killpg(process.pid, number)  # a terminal tells everybody in the foreground
            else:
                process.send_signal(number)
        for process in begun.values():
            process.communicate(timeout=60)
            assert process.returncode != 0
    for house in houses.values():
        until(lambda house=house: not house.place.exists() and not house.inhabitants())
        assert (False, 1) == (house.broken, house.undone)
