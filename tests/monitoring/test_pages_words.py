"""What the pages of monitoring say: reasons of alerts, places of errors, spells, figures, links. All pure."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from opsbook.monitoring.alerting.model import Suppression
from opsbook.monitoring.alerting.room import AlertView
from opsbook.monitoring.pages.faults import fault_at, pointed
from opsbook.monitoring.pages.figures import figure, length, table_of
from opsbook.monitoring.pages.reasons import reason_of
from opsbook.monitoring.pages.spans import spans_of
from opsbook.monitoring.pages.spells import spells
from opsbook.monitoring.pages.states import Filter, shown_alerts

NOW = 1_763_700_000.0


@pytest.mark.parametrize(
    ("expression", "measured", "operator", "threshold", "unit"),
    [
        ('opsbook:error_rate{a="b"} > 0.05', 'opsbook:error_rate{a="b"}', ">", 0.05, "ratio"),
        ("(a / b > 0.5) and (c > 10)", "a / b", ">", 0.5, "ratio"),
        ('rate(a{p="/x"}[5m]) > 0.5', 'rate(a{p="/x"}[5m])', ">", 0.5, "1/s"),
        (
            "sum(rate(a[1m])) / sum(rate(b[1m])) > 0.05",
            "sum(rate(a[1m])) / sum(rate(b[1m]))",
            ">",
            0.05,
            "ratio",
        ),
        ("rate(a[1m]) / 60 > 0.5", "rate(a[1m]) / 60", ">", 0.5, "1/s"),
        ("0.9 < x", "x", ">", 0.9, "count"),
        ("x > 5 * 60 unless on (a) y", "x", ">", 300.0, "count"),
        ("opsbook:response_time_p95 >= 500 / 1000", "opsbook:response_time_p95", ">=", 0.5, "seconds"),
        ('a{b=">"} == bool 3', 'a{b=">"}', "==", 3.0, "count"),
        ("sum(x > 3)", "sum(x > 3)", "", None, "count"),
        ("absent(up)", "absent(up)", "", None, "count"),
        ("x > y", "x > y", "", None, "count"),
        ("x > (", "x > (", "", None, "count"),
    ],
)
def test_a_condition_is_taken_apart(
    expression: str, measured: str, operator: str, threshold: float | None, unit: str
) -> None:
    """What is compared, how, with what, and in which unit."""
    found = reason_of(expression)
    assert (measured, operator, threshold, unit) == (
        found.measured, found.operator, found.threshold, found.unit,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "before", "rest"),
    [
        ("sum(rate(x[5m])", "sum(rate(x[5m])", ""),
        ("foo{a=b}", "foo{a=", "b}"),
        ("rate(x)", "rate(x", ")"),
        ("a +\n b c", " b ", "c"),
        ("rate(x[5m]) > > 3", "rate(x[5m]) > ", "> 3"),
        ("nosuch(x)", "nosuch", "(x)"),
        ("rate(x[5mm])", "rate(x[", "5mm])"),
    ],
)
def test_an_error_is_pointed_at(text: str, before: str, rest: str) -> None:
    """At the first word after which nothing could be written that made it right."""
    found = pointed(text)
    assert found is not None
    assert (before, rest) == found[:2]


@pytest.mark.parametrize("text", ["up", "sum by (a) (rate(x[5m]))", ""])
def test_nothing_is_pointed_at_where_nothing_is_wrong(text: str) -> None:
    """Nor where there is nothing."""
    assert fault_at(text) is None


def event(id_: int, kind: str, at: float, **data: Any) -> Any:
    return SimpleNamespace(
        id=id_, kind=kind, at=at, subject="production/web", data={"fingerprint": "f", **data}
    )


def test_spells_are_told_once() -> None:
    """A beginning that has an end belongs to it; what has none fires still."""
    found = spells(
        [
            event(5, "alert.firing", 500.0),
            event(4, "alert.resolved", 400.0, fired_at=300.0, reason="over"),
            event(3, "alert.firing", 300.0),
            event(2, "alert.resolved", 200.0),
        ]
    )
    assert [(500.0, None, None), (300.0, 400.0, 100.0), (None, 200.0, None)] == [
        (one.since, one.until, one.seconds) for one in found
    ]


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.1234, "ratio", "12.3 %"), (0.000172, "ratio", "0.017 %"), (None, "ratio", "–"), (0.0, "seconds", "0"),
        (0.412, "seconds", "412 ms"), (5400.0, "seconds", "90 min"), (1.2 * 2**30, "bytes", "1.2 GiB"),
        (12345.0, "count", "12.3 k"), (7.5, "1/s", "7.5/s"), (float("inf"), "count", "∞"),
    ],
)  # fmt: skip
def test_figures_are_short(value: float | None, unit: str, expected: str) -> None:
    """Three digits and the unit."""
    assert expected == figure(value, unit)


def test_lengths_are_round() -> None:
    """As people write them in the handbook."""
    assert ["1m", "1h 30m", "30d", "45s", "0s"] == [length(one) for one in (60, 5400, 2592000, 45, 0)]


def test_a_table_has_few_rows_and_the_newest_first() -> None:
    """Every so manieth point of a chart."""
    line = SimpleNamespace(name="x", before=False, values=tuple(float(n) for n in range(100)))
    made = table_of(
        SimpleNamespace(lines=(line,), start=0.0, step=10.0, unit="count", more=0, notes=()),  # type: ignore[arg-type]
    )
    assert ((990.0, ("99",)), 20) == (made.rows[0], len(made.rows))


def test_links_keep_what_else_is_in_the_address() -> None:
    """A preset leads out of what was zoomed to; comparing and tables are switched."""
    made = spans_of(NOW, "/d", {"from": "1763690000", "to": "1763693600", "env": "x", "compare": "1"})
    assert (True, True, False) == (made.zoomed, made.compare.chosen, made.table.chosen)
    assert "/d?env=x&compare=1&range=6h" == made.choices[2].href
    assert "/d?env=x&compare=1" == made.back
    assert "/d?from=1763690000&to=1763693600&env=x" == made.compare.href
    assert ["15m", "1h", "6h", "24h", "7d", "30d"] == [one.name for one in made.choices]


def rule_alert(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "fingerprint": name, "state": "firing", "severity": "critical", "labels": {"service": "web"},
        "annotations": {}, "since": 1.0, "fires_at": None, "value": 1.0, "expression": "x", "for": 0.0, "where": "",
        "source": "", "missing_since": None, "runbook": "", **more,
    }  # fmt: skip


def view(name: str, *kinds: Any) -> AlertView:
    alert = SimpleNamespace(fingerprint=name, source="rules", labels={}, annotations={})
    return AlertView(
        alert=alert,  # type: ignore[arg-type]
        state="suppressed" if kinds else "firing",
        suppressions=tuple(Suppression(kind, "", "why") for kind in kinds),
        channels=(),
        told=(),
        received_at=0.0,
        updated_at=0.0,
    )


def test_alerts_are_ranked_and_told_apart() -> None:
    """What fires and is told first; then what is about to, then what is kept quiet, and by what."""
    rules = [
        rule_alert("Quiet"), rule_alert("Behind"), rule_alert("Soon", state="pending"),
        rule_alert("Slow", severity="warning"), rule_alert("Down"),
    ]  # fmt: skip
    found = shown_alerts(
        rules, [view("Quiet", "silence", "inhibition"), view("Behind", "dependency"), view("Down")]
    )
    assert [
        ("Down", "firing"), ("Slow", "firing"), ("Soon", "pending"), ("Quiet", "silenced"), ("Behind", "inhibited"),
    ] == [(one.name, one.state) for one in found]  # fmt: skip
    assert ["Slow"] == [one.name for one in found if Filter(text="slow service=web").fits(one)]
    assert [] == [one.name for one in found if Filter(environment="production").fits(one)]
