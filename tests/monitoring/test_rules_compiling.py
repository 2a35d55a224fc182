"""From a handbook to rules: defaults, overrides, the short form, rule files, and files for Prometheus."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from opsbook.book import TextFiles, load
from opsbook.book.alerts import DEFAULT_ALERTS, HOST_ALERTS
from opsbook.book.analysis import NAMED_METRICS
from opsbook.book.conditions import recorded_name
from opsbook.book.model import Book
from opsbook.book.rule_files import read_rules
from opsbook.monitoring.rules.checking import rule_problems
from opsbook.monitoring.rules.compiling import groups_of, groups_of_file
from opsbook.monitoring.rules.defaults import DEFAULTS
from opsbook.monitoring.rules.exporting import exported
from opsbook.monitoring.rules.memory import MemoryStorage, bits_of
from opsbook.monitoring.rules.model import AlertingRule, RecordingRule, RuleGroup
from opsbook.monitoring.rules.named import named_groups
from opsbook.monitoring.rules.room import Rules
from opsbook.monitoring.templating import parse_template
from opsbook.promql import Engine
from opsbook.promql.parsing import parse

PROMTOOL = shutil.which("promtool")
COVER = {
    "opsbook.yaml": "name: shop\ncontacts: {on-call: {channel: ops-alerts}}\nchannels: {ops-alerts: {url: 'json://localhost'}}\n"
}
ALERTS = """
alerts:
  - name: Slow
    condition: response_time_p95 > 500ms
    for: 1m30s
    severity: critical
    runbook: slow
    services: [web, api]
    labels: {team: 7}
    actions: [{page: on-call}, {channel: ops-alerts}]
  - {name: DiskFull, condition: disk_usage > 95%, runbook: slow}
recordings:
  - {record: 'shop:orders', expression: 'sum(rate(orders_total[5m]))'}
overrides:
  HighErrorRate: {threshold: 5%, for: 2m, severity: warning, services: [web], labels: {team: shop}, runbook: slow}
  HostHighCpuUsage: {condition: 'cpu_usage{service=""} > 95%'}
disable: [LowAvailability]
"""
RULES = """
groups:
  - name: own
    interval: 30s
    limit: 5
    labels: {team: data}
    rules:
      - {record: "job:up:sum", expr: sum by (job) (up)}
      - {alert: JobDown, expr: "job:up:sum == 0", for: 5m, keep_firing_for: 1h,
         annotations: {runbook_url: "https://x"}}
