"""The named metrics, computed by hand beside what the store says."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest

from opsbook.world.telemetry.exposition import render_series
from opsbook.world.telemetry.named import NAMED, named_metric
from opsbook.world.telemetry.scrape_cache import ScrapeCache
from opsbook.world.telemetry.store import HotStore
from opsbook.world.telemetry.stretch import Stretch

STABLE, CANARY = "web-1111", "web-2222"
ENVOY = {"job": "envoy"}


class Proxy:
    """An Envoy as far as a scrape sees it: a counter is shown once it was used."""

    def __init__(self, store: HotStore) -> None:
        self.cache, self.store, self.block = ScrapeCache(store.block(ENVOY), ENVOY), store, store.block(ENVOY)
        self.counters: dict[str, float] = {}

    def answer(self, release: str, status: str, count: int, milliseconds: float = 20) -> None:
        labels = {"environment": "production", "service": "web", "release": release}
        self.add("envoy_cluster_upstream_rq_xx", {**labels, "response_code_class": status}, count)
        for bound in (10, 25, 100, math.inf):
            le = "+Inf" if math.isinf(bound) else str(bound)
            counted = count if milliseconds <= bound else 0
            self.add("envoy_cluster_upstream_rq_time_bucket", {**labels, "le": le}, counted)

    def add(self, name: str, labels: Mapping[str, str], count: float) -> None:
        key = render_series(name, labels)
        self.counters[key] = self.counters.get(key, 0) + count

    def scrape(self, at: int) -> None:
        reading = self.cache.read(
            "\n".join(f"{key} {value}" for key, value in self.counters.items()).encode()
        )
        self.block.append(at * 1000, reading.slots, reading.values)

    def scrape_fails(self, at: int) -> None:
        self.block.append(at * 1000, np.empty(0, np.int64), np.empty(0), scraped=False)


def ask(store: HotStore, name: str, at: int, window: int = 60, **matchers: str) -> float | None:
    figure = named_metric(name).compute(Stretch(store, matchers, (at - window) * 1000, at * 1000))
    return None if figure is None else figure[0]


@pytest.fixture
def store() -> HotStore:
    return HotStore()


@pytest.fixture
def proxy(store: HotStore) -> Proxy:
    return Proxy(store)


def test_a_canary_beside_the_stable_release(store: HotStore, proxy: Proxy) -> None:
    """Every release has its own figures, exact from its very first request; the service has those of both."""
    proxy.answer(STABLE, "2", 1000)
    proxy.scrape(100)
    proxy.answer(STABLE, "2", 90)
    proxy.answer(CANARY, "2", 8)
    proxy.answer(CANARY, "5", 2)
    proxy.scrape(105)
    proxy.answer(STABLE, "2", 90)
    proxy.answer(CANARY, "2", 9)
    proxy.answer(CANARY, "5", 1, milliseconds=5000)
    proxy.scrape(110)
    assert (20, 3) == (
        ask(store, "request_count", 110, release=CANARY),
        ask(store, "error_count", 110, release=CANARY),
    )
    assert 0.15 == ask(store, "error_rate", 110, release=CANARY)
    assert 0 == ask(store, "error_rate", 110, release=STABLE)
    assert 3 / 200 == ask(store, "error_rate", 110, service="web")
    assert 1 - 3 / 200 == ask(store, "availability", 110, service="web")
    assert 2.0 == ask(store, "throughput", 110, release=CANARY)
    assert 18.0 == ask(store, "throughput", 110, release=STABLE)
    assert 0.1 == ask(store, "response_time_p99", 110, release=CANARY)
    assert 0.0175 == pytest.approx(ask(store, "response_time_p50", 110, release=STABLE) or 0)


def test_only_the_window_counts(store: HotStore, proxy: Proxy) -> None:
    """What happened before the window is left out, to the scrape."""
    for at in range(0, 100, 10):
        proxy.answer(STABLE, "5" if at < 50 else "2", 10)
        proxy.scrape(at)
    assert 0 == ask(store, "error_rate", 90, window=50, release=STABLE)
    assert 10 / 60 == ask(store, "error_rate", 90, window=60, release=STABLE)
    assert 40 == ask(store, "request_count", 90, window=40, release=STABLE)
    assert ask(store, "request_count", 400, release=STABLE) is None


def test_a_failed_scrape_loses_nothing(store: HotStore, proxy: Proxy) -> None:
    """Requests that were answered while the proxy did not answer us are counted with the next scrape."""
    proxy.answer(STABLE, "2", 5)
    proxy.scrape(0)
    proxy.scrape_fails(5)
    proxy.answer(STABLE, "2", 7)
    proxy.scrape(10)
    assert 7 == ask(store, "request_count", 10, release=STABLE)


def test_the_proxy_restarts(store: HotStore, proxy: Proxy) -> None:
    """Its counters begin anew, which is no negative and no doubled increase."""
    proxy.answer(STABLE, "2", 100)
    proxy.scrape(0)
    proxy.scrape_fails(5)
    proxy.counters.clear()
    proxy.answer(STABLE, "2", 3)
    proxy.scrape(10)
    assert 3 == ask(store, "request_count", 10, release=STABLE)


def test_no_requests(store: HotStore, proxy: Proxy) -> None:
    """Without requests there is a throughput of 0 but no error rate, no time; of an unknown release nothing."""
    proxy.answer(STABLE, "2", 100)
    proxy.scrape(0)
    proxy.scrape(5)
    assert 0 == ask(store, "throughput", 5, release=STABLE)
    assert 0 == ask(store, "request_count", 5, release=STABLE)
    for name in ("error_rate", "availability", "response_time_p95"):
        assert ask(store, name, 5, release=STABLE) is None
    assert ask(store, "throughput", 5, release="web-9999") is None


def test_requests_under_way(store: HotStore, proxy: Proxy) -> None:
    """A gauge is what the last scrape said, summed over what the labels choose."""
    for release, count in ((STABLE, 5), (CANARY, 2)):
        proxy.add("envoy_cluster_upstream_rq_active", {"service": "web", "release": release}, count)
    proxy.scrape(0)
    assert 7 == ask(store, "active_requests", 0, service="web")
    assert 2 == ask(store, "active_requests", 0, release=CANARY)
    proxy.scrape_fails(5)
    assert ask(store, "active_requests", 5, service="web") is None


def instance(store: HotStore, name: str, at: int, **values: float) -> None:
    labels = {"job": "process", "service": "web", "instance": name}
    block = store.block(labels)
    slots = [block.slot({"__name__": key, **labels}) for key in values]
    block.append(at * 1000, np.array(slots, np.int64), np.array(list(values.values()), float))


def test_usage_of_limits(store: HotStore) -> None:
    """CPU is of what all instances may use, memory of the fullest one; without a limit there is no ratio of memory."""
    for at in (0, 10):
        instance(
            store, "a", at, process_cpu_seconds_total=at * 0.5, process_cpu_limit_cores=0.5,
            process_resident_memory_bytes=50, process_memory_limit_bytes=100,
        )  # fmt: skip
        instance(store, "b", at, process_cpu_seconds_total=at * 0.25, process_resident_memory_bytes=70)
    assert 0.5 == ask(store, "cpu_usage", 10, service="web")
    assert 1.0 == ask(store, "cpu_usage", 10, instance="a")
    assert 0.25 == ask(store, "cpu_usage", 10, instance="b")
    assert 0.5 == ask(store, "memory_usage", 10, service="web")
    assert 120 == ask(store, "memory_bytes", 10, service="web")
    assert ask(store, "memory_usage", 10, instance="b") is None


def test_an_instance_that_was_replaced_counts_no_more(store: HotStore) -> None:
    """Memory and CPU are those of the instances that are there."""
    for at in (0, 10):
        instance(store, "old", at, process_cpu_seconds_total=at * 1.0, process_resident_memory_bytes=50)
    store.end({"job": "process", "service": "web", "instance": "old"}, 11_000)
    for at in (10, 20):
        instance(store, "new", at, process_cpu_seconds_total=at * 0.1, process_resident_memory_bytes=30)
    assert 30 == ask(store, "memory_bytes", 20, service="web")
    assert 0.1 == pytest.approx(ask(store, "cpu_usage", 20, service="web") or 0)


def test_restarts(store: HotStore) -> None:
    """Every new process within an instance counts, also the one right at the beginning of the window."""
    for at, started in ((0, 1.0), (10, 1.0), (20, 2.0), (30, 3.0), (40, 3.0)):
        instance(store, "a", at, process_start_time_seconds=started)
    assert 2 == ask(store, "restarts", 40, service="web")
    assert 1 == ask(store, "restarts", 40, window=15, service="web")
    assert 0 == ask(store, "restarts", 40, window=5, service="web")


def test_the_reference_is_whole() -> None:
    """Every entry says its unit, what it means and how it is computed."""
    for name, entry in NAMED.items():
        assert name == entry.name
        assert entry.unit in ("ratio", "seconds", "1/s", "bytes", "bytes/s", "count")
        assert entry.description
        assert entry.computed
