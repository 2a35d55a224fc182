"""monitoring/alerts.yaml and Prometheus rule files in a handbook."""

from __future__ import annotations

import pytest

from opsbook.book import TextFiles, load, load_or_problems
from opsbook.book.conditions import compiled, metrics_in
from opsbook.book.rule_files import has_groups, prometheus_duration, read_rules

ONLY = {"service": ("web", "api"), "environment": ("production",)}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("error_rate > 1%", "opsbook:error_rate > 0.01"),
        ("response_time_p95 > 500ms", "opsbook:response_time_p95 > 0.5"),
        ("error_rate > 0.5 % and throughput > 3", "opsbook:error_rate > 0.005 and opsbook:throughput > 3"),
        ('cpu_usage{service="a % b"} > 80%', 'opsbook:cpu_usage{service="a % b"} > 0.8'),
        (
            "sum by (error_rate) (rate(foo[5m] offset 1m)) % 2",
            "sum by (error_rate) (rate(foo[5m] offset 1m)) % 2",
        ),
        (
            "max_over_time(error_rate[5m:30s] @ end()) > 0.1",
            "max_over_time(opsbook:error_rate[5m:30s] @ end()) > 0.1",
        ),
        ("a{b='error_rate'} > 1e3 # error_rate", "a{b='error_rate'} > 1e3 # error_rate"),
        ("time() - created > 1h", "time() - created > 3600"),
        ("throughput offset -5m > 2", "opsbook:throughput offset -5m > 2"),
    ],
)
def test_conditions_become_promql(condition: str, expected: str) -> None:
    """Named metrics, percentages and durations; all else is left as it is."""
    assert expected == compiled(condition)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("error_rate > 1%", "opsbook:error_rate{M} > 0.01"),
        ('foo{a="b"} / on (x) group_left (y) bar > 1', 'foo{M,a="b"} / on (x) group_left (y) bar{M} > 1'),
        ("sum by (x) (rate(foo[5m])) > 1", "sum by (x) (rate(foo{M}[5m])) > 1"),
        ("sum(foo) by (x) and {__name__='y'}", "sum(foo{M}) by (x) and {M,__name__='y'}"),
        ("absent(up{}) or vector(1)", "absent(up{M}) or vector(1)"),
    ],
)
def test_a_scope_is_put_into_every_selector(condition: str, expected: str) -> None:
    """So that the alert sees its services and environments only."""
    matchers = 'service=~"web|api",environment="production"'
    assert expected.replace("M", matchers) == compiled(condition, ONLY)


def test_named_metrics_of_a_condition() -> None:
    """Only those that are meant as metrics."""
    assert {"error_rate", "throughput"} == metrics_in(
        "error_rate > 1 and on (x) throughput{a='b'} > restarts()"
    )


def text_files(texts: dict[str, str]) -> TextFiles:
    return TextFiles({name: text.encode() for name, text in texts.items()})


def problems(alerts: str, **more: str) -> list[str]:
    files = {
        "opsbook.yaml": "name: shop\n",
        "monitoring/alerts.yaml": alerts,
        "runbooks/page.md": "# Page\n",
        **more,
    }
    return [str(problem) for problem in load_or_problems(text_files(files))[1]]


