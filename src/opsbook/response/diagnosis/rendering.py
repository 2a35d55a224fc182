"""A diagnosis in words: short for a page that wakes somebody, whole as Markdown for the incident. Pure.

Most of the words are other people's. In Markdown they stand escaped, or in fences that are longer than any in them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from opsbook.response.diagnosis.model import Check, Diagnosis

SIGNS = {"ok": "ok", "warning": "WARNING", "failed": "FAILED", "unknown": "unknown", "skipped": "skipped"}
SUSPECTS = 3  # of a short text
LINE = 160

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&]|(?<=\w)[@:]|^[+\-]|(?<=^\d)[.)](?= |$))")
_TICKS = re.compile(r"`+")


def text(diagnosis: Diagnosis) -> str:
    """Some lines that fit a message: what is wrong, since when, the likeliest causes, what to do."""
    lines = [_cut(diagnosis.symptom)]
    if diagnosis.since is not None:
        lines.append(f"since {_clock(diagnosis.since)}")
    for number, suspect in enumerate(diagnosis.suspects[:SUSPECTS], 1):
        why = suspect.why.removeprefix(suspect.text).strip(" ,;")  # which often begins with the same words
        why = why.removeprefix("(").replace("), ", ", ", 1) if why.startswith("(") else why
        lines.append(_cut(f"{number}. {suspect.text} ({why})" if why else f"{number}. {suspect.text}"))
    if not diagnosis.suspects and diagnosis.state != "ok":
        lines.append("no suspect was found")
    if diagnosis.runbook is not None:
        lines.append(_cut(f"runbook: {diagnosis.runbook.title} ({diagnosis.runbook.file})"))
    lines.append(f"next: {diagnosis.next.command}")
    return "\n".join(lines)


def markdown(diagnosis: Diagnosis) -> str:
    """All of it. Headings begin at the third level, so that it can stand within a page."""
    what = (
        f"{escaped(diagnosis.service)} in {escaped(diagnosis.environment)}"
        if diagnosis.service
        else "the machines"
    )
    lines = [f"### Diagnosis of {what}", ""]
    lines += [f"**{escaped(diagnosis.symptom)}**", ""]
    facts = [f"made {_clock(diagnosis.at)} in {diagnosis.seconds:.1f} s"]
    if diagnosis.since is not None:
        facts.insert(0, f"since {_clock(diagnosis.since)}")
    if diagnosis.version:
        facts.append(f"version {escaped(diagnosis.version)}")
    if diagnosis.affected:
        facts.append(f"needed by {', '.join(map(escaped, diagnosis.affected))}")
    lines += [" · ".join(facts), ""]
    if diagnosis.suspects:
        lines += ["#### Suspects", "", "| # | suspect | evidence | score |", "|---|---|---|---|"]
        lines += [
            f"| {number} | {escaped(one.text)} | {escaped(one.why)} | {one.score:.2f} |"
            for number, one in enumerate(diagnosis.suspects, 1)
        ]
        lines.append("")
    lines += ["#### What was looked at", ""]
    for check in diagnosis.checks:
        lines += _check(check)
    pages = [page for page in (diagnosis.runbook, *diagnosis.further) if page is not None]
    if pages:
        lines += ["#### Pages", ""]
        lines += [f"- {escaped(page.title)}, {code(page.file)}: {escaped(page.why)}" for page in pages]
        lines.append("")
    lines += ["#### Next", "", *_fence([diagnosis.next.command]), "", escaped(diagnosis.next.why)]
    return "\n".join(lines) + "\n"


def _check(check: Check) -> list[str]:
    head = f"- **{check.title}** — {SIGNS[check.state]} ({check.seconds:.1f} s): {escaped(check.text)}"
    if not check.lines:
        return [head, ""]
    return [head, "", *(f"  {line}".rstrip() for line in _fence(check.lines)), ""]


def escaped(words: str) -> str:
    """Text that no Markdown or HTML reader takes for anything but text."""
    return _SPECIAL.sub(r"\\\1", words)


def code(words: str) -> str:
    """A code span that holds, whatever backticks are in it."""
    ticks = "`" * (1 + max((len(found) for found in _TICKS.findall(words)), default=0))
    pad = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{ticks}{pad}{words}{pad}{ticks}"


def _fence(lines: Sequence[str]) -> list[str]:
    longest = max((len(found) for line in lines for found in _TICKS.findall(line)), default=0)
    marks = "`" * max(3, longest + 1)
    return [f"{marks}text", *lines, marks]


def _cut(line: str) -> str:
    return line if len(line) <= LINE else line[: LINE - 1] + "…"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
