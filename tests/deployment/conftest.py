from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

if TYPE_CHECKING:
    from workshop import Workshop


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    """A running opsbook with a handbook of one service; everything it started is gone afterwards."""
    from workshop import Workshop

    made = Workshop()
    try:
        yield made.open()
    finally:
        made.end()