@pytest.mark.parametrize(
    ("alerts", "said"),
    [
        (
            "alerts: [{name: A, condition: 'up >', runbook: page}]",
            "alerts.yaml:1: alerts[0].condition: not PromQL",
        ),
        (
            "alerts: [{name: A, condition: up, runbook: pag}]",
            'no runbook is called "pag" (hint: did you mean "page"?)',
        ),
        (
            "alerts: [{name: A, condition: up, actions: [{run: pag}]}]",
            'actions[0].run: no runbook is called "pag" (hint: did you mean "page"?)',
        ),
        (
            "alerts: [{name: A, condition: up, actions: [{run: page}]}]",
            "actions[0].run: page is a page to read: none of its blocks has a role",
        ),
        ("alerts: [{name: a b, condition: up}]", "alerts[0].name: expected a name such as HighErrorRate"),
        ("alerts: [{name: A, condition: up, labels: {severity: x}}]", "severity is set by opsbook"),
        (
            "alerts: [{name: A, condition: up, actions: [{}]}]",
            "expected exactly one of page, channel and run",
        ),
        ("alerts: [{name: A, condition: up, actions: [{channel: x}]}]", 'no channel is called "x"'),
        ("alerts: [{name: A, condition: up, services: [x]}]", 'no service is called "x"'),
        (
            "alerts: [{name: A, condition: up}, {name: A, condition: up}]",
            'an alert called "A" is already there',
        ),
        ("alerts: [{name: A, condition: up, for: 5}]", "expected a duration"),
        ("alerts: [{name: A, condition: up}]", "A has no runbook"),
        ("overrides: {DiskFul: {for: 5m}}", 'did you mean "DiskFull"?'),
        ("overrides: {DiskFull: {services: [x]}}", "DiskFull is about machines"),
        ("overrides: {DiskFull: {threshold: 5%, condition: up}}", "expected either threshold or condition"),
        ("disable: [DiskFul]", 'no default alert is called "DiskFul"'),
        (
            "recordings: [{record: 'a b', expression: up}]",
            "recordings[0].record: expected the name of a series",
        ),
        ("alert: []", "alert"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(alerts: str, said: str) -> None:
    """File, line, key, what was expected, and a way out."""
    assert [] != [problem for problem in problems(alerts) if said in problem]


RULES = """
x-anchors: &team {team: yes}
groups:
- name: a
  rules:
  - alert: X
    expr: up == 0
    labels: {<<: *team, level: 010}
  - {record: "a:b", expr: 1}
"""


def test_rule_files_are_read_as_prometheus_reads_them() -> None:
    """Anchors, merge keys, and words of any kind as text."""
    file, found = read_rules("m.yaml", RULES.replace("x-anchors: &team {team: yes}\n", "").replace(
        "{<<: *team, level: 010}", "&x {team: yes, level: 010}").encode())  # fmt: skip
    assert ([], True) == (found, file is not None)
    assert file is not None
    alert, record = file.groups[0].rules
    assert ({"team": "yes", "level": "010"}, "1") == (alert.labels, record.expr)
    merged, said = read_rules("m.yaml", RULES.encode())
    assert merged is None
    assert ["field x-anchors is not known here"] == [problem.message for problem in said]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("groups: [{rules: []}]", "a group needs a name"),
        ("groups: [{name: a}, {name: a}]", 'the group "a" is written twice, first on line 1'),
        ("groups: [{name: a, interval: 5}]", '"5" is no duration'),
        ("groups: [{name: a, foo: 5}]", "field foo is not known here"),
        ("groups: [{name: a, rules: [{expr: up}]}]", "one of record and alert must be set"),
        (
            "groups: [{name: a, rules: [{alert: A, record: b, expr: up}]}]",
            "only one of record and alert may be set",
        ),
        ("groups: [{name: a, rules: [{alert: A}]}]", "expr must be set"),
        ("groups: [{name: a, rules: [{alert: A, expr: 'up ='}]}]", "not PromQL"),
        ("groups: [{name: a, rules: [{record: 'a b', expr: up}]}]", "a b is no name of a metric"),
        (
            "groups: [{name: a, rules: [{record: b, expr: up, for: 5m}]}]",
            "for has no meaning in a recording rule",
        ),
        ("groups: [{name: a, rules: [{alert: A, expr: up, labels: {a-b: c}}]}]", "a-b is no name of a label"),
        ("groups: [{name: a, rules: [{alert: A, expr: up, labels: [a]}]}]", "expected a mapping"),
        ("groups: [{name: a, limit: x}]", "expected a whole number"),
        ("groups: [{name: a, name: b}]", "the key name is written twice"),
        ("groups: {a: b}", "expected a list"),
        ("groups: [", "cannot be read as YAML"),
        ("groups: " + "[" * 100000, "expected at most 64 levels of nesting"),
    ],
)
def test_rule_files_are_checked_as_strictly_as_promtool_does(text: str, said: str) -> None:
    """With a line for each error."""
    file, found = read_rules("m.yaml", text.encode())
    assert file is None
    assert [] != [problem for problem in found if said in problem.message and problem.line]


def test_duplicate_rules_are_warned_of() -> None:
    """Prometheus takes them, and one of the two is lost."""
    text = "groups: [{name: a, rules: [{record: b, expr: up},\n{record: b, expr: up}]}]"
    file, found = read_rules("m.yaml", text.encode())
    assert file is not None
    assert [("warning", 2)] == [(problem.severity, problem.line) for problem in found]


def test_every_file_with_groups_is_a_rule_file() -> None:
    """In monitoring/, whatever it is called."""
    assert has_groups(b"groups: []")
    assert has_groups(b"groups: [")
    assert not has_groups(b"panels: [{groups: 1}]")
    rules = "groups: [{name: a, rules: [{alert: A, expr: up, annotations: {runbook_url: x}}]}]"
    files = {
        "opsbook.yaml": "name: shop\n",
        "monitoring/any.yml": rules,
        "monitoring/other.yaml": "tests: []",
    }
    book = load(text_files(files))
    assert ["monitoring/any.yml"] == [file.file for file in book.rule_files]
    later = load(text_files({**files, "monitoring/any.yml": "# said\n\n" + rules}))
    assert book.digest == later.digest, "comments and layout say nothing"
    changed = load(text_files({**files, "monitoring/any.yml": rules.replace("up", "down")}))
    assert book.digest != changed.digest


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("5m", 300), ("1h30m", 5400), ("1d", 86400), ("1y", 31536000), ("10ms", 0.01)],
)
def test_durations_are_those_of_prometheus(text: str, seconds: float) -> None:
    """From years to milliseconds, in this order."""
    assert seconds == prometheus_duration(text)


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "1m1h", "-1m", "1.5h"])
def test_what_is_no_duration(text: str) -> None:
    """None, for the caller to say where."""
    assert prometheus_duration(text) is None
