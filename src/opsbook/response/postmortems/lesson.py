"""What an incident teaches a runbook: a changed page, for people to take, change or leave. Pure.

Nothing that runs is changed: the proposal names the alert that led here, says above a step that it failed, and notes
below what happened. Whatever it adds is prose, and the page is read again before it is proposed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from opsbook.book.fields import NAME_PATTERN
from opsbook.book.problems import Problem
from opsbook.book.runbook_pages import read_runbook
from opsbook.book.runbooks import FOLDER, Runbook
from opsbook.book.scalars import flow, quoted
from opsbook.errors import Failed
from opsbook.response.incidents.model import Incident
from opsbook.response.postmortems.markdown import Markdown, escaped, one_line
from opsbook.response.runbooks.model import Run, Step

SEEN = "## Seen in incidents"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A page as it might be. `text` is the whole of it."""

    runbook: str
    text: str
    new: bool

    @property
    def file(self) -> str:
        return f"{FOLDER}{self.runbook}.md"


def proposal(
    incident: Incident, runs: Sequence[Run], pages: dict[str, Runbook], postmortem: str, day: str
) -> Proposal | None:
    """The change that the incident suggests; None when it has nothing to say to any page.

    Args:
        runs: of this incident, the oldest first. pages: the handbook's runbooks.
        postmortem: the file of the post-mortem, in the handbook. day: of the incident.

    Raises:
        Failed: the page would not be sound any more.
    """
    name = _page_of(incident, runs, pages)
    if name is None:
        return None
    if name in pages:
        text = _changed(pages[name], incident, [run for run in runs if run.page == name], postmortem, day)
        if text == pages[name].source:
            return None
    else:
        name = name or _name_for(incident)
        if not name or name in pages:
            return None
        text = _new(name, incident, postmortem, day)
    page, _, problems = read_runbook(name, text.encode("utf-8", "surrogatepass"))
    if page is None or _differs(pages.get(name), page):
        said = next(
            (one for one in problems if one.severity == "error"), Problem("", 0, "", "its steps would change")
        )
        raise Failed(f"no change to the runbook is proposed: {said.message}", where=f"{FOLDER}{name}.md")
    return Proposal(name, text, name not in pages)


def failed_step(run: Run) -> Step | None:
    """The step that did not work, the last one when there are several."""
    failed = [step for step in run.steps if step.state in {"failed", "unknown"} and step.role != "diagnose"]
    return failed[-1] if failed else None


def _page_of(incident: Incident, runs: Sequence[Run], pages: dict[str, Runbook]) -> str | None:
    """The page whose step failed; else one that was run; else the one that the alert names, or that names the alert.

    None: several name the alert and none was run, so nobody knows which it was. Empty: there is no page.
    """
    meant = [run for run in runs if not run.looking and run.page in pages]
    for run in meant:
        if failed_step(run) is not None:
            return run.page
    if meant:
        return meant[-1].page
    named = (incident.runbook or "", *(alert.runbook or "" for alert in incident.alerts))
    found = [name for name in named if re.fullmatch(NAME_PATTERN, name)]
    if known := [name for name in found if name in pages]:
        return known[0]
    alerts = _alerts(incident)
    naming = [name for name, page in pages.items() if not set(alerts).isdisjoint(page.head.alerts)]
    if naming:
        return naming[0] if len(naming) == 1 else None
    return next(iter(found), "")


def _name_for(incident: Incident) -> str:
    """A new page is called after the alert: HighErrorRate → high-error-rate."""
    for alert in incident.alerts:
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", str(alert.labels.get("alertname", "")))
        name = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:41].strip("-")
        if re.fullmatch(NAME_PATTERN, name):
            return name
    return ""


def _alerts(incident: Incident) -> tuple[str, ...]:
    names = (one_line(str(alert.labels.get("alertname", "")), 100) for alert in incident.alerts)
    return tuple(dict.fromkeys(name for name in names if name))


