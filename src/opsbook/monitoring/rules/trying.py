"""Runs unit tests of rules: series in memory, a simulated clock, the same evaluator that runs in earnest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from opsbook.book.alerts import AlertsFile, alert_faults
from opsbook.book.document import parse as parse_document
from opsbook.book.problems import Problem
from opsbook.book.rule_files import has_groups, read_rules
from opsbook.book.validation import validate
from opsbook.errors import Invalid, OpsbookError
from opsbook.monitoring.rules.compiling import groups_of_file, own_groups
from opsbook.monitoring.rules.memory import MemoryStorage
from opsbook.monitoring.rules.model import AlertingRule, RuleGroup
from opsbook.monitoring.rules.room import Rules
from opsbook.monitoring.rules.running import answered
from opsbook.monitoring.rules.trial import AlertCheck, ExpressionCheck, Trial, TrialFile, same
from opsbook.monitoring.templating.printing import shortest
from opsbook.promql import Engine
from opsbook.promql.parsing import parse
from opsbook.promql.series import NAME, key_of

ReadFiles = Callable[[str], Sequence[tuple[str, bytes]]]  # by pattern: names and contents


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that did not come out as expected."""

    test: str
    line: int
    what: str
    expected: tuple[str, ...] = ()
    got: tuple[str, ...] = ()


@dataclass(slots=True)
class Report:
    """How a file of tests went."""

    file: str
    checks: int = 0
    failures: list[Failure] = field(default_factory=list)


def run(trials: TrialFile, read: ReadFiles) -> Report:
    """Run all tests of a file.

    Args:
        read: gives the rule files that a pattern names.

    Raises:
        Invalid: a rule file has errors, or a pattern fits none.
    """
    groups = _in_order(
        [group for pattern in trials.rule_files for group in rules_of(pattern, read)], trials.order
    )
    report = Report(trials.file)
    for index, trial in enumerate(trials.trials):
        _Run(trials, trial, trial.name or f"test {index + 1}", groups, report).run()
    return report


def rules_of(pattern: str, read: ReadFiles) -> list[RuleGroup]:
    """The groups of every file that `pattern` names: Prometheus rule files, or the short form."""
    files = read(pattern)
    if not files:
        raise Invalid(f"no file fits {pattern}", hint="paths are relative to the file of tests")
    found: list[RuleGroup] = []
    for name, content in files:
        if has_groups(content) or not content.strip():
            file, problems = read_rules(name, content)
            _refuse(problems)
            found += groups_of_file(file) if file else ()
        else:
            found += own_groups(_short_form(name, content))
    return found


def _short_form(name: str, content: bytes) -> AlertsFile:
    document, problems = parse_document(name, content)
    if document is None:
        _refuse(problems)
        return AlertsFile()
    alerts, refusals = validate(document, AlertsFile)
    _refuse([*problems, *refusals])
    assert alerts is not None
    _refuse(list(alert_faults(document, alerts)))
    return alerts


def _refuse(problems: Sequence[Problem]) -> None:
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        details = {"problems": [problem.to_json() for problem in errors]}
        path = f"{errors[0].path}: " if errors[0].path else ""
        raise Invalid(
            f"{path}{errors[0].message}", hint=errors[0].hint, where=errors[0].where, details=details
        )


def _in_order(groups: Sequence[RuleGroup], order: Sequence[str]) -> list[RuleGroup]:
    """As promtool sorts them: by their place in `group_eval_order`, those that are not in it with the first."""
    return sorted(groups, key=lambda group: order.index(group.name) if group.name in order else 0)


