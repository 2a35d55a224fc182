"""Whatever is killed, whenever: the proxy, an instance, opsbook, everything at once."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import threading
import time

import pytest
from house import House, answered, settled
from workshop import Customers, until

from opsbook.errors import OpsbookError

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

ALL = bool(os.environ.get("OPSBOOK_CRASH_ALL"))


def serves(house: House) -> bool:
    with contextlib.suppress(OSError, AssertionError):
        answered(house, house.web()["version"])
        return True
    return False


def test_proxy_killed_while_nothing_goes_on(house: House) -> None:
    """The proxy is back by itself with the same routes, also when opsbook was away when it died."""
    house.start()
    assert "succeeded" == house.deployed("1.0")["outcome"]
    before = house.proxies()
    os.kill(before[0], signal.SIGKILL)
    until(lambda: serves(house), 15, "the proxy to serve again")
    settled(house, "1.0")
    assert before != house.proxies()
    house.kill()
    os.kill(house.proxies()[0], signal.SIGKILL)
    house.start()
    answered(house, "1.0")
    settled(house, "1.0")


def test_proxy_killed_in_the_middle_of_a_deployment(house: House) -> None:
    """Wherever the deployment stands when the proxy dies, it ends well on the proxy's successor."""
    places = ["ready:reroute-journaled", "shifting:reroute-applied", "draining:reroute-confirmed"]
    places += [
        "starting:entered",
        "shifting:reroute-before",
        "promoting:entered",
        "draining:stop-before",
    ] * ALL
    house.start(f"STOP@d-2:{places[0]}")
    assert "succeeded" == house.deployed("1.0")["outcome"]
    for number, following in enumerate((*places[1:], ""), 2):
        name = house.deploy(f"{number}.0")
        house.held()
        os.kill(house.proxies()[0], signal.SIGKILL)
        house.go_on()
        ended = house.ended(name)
        assert "succeeded" == ended["outcome"], (places[number - 2], ended["reason"])
        settled(house, f"{number}.0")
        answered(house, f"{number}.0")
        house.kill()
        house.start(f"STOP@d-{number + 1}:{following}" if following else "")


def test_new_instance_killed_in_each_phase(house: House) -> None:
    """A new instance that dies is started again before anything is promoted, and customers keep the old one."""
    places = ["starting:start-after", "ready:reroute-before", "shifting:entered", "promoting:promote-before"]
    places += ["ready:entered", "shifting:enter-before", "draining:entered"] * ALL
    house.start(f"STOP@d-2:{places[0]}")
    assert "succeeded" == house.deployed("1.0")["outcome"]
    for number, following in enumerate((*places[1:], ""), 2):
        name = house.deploy(f"{number}.0")
        house.held()
        victims = [pid for pid, instance in house.running().items() if f"-d{number}-1" in instance]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        assert victims
        house.go_on()
        ended = house.ended(name)
        assert ended["outcome"] in ("succeeded", "rolled_back"), ended["reason"]
        winner = f"{number}.0" if ended["outcome"] == "succeeded" else ended["previous_version"]
        until(lambda: house.web()["healthy"] == 2, 20, "both instances to be healthy")
        settled(house, winner)
        answered(house, winner)
        house.kill()
        house.start(f"STOP@d-{number + 1}:{following}" if following else "")


def test_new_instances_killed_again_and_again(house: House) -> None:
    """A version that is killed whenever it starts never wins, and the old one answers everything."""
    house.start()
    assert "succeeded" == house.deployed("1.0")["outcome"]
    done = threading.Event()

    def kill_new() -> None:
        while not done.wait(0.1):
            for pid, instance in house.running().items():
                if "-d2-" in instance:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_new)
    killer.start()
    try:
        with Customers(house, connections=2) as customers:  # type: ignore[arg-type]
            ended = house.deployed("2.0")
    finally:
        done.set()
        killer.join()
    assert "rolled_back" == ended["outcome"], ended["reason"]
    assert "crash loop" in ended["reason"]
    assert [] == customers.failures
    settled(house, "1.0")