"""


def book(**files: str) -> Book:
    services = {
        f"services/{name}.yaml": f"service: {name}\nrun: {{command: [x]}}\n" for name in ("web", "api")
    }
    named = {name.replace("__", "/").replace("_yaml", ".yaml"): text for name, text in files.items()}
    every = {**COVER, **services, "runbooks/slow.md": "# Slow\n", **named}
    return load(TextFiles({name: text.encode() for name, text in every.items()}))


def rules(handbook: Book) -> dict[str, AlertingRule]:
    every = (rule for group in groups_of(handbook) for rule in group.rules)
    return {rule.alert: rule for rule in every if isinstance(rule, AlertingRule)}


def test_the_lists_of_names_are_in_step() -> None:
    """The handbook knows the default alerts by name, monitoring by expression."""
    assert sorted(DEFAULT_ALERTS) == sorted(alert.name for alert in DEFAULTS)
    assert set(HOST_ALERTS) == {alert.name for alert in DEFAULTS if alert.group == "hosts"}
    recorded = {rule.name for group in named_groups() for rule in group.rules}
    assert {recorded_name(metric) for metric in NAMED_METRICS} == recorded


def test_a_handbook_without_a_word_has_every_default_alert() -> None:
    """Each parses, has a severity, a summary that is a template, and something to read."""
    found = rules(book())
    assert set(DEFAULT_ALERTS) == set(found)
    for rule in found.values():
        assert "vector" == parse(rule.expr).kind
        assert rule.labels["severity"] in ("critical", "warning", "info")
        assert parse_template(rule.annotations["summary"])
        assert f"docs/alerts.md#{rule.alert.lower()}" == rule.annotations["runbook"]


def test_every_default_alert_is_documented() -> None:
    """Where its runbook reference points to."""
    page = (Path(__file__).parents[2] / "docs/alerts.md").read_text()
    assert [] == [name for name in DEFAULT_ALERTS if f"### {name}\n" not in page]


def test_the_short_form_becomes_rules() -> None:
    """Named metrics, units, scope, labels and actions."""
    found = rules(book(monitoring__alerts_yaml=ALERTS))
    slow = found["Slow"]
    assert 'opsbook:response_time_p95{service=~"web|api"} > 0.5' == slow.expr
    assert (90.0, {"team": "7", "severity": "critical"}) == (slow.for_, slow.labels)
    assert ({"page": "on-call"}, {"channel": "ops-alerts"}) == slow.actions
    assert {"runbook": "slow"} == slow.annotations


def test_defaults_can_be_changed_replaced_and_disabled() -> None:
    """By name; the rest of each stays."""
    found = rules(book(monitoring__alerts_yaml=ALERTS))
    errors = found["HighErrorRate"]
    assert errors.expr.startswith('opsbook:error_rate{service="web",service!=""} > 0.05 and ')
    expected = (120.0, {"severity": "warning", "team": "shop"}, "slow")
    assert expected == (errors.for_, errors.labels, errors.annotations["runbook"])
    assert 'opsbook:cpu_usage{service=""} > 0.95' == found["HostHighCpuUsage"].expr
    assert "opsbook:disk_usage > 0.95" == found["DiskFull"].expr
    assert "LowAvailability" not in found


def test_a_rule_file_is_taken_unchanged() -> None:
    """Intervals, limits, the group's labels, durations."""
    handbook = book(monitoring__own_yaml=RULES)
    group = groups_of(handbook)[-1]
    expected = ("own", 30.0, 5, {"team": "data"}, "monitoring/own.yaml")
    assert expected == (group.name, group.interval, group.limit, group.labels, group.source)
    record, alert = group.rules
    assert isinstance(record, RecordingRule)
    assert isinstance(alert, AlertingRule)
    assert (300.0, 3600.0, "monitoring/own.yaml:9") == (alert.for_, alert.keep_firing_for, alert.where)


def test_what_is_exported_is_read_back_the_same_and_promtool_takes_it(tmp_path: Path) -> None:
    """Every rule, in files of Prometheus' format without a lint."""
    handbook = book(monitoring__own_yaml=RULES, monitoring__alerts_yaml=ALERTS)
    slo = RuleGroup(
        name="web", source="opsbook:slos", rules=(RecordingRule(record="slo:x", expr="vector(1)"),)
    )
    for name, text in exported(handbook, [slo]).items():
        (tmp_path / name).write_text(text)
        file, problems = read_rules(name, text.encode())
        assert (True, []) == (file is not None, problems)
        assert file is not None
        assert groups_of_file(file)
    files = sorted(tmp_path.iterdir())
    expected = ["alerts.yaml", "opsbook-defaults.yaml", "opsbook-named.yaml", "opsbook-slos.yaml", "own.yaml"]
    assert expected == [file.name for file in files]
    if PROMTOOL:
        done = subprocess.run(
            [PROMTOOL, "check", "rules", *files], capture_output=True, text=True, check=False
        )
        assert 0 == done.returncode, done.stdout + done.stderr
        assert "FAILED" not in done.stdout


# --- what check says ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("opsbook:error_rat > 0.01", "the metric opsbook:error_rat is not known"),
        ("error_rat > 0.01", "the metric error_rat is not known"),
        ("error_rate{servce='web'} > 0.01", "opsbook:error_rate has no label servce"),
        ("sum by (servce) (opsbook:error_rate) > 1", "nothing has the label servce that is grouped by"),
    ],
)
def test_unknown_metrics_and_labels_are_warned_of(condition: str, said: str) -> None:
    """What is nearly one of ours, and labels that ours do not have."""
    text = f'alerts: [{{name: A, runbook: slow, condition: "{condition}"}}]'
    found = list(rule_problems(book(monitoring__alerts_yaml=text)))
    assert [f"A: {said}"] == [problem.message for problem in found]
    assert {"warning"} == {problem.severity for problem in found}


