"""Unit tests of rules in promtool's format: ours and the real promtool say the same of the same files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from opsbook.cli.main import cli
from opsbook.errors import Invalid
from opsbook.monitoring.rules.memory import bits_of
from opsbook.monitoring.rules.trial import expanded, read_trials, series_labels
from opsbook.monitoring.rules.trying import Report, run
from opsbook.promql.series import STALE

PROMTOOL = shutil.which("promtool")
promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")

RULES = """
groups:
  - name: example
    rules:
      - alert: InstanceDown
        expr: up == 0
        for: 5m
        labels: {severity: page, tier: "{{ $externalLabels.tier }}"}
        annotations:
          summary: "Instance {{ $labels.instance }} down"
          value: "{{ $value | humanize }} {{ $labels.job | toUpper }}"
      - record: job:up:sum
        expr: sum by (job) (up)
      - alert: JobDown
        expr: job:up:sum == 0
        keep_firing_for: 3m
        annotations: {sum: '{{ with query "job:up:sum" }}{{ . | first | value }}{{ end }}'}
  - name: second
    rules:
      - record: job:up:double
        expr: job:up:sum * 2
        labels: {from: second}
      - alert: Rate
        expr: rate(requests_total[5m]) > 1
        annotations: {text: '{{ printf "%.2f" $value }}{{ if gt $value 1.5 }} high{{ end }}'}
"""

TESTS = """
rule_files: ["rules*.yaml"]
evaluation_interval: 1m
group_eval_order: [example, second]
tests:
  - interval: 1m
    name: one
    external_labels: {tier: gold}
    input_series:
      - {series: 'up{job="prometheus", instance="localhost:9090"}', values: '0 0 0 0 0 0 0 0 0 1 1 1 1 0 0'}
      - {series: 'up{job="node", instance="localhost:9100"}', values: '1+0x6 0 0 0 0 0 0 0 0'}
      - {series: 'requests_total{path="/a"}', values: '0+120x14'}
      - {series: 'go_goroutines{job="prometheus"}', values: '10+10x2 30+20x5 stale _x3 -5-1x3'}
    alert_rule_test: %(alerts)s
    promql_expr_test: %(expressions)s
