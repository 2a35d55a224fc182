"""Reading a page of `runbooks/`: which fences have a role, and every reason for which one cannot be trusted to run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches

from opsbook.book.checklist import parted
from opsbook.book.document import Document, Node, parse
from opsbook.book.fences import Fenced, Page, read_page
from opsbook.book.problems import Problem, Severity
from opsbook.book.runbook_blocks import ATTRIBUTES, Refused, read_block
from opsbook.book.runbook_filling import names_in
from opsbook.book.runbook_parameters import is_reserved
from opsbook.book.runbooks import FOLDER, ROLES, Block, Risk, Runbook, RunbookHead
from opsbook.book.validation import validate

# What looks like a fence with a role, whatever Markdown takes it for.
_ROLE_LINE = re.compile(rf"[ \t]*(`{{3,}}|~{{3,}})[ \t]*[A-Za-z0-9_+-]+[ \t]+({'|'.join(ROLES)})(?=[ \t`]|$)")
_BEGUN = re.compile(r"[ \t>]*(`{3,}|~{3,})")


def read_runbook(name: str, content: bytes) -> tuple[Runbook | None, Document | None, list[Problem]]:
    """Read the page.

    Returns:
        The runbook, None when a fence of it cannot be trusted; its front matter, when it is read; every problem.
    """
    file = f"{FOLDER}{name}.md"
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        hint = "save the file as UTF-8"
        return None, None, [Problem(file, line, "", "expected UTF-8 text", hint, _grave(content))]
    front, body = parted(text)
    meant = any(_ROLE_LINE.match(line) for line in body.split("\n"))
    plain = Page((), frozenset(), _first_heading(body), "")
    page = read_page(body) if meant or _BEGUN.search(body) else plain
    document: Document | None = None
    head: RunbookHead | None = RunbookHead()
    problems: list[Problem] = []
    if meant or any(fence.info.split()[1:2] and fence.info.split()[1] in ROLES for fence in page.fences):
        head, document, problems = _head(file, front)
    else:
        head = _head_of_prose(file, front)
    reading = _Reading(file, body, page, head.risk if head else "write")
    reading.problems += problems
    blocks = reading.blocks()
    if head is not None:
        reading.problems += _wrong_names(document, file, head)
        reading.problems += _dangling(file, head, blocks)
    if head is None or any(problem.severity == "error" for problem in reading.problems):
        return None, document, reading.problems
    runbook = Runbook(
        name=name,
        file=file,
        source=text,
        head=head,
        title=head.title or _front_title(front) or page.title or name,
        blocks=blocks,
        fences=len(page.fences),
        summary=page.prose[:300],
    )
    return runbook, document, reading.problems


def _grave(content: bytes) -> Severity:
    text = content.decode("utf-8", "replace")
    return "error" if any(_ROLE_LINE.match(line) for line in text.splitlines()) else "warning"


class _Reading:
    """The fences of one page, in order, each read with those before it in mind."""

    def __init__(self, file: str, body: str, page: Page, risk: Risk) -> None:
        self._file = file
        self._body = body
        self._page = page
        self._risk = risk
        self._ids: dict[str, int] = {}
        self.problems: list[Problem] = []

    def blocks(self) -> tuple[Block, ...]:
        found: list[Block] = []
        step = ""
        self._lookalikes()
        for fence in self._page.fences:
            role = self._role(fence)
            if role is None:
                continue
            try:
                block = read_block(fence, role, step, self._ids, self._risk)
            except Refused as refused:
                self._say(refused.line, refused.message, refused.hint)
                continue
            self._ids[block.id] = block.line
            step = block.id if block.role in {"run", "manual"} else step
            found.append(block)
        self._targets(found)
        return tuple(found)

    def _role(self, fence: Fenced) -> str | None:
        """The role of a fence that may run; None for one that never does."""
        words = fence.info.split()
        role = words[1] if len(words) > 1 else ""
        if role not in ROLES:
            self._nearly(fence, words)
            return None
        if fence.quoted:
            self._say(fence.line, "a block in a quotation never runs", "take the > away", "warning")
            return None
        if not fence.closed:
            marks = "```"
            self._say(fence.line, "the block is never closed", f"end it with {marks} on a line of its own")
            return None
        return role

    def _nearly(self, fence: Fenced, words: list[str]) -> None:
        """A role that was misspelled would silently not run; other words are other programs' business."""
        for number, line in enumerate(fence.content.split("\n"), fence.line + 1):
            if _ROLE_LINE.match(line) and line.lstrip().startswith(fence.markup):
                self._say(
                    number, f"this block begins within that of line {fence.line}", "close that one first"
                )
                return
        if len(words) < 2:
            return
        known = {name.partition("=")[0] for name in words[1:]} & ATTRIBUTES.keys()
        near = get_close_matches(words[1].lower(), ROLES, n=1, cutoff=0.65)
        if known or near:
            hint = f'did you mean "{near[0]}"?' if near else f"the second word is one of {', '.join(ROLES)}"
            message = f'no role is called "{words[1][:40]}", so the block never runs'
            self._say(fence.line, message, hint, "error" if known else "warning")

    def _lookalikes(self) -> None:
        for number, line in enumerate(self._body.split("\n"), 1):
            if number not in self._page.covered and _ROLE_LINE.match(line):
                mark = "`" in line.lstrip().lstrip("`")
                why = "backticks behind the opening marks" if mark else "its place"
                self._say(number, f"this is no block of code, because of {why}", "write attributes without `")

    def _targets(self, blocks: list[Block]) -> None:
        steps = {block.id for block in blocks if block.role in {"run", "manual"}}
        for block in blocks:
            if block.for_ and block.for_ not in steps:
                near = get_close_matches(block.for_, sorted(steps), n=1)
                hint = f'did you mean "{near[0]}"?' if near else "for=ID of a run block"
                self._say(block.line, f'no step is called "{block.for_}"', hint)

    def _say(self, line: int, message: str, hint: str = "", severity: Severity = "error") -> None:
        self.problems.append(Problem(self._file, line, "", message, hint, severity))


