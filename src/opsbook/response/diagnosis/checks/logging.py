"""What the logs say that they did not say before."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from opsbook.response.diagnosis.checks.dependencies import key as dependency_key
from opsbook.response.diagnosis.model import Check, Clue
from opsbook.response.diagnosis.patterns import Pattern, Patterns, sorted_into
from opsbook.response.diagnosis.plan import span
from opsbook.response.diagnosis.ports import Logs
from opsbook.response.diagnosis.scene import DAY, Scene
from opsbook.response.diagnosis.words import counted
from opsbook.world.logs.query import LogQuery
from opsbook.world.logs.words import LogRecord

NAME, TITLE = "logs", "new errors in the logs"
LATELY = 900.0  # seconds
MOST = 3000  # lines of each search
BUDGET = 1.2  # seconds of each search
MORE = 5.0  # times as often as before is as good as new
SHOWN = 6
UNLABELLED = r"(?i)\b(error|exception|traceback|fatal|panic|segfault|refused|timed? ?out|out of memory|no space left)\b"
"""What is looked for where lines have no level."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a line says whoever wrote it."""

    pattern: re.Pattern[str]
    key: str
    kind: str
    text: str
    runbook: str


SHAPES = (
    Shape(
        re.compile(r"(?i)out of memory|cannot allocate memory|MemoryError"),
        "saturation:memory", "saturation", "memory runs out", "high-memory",
    ),
    Shape(
        re.compile(r"(?i)no space left on device|disk full|ENOSPC"),
        "saturation:disk", "saturation", "a disk is full", "disk-full",
    ),
    Shape(
        re.compile(r"(?i)too many (?:clients|connections)|remaining connection slots"),
        "saturation:connections", "saturation", "the database has no connection left", "database-connections",
    ),
    Shape(
        re.compile(r"(?i)name or service not known|temporary failure in name resolution|getaddrinfo|no such host"),
        "network:names", "network", "names cannot be resolved", "network-dns",
    ),
    Shape(
        re.compile(r"(?i)certificate (?:has expired|verify failed)|x509:|CERTIFICATE_VERIFY_FAILED"),
        "network:certificate", "network", "a certificate is refused", "certificate-expiry",
    ),
)  # fmt: skip


def look(scene: Scene) -> Check:
    logs = scene.site.logs
    if logs is None:
        return Check(name=NAME, title=TITLE, state="skipped", text="there are no logs to search")
    query = LogQuery(
        services=frozenset({scene.service}),
        environments=frozenset({scene.environment}),
        limit=MOST,
        budget=BUDGET,
    )
    now = replace(query, since=scene.now - LATELY)
    lately = _errors(logs, now)
    if not lately:
        return Check(name=NAME, title=TITLE, state="ok", text=f"no errors in {span(LATELY)}")
    patterns = _sorted(lately)
    before = _sorted(_errors(logs, replace(query, since=scene.now - DAY, until=scene.now - LATELY)))
    new = [one for one in patterns.found if _is_new(one, before)]
    new.sort(key=lambda one: -one.count)
    known = len(patterns.found) - len(new)
    if not new:
        text = f"{counted(len(lately), 'error')} in {span(LATELY)}, all of kinds that were there before"
        return Check(
            name=NAME, title=TITLE, state="ok", text=text, lines=_lines(patterns.found[:SHOWN], scene.now)
        )
    text = f"{counted(len(new), 'new pattern')}{f', {known} known' if known else ''}: {new[0].sample}"
    return Check(
        name=NAME,
        title=TITLE,
        state="warning",
        text=text,
        lines=_lines(new[:SHOWN], scene.now),
        symptom=f"{scene.service} in {scene.environment} says: {new[0].sample}",
        since=min(one.first for one in new),
        clues=tuple(clue for one in new[:SHOWN] for clue in _clues(scene, one)),
    )


def _errors(logs: Logs, query: LogQuery) -> tuple[LogRecord, ...]:
    found = logs.search(replace(query, level="error")).records
    if found:
        return found
    said = logs.search(replace(query, grep=UNLABELLED)).records
    return tuple(record for record in said if not record.level)


def _sorted(records: tuple[LogRecord, ...]) -> Patterns:
    return sorted_into((record.text, record.at_ms / 1000) for record in records)


def _is_new(pattern: Pattern, before: Patterns) -> bool:
    known = before.like(pattern)
    if known is None:
        return True
    often, usually = pattern.count / LATELY, known.count / (DAY - LATELY)
    return pattern.count >= 5 and often > MORE * usually


def _lines(patterns: list[Pattern], now: float) -> tuple[str, ...]:
    return tuple(f"{one.count} × since {span(max(0.0, now - one.first))}: {one.sample}" for one in patterns)


def _clues(scene: Scene, pattern: Pattern) -> list[Clue]:
    why = f"{counted(pattern.count, 'line')} since {span(max(0.0, scene.now - pattern.first))}: {pattern.sample}"
    subject = f"{scene.environment}/{scene.service}"
    words = set(re.findall(r"[a-z0-9][a-z0-9-]*", pattern.sample.lower()))
    named = [service for service in scene.depends_on if service in words]
    if named:
        return [
            Clue(
                key=dependency_key(scene.environment, service),
                kind="dependency",
                subject=f"{scene.environment}/{service}",
                text=f"{service} does not answer {scene.service} as it should",
                why=why,
                weight=0.5,
                command=f"opsbook diagnose {service} --in {scene.environment}",
            )
            for service in named
        ]
    for shape in SHAPES:
        if shape.pattern.search(pattern.sample):
            return [
                Clue(
                    key=shape.key,
                    kind=shape.kind,
                    subject=subject,
                    text=shape.text,
                    why=why,
                    weight=0.65,
                    runbooks=(shape.runbook,),
                )
            ]
    return [
        Clue(
            key=f"log:{pattern.text[:200]}",
            kind="log",
            subject=subject,
            text=f"{scene.service} says what it did not say before",
            why=why,
            weight=0.35,
            command=f"opsbook logs {scene.service} --env {scene.environment} --level error --since 15m",
        )
    ]
