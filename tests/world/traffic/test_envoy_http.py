"""HTTP, HTTP/2, gRPC and WebSocket through a real Envoy, while routes change."""

from __future__ import annotations

import http.client
import threading
from collections import Counter

import pytest
import websockets.sync.client

from opsbook.world.words import Endpoint, HealthCheck, Route, Split


class Load:
    """Threads that GET on keep-alive connections and remember every failure."""

    def __init__(self, port: int, *, threads: int = 4) -> None:
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._port = port
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        while not self._end.is_set():
            try:
                connection.request("GET", "/")
                response = connection.getresponse()
                body = response.read().decode()
                if response.status != 200:
                    self.failures.append(f"{response.status} {body}")
                self.answers[body] += 1
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
        connection.close()


def test_routes_by_host_and_longest_prefix(stage):
    """The longest prefix of the named host wins, then those for any host, then 404; whole segments count."""
    blue, green = stage.upstreams.http("blue"), stage.upstreams.http("green")
    backends = (stage.backend("blue", blue), stage.backend("green", green))
    to_blue, to_green = (Split(((f"test/web/{name}", 1),)) for name in ("blue", "green"))
    stage.serve(
        stage.routes(
            (
                Route("web", to_blue, prefix="/api"),
                Route("web", to_green, prefix="/api/v2/"),
                Route("web", to_green, host="shop.example.com"),
                Route("web", to_blue, host="*.example.org"),
                Route("web", to_green, prefix="/cut", strip_prefix=True),
                Route("empty", Split(()), prefix="/empty"),
            ),
            *backends,
        )
    )
    assert stage.get("/api") == (200, "blue")
    assert stage.get("/api/v1") == (200, "blue")
    assert stage.get("/api/v2/x") == (200, "green")
    assert stage.get("/apis") == (404, "not found\n")
    assert stage.get("/", host="shop.example.com:1234") == (200, "green")
    assert stage.get("/x", host="a.example.org") == (200, "blue")
    assert stage.get("/api", host="a.example.org") == (200, "blue")
    assert stage.get("/cut/path/x?q=1") == (200, "/path/x?q=1")
    assert stage.get("/cut") == (200, "green")
    assert stage.get("/empty") == (503, "no release of empty is serving\n")


def test_keep_alive_connection_survives_a_switch(stage):
    """A client's connection is not cut by a deployment; its next request goes to the new release."""
    blue, green = (stage.backend(name, stage.upstreams.http(name)) for name in ("blue2", "green2"))
    stage.serve(stage.table({"blue2": 1}, blue, green))
    connection = http.client.HTTPConnection("127.0.0.1", stage.port, timeout=10)
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"blue2"
    socket_before = connection.sock
    stage.serve(stage.table({"green2": 1}, blue, green))
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"green2"
    assert connection.sock is socket_before
    connection.close()


def test_many_switches_under_load_fail_no_request(stage):
    """50 switches, each to a release that Envoy never saw before while the old one leaves: 0 failures."""
    addresses = [stage.upstreams.http("blue3"), stage.upstreams.http("green3")]
    stage.serve(stage.table({"s0": 1}, stage.backend("s0", addresses[0])))
    with Load(stage.port) as load:
        for number in range(1, 51):
            release = f"s{number}"
            stage.serve(stage.table({release: 1}, stage.backend(release, addresses[number % 2])))
    assert load.failures == []
    assert set(load.answers) == {"blue3", "green3"}
    assert set(stage.traffic.observe().backends) == {"test/web/s50"}


def test_weights_share_the_requests(stage):
    """A tenth of the requests goes to the canary."""
    backends = [stage.backend(name, stage.upstreams.http(name)) for name in ("stable", "canary")]
    stage.serve(stage.table({"stable": 90, "canary": 10}, *backends))
    answers = Counter(stage.get()[1] for _ in range(500))
    assert set(answers) == {"stable", "canary"}
    assert 15 < answers["canary"] < 110


def test_the_crash_of_an_instance_fails_no_safe_request(stage, until):
    """GET requests of a dying instance are taken over by another one."""
    addresses = [stage.upstreams.http("twin") for _ in range(2)]
    stage.serve(stage.table({"twin": 1}, stage.backend("twin", *addresses)))
    until(lambda: stage.traffic.observe().backends["test/web/twin"].healthy == 2)
    with Load(stage.port) as load:
        until(lambda: load.answers["twin"] > 100)
        stage.upstreams.kill(addresses[0].port)
        seen = load.answers["twin"]
        until(lambda: load.answers["twin"] > seen + 300)
    assert load.failures == []
    until(lambda: stage.traffic.observe().backends["test/web/twin"].healthy == 1)


def test_a_single_endpoint_is_never_ejected(stage):
    """Errors of the only endpoint are passed on; it goes on getting requests."""
    stage.serve(stage.table({"lone": 1}, stage.backend("lone", stage.upstreams.http("lone"))))
    assert [stage.get("/fail")[0] for _ in range(40)] == [500] * 40
    assert stage.get() == (200, "lone")


def test_an_endpoint_that_only_errs_is_left_out(stage, until):
    """An instance whose health page is fine but whose pages are not costs a few requests, not half of them."""
    addresses = [stage.upstreams.http(name) for name in ("sound", "broken")]
    stage.serve(stage.table({"half": 1}, stage.backend("half", *addresses)))
    until(lambda: stage.traffic.observe().backends["test/web/half"].healthy == 2)
    until(lambda: [stage.get()[1] for _ in range(20)] == ["sound"] * 20)
    assert stage.traffic.observe().backends["test/web/half"].healthy == 1


