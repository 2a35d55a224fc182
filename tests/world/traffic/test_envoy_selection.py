"""Pinned requests and clients that stay, through a real Envoy."""

from __future__ import annotations

import http.client
from collections import Counter
from dataclasses import replace

import pytest

from opsbook.deployment.routing import TRIAL_HEADER as HEADER_OF_DEPLOYMENTS
from opsbook.errors import Invalid
from opsbook.world.traffic.selection import STICKY_TOTAL, scaled_weights
from opsbook.world.traffic.validation import check
from opsbook.world.words import TRIAL_HEADER, Address, Pin, Route, RouteTable, Split

TOKEN = "nobody-can-guess-it"


@pytest.fixture
def releases(stage, until):
    """Stable and canary, healthy."""
    backends = [stage.backend(name, stage.upstreams.http(name)) for name in ("web-1", "web-2")]
    stage.serve(stage.table({"web-1": 1}, *backends))
    until(lambda: all(each.healthy == 1 for each in stage.traffic.observe().backends.values()))
    return backends


def serve(stage, releases, *, canary: int, fallback: bool = True, **route: object) -> None:
    stable, trial = (each.name for each in releases)
    weights = tuple((name, weight) for name, weight in ((trial, canary), (stable, 100 - canary)) if weight)
    split = Split(weights, fallback=stable if fallback and (canary or "pins" in route) else None)
    stage.serve(stage.routes((Route("web", split, **route),), *releases))


def test_pinned_requests_go_to_their_backend(stage, releases):
    """A header or a cookie decides, by its value or by having one at all, whatever the weights say."""
    trial = releases[1].name
    pins = (
        Pin(trial, header=TRIAL_HEADER, value=TOKEN),
        Pin(trial, header="X-Canary"),
        Pin(trial, cookie="canary"),
        Pin(trial, cookie="tester", value="yes"),
    )
    serve(stage, releases, canary=0, pins=pins)
    pinned = (
        {TRIAL_HEADER: TOKEN},
        {"x-canary": "1"},
        {"cookie": "a=b; canary=0; c=d"},
        {"cookie": "canary=x"},
        {"cookie": "tester=yes"},
    )
    others = (
        {},
        {TRIAL_HEADER: TOKEN[:-1]},
        {"x-canary": ""},
        {"cookie": "canary="},
        {"cookie": "mycanary=1; canaryx=2"},
        {"cookie": "tester=no"},
        {"cookie": "a=tester=yes"},
    )
    assert {"web-2"} == {stage.ask(**headers)[0] for headers in pinned for _ in range(5)}
    assert {"web-1"} == {stage.ask(**headers)[0] for headers in others for _ in range(5)}


def test_pins_hold_for_every_method_and_prefix(stage, releases):
    """What is not safe to retry is pinned as well, and a prefix is cut off as ever."""
    serve(
        stage,
        releases,
        canary=0,
        pins=(Pin(releases[1].name, header="x-canary"),),
        prefix="/cut",
        strip_prefix=True,
    )
    connection = http.client.HTTPConnection("127.0.0.1", stage.port, timeout=10)
    for method, path in (("POST", "/cut"), ("DELETE", "/cut/x"), ("GET", "/cut")):
        connection.request(method, path, headers={"x-canary": "1"})
        assert b"web-2" == connection.getresponse().read()
    connection.close()
    assert ("/path/x", None) == stage.ask("/cut/path/x", x_canary="1")
    assert ("not found\n", None) == stage.ask("/", x_canary="1")


def test_only_our_own_header_is_kept_from_the_service(stage, releases):
    """The trial's token reaches neither the canary nor, sent by whomever, the stable release."""
    pins = (Pin(releases[1].name, header=TRIAL_HEADER, value=TOKEN), Pin(releases[1].name, header="x-canary"))
    for value in (TOKEN, "guessed"):
        serve(stage, releases, canary=0, pins=pins)
        head, _ = stage.ask("/head", **{TRIAL_HEADER: value, "x-canary": "1"})
        assert "x-canary: 1" in head.lower()
        assert "x-opsbook" not in head.lower()
        serve(stage, releases, canary=0)
        assert "x-opsbook" not in stage.ask("/head", **{TRIAL_HEADER: value})[0].lower()
    assert TRIAL_HEADER == HEADER_OF_DEPLOYMENTS


