"""The nouns of a diagnosis. Times are UTC epoch seconds, durations seconds.

Much of the text comes from programs and from alerts that anybody may push: it is kept to one printable line each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict

State = Literal["ok", "warning", "failed", "unknown", "skipped"]
WORST: tuple[State, ...] = ("failed", "warning", "unknown", "ok", "skipped")
LONGEST = 400  # characters of a line
MOST_LINES = 40


def plain(text: str) -> str:
    """One line that moves no cursor and hides nothing: what cannot be seen becomes U+FFFD, blanks become one."""
    seen = " ".join(text[: LONGEST * 4].split())
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in seen)
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


def kept(line: str) -> str:
    """As `plain`, with the blanks: columns of a program's output stay columns."""
    shown = "".join(
        c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line[:LONGEST].expandtabs(8).rstrip()
    )
    return shown if len(line) <= LONGEST and len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


def _few(lines: tuple[str, ...]) -> tuple[str, ...]:
    return lines if len(lines) <= MOST_LINES else (*lines[: MOST_LINES - 1], f"… {len(lines)} lines in all")


Told = Annotated[str, AfterValidator(plain)]
Lines = Annotated[tuple[Annotated[str, AfterValidator(kept)], ...], AfterValidator(_few)]


class Document(BaseModel):
    """A frozen JSON document."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """As `to_json` wrote it."""
        return cls.model_validate(document)


class Clue(Document):
    """Something that speaks for a cause.

    Args:
        key: what it speaks for; clues with the same key add up.
        kind: ``deployment``, ``change``, ``secret``, ``dependency``, ``saturation``, ``crash``, ``load``, ``log``,
            ``host``.
        subject: the thing itself, such as ``production/web``.
        text: the cause in a sentence. why: the evidence in a sentence.
        weight: 0..1, how often this is the cause where the time fits.
        at: when it happened; None: it is so now, and the time says nothing.
        event: its number in the journal.
        lasting: it is so still, so being old does not speak against it.
        names: False: it only adds to what another clue of the key has named.
        runbooks: names of pages that are usually about it.
    """

    key: str
    kind: str
    subject: Told
    text: Told
    why: Told
    weight: float
    at: float | None = None
    event: int | None = None
    lasting: bool = False
    names: bool = True
    command: Told = ""
    runbooks: tuple[str, ...] = ()


class Check(Document):
    """What one look found.

    Args:
        text: the finding in a sentence. lines: what it is made of.
        symptom: what is wrong, where this look saw it: the sentence a person is woken with.
        since: when that began.
    """

    name: str
    title: str
    state: State
    text: Told
    lines: Lines = ()
    symptom: Told = ""
    since: float | None = None
    seconds: float = 0.0
    clues: tuple[Clue, ...] = ()
    runs: tuple[str, ...] = ()  # of runbooks, that it started
    runbooks: tuple[str, ...] = ()  # names of pages that are usually about the symptom

    def took(self, seconds: float) -> Check:
        return self.model_copy(update={"seconds": round(seconds, 3)})


class Suspect(Document):
    """A possible cause, with what speaks for it. `score` is 0..1, and orders them; it is no probability."""

    kind: str
    subject: str
    text: str
    at: float | None = None
    score: float
    why: str
    event: int | None = None
    evidence: tuple[str, ...] = ()
    command: str = ""


class Page(Document):
    """A page of the handbook that is about it."""

    name: str
    title: str
    file: str
    why: str
    executable: bool = False


class Next(Document):
    """What to type next, and why."""

    command: str
    why: str


class Diagnosis(Document):
    """All of it.

    Args:
        at: when it was begun. seconds: how long it took.
        symptom: what is wrong, in a sentence. since: when it began, as far as can be told.
        checks: in the order in which people read them.
        suspects: the likeliest first.
        runbook: the page to follow. further: others that may help.
        affected: services that depend on this one.
        runs: of runbooks, whose diagnose blocks were run for it.
        unkept: why it could not be written down; empty when it was.
    """

    id: str
    environment: str
    service: str
    version: str = ""
    incident: str = ""
    alert: str = ""
    actor: str = ""
    at: float
    seconds: float = 0.0
    state: State
    symptom: str
    since: float | None = None
    checks: tuple[Check, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    runbook: Page | None = None
    further: tuple[Page, ...] = ()
    next: Next
    affected: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    unkept: str = ""

    @property
    def subject(self) -> str:
        return "/".join(part for part in (self.environment, self.service) if part) or "hosts"