def test_a_draining_endpoint_ends_what_it_began(stage, until):
    """It gets no new request, those under way are counted and end well, then its backend may go."""
    old, new = stage.upstreams.http("old"), stage.upstreams.http("new")
    stage.upstreams.release.clear()
    backend = stage.backend("drain", old)
    stage.serve(stage.table({"drain": 1}, backend))
    until(lambda: stage.traffic.observe().backends["test/web/drain"].healthy == 1)
    answer = []
    slow = threading.Thread(target=lambda: answer.append(stage.get("/slow")))
    slow.start()
    until(lambda: stage.traffic.observe().backends["test/web/drain"].active == 1)
    endpoints = (Endpoint("drain-0", old, draining=True), Endpoint("drain-1", new))
    stage.serve(
        stage.table({"drain": 1}, type(backend)(backend.name, "http", endpoints, health=backend.health))
    )
    until(lambda: stage.traffic.observe().backends["test/web/drain"].healthy == 1)
    assert {stage.get()[1] for _ in range(10)} == {"new"}
    states = {each.address: each for each in stage.traffic.observe().backends["test/web/drain"].endpoints}
    assert (states[old].draining, states[old].active, states[old].healthy) == (True, 1, False)
    assert (states[new].draining, states[new].active, states[new].healthy) == (False, 0, True)
    stage.serve(stage.table({"drain": 1}, stage.backend("drain", new)))
    left = stage.traffic.observe().backends["test/web/drain"]
    assert ([each.address for each in left.endpoints], left.active) == ([new], 1)
    stage.upstreams.release.set()
    slow.join()
    assert answer == [(200, "old")]
    until(lambda: stage.traffic.observe().backends["test/web/drain"].active == 0)


def test_a_request_under_way_survives_the_removal_of_its_backend(stage, until):
    """Even a caller that does not drain cuts nothing by taking a backend off the table."""
    stage.upstreams.release.clear()
    stage.serve(stage.table({"gone": 1}, stage.backend("gone", stage.upstreams.http("gone"))))
    answer = []
    slow = threading.Thread(target=lambda: answer.append(stage.get("/slow")))
    slow.start()
    until(lambda: stage.traffic.observe().backends["test/web/gone"].active == 1)
    stage.serve(stage.table({"next": 1}, stage.backend("next", stage.upstreams.http("next"))))
    assert "test/web/gone" not in stage.traffic.observe().backends
    stage.upstreams.release.set()
    slow.join()
    assert answer == [(200, "gone")]


def test_websocket_counts_as_active_and_survives_a_switch(stage, until):
    """An upgraded connection lives longer than the route's timeout and than its release's turn."""
    blue, green = (
        stage.backend(f"ws-{name}", stage.upstreams.websocket(name), health=HealthCheck("tcp"))
        for name in ("blue", "green")
    )
    stage.serve(stage.table({"ws-blue": 1}, blue, green, timeout=0.2))
    with websockets.sync.client.connect(f"ws://127.0.0.1:{stage.port}/") as first:
        assert first.recv() == "blue"
        stage.serve(stage.table({"ws-green": 1}, blue, green, timeout=0.2))
        with websockets.sync.client.connect(f"ws://127.0.0.1:{stage.port}/") as second:
            assert second.recv() == "green"
        threading.Event().wait(0.5)  # longer than the route's timeout
        assert stage.traffic.observe().backends["test/web/ws-blue"].active == 1
        first.send("still here")
        assert first.recv() == "still here"
    until(lambda: stage.traffic.observe().backends["test/web/ws-blue"].active == 0)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_http2_by_prior_knowledge(stage, until, protocol):
    """HTTP/2 clients need no upgrade; to a gRPC backend Envoy speaks HTTP/2 too and passes trailers on."""
    upstream = stage.upstreams.http2("two") if protocol == "grpc" else stage.upstreams.http("two")
    stage.serve(
        stage.table({f"h2-{protocol}": 1}, stage.backend(f"h2-{protocol}", upstream, protocol=protocol))
    )
    until(lambda: stage.traffic.observe().backends[f"test/web/h2-{protocol}"].healthy == 1)
    status, body, trailers = stage.post_http2()
    assert (status, body) == ("200", b"two")
    assert trailers.get("grpc-status") == ("0" if protocol == "grpc" else None)


def test_metrics_are_labelled_by_release(stage, until):
    """The text for telemetry names environment, service and release, and nothing of Envoy's own administration."""
    stage.serve(stage.table({"v1.2": 1}, stage.backend("v1.2", stage.upstreams.http("dotted"))))
    assert stage.get() == (200, "dotted")
    labels = 'environment="test",service="web",release="v1.2"'
    until(lambda: f"envoy_cluster_upstream_rq_total{{{labels}}} 1" in stage.traffic.stats_text())
    until(lambda: f'envoy_cluster_upstream_rq_time_bucket{{{labels},le="2.5"}}' in stage.traffic.stats_text())
    assert f'upstream_rq_xx{{response_code_class="2",{labels}}} 1' in stage.traffic.stats_text()
    assert "admin" not in stage.traffic.stats_text()
