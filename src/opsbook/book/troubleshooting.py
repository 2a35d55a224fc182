"""Pages of `troubleshooting/`: prose about what goes wrong with services, which a diagnosis of them names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from pydantic import Field

from opsbook.book.checklist import parted
from opsbook.book.document import parse
from opsbook.book.fields import Line, Name, Part
from opsbook.book.problems import Problem, did_you_mean
from opsbook.book.validation import validate

FOLDER = "troubleshooting/"
_HEADING = re.compile(r"^# +(.+?) *#* *$", re.MULTILINE)
_WORD = re.compile(r"[a-z0-9][a-z0-9-]*")


class TroubleshootingHead(Part):
    """The front matter of a page of `troubleshooting/`; nothing of such a page runs."""

    title: Line | None = Field(None, description="What the page is called.", examples=["Checkout is slow"])
    owner: Name | None = Field(None, description="Who answers for it.", examples=["team-shop"])
    services: tuple[Name, ...] | None = Field(
        None,
        min_length=1,
        description="What it is about. Left out: every service whose name it mentions.",
        examples=[["web"]],
    )
    environments: tuple[Name, ...] | None = Field(
        None, min_length=1, description="Where. Left out: everywhere.", examples=[["production"]]
    )
    reviewed: Line | None = Field(None, description="When it was read last.", examples=["2026-11-01"])
    review_every: Line | None = Field(None, description="How often it is read.", examples=["90d"])


@dataclass(frozen=True, slots=True)
class TroubleshootingPage:
    """One page. `services` are those that it names; `environments` empty: it is about all."""

    name: str
    file: str
    title: str
    services: frozenset[str]
    environments: frozenset[str] = frozenset()
    declared: bool = False  # its front matter says which services


def is_troubleshooting(path: str) -> bool:
    return path.startswith(FOLDER) and path.endswith(".md")


def read_troubleshooting(path: str, content: bytes) -> tuple[TroubleshootingPage | None, list[Problem]]:
    """Read a page. It is prose: nothing in it is an error, and what cannot be read is said as a warning."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return None, [Problem(path, line, "", "expected UTF-8 text", "save the file as UTF-8", "warning")]
    front, body = parted(text)
    head: TroubleshootingHead | None = None
    problems: list[Problem] = []
    if front.strip():
        document, found = parse(path, front.encode("utf-8", "surrogatepass"))
        problems += (problem for problem in found if problem.path != "reviewed")  # a date without quotes
        if document is not None and document.data is not None:
            head, refusals = validate(document, TroubleshootingHead)
            problems += refusals
    head = head or TroubleshootingHead()
    heading = _HEADING.search(body)
    name = path.removeprefix(FOLDER).removesuffix(".md")
    page = TroubleshootingPage(
        name=name,
        file=path,
        title=head.title or (heading[1] if heading else "") or name,
        services=frozenset(head.services if head.services is not None else _WORD.findall(body.lower())),
        environments=frozenset(head.environments or ()),
        declared=head.services is not None,
    )
    return page, [replace(problem, severity="warning") for problem in problems]


def naming(
    pages: Mapping[str, TroubleshootingPage], services: Collection[str]
) -> tuple[TroubleshootingPage, ...]:
    """The pages in order, each with those services that there are."""
    return tuple(
        replace(page, services=page.services & frozenset(services)) for _, page in sorted(pages.items())
    )


def troubleshooting_advice(
    pages: Mapping[str, TroubleshootingPage], services: Collection[str], environments: Collection[str]
) -> Iterator[Problem]:
    """Services and environments that pages say they are about, and that nobody has."""
    for path, page in sorted(pages.items()):
        for name in sorted(page.services - frozenset(services)) if page.declared else ():
            yield _unknown(path, "services", "service", name, services)
        for name in sorted(page.environments - frozenset(environments)):
            yield _unknown(path, "environments", "environment", name, environments)


def _unknown(path: str, key: str, what: str, name: str, known: Collection[str]) -> Problem:
    return Problem(path, 0, key, f'no {what} is called "{name}"', did_you_mean(name, known), "warning")
