"""A drill: the page of `runbooks/drills/` that says how a runbook is tried on the real fault, in a scratch place."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from opsbook.book import quantities
from opsbook.book.checklist import parted
from opsbook.book.document import Document, parse
from opsbook.book.fences import Fenced, read_page
from opsbook.book.fields import Line, Name, OrEmpty, Part, Seconds, matching
from opsbook.book.problems import Problem, Severity
from opsbook.book.validation import validate
from opsbook.errors import OpsbookError

FOLDER = "runbooks/drills/"

Stage = Literal["setup", "inject", "verify", "undo"]
STAGES: tuple[Stage, ...] = ("setup", "inject", "verify", "undo")
STAGE_SECONDS = 30.0
LONGEST = 3600.0
_SHELLS = ("bash", "sh")
_PLACEHOLDER = re.compile(r"\{(port|dir):([a-z][a-z0-9_]*)\}")
_VARIABLE = re.compile(r"\$\{?(PORT|DIR)_([A-Z][A-Z0-9_]*)")
_FILE = re.compile(r"(services|environments|monitoring|deployment|incidents|security)/[a-z0-9][a-z0-9._/-]*")
_NEED = r"root|(program|exporter):[A-Za-z0-9][A-Za-z0-9._+-]*"


def _text(value: Any) -> Any:
    """Numbers and truths as they reach a command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


Given = Annotated[str, BeforeValidator(_text)]
Need = Annotated[str, matching(_NEED, "root, program:NAME or exporter:NAME")]


class DrillHead(Part):
    """The front matter of a page of `runbooks/drills/`; its blocks set up, inject, verify and undo the fault."""

    title: Line | None = Field(None, description="What the page is called.", examples=["Drill of Disk full"])
    runbook: Name = Field(description="The runbook that it tries.", examples=["disk-full"])
    alert: Line = Field(
        description="What must fire before the runbook is run, and end by it.", examples=["DiskFull"]
    )
    fault: Line = Field(
        description="What is broken, in one line.", examples=["a disk of 64 MB filled to 97 %"]
    )
    params: Annotated[Mapping[Line, Given], OrEmpty] = Field(
        default={},
        description="What the runbook is given. `{port:NAME}` is a free port, `{dir:NAME}` a folder of its own.",
        examples=[{"directory": "{dir:data}"}],
    )
    answers: Annotated[Mapping[Name, str], OrEmpty] = Field(
        default={},
        description="For steps that ask a person: `done`, or a script that does it.",
        examples=[{"tell-support": "done"}],
    )
    needs: tuple[Need, ...] = Field(
        (),
        description="Without which it is skipped.",
        examples=[["root", "program:mount", "exporter:prometheus-redis-exporter"]],
    )
    detect_within: Seconds = Field(
        60.0, gt=0, le=LONGEST, description="How soon the alert must fire.",
        examples=["90s"], json_schema_extra={"default": "60s"},
    )  # fmt: skip
    fix_within: Seconds = Field(
        120.0, gt=0, le=LONGEST, description="How soon the runbook must be done and the alert over.",
        examples=["3m"], json_schema_extra={"default": "2m"},
    )  # fmt: skip