"""

GOOD = [
    [{"eval_time": "4m59s", "alertname": "InstanceDown"}, []],
    [
        {
            "eval_time": "8m", "alertname": "InstanceDown",
            "exp_alerts": [
                {
                    "exp_labels": {"severity": "page", "tier": "gold", "instance": "localhost:9090",
                                   "job": "prometheus"},
                    "exp_annotations": {"summary": "Instance localhost:9090 down", "value": "0 PROMETHEUS"},
                }
            ],
        },
        [{"expr": "go_goroutines > 5", "eval_time": "4m", "exp_samples": [
            {"labels": 'go_goroutines{job="prometheus"}', "value": 50}]}],
    ],
    [
        {"eval_time": "11m", "alertname": "JobDown", "exp_alerts": [
            {"exp_labels": {"job": "prometheus"}, "exp_annotations": {"sum": "0"}},
            {"exp_labels": {"job": "node"}, "exp_annotations": {"sum": "1"}}]},
        [{"expr": "job:up:double", "eval_time": "9m", "exp_samples": [
            {"labels": '{__name__="job:up:double", from="second", job="node"}', "value": 0},
            {"labels": 'job:up:double{from="second", job="prometheus"}', "value": 2}]}],
    ],
    [
        {"eval_time": "10m", "alertname": "Rate", "exp_alerts": [
            {"exp_labels": {"path": "/a"}, "exp_annotations": {"text": "2.00 high"}}]},
        [{"expr": "sum(up) + 0.5", "eval_time": "0s", "exp_samples": [{"labels": "{}", "value": 1.5}]},
         {"expr": "ALERTS_FOR_STATE", "eval_time": "30s", "exp_samples": [
            {"labels": 'ALERTS_FOR_STATE{alertname="InstanceDown", instance="localhost:9090", job="prometheus", '
                       'severity="page", tier="gold"}', "value": 0},
            {"labels": 'ALERTS_FOR_STATE{alertname="JobDown", job="prometheus"}', "value": 0}]}],
    ],
    [{"eval_time": "20m", "alertname": "Nothing"}, [{"expr": "go_goroutines", "eval_time": "9m"}]],
]  # fmt: skip
BAD = [
    [{"eval_time": "8m", "alertname": "InstanceDown"}, []],
    [{"eval_time": "4m", "alertname": "Rate", "exp_alerts": [{"exp_labels": {"path": "/b"}}]}, []],
    [{"eval_time": "1m", "alertname": "Rate"}, [{"expr": "sum(up)", "eval_time": "1m", "exp_samples": [{"value": 7}]}]],
    [{"eval_time": "1m", "alertname": "Rate"}, [{"expr": "sum(up", "eval_time": "1m"}]],
]  # fmt: skip


def write(folder: Path, alert: object, expressions: object) -> Path:
    (folder / "rules.yaml").write_text(RULES)
    text = TESTS % {"alerts": "[]", "expressions": "[]"}
    content = yaml.safe_load(text)
    content["tests"][0] |= {"alert_rule_test": [alert], "promql_expr_test": expressions}
    file = folder / "tests.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def tried(file: Path) -> Report:
    def read(pattern: str) -> list[tuple[str, bytes]]:
        return [(str(found), found.read_bytes()) for found in sorted(file.parent.glob(pattern))]

    return run(read_trials(file.name, file.read_bytes()), read)


@pytest.mark.parametrize("case", GOOD)
def test_what_promtool_passes_passes_here(tmp_path: Path, case: list[object]) -> None:
    """Alerts with their labels and annotations, recorded series, values of expressions."""
    file = write(tmp_path, *case)
    assert [] == tried(file).failures
    if PROMTOOL:
        done = subprocess.run([PROMTOOL, "test", "rules", file], capture_output=True, text=True, check=False)
        assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("case", BAD)
def test_what_promtool_fails_fails_here(tmp_path: Path, case: list[object]) -> None:
    """An alert that is not expected, one that is not there, a wrong value, an expression that does not parse."""
    file = write(tmp_path, *case)
    assert [] != tried(file).failures
    if PROMTOOL:
        done = subprocess.run([PROMTOOL, "test", "rules", file], capture_output=True, text=True, check=False)
        assert 0 != done.returncode


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("1 2.5 -3", [1, 2.5, -3]), ("1+2x3", [1, 3, 5, 7]), ("10-5x2", [10, 5, 0]), ("4x2", [4, 4, 4]),
        ("1 _ 2 _x2 3", [1, None, 2, None, None, 3]), ("1e3+0x1", [1000, 1000]), ("-2+4x1", [-2, 2]),
        (".5+.5x1", [0.5, 1.0]), ("", []), ("Inf -Inf", [float("inf"), float("-inf")]),
    ],
)  # fmt: skip
def test_series_are_expanded(notation: str, expected: list[float | None]) -> None:
    """As promtool writes them."""
    assert [None if value is None else bits_of([value])[0] for value in expected] == list(expanded(notation))


def test_staleness_can_be_written() -> None:
    """The marker, and what is no number."""
    assert (int(STALE), bits_of([float("nan")])[0]) == expanded("stale NaN")


@pytest.mark.parametrize("notation", ["x", "1+2", "1x99999999999", "{{schema:0}}", "1 2 foo", "1++2x3", "_y"])
def test_what_is_no_series_is_refused(notation: str) -> None:
    """With a reason."""
    with pytest.raises(Invalid):
        expanded(notation)


def test_labels_of_series() -> None:
    """With a name, without one, and nothing."""
    assert {"__name__": "up", "a": "b"} == series_labels(' up{a="b"} ')
    assert {"__name__": "x:y", "a": "b"} == series_labels('{__name__="x:y", a="b"}')
    assert {"a": "b"} == series_labels('{a="b"}')
    assert {} == series_labels("{}")
    with pytest.raises(Invalid):
        series_labels('up{a=~"b"}')


@pytest.mark.parametrize(
    "content", ["tests: [{foo: 1}]", "tests: [{input_series: [{series: 'up{', values: '1'}]}]", "- 1", "a: [",
                "tests: [{alert_rule_test: [{eval_time: x, alertname: A}]}]", ""]
)  # fmt: skip
def test_files_with_errors_are_refused_with_a_line(content: str) -> None:
    """Unknown keys, and all that cannot be read."""
    with pytest.raises(Invalid) as refused:
        read_trials("t.yaml", content.encode())
    assert refused.value.where.startswith("t.yaml")


def test_the_short_form_can_be_tested_too(tmp_path: Path) -> None:
    """`rule_files: [alerts.yaml]`; named metrics are given as the series they are recorded in."""
    (tmp_path / "alerts.yaml").write_text(
        "alerts:\n  - {name: Errors, condition: error_rate > 1%, for: 1m, severity: critical, summary: 'much'}\n"
    )
    (tmp_path / "t.yaml").write_text(
        """
rule_files: [alerts.yaml]
tests:
  - input_series: [{series: 'opsbook:error_rate{service="web"}', values: 0.02x5}]
    alert_rule_test:
      - eval_time: 1m
        alertname: Errors
        exp_alerts: [{exp_labels: {service: web, severity: critical}, exp_annotations: {summary: much}}]
"""
    )
    assert Report("t.yaml", 1, []) == tried(tmp_path / "t.yaml")


def test_the_command_says_what_failed_and_where(tmp_path: Path) -> None:
    """Expected and got, one below the other; exit code 1, and 0 when all is well."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()
    runner = CliRunner()
    passed = runner.invoke(cli, ["monitoring", "test", str(write(good, *GOOD[1]))], standalone_mode=False)
    assert (0, True) == (passed.return_value, "✔ ok" in passed.stdout and "2 checks" in passed.stdout)
    failed = runner.invoke(cli, ["monitoring", "test", str(write(bad, *BAD[0]))], standalone_mode=False)
    assert 1 == failed.return_value
    assert "expected: nothing" in failed.stdout
    assert 'got: {alertname="InstanceDown"' in failed.stdout