def test_a_pinned_backend_that_is_dead_has_the_fallback(stage, releases, until):
    """Who is pinned to a canary is answered by the stable release rather than not at all."""
    stage.upstreams.kill(releases[1].endpoints[0].address.port)
    serve(stage, releases, canary=0, pins=(Pin(releases[1].name, header="x-canary"),))
    until(lambda: stage.traffic.observe().backends[releases[1].name].healthy == 0)
    assert {"web-1"} == {stage.ask(x_canary="1")[0] for _ in range(10)}
    serve(stage, releases, canary=0, pins=(Pin(releases[1].name, header="x-canary"),), fallback=False)
    assert "no healthy upstream" == stage.ask(x_canary="1")[0]


def test_a_pin_serves_although_the_split_does_not(stage, releases):
    """A first release can be looked at before anybody gets it."""
    route = Route("web", Split(()), pins=(Pin(releases[1].name, header="x-canary"),))
    stage.serve(stage.routes((route,), *releases))
    assert "web-2" == stage.ask(x_canary="1")[0]
    assert "no release of web is serving\n" == stage.ask()[0]


def test_clients_stay_where_they_were(stage, releases):
    """Shares are right over 600 clients, each keeps its release, and those of the canary also while it grows."""
    serve(stage, releases, canary=10, sticky="opsbook-web")
    clients: dict[str, list[str]] = {}
    for _ in range(600):
        body, cookie = stage.ask()
        assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax")
        clients[cookie.partition(";")[0]] = [body]
    assert 600 == len(clients)
    shares = []
    for canary in (10, 25, 50):
        serve(stage, releases, canary=canary, sticky="opsbook-web")
        for cookie, seen in clients.items():
            body, again = stage.ask(cookie=f"theme=dark; {cookie}")
            assert again is None
            seen.append(body)
        shares.append(Counter(seen[-1] for seen in clients.values())["web-2"] / 600)
    assert all(first == second for first, second, *_ in clients.values())
    for _, *seen in clients.values():
        assert seen == sorted(seen)  # web-1 and then web-2, never back
    # Five standard deviations: one run in a million is outside.
    for share, wanted in zip(shares, (0.10, 0.25, 0.50), strict=True):
        assert abs(share - wanted) < 5 * (wanted * (1 - wanted) / 600) ** 0.5


def test_a_client_that_keeps_no_cookies_is_served_by_weight(stage, releases):
    """Each of its requests is a new client's."""
    serve(stage, releases, canary=50, sticky="opsbook-web")
    assert {"web-1", "web-2"} == {stage.ask()[0] for _ in range(60)}


def test_nobody_gets_a_cookie_that_somebody_else_wrote(stage, releases):
    """An id with characters that mean something in a cookie is not echoed; a share it gets nevertheless."""
    serve(stage, releases, canary=50, sticky="opsbook-web")
    found = {stage.ask(x_request_id="0123456789abcdef; Domain=example.com") for _ in range(60)}
    assert {("web-1", None), ("web-2", None)} == found
    empty = stage.ask(cookie="opsbook-web=")
    assert empty[1] is not None


def test_pins_come_before_staying(stage, releases):
    """Who is pinned sees the canary whatever the cookie says, and gets no cookie from it."""
    pins = (Pin(releases[1].name, header="x-canary"),)
    serve(stage, releases, canary=1, sticky="opsbook-web", pins=pins)
    assert {("web-2", None)} == {stage.ask(x_canary="1") for _ in range(20)}
    serve(stage, releases, canary=0, sticky="opsbook-web", pins=pins)
    assert ("web-1", None) == stage.ask()


