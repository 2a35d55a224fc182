"""What people do with what is watched, in a browser: look, zoom, compare, ask why, silence, query."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from monitored import Monitored
from stand import SERVICES

from opsbook.deployment.model import Outcome

if TYPE_CHECKING:
    from playwright.sync_api import Page

Opened = Callable[..., "Page"]
PATIENCE = 15_000  # milliseconds
CHECKOUT = "/dashboards/services/production/checkout"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def shop() -> Iterator[Monitored]:
    """One for all of these tests: six hours of samples take a while."""
    made = Monitored()
    try:
        for service in SERVICES:
            made.place("staging", service, replicas=1)
            made.place("production", service)
        made.finished("d-90", "checkout", "2.1", Outcome.SUCCEEDED, hours=0.17)
        made.address = made.serve()
        made.watch()
        yield made
    finally:
        made.end()


@pytest.fixture
def stand(shop: Monitored) -> Monitored:
    """What `opened` opens pages of."""
    return shop


def charted(page: Page, number: int = 1) -> None:
    """Wait until so many charts are drawn."""
    page.locator("#panels canvas").nth(number - 1).wait_for(timeout=PATIENCE)


def fingerprint(shop: Monitored, name: str) -> str:
    return next(str(one["fingerprint"]) for one in shop.monitoring.view.alerts() if one["name"] == name)


def test_a_dashboard_shows_what_the_api_tells(
    stand: Monitored, opened: Opened, picture: Callable[..., Any]
) -> None:
    """Rate, errors and duration are drawn; the last values stand below; a table says the same."""
    page = opened("ana", CHECKOUT)
    charted(page, 3)
    errors = page.locator("[data-plot=errors]").locator("xpath=..")
    errors.locator("[data-legend] b").wait_for(timeout=PATIENCE)
    assert re.search(r"errors 1\d(\.\d)? %", errors.locator("[data-legend]").inner_text())
    duration = page.locator("[data-plot=duration]").locator("xpath=..").locator("[data-legend]")
    assert ["p50", "p95", "p99"] == re.findall(r"p\d\d", duration.inner_text())
    errors.locator("summary").click()
    errors.locator("[data-table] tbody tr").first.wait_for(timeout=PATIENCE)
    assert "errors" in errors.locator("[data-table] thead").inner_text()
    assert "response_code_class" in errors.locator(".query").inner_text()
    assert "checkout fails" in page.inner_text(".strip")
    page.wait_for_selector("#marks a[href='/deployments/d-90']", timeout=PATIENCE)
    picture(page, "dashboard-service")


def test_dragging_zooms_and_the_address_says_so(stand: Monitored, opened: Opened) -> None:
    """The range is in the address; Back in the browser, and a press on Back, lead out again."""
    del stand
    page = opened("ana", f"{CHECKOUT}?range=6h")
    charted(page, 3)
    box = page.locator("[data-plot=rate] .u-over").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.25, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, middle, steps=4)
    page.mouse.up()
    page.wait_for_url(re.compile(r"from=\d+&to=\d+"), timeout=PATIENCE)
    times = dict(re.findall(r"(from|to)=(\d+)", page.url))
    assert 4800 < int(times["to"]) - int(times["from"]) < 6000
    assert page.locator("#zoomed").is_visible()
    page.go_back()
    page.wait_for_selector("#zoomed", state="hidden", timeout=PATIENCE)
    assert "from=" not in page.url
    page.go_forward()
    page.click("#zoomed a")
    page.wait_for_selector("#zoomed", state="hidden", timeout=PATIENCE)
    assert "from=" not in page.url
    page.click("[data-span=range]:has-text('15m')")
    page.wait_for_url(re.compile("range=15m"), timeout=PATIENCE)
    assert "15m" == page.inner_text("[data-span=range][aria-current]")


def test_a_week_ago_is_drawn_beside_now(stand: Monitored, opened: Opened) -> None:
    """Pressed once it is asked for, pressed again not any more; where there is nothing, nothing is drawn."""
    del stand
    page = opened("ana", CHECKOUT)
    charted(page)
    with page.expect_request(
        lambda request: "/charts/" in request.url and "compare=1" in request.url, timeout=PATIENCE
    ):
        page.click("[data-span=compare]")
    assert "compare=1" in page.url
    assert "true" == page.get_attribute("[data-span=compare]", "aria-pressed")
    page.click("[data-span=compare]")
    assert "compare" not in page.url


def test_charts_are_refreshed_without_a_jump(stand: Monitored, opened: Opened) -> None:
    """New points come into the same canvas; nothing on the page moves."""
    page = opened("ana", f"{CHECKOUT}?range=15m")
    charted(page, 3)
    page.evaluate("document.querySelector('[data-plot=rate] canvas').dataset.mine = 'yes'")
    before = [page.locator(f"[data-plot={name}]").bounding_box() for name in ("rate", "errors", "duration")]
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    deadline = time.monotonic() + 15
    while sum("panel=rate" in url for url in asked) < 2 and time.monotonic() < deadline:
        page.wait_for_timeout(200)
    assert sum("panel=rate" in url for url in asked) >= 2
    page.wait_for_timeout(300)
    assert "yes" == page.get_attribute("[data-plot=rate] canvas", "data-mine")
    assert before == [
        page.locator(f"[data-plot={name}]").bounding_box() for name in ("rate", "errors", "duration")
    ]
    del stand


def test_without_scripts_there_are_tables(stand: Monitored, opened: Opened) -> None:
    """The same points, and links for every stretch of time."""
    del stand
    page = opened("ana", CHECKOUT, java_script_enabled=False)
    page.click("a:has-text('Tables')")
    assert "view=table" in page.url
    assert re.search(r"1\d(\.\d)? %", page.inner_text("main"))
    page.click(".steps a:has-text('6h')")
    assert {"range=6h", "view=table"} <= set(page.url.partition("?")[2].split("&"))


def test_variables_of_a_written_dashboard_are_chosen(stand: Monitored, opened: Opened) -> None:
    """The choice is in the address, and what was zoomed to stays."""
    del stand
    page = opened("ana", "/dashboards/orders")
    charted(page, 2)
    page.click("[data-span=range]:has-text('6h')")
    page.select_option("select[name=environment]", "staging")
    page.click("button:has-text('Show')")
    page.wait_for_url(re.compile("environment=staging"), timeout=PATIENCE)
    assert "range=6h" in page.url
    assert "staging" == page.locator("select[name=environment]").input_value()


def test_an_alert_says_why(stand: Monitored, opened: Opened, picture: Callable[..., Any]) -> None:
    """From the list to the page: value, threshold, the curve, the rule, who is told."""
    page = opened("ana", "/alerts")
    assert "alerts fire" in page.inner_text(".headline")
    page.click("tr:has-text('CheckoutErrors') a")
    page.wait_for_url(f"**/alerts/{fingerprint(stand, 'CheckoutErrors')}", timeout=PATIENCE)
    charted(page)
    assert re.search(r"1\d(\.\d)? % above 5 % for 1m", page.inner_text(".why"))
    assert 'opsbook:error_rate{service="checkout",environment="production"} > 0.05' == page.inner_text(
        "pre.query"
    )
    assert "monitoring/alerts.yaml" in page.inner_text(".facts")
    assert "/handbook/runbooks/checkout.md" == page.get_attribute("a:text-is('checkout')", "href")
    assert "firing" in page.inner_text(".spells")
    picture(page, "alert")


def test_a_silence_is_seen_before_it_is_made(stand: Monitored, opened: Opened) -> None:
    """The form comes filled in, says what it hides, refuses what hides everything; then the alert is silenced."""
    page = opened("ana", f"/alerts/{fingerprint(stand, 'SlowSearch')}")
    page.click("a:has-text('Silence…')")
    assert 'alertname="SlowSearch"' in page.input_value("textarea")
    assert "1 alert that fires now" in page.inner_text("#hides-title")
    page.fill("textarea", 'alertname=~".*"')
    page.fill("input[name=comment]", "the index is rebuilt")
    page.click("button.first")
    assert "it would hide every alert" in page.inner_text("[role=alert].refusal")
    assert "the index is rebuilt" == page.input_value("input[name=comment]")
    page.fill("textarea", 'alertname="SlowSearch"')
    page.click("button.first")
    page.wait_for_url("**/alerts?state=silenced**", timeout=PATIENCE)
    assert "the index is rebuilt (ana)" in page.inner_text("table.alerts")
    assert ["silence.added"] == [event.kind for event in stand.journal.events(kinds=["silence.*"])]
    page.click("#silences a:has-text('End…')")
    assert "1 alert that fires is told again" in page.inner_text("main")
    page.click("button.first")
    page.wait_for_url("**/alerts#silences", timeout=PATIENCE)
    assert "Nothing is silenced" in page.inner_text("#silences")


def test_who_may_not_silence_is_told_why(stand: Monitored, opened: Opened) -> None:
    """On the alert's page and on the form, before anything is filled in."""
    page = opened("dora", f"/alerts/{fingerprint(stand, 'CheckoutErrors')}")
    assert page.locator("button:has-text('Silence…')").is_disabled()
    assert "needs responder" in page.inner_text(".whys")
    page.goto(f"{stand.address}/silences/new")
    assert page.locator("button:text-is('Silence')").is_disabled()


