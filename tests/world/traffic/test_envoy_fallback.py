"""A release that dies whole while another is warm: requests find the other, and it gets none else."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import websockets.sync.client

from opsbook.errors import Invalid
from opsbook.world.traffic.configuration import Folder, render
from opsbook.world.traffic.validation import check
from opsbook.world.words import Address, HealthCheck, Listener, Route, RouteTable, Split

SLOW_CHECK = HealthCheck("http", path="/healthz", interval=5.0)  # seconds: no check notices in time


def with_fallback(stage, primary, fallback, *more, **route):
    split = Split(((primary.name, 1),), fallback=fallback.name)
    return stage.routes((Route("web", split, **route),), primary, fallback, *more)


def ask(port: int, method: str, path: str = "/") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def healthy(stage, **counts):
    backends = stage.traffic.observe().backends
    return all(backends[f"test/web/{release}"].healthy == count for release, count in counts.items())


class Load:
    """Threads that ask on keep-alive connections, half of them by POST; they remember every failure."""

    def __init__(self, port: int) -> None:
        self.answers: Counter[str] = Counter()
        self.failures: dict[str, list[str]] = {"GET": [], "POST": []}
        self.connections = 0
        self._port = port
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(m,)) for m in ("GET", "POST") * 3]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _run(self, method: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        opened = None
        while not self._end.is_set():
            try:
                connection.request(method, "/")
                if connection.sock is not opened:
                    opened = connection.sock
                    self.connections += 1
                response = connection.getresponse()
                body = response.read().decode()
                if response.status != 200:
                    self.failures[method].append(f"{response.status} {body}")
                self.answers[body] += 1
            except (OSError, http.client.HTTPException) as error:
                self.failures[method].append(repr(error))
                connection.close()
        connection.close()


def test_nothing_reaches_the_fallback_while_the_primary_is_well(stage, until):
    """0 of 2,000 requests, and 0 also when all but one of the release's instances are known to be down."""
    addresses = [stage.upstreams.http("first") for _ in range(4)]
    primary = stage.backend("p1", *addresses)
    stage.serve(with_fallback(stage, primary, stage.backend("f1", stage.upstreams.http("second"))))
    until(lambda: healthy(stage, p1=4, f1=1))
    connection = http.client.HTTPConnection("127.0.0.1", stage.port, timeout=10)

    def answers(count: int) -> Counter[str]:
        found: Counter[str] = Counter()
        for _ in range(count):
            connection.request("GET", "/")
            found[connection.getresponse().read().decode()] += 1
        return found

    assert answers(2000) == {"first": 2000}
    for address in addresses[1:]:
        stage.upstreams.kill(address.port)
    until(lambda: healthy(stage, p1=1))
    assert answers(500) == {"first": 500}
    connection.close()


def test_a_release_that_dies_whole_under_load_fails_no_safe_request(stage, until):
    """Both instances die at once, before any check could tell; when they are back they get everything again."""
    addresses = [stage.upstreams.http("new") for _ in range(2)]
    primary = stage.backend("p2", *addresses, health=SLOW_CHECK)
    fallback = stage.backend("f2", stage.upstreams.http("old"))
    stage.serve(with_fallback(stage, primary, fallback))
    until(lambda: healthy(stage, p2=2, f2=1))
    with Load(stage.port) as load:
        until(lambda: load.answers["new"] > 300)
        for address in addresses:
            stage.upstreams.kill(address.port)
        until(lambda: load.answers["old"] > 500)
    assert load.failures["GET"] == []
    # What a dying instance may have seen is not sent twice: one per connection to the two at most.
    assert len(load.failures["POST"]) <= 2 * 3
    assert all("connection termination" in failure for failure in load.failures["POST"])
    for address in addresses:
        stage.upstreams.http("new", address.port)
    stage.serve(with_fallback(stage, replace(primary, health=HealthCheck("http", path="/healthz")), fallback))
    until(lambda: healthy(stage, p2=2))
    assert Counter(stage.get()[1] for _ in range(100)) == {"new": 100}


def test_coming_and_going_of_a_fallback_cuts_nothing(stage):
    """40 changes between plain and fallback under load: no failure, no connection lost, nothing to the fallback."""
    primary, fallback = (stage.backend(name, stage.upstreams.http(name)) for name in ("p3", "f3"))
    plain = stage.table({"p3": 1}, primary, fallback)
    stage.serve(plain)
    with Load(stage.port) as load:
        for _ in range(20):
            stage.serve(with_fallback(stage, primary, fallback))
            stage.serve(plain)
    assert load.failures == {"GET": [], "POST": []}
    assert load.connections == 6
    assert set(load.answers) == {"p3"}


