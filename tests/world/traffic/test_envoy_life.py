"""The life of the proxy: adoption, crashes of Envoy and of its owner, refusals, taken ports."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from opsbook.errors import Conflict, Failed, Invalid
from opsbook.world.traffic.envoy import EnvoyTraffic
from opsbook.world.words import Address, Backend, Endpoint, Listener, Route, RouteTable, Split


@pytest.fixture
def own(state, upstreams, clock, stage_of):
    """A stage with an Envoy of the test's own."""
    traffic = EnvoyTraffic(state, clock, concurrency=2)
    traffic.ensure()
    yield stage_of(traffic, upstreams)
    traffic.close()
    traffic.stop()


def test_a_second_opsbook_adopts_the_running_proxy(own, clock):
    """The next opsbook finds the same process, table and generation, also when the record of the pid is lost."""
    table = own.table({"v1": 1}, own.backend("v1", own.upstreams.http("v1")))
    generation = own.serve(table)
    before = own.traffic.observe()
    (own.traffic.state / "proxy.json").unlink()
    second = EnvoyTraffic(own.traffic.state, clock, concurrency=2)
    second.ensure()
    assert (second.observe().pid, second.observe().generation) == (before.pid, generation)
    assert second.apply(table) == generation
    assert second.confirm(generation) >= 0
    assert own.get() == (200, "v1")


def test_a_killed_proxy_is_back_with_the_same_routes(own, until):
    """kill -9 of Envoy: the watch starts another one with the last table and says so."""
    said = []
    generation = own.serve(own.table({"v1": 1}, own.backend("v1", own.upstreams.http("v1"))))
    pid = own.traffic.observe().pid
    own.traffic.supervise(said.append)
    os.kill(pid, signal.SIGKILL)
    until(lambda: len(said) == 1)
    assert said[0].startswith("the proxy was killed by SIGKILL; pid ")
    assert own.get() == (200, "v1")
    state = own.traffic.observe()
    assert state.generation == generation
    assert state.pid != pid


def test_the_proxy_may_die_in_the_middle_of_a_deployment(own, until):
    """Every apply and confirm succeeds although Envoy is killed again and again; the end is the last table."""
    own.traffic.supervise(lambda _: None)
    address = own.upstreams.http("web")
    for number in range(6):
        pid = own.traffic.observe().pid
        killer = threading.Timer(0.002 * number, lambda pid=pid: os.kill(pid, signal.SIGKILL))
        killer.start()
        release = f"v{number}"
        generation = own.traffic.apply(own.table({release: 1}, own.backend(release, address)))
        own.traffic.confirm(generation)
        killer.join()
        until(lambda pid=pid: own.traffic.observe().pid not in {pid, None})
    until(lambda: own.traffic.observe().generation == generation)
    until(lambda: own.get() == (200, "web"))


@pytest.mark.parametrize("fatal", range(1, 8))
def test_an_owner_killed_while_applying_leaves_one_of_the_two_tables(own, clock, tmp_path, fatal):
    """Whatever file was the last: requests go on, and the next opsbook serves the old or the new table as a whole."""
    blue, green = own.upstreams.http("blue"), own.upstreams.http("green")
    old = own.serve(own.table({"blue": 1}, own.backend("blue", blue)))
    table = tmp_path / "table.json"
    table.write_bytes(TypeAdapter(RouteTable).dump_json(own.table({"green": 1}, own.backend("green", green))))
    command = [sys.executable, str(Path(__file__).with_name("owner.py"))]
    ended = subprocess.run(
        [*command, str(own.traffic.state), str(table), str(fatal)], check=False, timeout=60
    )
    assert ended.returncode in {0, -signal.SIGKILL}
    assert own.get() in {(200, "blue"), (200, "green")}
    second = EnvoyTraffic(own.traffic.state, clock, concurrency=2)
    second.ensure()
    applied = second._load().applied.generation
    second.confirm(applied)
    assert second.observe().generation == applied
    assert own.get() == (200, "blue" if applied == old else "green")
    third = second.apply(own.table({"green": 1}, own.backend("green", green), prefix="/x"))
    second.confirm(third)
    assert third > applied
    assert set(second.observe().backends) == {"test/web/green"}


def test_a_refused_listener_restores_the_last_good_table(own):
    """Envoy's reason is told, what served before serves on, and the number is not given out again."""
    good = own.serve(own.table({"v1": 1}, own.backend("v1", own.upstreams.http("v1"))))
    table = own.table({"v2": 1}, own.backend("v2", own.upstreams.http("v2")))
    elsewhere = Listener(
        "other", Address("192.0.2.1", 18999), "http"
    )  # an address this machine does not have
    generation = own.traffic.apply(RouteTable((*table.listeners, elsewhere), table.backends))
    with pytest.raises(Failed, match="Cannot assign requested address"):
        own.traffic.confirm(generation)
    own.traffic.confirm(good)
    assert own.traffic.observe().generation == good
    assert own.get() == (200, "v1")
    with pytest.raises(Conflict, match="generation 1, not 2"):
        own.traffic.confirm(generation)
    assert own.serve(table) == generation + 1
    assert own.get() == (200, "v2")