def test_an_alert_that_begins_appears_by_itself(stand: Monitored, opened: Opened) -> None:
    """A page that is looked at is told; what was pushed is there too."""
    page = opened("ana", "/alerts")
    page.wait_for_selector('#connection[data-state="live"]', timeout=PATIENCE)
    labels = {"alertname": "PushedByOthers", "severity": "critical", "environment": "staging"}
    stand.alerting.receive(
        [_alert(labels | {"number": "1"})],
    )
    page.wait_for_selector("tr:has-text('PushedByOthers')", timeout=PATIENCE)
    page.click("tr:has-text('PushedByOthers') a")
    page.wait_for_selector("text=pushed by another system", timeout=PATIENCE)


def _alert(labels: dict[str, str]) -> Any:
    from opsbook.monitoring.alerting.model import PUSHED, Alert

    return Alert(labels=labels, starts_at=time.time(), ends_at=time.time() + 300, source=PUSHED)


def test_queries_are_explored(stand: Monitored, opened: Opened, picture: Callable[..., Any]) -> None:
    """A metric is found, its expression plotted, shown as a table; an error is pointed at."""
    del stand
    page = opened("ana", "/explore")
    page.fill("#find", "cpu seconds")
    names = page.locator("#metrics a:visible").all_inner_texts()
    assert ["node_cpu_seconds_total", "process_cpu_seconds_total"] == names
    page.click("#metrics a:has-text('process_cpu')")
    page.click("#metric-title a")
    page.wait_for_url(re.compile("expr=rate"), timeout=PATIENCE)
    charted(page)
    page.fill("#expr", "sum by (service) (rate(process_cpu_seconds_total[5m]))")
    page.press("#expr", "Enter")
    charted(page)
    page.locator("[data-legend] .key").nth(3).wait_for(timeout=PATIENCE)
    picture(page, "explore")
    page.click("a:has-text('Tables')")
    page.wait_for_selector("table.answer", timeout=PATIENCE)
    assert 4 == page.locator("table.answer tbody tr").count()
    page.fill("#expr", "sum(rate(up[5m])")
    page.press("#expr", "Enter")
    page.wait_for_selector("#fault", timeout=PATIENCE)
    assert "line 1, column 17" in page.inner_text("#fault")


