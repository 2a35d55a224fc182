"""A whole drill of a standard page; some take minutes, so only a few are run where nobody asks for all."""

from __future__ import annotations

import os
import sys

import pytest

from opsbook.response.drills.finding import find, has_program
from opsbook.response.drills.workflow import Rehearsal

ALWAYS = frozenset({"disk-full", "cache-failure", "certificate-expiry", "database-connections"})
ALL = "OPSBOOK_DRILLS_ALL"


def passes(name: str) -> None:
    """The alert fires, the page helps, and the fault is gone; skipped where the machine lacks something."""
    if name not in ALWAYS and os.environ.get(ALL) != "1":
        pytest.skip(f"the drill of {name} takes long: {ALL}=1 runs all")
    found = find(name, None, {})
    rehearsal = Rehearsal(
        page=found.page,
        drill=found.drill,
        real=None,
        python=sys.executable,
        has=has_program,
        root=os.geteuid() == 0,
        standard=True,
    )
    result = rehearsal.run()
    if result.state == "skipped":
        pytest.skip(result.reason)
    assert ("passed", "", "") == (result.state, result.stage, result.reason)
