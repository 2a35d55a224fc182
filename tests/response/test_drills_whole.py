"""A whole drill in processes of its own, to its end and cut off in the middle: nothing of it is left."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_drill_that_is_cut_off_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, an order to end or kill -9, while the fault is there: it is undone, once, and all is cleared."""
    house = House(tmp_path)
    with house.begin() as begun:
        until(lambda: house.broken or begun.poll() is not None)
        assert house.broken, begun.communicate()
        assert house.inhabitants(), "there is something that could be left"
        if number == signal.SIGINT:
            os.killpg(begun.pid, number)  # a terminal tells everybody in the foreground
        else:
            begun.send_signal(number)
        begun.communicate(timeout=60)
    assert begun.returncode != 0
    until(lambda: not house.place.exists())
    until(lambda: not house.inhabitants())
    assert (False, 1) == (house.broken, house.undone)