def test_a_draining_fallback_gets_nothing(stage, until):
    """What leaves takes no request, not even one that nobody else could answer."""
    address = stage.upstreams.http("dying")
    primary, fallback = stage.backend("p4", address), stage.backend("f4", stage.upstreams.http("leaving"))
    leaving = replace(fallback, endpoints=tuple(replace(each, draining=True) for each in fallback.endpoints))
    stage.serve(with_fallback(stage, primary, leaving))
    until(lambda: healthy(stage, p4=1))
    stage.upstreams.kill(address.port)
    assert {stage.get()[0] for _ in range(50)} == {503}
    until(lambda: healthy(stage, p4=0))
    assert stage.get() == (503, "no healthy upstream")


def test_a_poisonous_request_does_not_take_both_releases(stage, until):
    """What kills its instance comes to the fallback once at most, and not at all unless its method is safe."""
    primary = stage.backend("p5", *(stage.upstreams.http("bitten") for _ in range(2)))
    fallback = stage.backend("f5", *(stage.upstreams.http("spared") for _ in range(3)))
    stage.serve(with_fallback(stage, primary, fallback))
    until(lambda: healthy(stage, p5=2, f5=3))
    stage.upstreams.poisoned.clear()
    assert ask(stage.port, "POST", "/poison")[0] == 503
    assert stage.upstreams.poisoned == ["bitten"]
    stage.upstreams.poisoned.clear()
    assert ask(stage.port, "GET", "/poison")[0] == 503
    assert stage.upstreams.poisoned == ["bitten", "spared", "bitten"]


def test_a_canary_falls_back_to_the_stable_and_not_the_other_way(stage, until):
    """A tenth of the requests was meant for a canary that is dead; the stable answers them too."""
    address = stage.upstreams.http("canary")
    stable, canary = stage.backend("s6", stage.upstreams.http("stable")), stage.backend("c6", address)
    split = Split(((stable.name, 50), (canary.name, 50)), fallback=stable.name)
    stage.serve(stage.routes((Route("web", split),), stable, canary))
    until(lambda: healthy(stage, s6=1, c6=1))
    assert set(Counter(stage.get()[1] for _ in range(50))) == {"stable", "canary"}
    stage.upstreams.kill(address.port)
    assert Counter(stage.get() for _ in range(100)) == {(200, "stable"): 100}
    clusters = render(
        stage.routes((Route("web", split),), stable, canary), 1, folder=Folder(Path("/x")), probe_host="probe"
    ).clusters.text
    assert f"{canary.name}|{stable.name}" in clusters
    assert f"{stable.name}|" not in clusters


def test_grpc_and_websockets_through_a_fallback(stage, until):
    """Trailers and upgrades work with both; a WebSocket counts where it is, and outlives the fallback."""
    addresses = [stage.upstreams.http2(name) for name in ("one", "two")]
    primary, fallback = (
        stage.backend(name, address, protocol="grpc")
        for name, address in zip(("p7", "f7"), addresses, strict=True)
    )
    stage.serve(with_fallback(stage, primary, fallback))
    until(lambda: healthy(stage, p7=1, f7=1))
    assert stage.post_http2()[:2] == ("200", b"one")
    stage.upstreams.kill(addresses[0].port)
    status, body, trailers = stage.post_http2()
    assert (status, body, trailers["grpc-status"]) == ("200", b"two", "0")

    sockets = [stage.upstreams.websocket(name) for name in ("one", "two")]
    primary, fallback = (
        stage.backend(name, address, health=HealthCheck("tcp"))
        for name, address in zip(("p8", "f8"), sockets, strict=True)
    )
    stage.serve(with_fallback(stage, primary, fallback))
    until(lambda: healthy(stage, p8=1, f8=1))
    with websockets.sync.client.connect(f"ws://127.0.0.1:{stage.port}/") as peer:
        assert peer.recv() == "one"
        assert set(stage.traffic.observe().backends) == {"test/web/p8", "test/web/f8"}
        assert stage.traffic.observe().backends["test/web/p8"].active == 1
        stage.serve(stage.table({"p8": 1}, primary))
        peer.send("still here")
        assert peer.recv() == "still here"
        assert stage.traffic.observe().backends["test/web/p8"].active == 1
    until(lambda: stage.traffic.observe().backends["test/web/p8"].active == 0)


