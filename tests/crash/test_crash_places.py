"""opsbook is killed at each place of a deployment, and the next opsbook brings that deployment to its end."""

from __future__ import annotations

import os

import pytest
from house import STRATEGIES, House, answered, moment, settled
from places import CHOSEN, CHOSEN_BACK, PLACES, WAY_BACK
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
    with Customers(house, connections=2) as customers:  # type: ignore[arg-type]
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


@pytest.mark.parametrize("place", PLACES["switch"][1:-7:4] if ALL else ["ready:reroute-journaled"])
def test_killed_in_the_first_deployment(house: House, place: str) -> None:
    """A first deployment has nothing to go back to, and arrives."""
    house.start(f"d-1:{place}")
    name = house.deploy("1.0")
    house.died()
    house.start()
    assert "succeeded" == house.ended(name)["outcome"]
    settled(house, "1.0")
    answered(house, "1.0")


@pytest.mark.parametrize("strategy", PLACES)
def test_no_place_is_forgotten(workshop: Workshop, strategy: str) -> None:
    """The lists of places name every place that a deployment passes."""
    passed: list[str] = []
    workshop.book("deployment/strategies.yaml", STRATEGIES)
    workshop.deploy("1.0")
    object.__setattr__(workshop.site, "boundary", passed.append)
    (workshop.root / "web" / "note.txt").write_text("2")
    with Customers(workshop, connections=4):  # without requests a canary is not judged
        assert "succeeded" == workshop.deploy("2.0", strategy=strategy)["outcome"]
    until(lambda: "d-2:draining:finish-after" in passed)
    waited = {"wait-before", "wait-after"}  # not always passed: nothing happens there
    found = {place for place in passed if place.startswith("d-2:") and place.rpartition(":")[2] not in waited}
    assert sorted(PLACES[strategy]) == sorted(place.removeprefix("d-2:") for place in found)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("strategy", WAY_BACK if ALL else CHOSEN_BACK)
def test_killed_on_the_way_back(house: House, strategy: str) -> None:
    """A version that cannot live is taken back although opsbook is killed in the middle of that."""
    places = (WAY_BACK if ALL else CHOSEN_BACK)[strategy]
    house.start(f"d-2:{places[0]}")
    assert "succeeded" == house.deployed("1.0")["outcome"]
    house.behave("exits")
    with Customers(house, connections=1) as customers:  # type: ignore[arg-type]
        for number, following in enumerate((*places[1:], ""), 2):
            name = house.deploy(f"{number}.0", strategy)
            house.died()
            house.start(f"d-{number + 1}:{following}" if following else "")
            ended = house.ended(name)
            assert ("rolled_back", "1.0") == (ended["outcome"], ended["previous_version"]), ended["reason"]
            settled(house, "1.0")
            answered(house, "1.0")
    assert [] == [failure for failure in customers.failures if strategy != "recreate"]


def test_killed_while_a_bad_canary_is_judged_and_taken_back(house: House) -> None:
    """A canary that errs is taken back although opsbook is killed while it is judged and again on the way back."""
    house.start("d-2:analysing:entered")
    assert "succeeded" == house.deployed("1.0")["outcome"]
    house.behave("errors 0.5")
    with Customers(house, connections=2) as customers:  # type: ignore[arg-type]
        name = house.deploy("2.0", "canary")
        house.died()
        house.start("d-2:aborting:reroute-journaled")
        house.died()
        house.start()
        ended = house.ended(name)
        assert ("rolled_back", True) == (ended["outcome"], "error" in ended["reason"]), ended["reason"]
        settled(house, "1.0")
        answered(house, "1.0")
    assert [] == [failure for failure in customers.failures if not failure.startswith("503 2.0")]


@pytest.mark.timeout(300)
def test_killed_in_the_runtime(house: House) -> None:
    """Between the steps of starting and of stopping one process: it is there once, or not at all."""
    starting = ["intended", "spawned", "identified", "released"]
    stopping = ["stopping", "ended", "forgotten"]
    places = [*starting, *stopping] if ALL else ["spawned", "ended"]
    house.start(f"runtime:{places[0]}#3")  # two are started by the first deployment
    assert "succeeded" == house.deployed("1.0")["outcome"]
    with Customers(house, connections=1) as customers:  # type: ignore[arg-type]
        for number, following in enumerate((*places[1:], ""), 2):
            name = house.deploy(f"{number}.0")
            house.died()
            house.start()
            assert "succeeded" == house.ended(name)["outcome"], places[number - 2]
            settled(house, f"{number}.0")
            house.kill()
            house.start(f"runtime:{following}" if following else "")
    assert [] == customers.failures


def test_killed_when_a_request_was_just_recorded(house: House) -> None:
    """What was recorded is carried out by the next opsbook, and a newer request still takes the older one's place."""
    house.start("r-2:requested")
    assert "succeeded" == house.deployed("1.0")["outcome"]
    house.deploy("2.0")
    house.died()
    house.start("STOP@d-3:starting:entered")
    assert "succeeded" == house.ended("d-2")["outcome"]
    settled(house, "2.0")
    house.deploy("3.0")
    house.held()
    house.kill()
    house.start("r-4:requested")
    house.deploy("4.0", when_busy="supersede")
    house.died()
    house.start()
    assert "superseded" == house.ended("d-3")["outcome"]
    assert "succeeded" == house.ended("d-4")["outcome"]
    settled(house, "4.0")


@pytest.mark.timeout(200)
@pytest.mark.parametrize("place", ["drained", "forgotten", "stopped"] if ALL else ["forgotten"])
def test_killed_while_the_warm_release_is_put_away(house: House, place: str) -> None:
    """The previous release is kept for its time and then leaves, although opsbook is killed in between."""
    house.start(f"warm:{place}")
    assert "succeeded" == house.deployed("1.0")["outcome"]
    assert "succeeded" == house.deployed("2.0", "warm")["outcome"]
    assert 4 == len(house.running())
    with Customers(house, connections=1) as customers:  # type: ignore[arg-type]
        house.died()
        house.start()
        until(lambda: house.web()["previous"] is None and len(house.web()["instances"]) == 2, 20)
        settled(house, "2.0")
    assert [] == customers.failures
