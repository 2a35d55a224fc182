"""Post-mortems: pages of `incidents/` that are named after a day, and the actions that they promise.

They are written in a hurry, by people and by opsbook. So whatever is wrong with one is a warning: a page about
yesterday never keeps the handbook of today from being read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field

from opsbook.book.checklist import parted
from opsbook.book.document import Document, parse
from opsbook.book.fields import Line, Name, OrEmpty, Part
from opsbook.book.problems import Problem, nearest
from opsbook.book.scalars import shorten
from opsbook.book.tasks import Task, read_tasks
from opsbook.book.validation import validate

FOLDER = "incidents/"
DRAFT_DAYS = 14
"""For so long a post-mortem may be a draft before the check says so."""

SeverityName = Literal["SEV1", "SEV2", "SEV3", "SEV4"]

_FILE = re.compile(r"incidents/(\d{4}-\d{2}-\d{2})-[^/]+\.md")
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
_ACTIONS = {"actions", "action items"}
_ABOUT = re.compile(r"\s*\(([^()]*)\)\s*$")
_PAIR = re.compile(r"\s*(owner|due)\s*:\s*(.*?)\s*")


class StatusPageSpec(Part):
    """The page that customers see while something is wrong. Nothing is on it that is not named here, or was
    written for it."""

    to: Line | None = Field(
        None,
        description="The folder that it is written to at every change, seen from the handbook's. Left out: only "
        "`opsbook status-page build` writes it.",
        examples=["../public/status"],
    )
    title: Line | None = Field(
        None, description="What stands above it. Left out: the handbook's name.", examples=["Shop status"]
    )
    url: Annotated[str, Field(pattern=r"^https?://[^\s<>\"']+$")] | None = Field(
        None,
        description="Where it is served, for the links of its feed.",
        examples=["https://status.example.com"],
    )
    services: Annotated[Mapping[Name, Line], OrEmpty] = Field(
        default={},
        description="What is shown, each by the name that customers know it by. Others are never mentioned.",
        examples=[{"web": "Web shop"}],
    )
    environments: tuple[Name, ...] | None = Field(
        None,
        min_length=1,
        description="Whose incidents customers notice. Left out: those of production, or all where none is.",
        examples=[["production"]],
    )
    announce: tuple[SeverityName, ...] = Field(
        (),
        description="Severities whose incidents appear by themselves, in words that say no more than that there is a "
        "problem. Others appear with their first public update.",
        examples=[["SEV1"]],
    )


class PostmortemsSpec(Part):
    """Which incidents get a post-mortem when they are resolved."""

    severities: tuple[SeverityName, ...] = Field(
        ("SEV1", "SEV2", "SEV3"),
        description="Of which severities. An empty list: only `opsbook postmortem write` writes one.",
        examples=[["SEV1", "SEV2"]],
    )
    self_resolved: bool = Field(
        True, description="Also of incidents that ended by themselves before anybody touched them."
    )
    lessons: bool = Field(
        True,
        description="Propose a change to the runbook: a branch `lesson/ID`, or without git a patch.",
    )


class PostmortemHead(Part):
    """The front matter of a post-mortem; opsbook writes it, people complete it."""

    title: Line | None = Field(None, description="What the page is called.", examples=["Orders fail"])
    incident: Line | None = Field(None, description="The incident it is about.", examples=["inc-7"])
    severity: SeverityName | None = Field(None, description="The incident's.", examples=["SEV2"])
    environment: Line | None = Field(None, description="Where it was.", examples=["production"])
    services: tuple[Line, ...] = Field((), description="What was affected.", examples=[["web"]])
    started: Line | None = Field(None, description="When users began to notice, UTC.")
    resolved: Line | None = Field(None, description="When it was over, UTC.")
    state: Literal["draft", "final"] = Field(
        "draft", description="`final` once people have read and completed it."
    )
    reviewed: Line | None = Field(None, description="When it was read last.", examples=["2026-11-01"])
    review_every: Line | None = Field(None, description="How often it is read.", examples=["365d"])


@dataclass(frozen=True, slots=True)
class PageAction:
    """One promise: ``- [ ] TEXT (owner: ana, due: 2026-12-01) `a1` `` below the heading *Actions*.

    Args:
        due: a date as 2026-12-01; empty when none is written, or what is written is none.
        id: of the incident's own action, when opsbook wrote the line.
    """

    text: str
    owner: str
    due: str
    done: bool
    line: int
    id: str = ""

    def overdue(self, today: date) -> bool:
        """Whether it should have been done before `today`."""
        return not self.done and bool(self.due) and date.fromisoformat(self.due) < today


@dataclass(frozen=True, slots=True)
class PostmortemPage:
    """A post-mortem as it lies in the handbook. `day` is the date in its name."""

    file: str
    day: str
    head: PostmortemHead
    title: str
    actions: tuple[PageAction, ...] = ()
    due_problems: tuple[tuple[int, str], ...] = ()  # lines, and dates that are none


def is_postmortem(path: str) -> bool:
    """Whether a file of the handbook is one: ``incidents/2026-11-21-orders-fail.md``."""
    match = _FILE.fullmatch(path)
    return match is not None and _date(match[1]) is not None


@lru_cache(maxsize=4096)
def read_postmortem(file: str, content: bytes) -> tuple[PostmortemPage | None, tuple[Problem, ...]]:
    """Read the page.

    Returns:
        The page, None when it is no text; and its problems, all of them warnings.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return None, (Problem(file, line, "", "expected UTF-8 text", "save the file as UTF-8", "warning"),)
    front, body = parted(text)
    head, problems = _head(file, front)
    tasks = list(_tasks(body))
    actions = tuple(_action(task) for task in tasks)
    wrong = tuple(
        (task.line, due) for task in tasks if (due := _pairs(task.text)[1].get("due", "")) and not _date(due)
    )
    day = file.removeprefix(FOLDER)[:10]
    title = head.title or _title(body) or file.removeprefix(FOLDER)[:-3]
    return PostmortemPage(file, day, head, title, actions, wrong), problems


