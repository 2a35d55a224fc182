from __future__ import annotations

import os
import sys

import pytest

from opsbook.response.drills.finding import find, has_program
from opsbook.response.drills.workflow import Rehearsal


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", ["disk-full", "service-down"])
def test_the_page_fixes_the_real_fault(name):
    """The fault is there, its alert fires, the page runs, the fault is gone."""
    found = find(name, None, {})
    rehearsal = Rehearsal(found.page, found.drill, None, sys.executable, has_program, os.geteuid() == 0)
    result = rehearsal.run()
    if result.state == "skipped":
        pytest.skip(result.reason)
    assert (result.state, result.reason) == ("passed", "")
