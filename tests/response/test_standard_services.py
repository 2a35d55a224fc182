"""The standard pages of services, certificates, names, credentials and regions, each on its real fault."""

from __future__ import annotations

import os
import sys

import pytest

from opsbook.response.drills.finding import find, has_program
from opsbook.response.drills.workflow import Rehearsal


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "name", ["slow-api", "certificate-expiry", "network-dns", "compromised-credential", "region-failover"]
)
def test_drill_of_it_passes(name: str) -> None:
    """The alert fires, the page helps, and the fault is gone."""
    found = find(name, None, {})
    result = Rehearsal(
        page=found.page,
        drill=found.drill,
        real=None,
        python=sys.executable,
        has=has_program,
        root=os.geteuid() == 0,
        standard=True,
    ).run()
    if result.state == "skipped":
        pytest.skip(result.reason)
    assert ("passed", "", "") == (result.state, result.stage, result.reason)