def test_with_a_server_every_metric_that_it_does_not_have_is_warned_of() -> None:
    """Without one, applications may export what they like."""
    text = "alerts: [{name: A, runbook: slow, condition: orders_failed_total > 1}]"
    handbook = book(monitoring__alerts_yaml=text)
    assert [] == list(rule_problems(handbook))
    assert [] == list(rule_problems(handbook, {"orders_failed_total"}))
    assert ["A: the metric orders_failed_total is not known"] == [
        problem.message for problem in rule_problems(handbook, {"orders_total"})
    ]


def test_templates_are_checked() -> None:
    """A template that does not parse is an error."""
    text = "alerts: [{name: A, runbook: slow, condition: up == 0, summary: '{{ $labls.x }}'}]"
    (problem,) = rule_problems(book(monitoring__alerts_yaml=text))
    assert ("error", "A.annotations.summary") == (problem.severity, problem.path)


# --- the default alerts on series ---------------------------------------------------------------------------


class Fleet:
    """Series of a service as opsbook measures them, every five seconds."""

    def __init__(self) -> None:
        self.storage = MemoryStorage()
        self.rules = Rules(Engine(self.storage), self.storage, None, None, moment=lambda: 0.0)
        self.rules.load(groups_of(book()))

    def run(self, seconds: int, **series: float) -> set[str]:
        """What fires after `seconds`; `series` grow by that much a second, or stay when they begin with ``at_``."""
        web = {"service": "web", "environment": "production"}
        described = {
            "good": {
                "__name__": "envoy_cluster_upstream_rq_xx",
                "response_code_class": "2",
                "job": "envoy",
                **web,
            },
            "bad": {
                "__name__": "envoy_cluster_upstream_rq_xx",
                "response_code_class": "5",
                "job": "envoy",
                **web,
            },
            "at_up": {"__name__": "up", "job": "process", "instance": "web-1", **web},
            "at_host": {"__name__": "up", "job": "host"},
            "at_envoy": {"__name__": "up", "job": "envoy"},
            "fast": {"__name__": "envoy_cluster_upstream_rq_time_bucket", "le": "100", "job": "envoy", **web},
            "all": {"__name__": "envoy_cluster_upstream_rq_time_bucket", "le": "1000", "job": "envoy", **web},
            "inf": {"__name__": "envoy_cluster_upstream_rq_time_bucket", "le": "+Inf", "job": "envoy", **web},
        }
        for at in range(0, seconds + 1, 5):
            for name, value in {"at_up": 1.0, "at_host": 1.0, "at_envoy": 1.0, **series}.items():
                now = value if name.startswith("at_") else value * at
                self.storage.add(described[name], [at * 1000], bits_of([now]))
            self.rules.evaluate(at * 1000)
        failing = [r.health.error for g in self.rules.groups for r in g.rules if r.health.state == "err"]
        assert [] == failing
        return {rule.alert for _, rule, alert in self.rules.active() if alert.state == "firing"}


def test_a_service_that_is_well_has_no_alerts() -> None:
    """And the named metrics are recorded."""
    fleet = Fleet()
    assert set() == fleet.run(700, good=50, bad=0, fast=50, all=50, inf=50)
    found = {}
    for metric in ("error_rate", "throughput", "availability", "response_time_p95", "instances_up"):
        value = Engine(fleet.storage).instant(f"opsbook:{metric}", 700_000).value
        found[metric] = round(float(value.values[0]), 6)  # type: ignore[union-attr]
    expected = {
        "error_rate": 0,
        "throughput": 50,
        "availability": 1,
        "response_time_p95": 0.095,
        "instances_up": 1,
    }
    assert expected == found


def test_errors_and_slow_answers_fire() -> None:
    """More than 1 % of errors for a minute; more than half a second for five."""
    assert {"HighErrorRate"} == Fleet().run(200, good=50, bad=2)
    assert {"HighResponseTime"} == Fleet().run(500, good=50, fast=10, all=50, inf=50)


def test_few_requests_wake_nobody() -> None:
    """One failed request in a quiet minute is no outage."""
    assert set() == Fleet().run(700, good=0.1, bad=0.05)


def test_what_does_not_run_fires_at_once() -> None:
    """The service in ten seconds, the proxy too."""
    assert {"ServiceDown"} == Fleet().run(15, at_up=0)
    assert {"ProxyDown"} == Fleet().run(15, at_envoy=0)