def _changed(page: Runbook, incident: Incident, runs: Sequence[Run], postmortem: str, day: str) -> str:
    text = page.source.replace("\r\n", "\n")
    note = _note(incident, runs, postmortem, day)
    if f"[{incident.id}]" in text:
        return page.source  # the page tells of it already
    lines = text.rstrip("\n").split("\n")
    for run in runs:
        step = failed_step(run)
        block = page.block(step.step) if step is not None else None
        if step is not None and block is not None and 0 < block.line <= len(lines):
            indent = lines[block.line - 1][
                : len(lines[block.line - 1]) - len(lines[block.line - 1].lstrip(" "))
            ]
            said = f"> **{_mark(incident, postmortem)}:** this failed"
            said += f" ({escaped(step.reason, 160)})" if step.reason else ""
            lines[block.line - 1 : block.line - 1] = [f"{indent}{said}. Is it still right?", ""]
            break
    lines = _with_alerts(lines, page, _alerts(incident))
    return "\n".join([*_with_note(lines, note), ""]).replace("\n", "\r\n" if "\r\n" in page.source else "\n")


def _with_note(lines: list[str], note: str) -> list[str]:
    """The note as the first of its section, which is made at the end where there is none."""
    for number, line in enumerate(lines):
        if line.strip() == SEEN:
            after = number + 1
            while after < len(lines) and not lines[after].strip():
                after += 1
            return [*lines[: number + 1], "", note, *lines[after:]]
    return [*lines, "", SEEN, "", note]


def _with_alerts(lines: list[str], page: Runbook, alerts: Sequence[str]) -> list[str]:
    """The alerts that led here, in the front matter, when that lists others in one line or none at all."""
    missing = [name for name in alerts if name not in page.head.alerts]
    if not missing or not lines or lines[0].strip() != "---":
        return lines
    written = f"alerts: {flow((*page.head.alerts, *missing))}"
    for number, line in enumerate(lines[1:], 1):
        if line.strip() in {"---", "..."}:
            return [*lines[:number], written, *lines[number:]]
        if line.startswith("alerts:"):
            flat = re.fullmatch(r"alerts:\s*\[[^\[\]#]*\]\s*", line) is not None
            return [*lines[:number], written, *lines[number + 1 :]] if flat else lines
    return lines


def _note(incident: Incident, runs: Sequence[Run], postmortem: str, day: str) -> str:
    parts = [f"- {day}, {_mark(incident, postmortem)}: {escaped(incident.title, 160)}."]
    for run in (run for run in runs if not run.looking):
        step = failed_step(run)
        if step is not None:
            parts.append(f"Step {escaped(step.step, 60)} failed, the run ended as {_outcome(run)}.")
        else:
            parts.append(f"The run ended as {_outcome(run)}.")
    if not any(not run.looking for run in runs):
        parts.append("The page was not run.")
    return " ".join(parts)


def _outcome(run: Run) -> str:
    return (run.outcome or run.state).replace("_", " ")


def _mark(incident: Incident, postmortem: str) -> Markdown:
    return Markdown(f"[{incident.id}](../{postmortem})")


def _new(name: str, incident: Incident, postmortem: str, day: str) -> str:
    """A page of prose: what to run is for people to decide."""
    title = name.replace("-", " ").capitalize()
    summary = next((alert.summary for alert in incident.alerts if alert.summary), incident.title)
    services = ", ".join(escaped(one, 60) for one in incident.services) or "the service"
    return f"""\
---
title: {quoted(title)}
severity: {incident.severity}
alerts: {flow(_alerts(incident))}
reviewed: {quoted(day)}
review_every: 90d
---
# {title}

{escaped(summary)}. Seen with {services}; this page was proposed because nobody had one.

## Diagnose

What to look at first, and what it tells.

## Steps

What helped in {_mark(incident, postmortem)}, as steps that opsbook can run.

## Escalate

Who, and when.

{SEEN}

{_note(incident, (), postmortem, day).removesuffix(" The page was not run.")}
"""


def _differs(before: Runbook | None, after: Runbook) -> bool:
    """Whether what runs would be other than it was: a proposal never adds, drops or changes a step."""
    old = [] if before is None else [(block.id, block.digest) for block in before.blocks]
    return old != [(block.id, block.digest) for block in after.blocks]