@pytest.mark.parametrize("seed", range(4) if ALL else (1,))
def test_opsbook_killed_at_random_moments(house: House, seed: int) -> None:
    """Killed at any moment of its start or its work, again and again, while versions are deployed under load."""
    dice = random.Random(seed)
    house.start()
    assert "succeeded" == house.deployed("1.0")["outcome"]
    with Customers(house, connections=2) as customers:  # type: ignore[arg-type]
        for number in range(2, 12):
            with contextlib.suppress(OpsbookError, OSError):  # somebody is at work; or it died meanwhile
                house.deploy(f"{number}.0", dice.choice(["switch", "roll", "warm"]))
            time.sleep(dice.uniform(0.0, 1.5))
            house.kill()
            house.start(wait=dice.random() < 0.7)
            time.sleep(dice.uniform(0.0, 1.0))
        until(house.answers, 60, "opsbook to answer")
        deployments = house.api.get("/api/deployment/deployments")["deployments"]
        outcomes = [(found["version"], house.ended(found["id"])["outcome"]) for found in deployments]
        assert {"succeeded"} == {outcome for _, outcome in outcomes}, outcomes
        winner = outcomes[0][0]
        until(lambda: len(house.web()["instances"]) == 2, 20, "the warm release to leave")
        settled(house, winner)
        answered(house, winner)
    assert [] == customers.failures
    assert customers.sent > 100


def test_port_taken_while_everything_was_down(house: House) -> None:
    """opsbook starts and runs the instances although somebody took the port, says so, and serves once it is free."""
    house.start()
    assert "succeeded" == house.deployed("1.0")["outcome"]
    house.power_cut()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", house.port))
        other.listen()
        house.start()
        until(lambda: len(house.running()) == 2, 20, "the instances to run")
        told = house.api.get("/api/journal/events", {"kinds": "traffic.proxy"})["events"]
        assert str(house.port) in told[-1]["data"]["message"]
    until(lambda: serves(house), 20, "the routes to be served")
    settled(house, "1.0")


def test_deployment_to_a_taken_port_is_forgotten(house: House) -> None:
    """A new entry that cannot be bound is taken back with its deployment, so that the next start does not want it."""
    house.start()
    assert "succeeded" == house.deployed("1.0")["outcome"]
    environment = house.root / "ops/environments/local.yaml"
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        environment.write_text(environment.read_text().replace(str(house.port), str(taken)))
        ended = house.deployed("2.0")
        assert ("rolled_back", True) == (ended["outcome"], str(taken) in ended["reason"])
        house.kill()
        house.start()
        settled(house, "1.0")
        answered(house, "1.0")


def test_power_cut(house: House) -> None:
    """Everything is killed at once; the next opsbook starts what should run and ends what was under way."""
    places = ["shifting:reroute-journaled", "promoting:promote-after", "draining:stop-forgotten"]
    places += ["starting:start-one", "shifting:reroute-applied", "draining:finish-before"] * ALL
    house.start(f"STOP@d-2:{places[0]}")
    assert "succeeded" == house.deployed("1.0")["outcome"]
    for number, following in enumerate((*places[1:], ""), 2):
        name, version = house.deploy(f"{number}.0"), f"{number}.0"
        house.held()
        house.power_cut()
        assert {} == house.running()
        house.start(f"STOP@d-{number + 1}:{following}" if following else "")
        ended = house.ended(name)
        assert "succeeded" == ended["outcome"], (places[number - 2], ended["reason"])
        until(lambda: house.web()["healthy"] == 2, 20, "both instances to be healthy")
        settled(house, version)
        answered(house, version)
    house.power_cut()
    house.start()
    until(lambda: house.web()["healthy"] == 2, 20, "both instances to be healthy")
    settled(house, version)
    answered(house, version)
