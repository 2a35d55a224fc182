"""`deployment/checklist.md`: what is checked before, during and after a deployment, by a machine or by a person."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field

from opsbook.book import quantities
from opsbook.book.document import Document, parse
from opsbook.book.fields import Line, Name, Part
from opsbook.book.problems import Problem, Severity, did_you_mean, nearest
from opsbook.book.scalars import quoted, shorten
from opsbook.book.tasks import Fence, Task, read_tasks
from opsbook.book.validation import validate

CHECKLIST = "deployment/checklist.md"

ItemStage = Literal["pre", "during", "post"]
CHECKS = ("book", "tests", "alerts", "rollback", "health", "error_rate", "journal")
"""The checks that an item asks for by ending in `` `check: NAME` ``."""

_STAGES: dict[str, ItemStage] = {
    "pre deployment": "pre", "during deployment": "during", "post deployment": "post",
}  # fmt: skip
_SHELLS = {"bash": ("bash", "-euo", "pipefail", "-c"), "sh": ("sh", "-eu", "-c")}
_TIMEOUT = 300.0  # seconds
_REQUEST = re.compile(r"(GET|HEAD) +(https?://[^\s/{}][^\s{}]*|\{url:[a-z][a-z0-9-]*\}(?:/[^\s{}]*)?)")
_ANSWER = re.compile(r"HTTP +([1-5][0-9][0-9])")
_LONGEST_ID = 60


class ChecklistHead(Part):
    """The front matter of `deployment/checklist.md`; the items are its task lists."""

    title: Line | None = Field(None, description="What the page is called.", examples=["Before we deploy"])
    owner: Name | None = Field(None, description="Who answers for it.", examples=["team-shop"])
    environments: tuple[Name, ...] | None = Field(
        None,
        min_length=1,
        description="Where it is followed. Left out: in protected environments.",
        examples=[["production"]],
    )
    services: tuple[Name, ...] | None = Field(
        None, min_length=1, description="For what. Left out: for all services.", examples=[["web"]]
    )
    reviewed: Line | None = Field(None, description="When it was read last.", examples=["2026-11-01"])
    review_every: Line | None = Field(None, description="How often it is read.", examples=["90d"])


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What an item asks over HTTP. `url` may begin with ``{url:SERVICE}``."""

    method: str
    url: str
    status: int = 200


@dataclass(frozen=True, slots=True)
class ChecklistItem:
    """One item. `id` stays as long as stage and text do.

    Args:
        check: for a machine: one of `CHECKS`, or "command" or "http" when the item brings its own.
        command: program and arguments, the last of them the script as it stands in the page.
        timeout: of the check, in seconds.
    """

    id: str
    text: str
    stage: ItemStage
    kind: Literal["machine", "signed"]
    line: int
    check: str | None = None
    command: tuple[str, ...] | None = None
    request: HttpRequest | None = None
    timeout: float = _TIMEOUT


@dataclass(frozen=True, slots=True)
class Checklist:
    """The items in the order of the page. `environments` and `services` None: not limited."""

    items: tuple[ChecklistItem, ...]
    environments: tuple[str, ...] | None = None
    services: tuple[str, ...] | None = None

    def covers(self, environment: str, service: str) -> bool:
        """Whether its front matter lets it be about this service in this environment."""
        where, what = self.environments, self.services
        return (where is None or environment in where) and (what is None or service in what)

    def for_(self, environment: str, service: str, stage: ItemStage) -> tuple[ChecklistItem, ...]:
        """The items of one stage; none where it does not belong."""
        return tuple(item for item in self.items if item.stage == stage and self.covers(environment, service))


def read_checklist(content: bytes) -> tuple[Checklist | None, Document | None, list[Problem]]:
    """Read the page.

    Returns:
        The checklist, or None when it has errors; its front matter, when there is one; every problem.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return None, None, [Problem(CHECKLIST, line, "", "expected UTF-8 text", "save the file as UTF-8")]
    front, body = parted(text)
    head, document, problems = _head(front) if front else (ChecklistHead(), None, [])
    tasks = read_tasks(body)
    problems += [_belongs_to_no_item(fence) for fence in tasks.loose if fence.words]
    items: dict[str, ChecklistItem] = {}
    for task in tasks.tasks:
        stage = _stage(task)
        if stage is None:
            problems.append(_in_no_stage(task))
            continue
        try:
            item = _item(task, stage)
        except _Refused as refused:
            problems.append(refused.problem)
            continue
        if task.ticked:
            hint = "opsbook checklist sign"
            problems.append(_problem(task.line, "a tick in the page is nobody's; write [ ]", hint, "warning"))
        if item.id in items:
            message = f"the item is written twice, first on line {items[item.id].line}"
            problems.append(_problem(item.line, message, "remove or reword one of them"))
        items.setdefault(item.id, item)
    if head is None or any(problem.severity == "error" for problem in problems):
        return None, document, problems
    return Checklist(tuple(items.values()), head.environments, head.services), document, problems


class _Refused(Exception):
    def __init__(self, line: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.problem = _problem(line, message, hint)


def _problem(line: int, message: str, hint: str = "", severity: Severity = "error") -> Problem:
    return Problem(CHECKLIST, line, "", message, hint, severity)


def parted(text: str) -> tuple[str, str]:
    """Front matter and body, each with empty lines in place of the other, so that lines keep their numbers."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if lines and lines[0].strip() == "---":
        for end, line in enumerate(lines[1:], 1):
            if line.strip() in {"---", "..."}:
                return "\n".join(["", *lines[1:end]]), "\n" * (end + 1) + "\n".join(lines[end + 1 :])
    return "", "\n".join(lines)


