"""Who stands in for a release that is on trial: as decided, and as customers see it."""

from __future__ import annotations

from typing import Any

import pytest
from simulation import standing
from workshop import Customers, Workshop, until

from opsbook.deployment.model import Member, Placement, Release, Watch
from opsbook.deployment.records import placement_key
from opsbook.deployment.routing import route_table
from opsbook.world.words import Address, Split

WATCH = Watch(deployment="d-7", release="web-new", back_to="web-old", until=60.0)


def both(*, draining: bool = False, **changes: Any) -> Placement:
    """The old release promoted, the new one beside it; all but what `changes`."""
    members = {f"old-{n}": draining for n in range(2)}
    return (
        standing(2)
        .with_members("web-old", members)
        .with_members("web-new", {"new-0": False})
        .but(**{"weights": {"web-new": 100}, **changes})
    )


def split_of(placement: Placement, **ports: str) -> Split:
    releases = {
        group.release: Release(
            id=group.release,
            service="web",
            environment="test",
            version="1",
            digest="",
            folder="",
            config={"port": ports.get(group.release.removeprefix("web-"), "http"), "health": {}},
        )
        for group in placement.groups
    }
    addresses = {name: Address("127.0.0.1", 1000 + n) for n, name in enumerate(placement.instances())}
    return route_table([placement], releases, addresses).listeners[0].routes[0].split


@pytest.mark.parametrize(
    ("placement", "fallback"),
    [
        (both(), "test/web/web-old"),  # shifted, not promoted yet
        (both(weights={"web-new": 10, "web-old": 90}), "test/web/web-old"),  # a canary
        (both(weights={"web-old": 100}), None),  # nothing is on trial
        (both(release="web-new", watch=WATCH), "test/web/web-old"),  # promoted, in its watch window
        (both(release="web-new"), None),  # past it
        (both(draining=True), None),  # the old one leaves
        (both(release="web-new", watch=WATCH, draining=True), None),
        (both(release="web-new", watch=WATCH).without({"old-0", "old-1"}), None),  # it is gone
        (both(release=""), None),  # the first deployment
    ],
)
def test_only_a_release_on_trial_has_a_fallback(placement: Placement, fallback: str | None) -> None:
    """It is the promoted release before the promotion, and after it the one to go back to, while watched."""
    assert split_of(placement).fallback == fallback


def test_another_protocol_stands_in_for_nothing() -> None:
    """A release that speaks gRPC cannot answer for one that speaks HTTP."""
    assert split_of(both(), old="grpc").fallback is None
    assert split_of(both(), old="grpc", new="grpc").fallback == "test/web/web-old"


def test_instances_without_an_address_do_not_stand_in() -> None:
    """The old release is recorded, but its processes are gone."""
    placement = both().with_members("web-old", {"old-0": True}).without({"old-1"})
    assert placement.members("web-old") == (Member(instance="old-0", draining=True),)
    assert split_of(placement).fallback is None


def clusters(workshop: Workshop) -> str:
    """What the proxy is told of clusters; the name of one with a fallback holds a ``|``."""
    return (workshop.state / "proxy" / "xds" / "cds" / "clusters.json").read_text()


def test_a_crash_loop_after_promotion_fails_no_request(workshop: Workshop) -> None:
    """Both instances of the new version die again and again; the warm one answers until it has all again."""
    workshop.deploy("1.0")
    workshop.behave("crashes 1.0")
    with Customers(workshop) as customers:
        first = workshop.deploy("2.0")
        assert first["outcome"] == "succeeded"
        until(lambda: workshop.room.view(first["id"])["reverted_by"], what="the watch window to act")
        back = workshop.ended(workshop.room.view(first["id"])["reverted_by"])
    assert (back["automatic"], back["outcome"]) == (True, "succeeded")
    assert customers.failures == []
    assert customers.sent > 100
    assert workshop.get() == (200, "1.0")


def test_the_fallback_ends_with_the_watch_window(workshop: Workshop) -> None:
    """While watched the new version has the old one behind it, then it answers for itself; nobody notices."""

    workshop.deploy("1.0")
    (workshop.root / "web" / "note.txt").write_text("2")
    with Customers(workshop) as customers:
        workshop.deploy("2.0")
        placement = workshop.placement()
        assert placement.watch is not None
        assert f"|local/web/{placement.watch.back_to}" in clusters(workshop)
        ended = placement.watch.model_copy(update={"until": 0.0})
        workshop.journal.state.put(placement_key("local", "web"), placement.but(watch=ended).to_json())
        until(lambda: workshop.placement().watch is None, what="the watch window to end")
        until(lambda: "|" not in clusters(workshop), what="the fallback to go")
    assert customers.failures == []
    assert workshop.get() == (200, "2.0")


def test_without_a_watch_window_the_fallback_ends_with_the_deployment(workshop: Workshop) -> None:
    """The old version is kept warm, but nobody watches: from the promotion on it answers nothing."""
    strategies = "strategies: {blue-green: {type: blue-green, watch: 0s, keep_previous: 5m}}\n"
    workshop.book("deployment/strategies.yaml", strategies)
    workshop.deploy("1.0")
    (workshop.root / "web" / "note.txt").write_text("2")
    assert workshop.deploy("2.0")["outcome"] == "succeeded"
    assert workshop.placement().previous is not None
    assert "|" not in clusters(workshop)
    assert workshop.get() == (200, "2.0")
