"""The tour as `make demo` gives it: everything for real."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.timeout(300)
@pytest.mark.crash
def test_everything_on_the_tour_is_as_promised() -> None:
    """It deploys, refuses, takes back, survives its own death, and loses no request."""
    ended = subprocess.run(
        [sys.executable, "-m", "opsbook", "demo", "--rate", "100", "--connections", "20"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Everything was as promised." in ended.stdout
