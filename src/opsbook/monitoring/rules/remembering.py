"""Alert state on disk: documents of the journal's database, written with the events that explain them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from opsbook.errors import OpsbookError
from opsbook.journal.model import Entry
from opsbook.monitoring.rules.model import AlertingRule, RuleGroup
from opsbook.monitoring.rules.ports import Book
from opsbook.monitoring.rules.states import ActiveAlert, from_json, number_to_json, to_json
from opsbook.promql.series import LabelKey

PREFIX = "rules/alerts/"
LOOKED = "rules/looked"
_LONGEST = 2000  # characters of one text in an event
_MOST = 64  # labels, and annotations, in an event


class Remembering:
    """What must survive a crash; None of a journal: nothing does (tests of rules).

    What cannot be written (the disk is full) is kept and written with the next: nobody goes unwarned for it.
    """

    def __init__(self, journal: Book | None) -> None:
        self._journal = journal
        self._events: list[Entry] = []
        self._documents: dict[str, Any | None] = {}
        self._expressions: dict[str, str] = {}  # of the rules that alerts from before the start were found by
        self.problem = ""  # why the last write failed; empty when it did not

    def load(self) -> tuple[dict[tuple[str, str], list[ActiveAlert]], float | None]:
        """What was remembered, by group and rule; and when rules were evaluated last, if that is known."""
        found: dict[tuple[str, str], list[ActiveAlert]] = {}
        if self._journal is None:
            return found, None
        for name, document in self._journal.state.items(PREFIX).items():
            self._expressions[name] = document.get("expr", "")
            found.setdefault((document["group"], document["rule"]), []).append(from_json(document["alert"]))
        looked = self._journal.state.items(LOOKED).get(LOOKED)
        return found, None if looked is None else float(looked["at"])

    def put(self, group: RuleGroup, rule: AlertingRule, key: LabelKey, alert: ActiveAlert | None) -> None:
        """The state of one alert; None: there is nothing to remember of it."""
        self._documents[_document(group.key, rule.alert, key)] = (
            None
            if alert is None
            else {"group": group.key, "rule": rule.alert, "expr": rule.expr, "alert": to_json(alert)}
        )

    def owner(self, group: RuleGroup, name: str, alert: ActiveAlert) -> int:
        """The index of the rule that an alert from before the start belongs to, of those called `name`.

        There may be several, as for a warning and for something critical: it is the one whose labels it has, and whose
        expression found it.
        """
        rules = [(i, r) for i, r in enumerate(group.rules) if isinstance(r, AlertingRule) and r.alert == name]
        if len(rules) == 1:
            return rules[0][0]
        expression = self._expressions.get(_document(group.key, name, alert.key), "")

        def likeness(rule: AlertingRule) -> tuple[bool, bool]:
            labels = {**group.labels, **rule.labels}
            fixed = {label: text for label, text in labels.items() if "{{" not in text}
            return fixed.items() <= alert.labels.items(), rule.expr == expression

        return max(rules, key=lambda each: likeness(each[1]))[0]

    def event(self, group: RuleGroup, rule: AlertingRule, alert: ActiveAlert) -> None:
        """That an alert began to fire, or has resolved."""
        self._events.append(entry(group, rule, alert))

    def looked(self, at: float) -> None:
        """That rules were evaluated at `at`: how long a pause was is known by it."""
        self._documents[LOOKED] = {"at": at}

    def write(self) -> None:
        """Everything since the last write, in one transaction."""
        if self._journal is None or not (self._events or self._documents):
            self._events, self._documents = [], {}
            return
        events, documents = self._events, self._documents
        self._events, self._documents = [], {}
        try:
            self._journal.append_all(events, put=documents)
            self.problem = ""
        except OpsbookError as error:
            self.problem = str(error)
            self._events = [*events, *self._events]
            self._documents = {**documents, **self._documents}


def _document(group: str, rule: str, key: LabelKey) -> str:
    name = "\0".join((group, rule, *(part for pair in key for part in pair)))
    return f"{PREFIX}{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"


def entry(group: RuleGroup, rule: AlertingRule, alert: ActiveAlert) -> Entry:
    """The event about an alert that began to fire or has resolved."""
    data: dict[str, Any] = {
        "alertname": rule.alert,
        "fingerprint": alert.fingerprint,
        "labels": dict(_short(alert.labels)),
        "annotations": dict(_short(alert.annotations)),
        "value": number_to_json(alert.value),
        "expression": rule.expr[:_LONGEST],
        "severity": alert.labels.get("severity", "")[:_LONGEST],
        "runbook": runbook_of(alert.annotations)[:_LONGEST],
        "source": group.source,
        "since": alert.active_at,
    }
    if alert.state != "resolved":
        return Entry("alert.firing", subject_of(alert.labels), data, "opsbook")
    fired = alert.active_at if alert.fired_at is None else alert.fired_at
    data |= {"fired_at": fired, "seconds": (alert.resolved_at or fired) - fired, "reason": alert.reason}
    return Entry("alert.resolved", subject_of(alert.labels), data, "opsbook")


def subject_of(labels: Mapping[str, str]) -> str:
    """What an alert is about, as subjects of events are written: ``production/web``, ``host/db1``, ``opsbook``."""
    service, environment = labels.get("service", ""), labels.get("environment", "")
    if environment:
        name = f"{environment}/{service}" if service else environment
    else:
        name = f"host/{labels['host']}" if labels.get("host") else "opsbook"
    return "".join(max(character, " ") for character in name)[:500]


def runbook_of(annotations: Mapping[str, str]) -> str:
    """The page that says what to do; empty when there is none."""
    return annotations.get("runbook") or annotations.get("runbook_url", "")


def _short(texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, text in list(texts.items())[:_MOST]:
        yield name[:_LONGEST], text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