def postmortem_advice(
    pages: Mapping[str, PostmortemPage], contacts: Collection[str], today: date | None
) -> Iterator[Problem]:
    """Promises that nobody keeps: overdue, owned by nobody or by somebody unknown, without a date; old drafts.

    Args:
        today: None leaves out what depends on it.
    """
    for page in pages.values():
        for line, due in page.due_problems:
            yield _warning(page, line, f"due: expected a date such as 2026-12-01, got {shorten(due)}")
        for action in page.actions:
            if not action.done:
                yield from _of_action(page, action, contacts, today)
        day = _date(page.day)
        if today is not None and page.head.state == "draft" and day is not None:
            last = day + timedelta(days=DRAFT_DAYS)
            if today > last:
                message = f"the post-mortem is a draft since {page.day}"
                yield _warning(page, 1, message, "complete it, then write state: final")


def _of_action(
    page: PostmortemPage, action: PageAction, contacts: Collection[str], today: date | None
) -> Iterator[Problem]:
    said = f'the action "{shorten(action.text, 60)}"'
    if today is not None and action.overdue(today):
        hint = "do it and tick its box, or give it a new date"
        yield _warning(page, action.line, f"{said} was due on {action.due}", hint)
    if not action.owner:
        yield _warning(page, action.line, f"{said} has no owner", "end it with (owner: NAME, due: DATE)")
    elif contacts and action.owner not in contacts:
        hint = (
            nearest(action.owner, contacts) or f"add {shorten(action.owner)} under contacts in opsbook.yaml"
        )
        yield _warning(page, action.line, f'no contact is called "{shorten(action.owner)}"', hint)
    if not action.due and not any(line == action.line for line, _ in page.due_problems):
        yield _warning(page, action.line, f"{said} has no date", "end it with (owner: NAME, due: 2026-12-01)")


def _warning(page: PostmortemPage, line: int, message: str, hint: str = "") -> Problem:
    return Problem(page.file, line, "", message, hint, "warning")


def _head(file: str, front: str) -> tuple[PostmortemHead, tuple[Problem, ...]]:
    if not front.strip():
        return PostmortemHead(), ()
    document, found = parse(file, front.encode("utf-8", "surrogatepass"))
    # Dates stand without quotes where people write for people.
    problems = [one for one in found if one.path not in {"reviewed", "started", "resolved"}]
    head: PostmortemHead | None = None
    if document is not None and document.data is not None:
        head, refused = validate(document, PostmortemHead)
        problems += refused
        head = head or _what_is_right(document, refused)
    return head or PostmortemHead(), tuple(replace(one, severity="warning") for one in problems)


def _what_is_right(document: Document, refused: Collection[Problem]) -> PostmortemHead | None:
    """The front matter without the keys that are wrong: one typing error should not lose the incident's id."""
    if not isinstance(document.data, dict):
        return None
    wrong = {re.split(r"[.\[]", problem.path)[0] for problem in refused}
    rest = {key: value for key, value in document.data.items() if key not in wrong}
    try:
        return PostmortemHead.model_validate(rest)
    except ValueError:
        return None


def _tasks(body: str) -> Iterator[Task]:
    """Those below *Actions*. Only that section is parsed as Markdown: a handbook may have hundreds of these pages."""
    lines = body.split("\n")
    level, begin = 0, 0
    sections: list[tuple[int, int]] = []
    for number, line in enumerate(lines):
        match = _HEADING.match(line)
        if match is None or (level and len(match[1]) > level):
            continue
        if level:
            sections.append((begin, number))
            level = 0
        if match[2].strip().casefold() in _ACTIONS:
            level, begin = len(match[1]), number + 1
    if level:
        sections.append((begin, len(lines)))
    for begin, end in sections:
        text = "\n".join(lines[begin:end])
        if "[" in text:
            for task in read_tasks(text).tasks:
                yield replace(task, line=task.line + begin)


def _action(task: Task) -> PageAction:
    text, pairs = _pairs(task.text)
    due = pairs.get("due", "")
    owner = pairs.get("owner", "").lstrip("@")
    return PageAction(text, owner, due if _date(due) else "", task.ticked, task.line, task.code)


def _pairs(text: str) -> tuple[str, dict[str, str]]:
    """The text without ``(owner: ana, due: 2026-12-01)`` at its end, and what stands in there."""
    match = _ABOUT.search(text)
    found = [_PAIR.fullmatch(part) for part in match[1].split(",")] if match else []
    if match is None or not all(found):
        return text, {}
    return text[: match.start()].strip(), {pair[1]: pair[2] for pair in found if pair}


def _title(body: str) -> str:
    for line in body.split("\n"):
        match = _HEADING.match(line)
        if match is not None and len(match[1]) == 1:
            return match[2]
    return ""


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) else None
    except ValueError:
        return None
