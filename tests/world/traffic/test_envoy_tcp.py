"""TCP through a real Envoy: a change of split moves new connections only."""

from __future__ import annotations

import socket

from opsbook.world.words import Address, Listener, RouteTable, Split


def table(stage, weights, *backends):
    split = Split(tuple((f"test/web/{release}", weight) for release, weight in weights.items()))
    return RouteTable(
        (Listener("test/raw", Address("127.0.0.1", stage.tcp_port), "tcp", split=split),), backends
    )


def connect(stage) -> tuple[socket.socket, str]:
    """A connection and the name of the server behind it."""
    peer = socket.create_connection(("127.0.0.1", stage.tcp_port), timeout=10)
    return peer, peer.recv(100).decode().strip()


def echoes(peer: socket.socket) -> bool:
    peer.sendall(b"still here")
    return peer.recv(100) == b"still here"


def test_a_connection_survives_the_change_of_its_split(stage, until):
    """Old connections stay where they are through ten changes; each new one sees the new split at once."""
    backends = [
        stage.backend(name, stage.upstreams.tcp(name), protocol="tcp") for name in ("tcp-blue", "tcp-green")
    ]
    stage.serve(table(stage, {"tcp-blue": 1}, *backends))
    until(lambda: all(each.healthy == 1 for each in stage.traffic.observe().backends.values()))
    first, name = connect(stage)
    assert name == "tcp-blue"
    for turn in range(10):
        release = ("tcp-green", "tcp-blue")[turn % 2]
        stage.serve(table(stage, {release: 1}, *backends))
        for _ in range(10):
            peer, name = connect(stage)
            peer.close()
            assert name == release
    assert echoes(first)
    until(lambda: stage.traffic.observe().backends["test/web/tcp-blue"].active == 1)
    first.close()
    until(lambda: stage.traffic.observe().backends["test/web/tcp-blue"].active == 0)


def test_a_tcp_split_shares_connections_and_an_empty_one_closes_them(stage, until):
    """Weights apply to connections; without a release there is nothing to connect to."""
    backends = [stage.backend(name, stage.upstreams.tcp(name), protocol="tcp") for name in ("tcp-a", "tcp-b")]
    stage.serve(table(stage, {"tcp-a": 1, "tcp-b": 1}, *backends))
    until(lambda: all(each.healthy == 1 for each in stage.traffic.observe().backends.values()))
    names = set()
    for _ in range(40):
        peer, name = connect(stage)
        peer.close()
        names.add(name)
    assert names == {"tcp-a", "tcp-b"}
    stage.serve(table(stage, {}, *backends))
    peer, name = connect(stage)
    peer.close()
    assert name == ""


def test_a_connection_survives_the_removal_of_its_listener(stage, until):
    """No new connection is taken; the old one ends when its peers end it."""
    backend = stage.backend("tcp-old", stage.upstreams.tcp("tcp-old"), protocol="tcp")
    stage.serve(table(stage, {"tcp-old": 1}, backend))
    until(lambda: stage.traffic.observe().backends["test/web/tcp-old"].healthy == 1)
    peer, _ = connect(stage)
    stage.serve(RouteTable((), (backend,)))

    def refused() -> bool:
        with socket.socket() as other:
            return other.connect_ex(("127.0.0.1", stage.tcp_port)) != 0

    until(refused)
    assert echoes(peer)
    peer.close()
