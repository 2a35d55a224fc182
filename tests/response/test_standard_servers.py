"""The standard pages of PostgreSQL, Redis and backups, each on its real fault."""

from __future__ import annotations

import pytest
from standard_drills import passes

NAMES = (
    "database-connections",
    "slow-queries",
    "replication-lag",
    "backup-failed",
    "cache-failure",
    "queue-backlog",
)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", NAMES)
def test_drill_passes(name: str) -> None:
    """The alert fires, the page helps, and the fault is gone."""
    passes(name)
