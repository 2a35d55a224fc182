"""The same on PostgreSQL, which several control planes would share: what is recorded is found again after a kill."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from house import House, answered, settled
from places import PLACES
from workshop import Customers

pytestmark = [pytest.mark.crash, pytest.mark.postgres, pytest.mark.timeout(300)]

CHOSEN = {
    "switch": ("starting:start-journaled", "shifting:reroute-applied", "draining:stop-forgotten"),
    "recreate": ("promoting:promote-after",),
    "canary": ("analysing:enter-after",),
}


@pytest.fixture
def house(postgresql_database: str) -> Iterator[House]:
    made = House(postgresql_database)
    try:
        yield made
    finally:
        made.end()


@pytest.mark.parametrize("strategy", CHOSEN)
def test_killed_and_brought_to_its_end_on_postgresql(house: House, strategy: str) -> None:
    """Killed at a few places of each kind of deployment; each succeeds, and the lock and the chain are whole."""
    places = (PLACES if os.environ.get("OPSBOOK_CRASH_ALL") else CHOSEN)[strategy]
    house.start(f"d-2:{places[0]}")
    assert "succeeded" == house.deployed("1.0")["outcome"]
    with Customers(house, connections=2) as customers:  # type: ignore[arg-type]
        for number, following in enumerate((*places[1:], ""), 2):
            name = house.deploy(f"{number}.0", strategy)
            house.died()
            house.start(f"d-{number + 1}:{following}" if following else "")
            assert "succeeded" == house.ended(name)["outcome"], places[number - 2]
            settled(house, f"{number}.0")
            answered(house, f"{number}.0")
    assert [] == [failure for failure in customers.failures if strategy != "recreate" or failure[:3] != "503"]