def test_a_probe_that_goes_down_is_seen(stand: Monitored, opened: Opened) -> None:
    """The list says it by itself; a look now says what is seen now."""
    page = opened("ana", "/probes")
    page.wait_for_selector('#connection[data-state="live"]', timeout=PATIENCE)
    assert "up" in page.inner_text("#probe-payments .state")
    stand.well = False
    try:
        page.wait_for_selector("#probe-payments .state.critical", timeout=PATIENCE)
        page.goto(f"{stand.address}/probes/payments?range=15m")
        charted(page, 2)
        page.click("button:has-text('Look now')")
        page.wait_for_selector(".verdict:has-text('Not well')", timeout=PATIENCE)
        assert "503" in page.inner_text(".verdict >> nth=0")
    finally:
        stand.well = True


def test_a_budget_is_drawn_down(stand: Monitored, opened: Opened, picture: Callable[..., Any]) -> None:
    """The list says which is worst; the page draws what was left, and says how long it lasts."""
    del stand
    page = opened("ana", "/slos")
    assert "checkout-availability" in page.inner_text("tbody tr >> nth=0")
    page.click("tbody tr >> nth=0 >> a")
    page.wait_for_selector("#burndown canvas", timeout=PATIENCE)
    assert "where 99 % is asked for" in page.inner_text(".verdict")
    page.click("summary:has-text('As a table')")
    assert page.locator(".points tbody tr").count() > 20
    picture(page, "objective")