class DrillsSpec(Part):
    """Which drills opsbook runs by itself."""

    pages: tuple[Name, ...] = Field(
        (), description="Pages that are tried. Left out: none.", examples=[["disk-full", "service-down"]]
    )
    every: Seconds = Field(
        30 * 86_400.0, ge=3600, description="How often each of them is.",
        examples=["30d"], json_schema_extra={"default": "30d"},
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Act:
    """One block of a drill. `timeout` in seconds."""

    stage: Stage
    shell: Literal["bash", "sh"]
    script: str
    line: int
    timeout: float = STAGE_SECONDS


@dataclass(frozen=True, slots=True)
class Drill:
    """One page.

    Args:
        handbook: the texts of the scratch handbook's files by path, with their placeholders.
        ports, folders: the names that its texts use.
    """

    name: str
    file: str
    head: DrillHead
    acts: tuple[Act, ...] = ()
    handbook: Mapping[str, str] = field(default_factory=dict)
    ports: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()

    def of_stage(self, stage: Stage) -> tuple[Act, ...]:
        return tuple(act for act in self.acts if act.stage == stage)


def is_drill(path: str) -> bool:
    """Whether a file of a handbook is a drill."""
    return path.startswith(FOLDER) and path.endswith(".md") and "/" not in path[len(FOLDER) :]


def read_drill(path: str, content: bytes) -> tuple[Drill | None, Document | None, list[Problem]]:
    """Read the page.

    Returns:
        The drill, None when something of it is wrong; its front matter, when it is read; every problem.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return None, None, [Problem(path, line, "", "expected UTF-8 text", "save the file as UTF-8")]
    front, body = parted(text)
    document, problems = parse(path, front.encode("utf-8", "surrogatepass"))
    if document is None:
        return None, None, problems
    head, refusals = validate(document, DrillHead)
    problems = problems + refusals
    reading = _Reading(path)
    for fence in read_page(body).fences:
        reading.read(fence)
    problems += reading.problems
    if not any(act.stage == "inject" for act in reading.acts):
        problems.append(
            Problem(path, 1, "", "nothing injects the fault", "a block that begins ```bash inject")
        )
    if head is None or any(problem.severity == "error" for problem in problems):
        return None, document, problems
    name = path.rpartition("/")[2][: -len(".md")]
    ports, folders = _named(head, reading)
    return (
        Drill(name, path, head, tuple(reading.acts), dict(reading.files), ports, folders),
        document,
        problems,
    )


def fill(text: str, ports: Mapping[str, int], folders: Mapping[str, str], python: str) -> str:
    """`text` with `{port:NAME}`, `{dir:NAME}` and `{python}` filled in; all else stays as it is."""

    def value(match: re.Match[str]) -> str:
        return str(ports[match[2]]) if match[1] == "port" else folders[match[2]]

    return _PLACEHOLDER.sub(value, text).replace("{python}", python)


def _named(head: DrillHead, reading: _Reading) -> tuple[frozenset[str], frozenset[str]]:
    found: dict[str, set[str]] = {"port": set(), "dir": set()}
    for text in (*head.params.values(), *reading.files.values()):
        for kind, name in _PLACEHOLDER.findall(text):
            found[kind].add(name)
    for text in (*head.answers.values(), *(act.script for act in reading.acts)):
        for kind, name in _VARIABLE.findall(text):
            found[kind.lower()].add(name.lower())
    return frozenset(found["port"]), frozenset(found["dir"])


class _Reading:
    """The fences of one drill."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.acts: list[Act] = []
        self.files: dict[str, str] = {}
        self.problems: list[Problem] = []

    def read(self, fence: Fenced) -> None:
        words = fence.info.split()
        word = words[1] if len(words) > 1 else ""
        if word not in {*STAGES, "handbook"}:
            if near := get_close_matches(word, [*STAGES, "handbook"], n=1, cutoff=0.7):
                self._say(
                    fence.line, f'no stage of a drill is called "{word[:40]}"', f'did you mean "{near[0]}"?'
                )
            return
        if fence.quoted or not fence.closed:
            why = "stands in a quotation" if fence.quoted else "is never closed"
            self._say(fence.line, f"the block {why}", "it would never be run")
            return
        settings = dict(self._settings(fence))
        if word == "handbook":
            self._handbook(fence, settings)
        else:
            self._act(fence, words[0], word, settings)

    def _settings(self, fence: Fenced) -> Iterator[tuple[str, str]]:
        try:
            given = shlex.split(fence.info)[2:]
        except ValueError:
            self._say(fence.line, "a quotation mark is never closed", "write key=value")
            return
        for setting in given:
            name, equals, value = setting.partition("=")
            if not equals:
                self._say(fence.line, f'expected key=value, got "{name[:40]}"')
            else:
                yield name, value

    def _handbook(self, fence: Fenced, settings: dict[str, str]) -> None:
        path = settings.pop("file", "")
        if not _FILE.fullmatch(path) or ".." in path:
            self._say(fence.line, "expected a file of the scratch handbook", "file=services/web.yaml")
        elif path in self.files:
            self._say(fence.line, f"{path} is written twice")
        else:
            self.files[path] = fence.content
        self._unknown(fence, settings)

    def _act(self, fence: Fenced, shell: str, stage: str, settings: dict[str, str]) -> None:
        seconds = STAGE_SECONDS
        if "timeout" in settings:
            try:
                seconds = quantities.duration(settings.pop("timeout"))
            except (OpsbookError, ValueError):
                seconds = 0.0
            if not 0 < seconds <= LONGEST:
                self._say(fence.line, "timeout: expected a duration of at most an hour", "timeout=1m")
        if shell not in _SHELLS:
            self._say(fence.line, f"a {stage} block is written in bash or sh")
            return
        self._unknown(fence, settings)
        self.acts.append(Act(stage, shell, fence.content, fence.line, seconds))  # type: ignore[arg-type]

    def _unknown(self, fence: Fenced, settings: dict[str, str]) -> None:
        for name in settings:
            self._say(fence.line, f'no attribute is called "{name[:40]}"')

    def _say(self, line: int, message: str, hint: str = "", severity: Severity = "error") -> None:
        self.problems.append(Problem(self._file, line, "", message, hint, severity))