def test_staying_clients_find_the_fallback(stage, releases, until):
    """A dead canary keeps nobody."""
    stage.upstreams.kill(releases[1].endpoints[0].address.port)
    serve(stage, releases, canary=99, sticky="opsbook-web")
    until(lambda: stage.traffic.observe().backends[releases[1].name].healthy == 0)
    assert {"web-1"} == {stage.ask()[0] for _ in range(20)}


def test_a_group_beside_a_release_has_figures_of_its_own(stage, until):
    """The tilde in its name does no harm: weights, health, fallback, and labels of the metrics."""
    names = ("web-3f9", "web-3f9~baseline", "web-5ab")
    backends = [stage.backend(name, stage.upstreams.http(name)) for name in names]
    split = Split(
        tuple((each.name, weight) for each, weight in zip(backends, (80, 10, 10), strict=True)),
        fallback=backends[0].name,
    )
    stage.serve(stage.routes((Route("web", split, pins=(Pin(backends[1].name, header="x-b"),)),), *backends))
    until(lambda: all(each.healthy == 1 for each in stage.traffic.observe().backends.values()))
    assert {each.name for each in backends} == set(stage.traffic.observe().backends)
    assert ["web-3f9~baseline"] * 7 == [stage.ask(x_b="1")[0] for _ in range(7)]
    labels = 'environment="test",service="web",release="web-3f9~baseline"'

    def said(line: str) -> bool:
        return line in stage.traffic.stats_text()

    until(lambda: said(f'envoy_cluster_upstream_rq_xx{{response_code_class="2",{labels}}} 7'))
    until(lambda: said(f'envoy_cluster_upstream_rq_time_bucket{{{labels},le="+Inf"}} 7'))


@pytest.mark.parametrize(
    "weights", [[10, 90], [1, 1, 1], [1, 4_000_000_000], [4_000_000_000, 1, 1], [3, 0x7FFFFFFF, 5], [7]]
)
def test_scaled_weights(weights):
    """Their sum is always the same, nobody's share vanishes, and none is off by more than rounding."""
    scaled = scaled_weights(weights)
    assert STICKY_TOTAL == sum(scaled)
    assert min(scaled) >= 1
    for weight, result in zip(weights, scaled, strict=True):
        assert abs(result - weight * STICKY_TOTAL / sum(weights)) <= len(weights)


def test_the_first_range_only_grows():
    """A client's number is below its end for ever once it was."""
    ends = [scaled_weights([first, 100 - first])[0] for first in range(1, 100)]
    assert ends == sorted(ends)


def test_pins_that_cannot_work_are_refused(stage_of):
    """By name, before Envoy sees them; a value is never told, as it may be a secret."""
    stage = stage_of(None, None)
    one, two = (stage.backend(name, Address("127.0.0.1", 1000 + n)) for n, name in enumerate(("a", "b")))
    tcp = stage.backend("t", Address("127.0.0.1", 1003), protocol="tcp")
    split = Split(((one.name, 1),))

    def table(**route: object) -> RouteTable:
        return stage.routes((replace(Route("web", split), **route),), one, two, tcp)

    check(table(pins=(Pin(two.name, header="x-a"), Pin(two.name, cookie="a", value="b")), sticky="c"))
    check(table(split=Split(((one.name, 1),), fallback=one.name), pins=(Pin(two.name, header="x-a"),)))
    refused = {
        "which the table does not have": {"pins": (Pin("test/web/c", header="x-a"),)},
        "a header or a cookie, and not both": {"pins": (Pin(two.name, header="a", cookie="b"),)},
        "must name a header or a cookie": {"pins": (Pin(two.name),)},
        "cannot be the name of a header": {"pins": (Pin(two.name, header=":path"),)},
        "value that x-a must have": {"pins": (Pin(two.name, header="x-a", value="s3cret\r\n"),)},
        "cannot take HTTP": {"pins": (Pin(tcp.name, header="x-a"),)},
        "cannot be the name of a cookie": {"sticky": "a;b"},
    }
    for message, route in refused.items():
        with pytest.raises(Invalid, match=message) as caught:
            check(table(**route))
        assert "s3cret" not in str(caught.value)