def test_the_first_page_says_what_fires(stand: Monitored, opened: Opened) -> None:
    """Also where all instances are healthy."""
    del stand
    page = opened("ana", "/")
    assert "alerts fire" in page.inner_text(".headline h1")
    assert "are well" in page.inner_text(".headline p")
    assert "checkout-availability" in page.inner_text("section:has(#risk-title)")
    page.goto(page.url + "environments/production/checkout")
    charted(page, 3)
    assert CHECKOUT == page.get_attribute("#figures-title a:has-text('dashboard')", "href")


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_nothing_reaches_over_the_edge(
    stand: Monitored, opened: Opened, picture: Callable[..., Any], size: str, scheme: str
) -> None:
    """Every page fits every screen, and what is pressed on a phone is large enough."""
    context = opened("ana", "/dashboards", size=size, scheme=scheme)
    expression = quote("sum by (service, environment) (rate(envoy_cluster_upstream_rq_xx[5m]))")
    paths = {
        "now": "/", "alerts": "/alerts", "alert": f"/alerts/{fingerprint(stand, 'CheckoutErrors')}",
        "dashboards": "/dashboards", "dashboard": CHECKOUT, "host": "/dashboards/hosts/local",
        "explore": f"/explore?expr={expression}", "silence": "/silences/new?matchers=service%3Dcheckout",
        "probes": "/probes", "probe": "/probes/payments", "objectives": "/slos",
        "objective": "/slos/production/checkout-availability",
    }  # fmt: skip
    for name, path in paths.items():
        context.goto(stand.address + path)
        if context.locator("#panels").count():
            charted(context)
        wide = context.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, name
        picture(context, f"monitoring-{name}-{size}-{scheme}")
        if size == "phone":
            small = context.evaluate(
                "[...document.querySelectorAll('main button, main .button, .steps a, .toggle, main select')]"
                ".filter(one => one.offsetParent && one.getBoundingClientRect().height < 44)"
                ".map(one => one.textContent)"
            )
            assert [] == small, name


def test_grafana_takes_the_dashboard_along(stand: Monitored, opened: Opened) -> None:
    """The link on the page leads to what Grafana imports."""
    page = opened("ana", CHECKOUT)
    href = page.get_attribute("a:has-text('For Grafana')", "href")
    answer = page.request.get(stand.address + str(href))
    assert "checkout in production" == json.loads(answer.text())["title"]
