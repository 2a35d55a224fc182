from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "deployment")]

if TYPE_CHECKING:
    from house import House
    from workshop import Workshop


@pytest.fixture
def house() -> Iterator[House]:
    """A handbook of one service; its opsbook is not started yet. Nothing of it runs afterwards."""
    from house import House

    made = House()
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    """A whole opsbook in this process."""
    from workshop import Workshop

    made = Workshop()
    try:
        yield made.open()
    finally:
        made.traffic.stop()  # its idle connections would have the instances wait for their grace
        made.end()