def test_refused_backends_change_no_route(own):
    """A cluster that Envoy does not take ends the apply, before any route."""
    good = own.serve(own.table({"v1": 1}, own.backend("v1", own.upstreams.http("v1"))))
    broken = own.backend("v2", own.upstreams.http("v2"), connect_timeout=-1.0)
    with pytest.raises(Failed, match="the proxy refused the configuration"):
        own.traffic.apply(own.table({"v2": 1}, broken))
    own.traffic.confirm(good)
    assert own.get() == (200, "v1")
    assert set(own.traffic.observe().backends) == {"test/web/v1"}


def test_a_taken_port_is_explained(own, clock, upstreams):
    """Before a change, and after a start, with the name and pid of its holder; when it is free, ensure takes it."""
    backend = own.backend("v1", upstreams.http("v1"))
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", own.port))
        holder.listen()
        with pytest.raises(Failed, match=rf"port {own.port} is already taken by .+ \(pid {os.getpid()}\)"):
            own.traffic.apply(own.table({"v1": 1}, backend))
    generation = own.serve(own.table({"v1": 1}, backend))
    own.traffic.stop()
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", own.port))
        holder.listen()
        with pytest.raises(Failed, match=rf"\(pid {os.getpid()}\)"):
            own.traffic.ensure()
        assert own.traffic.observe().alive
    own.traffic.ensure()
    own.traffic.confirm(generation)
    assert own.get() == (200, "v1")


def test_a_listener_moves_to_another_port_and_back(own, stage_of, upstreams):
    """The same listener on a new address serves there and no longer here."""
    backend = own.backend("v1", upstreams.http("v1"))
    own.serve(own.table({"v1": 1}, backend))
    moved = stage_of(own.traffic, upstreams)
    for here, there in ((moved, own), (own, moved)):
        here.serve(here.table({"v1": 1}, backend))
        assert here.get() == (200, "v1")
        with pytest.raises(ConnectionError):
            there.get()


def test_another_opsbook_may_confirm_after_a_refusal(own, clock):
    """Refusals of the past do not count against what is serving now, whoever asks."""
    good = own.serve(own.table({"v1": 1}, own.backend("v1", own.upstreams.http("v1"))))
    with pytest.raises(Failed):
        own.traffic.apply(
            own.table({"v2": 1}, own.backend("v2", own.upstreams.http("v2"), connect_timeout=-1.0))
        )
    EnvoyTraffic(own.traffic.state, clock, concurrency=2).confirm(good)
    assert own.traffic.observe().generation == good


def test_stop_ends_and_ensure_brings_back_what_was(own):
    """Nothing of the process is left after stop; the table is."""
    generation = own.serve(own.table({"v1": 1}, own.backend("v1", own.upstreams.http("v1"))))
    pid = own.traffic.observe().pid
    own.traffic.stop()
    assert not own.traffic.observe().alive
    assert not Path(f"/proc/{pid}").exists()
    own.traffic.ensure()
    assert own.traffic.observe().generation == generation
    assert own.get() == (200, "v1")


def test_what_is_private_is_closed_to_others(own):
    """The admin socket and every file are for their owner only."""
    own.serve(own.table({"v1": 1}, own.backend("v1", own.upstreams.http("v1"))))
    paths = [own.traffic.state, *own.traffic.state.rglob("*")]
    assert [path for path in paths if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def test_a_long_path_gets_a_short_socket(tmp_path, clock, upstreams, stage_of):
    """The kernel allows a Unix socket 107 bytes of path; a deep state folder works nevertheless."""
    state = tmp_path / ("deep" * 20) / ("deeper" * 10)
    traffic = EnvoyTraffic(state, clock, concurrency=1)
    try:
        traffic.ensure()
        own = stage_of(traffic, upstreams)
        own.serve(own.table({"v1": 1}, own.backend("v1", upstreams.http("v1"))))
        assert own.get() == (200, "v1")
    finally:
        traffic.stop()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            RouteTable(backends=(Backend("a", "http", ()), Backend("a", "http", ()))),
            "backend a is there twice",
        ),
        (RouteTable(backends=(Backend("../a", "http", ()),)), "cannot be the name"),
        (
            RouteTable(backends=(Backend("a", "http", (Endpoint("i", Address("example.com", 80)),)),)),
            "'example.com' is not an IP address",
        ),
        (
            RouteTable((Listener("l", Address("127.0.0.1", 1), "http", (Route("s", Split((("b", 1),))),)),)),
            "names the backend b",
        ),
        (
            RouteTable((Listener("l", Address("127.0.0.1", 1), "http", (Route("s", Split(()), "a:1"),)),)),
            "'a:1' is not a host name",
        ),
    ],
)
def test_a_contradictory_table_is_refused_with_its_place(own, table, message):
    """Errors of the caller never reach Envoy."""
    with pytest.raises(Invalid, match=message):
        own.traffic.apply(table)


def test_the_administration_is_not_reachable_through_the_listeners(own):
    """Only whoever knows the probe's name is told the generation."""
    own.serve(own.table({"v1": 1}, own.backend("v1", own.upstreams.http("v1"))))
    connection = http.client.HTTPConnection("127.0.0.1", own.port, timeout=10)
    connection.request("GET", "/config_dump", headers={"Host": "opsbook-probe"})
    assert connection.getresponse().read() == b"v1"
    connection.close()