def test_tcp_connections_find_the_fallback(stage, until):
    """New connections go to the fallback as soon as a check has told that nothing of the primary listens."""
    addresses = [stage.upstreams.tcp(name) for name in ("one", "two")]
    primary, fallback = (
        stage.backend(name, address, protocol="tcp", health=HealthCheck("tcp", interval=0.2))
        for name, address in zip(("p9", "f9"), addresses, strict=True)
    )

    def connect() -> str:
        with socket.create_connection(("127.0.0.1", stage.tcp_port), timeout=10) as peer:
            return peer.recv(100).decode().strip()

    split = Split(((primary.name, 1),), fallback=fallback.name)
    listener = Listener("test/raw", Address("127.0.0.1", stage.tcp_port), "tcp", split=split)
    stage.serve(RouteTable((listener,), (primary, fallback)))
    until(lambda: healthy(stage, p9=1, f9=1))
    assert {connect() for _ in range(50)} == {"one"}
    with socket.create_connection(("127.0.0.1", stage.tcp_port), timeout=10) as peer:
        assert peer.recv(100) == b"one\n"
        stage.serve(
            RouteTable((replace(listener, split=replace(split, fallback=None)),), (primary, fallback))
        )
        stage.serve(RouteTable((listener,), (primary, fallback)))
        peer.sendall(b"still here")
        assert peer.recv(100) == b"still here"
    stage.upstreams.kill(addresses[0].port)
    until(lambda: healthy(stage, p9=0))
    assert {connect() for _ in range(20)} == {"two"}


def test_a_proxy_that_starts_anew_knows_the_fallback(stage, until):
    """A killed Envoy comes back with the same table, and the fallback answers still."""
    address = stage.upstreams.http("gone")
    primary, fallback = stage.backend("p11", address), stage.backend("f11", stage.upstreams.http("there"))
    stage.serve(with_fallback(stage, primary, fallback))
    stage.upstreams.kill(address.port)
    os.kill(stage.traffic.observe().pid, signal.SIGKILL)
    until(lambda: not stage.traffic.observe().alive)
    stage.traffic.ensure()
    until(lambda: healthy(stage, f11=1))
    assert Counter(stage.get() for _ in range(50)) == {(200, "there"): 50}


def test_requests_keep_the_labels_of_the_release_they_were_for(stage, until):
    """Responses through a fallback are the primary's; the requests that instances got are their own release's."""
    address = stage.upstreams.http("m")
    primary, fallback = stage.backend("p10", address), stage.backend("f10", stage.upstreams.http("n"))
    stage.serve(stage.table({"p10": 1}, primary, fallback))
    until(lambda: healthy(stage, p10=1, f10=1))
    stage.serve(with_fallback(stage, primary, fallback))
    assert [stage.get()[1] for _ in range(10)] == ["m"] * 10
    labels = {name: f'environment="test",service="web",release="{name}"' for name in ("p10", "f10")}

    def said(line: str) -> bool:
        return line in stage.traffic.stats_text().splitlines()

    until(lambda: said(f"envoy_cluster_upstream_rq_total{{{labels['p10']}}} 10"))
    assert said(f'envoy_cluster_upstream_rq_xx{{response_code_class="2",{labels["p10"]}}} 10')
    assert said(f"envoy_cluster_membership_healthy{{{labels['p10']}}} 1")
    stage.upstreams.kill(address.port)
    until(lambda: healthy(stage, p10=0))
    assert [stage.get()[1] for _ in range(10)] == ["n"] * 10
    until(lambda: said(f"envoy_cluster_upstream_rq_total{{{labels['f10']}}} 10"))
    assert "|" not in stage.traffic.stats_text()


def test_a_fallback_is_a_cluster_and_a_route_more(stage_of):
    """Endpoints and listeners stay as they are; what cannot work is refused by name."""
    stage = stage_of(None, None)
    primary = stage.backend("p", Address("127.0.0.1", 1001))
    fallback = stage.backend("f", Address("127.0.0.1", 1002))
    texts = []
    for table in (stage.table({"p": 1}, primary, fallback), with_fallback(stage, primary, fallback)):
        check(table)
        found = render(table, 1, folder=Folder(Path("/x")), probe_host="probe")
        texts.append({document.path.parent.name: document.text for document in found.documents()})
    assert {name for name in texts[0] if texts[0][name] != texts[1][name]} == {"cds", "rds"}
    refused = {
        "which the table does not have|that the table does not have": with_fallback(
            stage, primary, replace(fallback, name="test/web/g")
        ),
        "stands in for no other": with_fallback(stage, primary, primary),
        "speaks grpc, but test/web/p http": with_fallback(stage, primary, replace(fallback, protocol="grpc")),
    }
    for message, table in refused.items():
        backends = {each.name: each for each in table.backends if each.name != "test/web/g"}
        with pytest.raises(Invalid, match=message):
            check(replace(table, backends=tuple(backends.values())))
