"""`monitoring/slos.yaml`: what it says, in OpenSLO's words too, and what is refused with which words."""

from __future__ import annotations

import pytest

from opsbook.book import Book, HandbookError, TextFiles, load
from opsbook.book.slos import SLOS

HOUSE = {
    "opsbook.yaml": "name: shop\nowner: team\ncontacts: {team: {email: t@x.example}}\n",
    "services/web.yaml": "service: web\nrun: {command: [web], port: http}\nsource: {path: .}\n",
    "environments/production.yaml": "environment: production\nentry: {port: 8080}\nservices: {web: {replicas: 1}}\n",
    "monitoring/probes.yaml": "probes: [{name: pay, tcp: 'pay.example.com:443'}]\n",
}
OPEN_SLO = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: checkout, displayName: Checkout works}
spec:
  description: Paid orders
  service: web
  indicator:
    metadata: {name: paid}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: Prometheus, spec: {query: 'orders_total{result="paid"}'}}}
        total: {metricSource: {type: Prometheus, spec: {query: "sum(increase(orders_total[{{.window}}]))"}}}
  timeWindow: [{duration: 1M, isRolling: false, calendar: {startTime: "2026-01-01 00:00:00", timeZone: Europe/Berlin}}]
  budgetingMethod: Timeslices
  objectives: [{target: 0.995, timeSliceTarget: 0.9, timeSliceWindow: 1m}]
"""


def book(text: str) -> Book:
    return load(TextFiles.of({**HOUSE, SLOS: text}))


def problem(text: str) -> str:
    with pytest.raises(HandbookError) as refused:
        book(text)
    return str(refused.value.problems[0])


def test_short_forms() -> None:
    """A word is enough for what is usual."""
    found = book(
        "budget_policy: {max_weight: 5%, block: true}\n"
        "defaults: {availability: 99.5%, latency: 250ms}\n"
        "slos:\n"
        "  - {name: up, service: web, indicator: availability, target: 99.9%}\n"
        "  - {name: fast, service: web, indicator: {latency: 250ms}, target: 0.95, timeWindow: week}\n"
        "  - {name: pay, indicator: {probe: pay}, target: 99%, timeWindow: 7d}\n"
        "  - {name: fresh, indicator: {freshness: {metric: done_seconds, threshold: 15m}}, target: 99%}\n"
    ).slos
    up, fast, pay, fresh = found.slos
    assert (0.999, 30 * 86_400.0, "availability") == (up.target, up.time_window.duration, up.indicator.kind)
    assert fast.indicator.latency is not None
    assert (0.25, "week") == (fast.indicator.latency.threshold, fast.time_window.calendar)
    assert ("probe", 7 * 86_400.0, "freshness") == (
        pay.indicator.kind,
        pay.time_window.duration,
        fresh.indicator.kind,
    )
    assert found.budget_policy is not None
    assert (0.05, True, True) == (
        found.budget_policy.max_weight,
        found.budget_policy.block,
        found.budget_policy.gate,
    )
    assert (0.995, 0.25) == (found.defaults.availability, found.defaults.latency)


def test_a_document_of_open_slo_is_taken_as_it_is() -> None:
    """Alone, or as an entry."""
    (alone,) = book(OPEN_SLO).slos.slos
    entry = "\n".join(f"    {line}" for line in OPEN_SLO.strip().splitlines())
    (listed,) = book(f"slos:\n  -\n{entry}\n").slos.slos
    assert alone == listed
    assert ("checkout", "Checkout works", "web", 0.995) == (
        alone.name,
        alone.display_name,
        alone.service,
        alone.target,
    )
    assert ("month", "Europe/Berlin") == (alone.time_window.calendar, alone.time_window.time_zone)
    assert ("Timeslices", 0.9, "1m") == (
        alone.budgeting_method,
        alone.time_slice_target,
        alone.time_slice_window,
    )
    assert alone.indicator.ratio_metric is not None
    assert "sum(increase(orders_total[$window]))" == alone.indicator.ratio_metric.total


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("service: web, indicator: availability, target: 100%", "below 100%"),
        ("service: web, indicator: availability, target: 99.9", 'write "99.9%"'),
        ("service: wob, indicator: availability, target: 99%", 'no service is called "wob"'),
        ("indicator: availability, target: 99%", "availability is a service's"),
        ("indicator: {probe: pey}, target: 99%", 'no probe is called "pey"'),
        ("indicator: {}, target: 99%", "expected exactly one of availability"),
        ("indicator: {ratioMetric: {good: a, bad: b, total: c}}, target: 99%", "one of good and bad"),
        ("indicator: {ratioMetric: {good: a, total: sum(c)}}, target: 99%", "$window"),
        ("indicator: {thresholdMetric: {query: 'sum(', threshold: 1}}, target: 99%", "thresholdMetric"),
        ("service: web, indicator: availability, target: 99%, environments: [prod]", '"prod"'),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    """With what was expected, or what to write."""
    assert said in problem(f"slos: [{{name: x, {text}}}]")


def test_another_version_of_open_slo_is_refused() -> None:
    """Rather than misread."""
    assert "openslo/v1" in problem("{apiVersion: openslo/v2, kind: SLO}")
