"""Objectives over a real store and a real journal: counted exactly, remembered, told, decided upon."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opsbook.book import TextFiles, load
from opsbook.book.slos import Window
from opsbook.errors import Failed, NotFound
from opsbook.journal import Journal
from opsbook.monitoring.rules.room import Rules
from opsbook.monitoring.slos.api import router
from opsbook.monitoring.slos.counting import Counter
from opsbook.monitoring.slos.model import Decision, Indicator, Objective
from opsbook.monitoring.slos.objectives import objectives_of
from opsbook.monitoring.slos.room import Slos
from opsbook.promql import Engine
from opsbook.world.telemetry.storage import Storage
from opsbook.world.telemetry.store import HotStore

BASE = 1_800_000_000.0 // 300 * 300
FILES = {
    "opsbook.yaml": "name: shop\nowner: team\n",
    "services/web.yaml": "service: web\nrun: {command: [web], port: http}\n",
    "services/mail.yaml": "service: mail\nrun: {command: [mail]}\n",
    "environments/production.yaml": "environment: production\nentry: {port: 8080}\n"
    "services: {web: {replicas: 1}, mail: {replicas: 1}}\n",
    "monitoring/slos.yaml": "budget_policy: {max_weight: 10%}\n"
    "slos: [{name: web, service: web, indicator: availability, target: 99%, timeWindow: 1d}]\n",
}
PLACE = {"environment": "production", "service": "web"}
TOTAL = {"__name__": "envoy_cluster_upstream_rq_xx", **PLACE}


class Clock:
    def __init__(self) -> None:
        self.at = BASE

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class Shop:
    """A service's counters, and the room that looks at them. `again` is the next start after a crash."""

    def __init__(self, folder: Path, files: dict[str, str] | None = None) -> None:
        self.folder, self.clock, self.log = folder, Clock(), list[str]()
        self.storage = Storage(HotStore())
        self.counts = {"2": 0.0, "5": 0.0}
        self.scrapes = self.storage.writer({"job": "envoy"})
        self.book = load(TextFiles.of(files or FILES))
        self.open()

    def open(self) -> None:
        self.journal = Journal.open(self.folder / "j.sqlite", keys=self.folder / "keys", clock=self.clock)
        self.slos = Slos(
            Engine(self.storage), self.storage, self.journal, book=lambda: self.book, moment=self.clock.now,
            log=self.log.append,
        )  # fmt: skip
        self.slos.start()

    def again(self) -> None:
        self.journal.close()
        self.open()

    def serve(self, seconds: int, good: float, bad: float = 0.0, *, look: bool = True) -> None:
        """A scrape each 15 s, and a round after it."""
        for _ in range(seconds // 15):
            self.clock.at += 15
            self.counts["2"] += good
            self.counts["5"] += bad
            samples = [({**TOTAL, "response_code_class": code}, value) for code, value in self.counts.items()]
            self.scrapes.write(int(self.clock.at * 1000), samples)
            if look:
                self.slos.look()

    @property
    def row(self) -> dict[str, Any]:
        return self.slos.show("web")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.journal.close()


def test_it_counts_what_was_and_forgets_nothing_over_a_restart(shop: Shop) -> None:
    """Not one request more or less, also those of the time when nobody looked."""
    shop.serve(1200, 10, 0)
    assert (shop.counts["2"] - 10, 0.0) == (shop.row["total"], shop.row["bad"])
    shop.serve(600, 10, 1)
    shop.again()
    shop.serve(1200, 10, 1, look=False)
    shop.slos.look()
    row = shop.row
    assert (shop.counts["2"] + shop.counts["5"] - 10, shop.counts["5"]) == (row["total"], row["bad"])
    assert row["known"] == pytest.approx(3000 / 86_400, abs=0.004)
    shop.again()
    kept = shop.row
    assert (
        row["bad"] > kept["bad"] > 0
    )  # the stretches that are over; the present one is counted by the next round
    shop.slos.look()
    assert row["total"] == shop.row["total"]


def test_a_spent_budget_is_told_once_decides_and_comes_back(shop: Shop) -> None:
    """In the journal, in `decide`, and both are as before after a restart."""
    shop.serve(900, 10)
    assert Decision() == shop.slos.decide("production", "web")
    shop.serve(900, 10, 2)
    assert ("spent", True) == (shop.row["state"], shop.row["spent"])
    found = shop.slos.decide("production", "web")
    assert (True, 10) == (found.allowed, found.max_weight)
    assert "the error budget of web (120 bad of" in found.reason
    shop.again()
    assert 10 == shop.slos.decide("production", "web").max_weight
    shop.slos.look()
    (event,) = shop.journal.events(kinds=("slo.*",))
    assert ("slo.budget_spent", "production/web", 8.0) == (event.kind, event.subject, event.data["bad"])
    shop.serve(900, 1000)
    assert ["slo.budget_spent", "slo.budget_restored"] == [
        e.kind for e in shop.journal.events(kinds=("slo.*",))
    ]
    assert Decision() == shop.slos.decide("production", "web") == shop.slos.decide("production", "mail")


def test_the_alerts_of_a_burning_budget_fire(shop: Shop) -> None:
    """The generated rules, evaluated by the real rules room over what both wrote."""
    rules = Rules(Engine(shop.storage), shop.storage, shop.journal, None, moment=shop.clock.now)
    rules.load(shop.slos.groups(shop.book))
    shop.serve(900, 10)
    rules.evaluate(int(shop.clock.at * 1000))
    assert [] == [alert for _, _, alert in rules.active()]
    shop.serve(900, 10, 5)
    rules.evaluate(int(shop.clock.at * 1000))
    found = [
        (rule.alert, alert.labels["severity"], alert.labels["service"]) for _, rule, alert in rules.active()
    ]
    assert ("ErrorBudgetBurn", "critical", "web") in found
    rules.close()


def test_services_with_http_have_objectives_without_a_file(tmp_path: Path) -> None:
    """99.9 % available, 95 % within 500 ms; what has no requests has none."""
    book = load(TextFiles.of({path: text for path, text in FILES.items() if "slos" not in path}))
    found = [(one.id, one.target, one.default) for one in objectives_of(book)]
    assert [("production/web-availability", 0.999, True), ("production/web-latency", 0.95, True)] == found
    assert 'le="500"' in objectives_of(book)[1].indicator.good


def test_a_storage_that_fails_is_said_once_and_the_others_are_counted(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And when it is back, what was missed is counted."""
    shop.serve(600, 10)
    select = shop.storage.select

    def fails(*_: Any) -> Any:
        raise Failed("the disk is gone")

    monkeypatch.setattr(shop.storage, "select", fails)
    shop.serve(300, 10)
    assert 1 == len(shop.log)
    assert "the disk is gone" in shop.row["problem"]
    monkeypatch.setattr(shop.storage, "select", select)
    shop.serve(15, 10)
    assert shop.counts["2"] - 10 == shop.row["total"]


def test_the_api_cuts_to_what_one_may_see(shop: Shop) -> None:
    """By id or name; the room knows all, the route what is visible."""
    shop.serve(600, 10, 0)
    assert [] == shop.slos.listed(frozenset({"staging"}))
    assert ["production/web"] == [row["id"] for row in shop.slos.listed(frozenset({"production"}))]
    assert shop.slos.show("production/web")["burn_down"] == shop.slos.burn_down("web")
    with pytest.raises(NotFound) as refused:
        shop.slos.show("wob")
    assert "there are: production/web" == refused.value.hint


def objective(indicator: Indicator, slice_: float | None = None) -> Objective:
    return Objective(
        id="x", name="x", title="x", environment="", service="", what="", kind="ratio_metric", indicator=indicator,
        target=0.99, window=Window.model_validate({"duration": "1d"}), slice=slice_, slice_target=0.9,
    )  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), step=st.sampled_from([5, 7, 15, 30]), resets=st.booleans())
def test_counts_agree_with_counting_every_event(seed: int, step: int, resets: bool) -> None:
    """Whatever the spacing of scrapes, with restarts of the process: each event is in the stretch it was seen in."""
    chance = random.Random(seed)
    storage = Storage(HotStore())
    writer = storage.writer({"job": "app"})
    expected: dict[int, list[float]] = {}
    good = total = 0.0
    before: tuple[float, float] | None = None
    at = BASE - 60
    end = BASE + 1500
    while at < end:
        more_good, more_bad = chance.randrange(20), chance.randrange(3)
        if resets and before and chance.random() < 0.02:
            good = total = 0.0
        good, total = good + more_good, total + more_good + more_bad
        # What a reset leaves behind may be more than what was there before: then nobody can see it.
        writer.write(int(at * 1000), [({"__name__": "ok"}, good), ({"__name__": "all"}, total)])
        if before:
            counted = expected.setdefault(int(at // 300), [0.0, 0.0])
            grown = (good - before[0], total - before[1])
            counted[0] += grown[0] if grown[0] >= 0 else good
            counted[1] += grown[1] if grown[1] >= 0 else total
        before = (good, total)
        at += step
    found = Counter(Engine(storage), storage).count(
        objective(Indicator("selectors", "all", good="ok")), int(BASE // 300), int(end // 300) - 1, end
    )
    for number, (one, every) in enumerate(zip(found.good, found.total, strict=True)):
        wanted = expected[found.first + number]
        assert (min(wanted), wanted[1]) == (one, every)


def test_looks_and_slices_are_counted_as_they_are_meant(tmp_path: Path) -> None:
    """Each look at a value is an event; in Timeslices each minute with events is one."""
    storage = Storage(HotStore())
    writer = storage.writer({"job": "app"})
    total = good = 0.0
    for number in range(61):
        at = BASE - 15 + number * 15
        bad = 5 if 8 <= number < 12 else 0  # in the second and the third minute
        total, good = total + 10, good + 10 - bad
        samples = [
            ({"__name__": "all"}, total),
            ({"__name__": "ok"}, good),
            ({"__name__": "depth"}, float(bad)),
        ]
        writer.write(int(at * 1000), samples)
    counter, first = Counter(Engine(storage), storage), int(BASE // 300)
    looks = counter.count(objective(Indicator("looks", "depth", op="lte", limit=1)), first, first, BASE + 300)
    assert (10.0, 8.0) == (looks.total[0], looks.good[0])
    slices = counter.count(
        objective(Indicator("selectors", "all", good="ok"), 60.0), first, first, BASE + 300
    )
    assert 5.0 == slices.total[0]
    assert 3.0 == slices.good[0]
    asked = Counter(Engine(storage), None).count(
        objective(Indicator("selectors", "all", good="ok")), first, first, BASE + 300
    )
    assert asked.total[0] == pytest.approx(200, rel=0.06)


def test_the_routes_answer_by_id_and_cut_to_what_is_visible(shop: Shop) -> None:
    """What one may not see is not there."""
    shop.serve(600, 10, 1)
    routes: dict[str, Any] = {route.path: route.endpoint for route in router(shop.slos).routes}  # type: ignore[attr-defined]
    listed, show = routes["/api/monitoring/slos"], routes["/api/monitoring/slos/{name:path}"]
    assert ["web"] == [row["name"] for row in listed(None)["slos"]]
    assert {"slos": []} == listed(frozenset({"staging"}))
    assert "production/web" == show("production/web", None)["id"]
    with pytest.raises(NotFound):
        show("web", frozenset({"staging"}))