def _head(file: str, front: str) -> tuple[RunbookHead | None, Document | None, list[Problem]]:
    if not front:
        return RunbookHead(), None, []
    document, found = parse(file, front.encode("utf-8", "surrogatepass"))
    # Pages are read by people and their sites; there a date stands without quotes.
    problems = [problem for problem in found if problem.path != "reviewed"]
    if document is None:
        return None, None, problems
    if document.data is None:
        return RunbookHead(), document, problems
    head, refusals = validate(document, RunbookHead)
    return head, document, problems + refusals


def _head_of_prose(file: str, front: str) -> RunbookHead:
    """What a page to read says of itself; the front matter of other programs says nothing, and is no mistake."""
    head, _, problems = _head(file, front)
    return RunbookHead() if head is None or problems else head.model_copy(update={"params": {}, "lock": None})


def _wrong_names(document: Document | None, file: str, head: RunbookHead) -> Iterator[Problem]:
    at = document or Document(file, Node("mapping", 1, {}))
    for name in head.params:
        if is_reserved(name):
            message = f"{name.upper()} is a variable that changes how programs run"
            yield at.problem(("params", name), message, f"call it my_{name}")
    for name in re.findall(r"\{([^{}]*)\}", head.lock or ""):
        if name not in head.params:
            yield at.problem(("lock",), f'no parameter is called "{name}"', "params of this page")
        elif head.params[name].sensitive:
            yield at.problem(("lock",), f"{name} is sensitive, and a lock is shown")


def _dangling(file: str, head: RunbookHead, blocks: tuple[Block, ...]) -> Iterator[Problem]:
    """Places and variables that need a parameter which the page does not have."""
    known = {name.upper() for name in head.params}
    for block in blocks:
        needed = {"host": ("host",), "instance": ("service", "environment")}.get(block.on.kind, ())
        for name in needed:
            if name not in head.params or head.params[name].type != name:
                hint = f"params: {{{name}: {{type: {name}}}}}"
                yield Problem(file, block.line, "", f"on={block.on.kind} needs the parameter {name}", hint)
        if block.language in {"promql", "http"}:
            for name in names_in(block.script):
                if name not in known:
                    yield Problem(
                        file, block.line, "", f"nothing is called {name} here", "params, or capture"
                    )
        if block.capture:
            if block.capture in {name.upper() for name in head.params}:
                yield Problem(
                    file, block.line, "", f"{block.capture} is a parameter already", "capture=ANOTHER"
                )
            known.add(block.capture)


def _front_title(front: str) -> str:
    found = re.search(r"^title\s*:\s*[\"']?(.+?)[\"']?\s*$", front, re.MULTILINE)
    return found[1] if found else ""


def _first_heading(body: str) -> str:
    found = re.search(r"^#{1,6}[ \t]+(.+?)[ \t]*#*$", body, re.MULTILINE)
    return found[1] if found else ""
