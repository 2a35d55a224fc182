"""The standard pages of services, certificates, names, credentials and regions, each on its real fault."""

from __future__ import annotations

import pytest
from standard_drills import passes

NAMES = ("slow-api", "certificate-expiry", "network-dns", "compromised-credential", "region-failover")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", NAMES)
def test_drill_of_it_passes(name: str) -> None:
    """The alert fires, the page helps, and the fault is gone."""
    passes(name)