class _Run:
    """One test under way."""

    def __init__(
        self, trials: TrialFile, trial: Trial, name: str, groups: Sequence[RuleGroup], report: Report
    ) -> None:
        self._trials = trials
        self._trial = trial
        self._name = name
        self._report = report
        self._storage = MemoryStorage()
        self._engine = Engine(self._storage)
        self._rules = Rules(
            self._engine,
            self._storage,
            None,
            None,
            moment=lambda: 0.0,
            external_labels=trial.external_labels,
            external_url=trial.external_url,
            hold=False,  # as Prometheus has it
        )
        self._rules.load([_at_every_step(group) for group in groups])

    def run(self) -> None:
        step_ms = round(self._trial.interval * 1000)
        for series in self._trial.series:
            there = [(index * step_ms, bits) for index, bits in enumerate(series.bits) if bits is not None]
            self._storage.add(series.labels, [at for at, _ in there], [bits for _, bits in there])
        checks = sorted(self._trial.alerts, key=lambda check: check.at)
        times = [*(check.at for check in checks), *(check.at for check in self._trial.expressions)]
        last = max(times, default=0.0)
        tick_ms, at_ms = round(self._trials.interval * 1000), 0
        while at_ms <= last * 1000:
            self._rules.evaluate(at_ms)
            self._complain(at_ms)
            while checks and checks[0].at * 1000 < at_ms + tick_ms:
                self._alerts(checks.pop(0))
            at_ms += tick_ms
        for check in self._trial.expressions:
            self._expression(check)
        self._rules.close()

    def _complain(self, at_ms: int) -> None:
        for running in self._rules.groups:
            for rule in running.rules:
                if rule.health.state == "err":
                    what = f"rule {rule.rule.name} at {shortest(at_ms / 1000)}s: {rule.health.error}"
                    self._report.failures.append(Failure(self._name, self._trial.line, what))

    def _alerts(self, check: AlertCheck) -> None:
        got = [
            _said(alert.labels, alert.annotations)
            for _, rule, alert in self._rules.active()
            if alert.state == "firing" and isinstance(rule, AlertingRule) and rule.alert == check.name
        ]
        expected = [_said(each.labels, each.annotations) for each in check.expected]
        what = f"alert {check.name} at {shortest(check.at)}s"
        self._compare(check.line, what, sorted(expected), sorted(got))

    def _expression(self, check: ExpressionCheck) -> None:
        what = f"{check.expression} at {shortest(check.at)}s"
        try:
            found = answered(self._engine, parse(check.expression), round(check.at * 1000))
        except OpsbookError as error:
            self._report.checks += 1
            self._report.failures.append(Failure(self._name, check.line, f"{what}: {error}"))
            return
        got = {
            key_of(labels): value for labels, value in zip(found.series, found.values.tolist(), strict=True)
        }
        expected = {key_of(labels): value for labels, value in check.expected}
        fuzzy = self._trials.fuzzy
        if got.keys() == expected.keys() and all(same(expected[key], got[key], fuzzy=fuzzy) for key in got):
            self._report.checks += 1
            return
        self._compare(check.line, what, _samples(expected), _samples(got))

    def _compare(self, line: int, what: str, expected: Sequence[str], got: Sequence[str]) -> None:
        self._report.checks += 1
        if list(expected) != list(got):
            self._report.failures.append(Failure(self._name, line, what, tuple(expected), tuple(got)))


def _at_every_step(group: RuleGroup) -> RuleGroup:
    """promtool evaluates every group at every step, whatever its own interval."""
    return replace(group, interval=None)


def _said(labels: Mapping[str, str], annotations: Mapping[str, str]) -> str:
    return f"{_braced(labels)} {_braced(annotations)}"


def _samples(values: Mapping[tuple[tuple[str, str], ...], float]) -> list[str]:
    return sorted(f"{_series(dict(key))} {shortest(value)}" for key, value in values.items())


def _series(labels: dict[str, str]) -> str:
    name = labels.pop(NAME, "")
    return f"{name}{_braced(labels)}"


def _braced(texts: Mapping[str, str]) -> str:
    quoted = (f"{name}={_quoted(text)}" for name, text in sorted(texts.items()))
    return f"{{{', '.join(quoted)}}}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
