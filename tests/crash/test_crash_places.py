"""opsbook is killed at each place of a deployment, and the next opsbook brings that deployment to its end."""

from __future__ import annotations

import os

import pytest
from house import House, answered, moment, settled
from places import CHOSEN, PLACES
from workshop import Customers, Workshop, until

pytestmark = pytest.mark.crash

ALL = bool(os.environ.get("OPSBOOK_CRASH_ALL"))
PARTS = [
    (strategy, part)
    for strategy, places in (PLACES if ALL else CHOSEN).items()
    for part in (places[start : start + 5] for start in range(0, len(places), 5))
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("strategy", "places"), PARTS, ids=lambda value: value if isinstance(value, str) else value[0]
)
def test_killed_at_each_place_and_brought_to_its_end(
    house: House, strategy: str, places: tuple[str, ...]
) -> None:
    """Each deployment succeeds although opsbook is killed in its middle; customers notice nothing of that."""
    house.start(f"d-2:{places[0]}")
    assert "succeeded" == house.deployed("1.0")["outcome"]
    with Customers(house, connections=3) as customers:  # type: ignore[arg-type]
        for number, following in enumerate((*places[1:], ""), 2):
            place, version = places[number - 2], f"{number}.0"
            name = house.deploy(version, strategy)
            assert f"d-{number}" == name
            house.died()
            moment()
            house.start(f"d-{number + 1}:{following}" if following else "")
            ended = house.ended(name)
            assert ("succeeded", place) == (ended["outcome"], place), ended["reason"]
            settled(house, version)
            answered(house, version)
            if strategy != "recreate":
                assert [] == customers.failures, place
    # Recreate has nobody to ask between the two versions, and the proxy says so.
    assert [] == [failure for failure in customers.failures if not failure.startswith("503")]


@pytest.mark.parametrize("strategy", PLACES)
def test_no_place_is_forgotten(workshop: Workshop, strategy: str) -> None:
    """The lists of places name every place that a deployment passes."""
    passed: list[str] = []
    workshop.book(
        "deployment/strategies.yaml",
        "strategies:\n  switch: {type: blue-green, keep_previous: 0s}\n  roll: {type: rolling}\n",
    )
    workshop.deploy("1.0")
    object.__setattr__(workshop.site, "boundary", passed.append)
    (workshop.root / "web" / "note.txt").write_text("2")
    assert "succeeded" == workshop.deploy("2.0", strategy=strategy)["outcome"]
    until(lambda: "d-2:draining:finish-after" in passed)
    waited = {"wait-before", "wait-after"}  # not always passed: nothing happens there
    found = dict.fromkeys(
        place.removeprefix("d-2:") for place in passed if place.rpartition(":")[2] not in waited
    )
    assert sorted(PLACES[strategy]) == sorted(found)