def _head(front: str) -> tuple[ChecklistHead | None, Document | None, list[Problem]]:
    document, found = parse(CHECKLIST, front.encode("utf-8", "surrogatepass"))
    # Pages are read by people and their sites; there a date stands without quotes.
    problems = [problem for problem in found if problem.path != "reviewed"]
    if document is None:
        return None, None, problems
    if document.data is None:
        return ChecklistHead(), document, problems
    head, refusals = validate(document, ChecklistHead)
    return head, document, problems + refusals


def _stage(task: Task) -> ItemStage | None:
    for title in reversed(task.headings):
        words = re.sub(r"[^a-z]+", " ", title.casefold()).strip()
        for name, stage in _STAGES.items():
            if words.startswith(name):
                return stage
    return None


def _in_no_stage(task: Task) -> Problem:
    message = "the item is in none of the three stages, so nobody is asked for it"
    hint = "## Pre-Deployment, ## During Deployment, ## Post-Deployment"
    return _problem(task.line, message, hint, "warning")


def _belongs_to_no_item(fence: Fence) -> Problem:
    return _problem(fence.line, "the check belongs to no item", "indent it under its item")


def _item(task: Task, stage: ItemStage) -> ChecklistItem:
    if not task.text:
        raise _Refused(task.line, "expected an item with some text", "- [ ] what is to be checked")
    check, text = _named_check(task)
    fences = [fence for fence in task.fences if fence.words]
    if len(fences) > 1:
        raise _Refused(fences[1].line, "expected one check an item", "make it an item of its own")
    item = ChecklistItem(_identity(stage, text), text, stage, "machine", task.line, check=check)
    if not fences:
        if check == "tests":
            hint = "```bash check below the item, indented"
            raise _Refused(task.line, "opsbook does not know how your tests are run", hint)
        return item if check else replace(item, kind="signed")
    (fence,) = fences
    timeout = _timeout(fence)
    if fence.language == "http" and check is None:
        return replace(item, check="http", request=_request(fence), timeout=timeout)
    if fence.language not in _SHELLS:
        hint = nearest(fence.language, [*_SHELLS, "http"])
        raise _Refused(fence.line, f"expected bash, sh or http, got {quoted(shorten(fence.language))}", hint)
    if check not in {None, "tests"}:
        raise _Refused(fence.line, f"the check {check} brings its own command", "remove the fence")
    if not fence.content.strip():
        raise _Refused(fence.line, "expected a command", "make test")
    command = (*_SHELLS[fence.language], fence.content)
    return replace(item, check=check or "command", command=command, timeout=timeout)


def _named_check(task: Task) -> tuple[str | None, str]:
    """The check that the code span at the item's end names, and the item's text."""
    key, colon, name = task.code.partition(":")
    if key.strip() != "check" or not colon:
        return None, f"{task.text} {task.code}".strip()
    name = name.strip()
    if name not in CHECKS:
        hint = did_you_mean(name, CHECKS)
        raise _Refused(task.line, f"no check is called {quoted(shorten(name))}", hint)
    return name, task.text


def _timeout(fence: Fence) -> float:
    role, *settings = fence.words
    if role != "check":
        hint = "a fence without a second word never runs"
        raise _Refused(fence.line, f"expected the word check, got {quoted(shorten(role))}", hint)
    seconds = _TIMEOUT
    for setting in settings:
        key, _, value = setting.partition("=")
        if key != "timeout":
            raise _Refused(fence.line, f"unknown setting {quoted(shorten(key))}", "known: timeout=2m")
        try:
            seconds = quantities.duration(value)
        except ValueError:
            seconds = 0.0
        if not seconds:
            raise _Refused(
                fence.line, f"timeout: expected {quantities.DURATION}, got {quoted(shorten(value))}"
            )
    return seconds


def _request(fence: Fence) -> HttpRequest:
    lines = [line.strip() for line in fence.content.splitlines() if line.strip()]
    request = _REQUEST.fullmatch(lines[0]) if lines else None
    if request is None:
        raise _Refused(fence.line, "expected a request such as GET {url:web}/healthz")
    answer = _ANSWER.fullmatch(lines[1]) if len(lines) == 2 else None
    if len(lines) > 1 and answer is None:
        raise _Refused(fence.line, "expected one request, and under it the answer's status such as HTTP 200")
    return HttpRequest(request[1], request[2], int(answer[1]) if answer else 200)


def _identity(stage: ItemStage, text: str) -> str:
    """A name for the item that people can type: its stage and its words."""
    slug = re.sub(r"[\W_]+", "-", text.casefold()).strip("-")
    if not slug or len(slug) > _LONGEST_ID:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]
        slug = f"{slug[:_LONGEST_ID].strip('-')}-{digest}".strip("-")
    return f"{stage}-{slug}"
