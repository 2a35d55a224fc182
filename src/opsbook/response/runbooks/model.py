"""The nouns of runs. Times are UTC epoch seconds, durations seconds."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from opsbook.book.runbooks import Block, Role, Runbook

StepState = Literal["started", "ok", "failed", "unknown", "skipped"]
RunState = Literal["waiting", "running", "paused", "ended"]
Outcome = Literal["succeeded", "failed", "refused", "rolled_back", "rollback_failed", "cancelled"]
APPROVAL_SECONDS = 3600.0


class Document(BaseModel):
    """A frozen JSON document of the journal's state."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


class Step(Document):
    """One try of one block. `started` is the intent; without an outcome after a crash it becomes `unknown`.

    `superseded`: a person decided that it is to be tried anew; it counts for the rollback only.
    """

    step: str
    role: Role
    number: int  # in the run, from 1; the key of its output
    attempt: int = 1
    state: StepState = "started"
    started_at: float
    ended_at: float | None = None
    code: int | None = None
    reason: str = ""
    by: str = ""  # who did, or skipped it
    superseded: bool = False

    @property
    def seconds(self) -> float:
        return 0.0 if self.ended_at is None else self.ended_at - self.started_at


class Approval(Document):
    """A person's yes to one step of one run, for the text, the parameters and the machines that it was given for."""

    step: str
    by: str
    at: float
    binding: str
    expires_at: float
    comment: str = ""


class Cancel(Document):
    """Somebody's wish that it ends, and is undone."""

    by: str
    reason: str
    at: float


class Run(Document):
    """One run of one page.

    Args:
        digest: of the page's text, which is kept: a page edited meanwhile changes nothing.
        params: without the sensitive ones, which are kept nowhere; `hidden` names those.
        lock: what nobody else works on meanwhile.
        looking: only its diagnose blocks are run; it changes nothing, and waits for nobody.
        gone: the steps that were let go where each waits (`stepwise`).
        undoing: why its steps are being undone; empty as long as they are not.
    """

    id: str
    page: str
    title: str
    commit: str
    digest: str
    params: dict[str, str]
    hidden: tuple[str, ...] = ()
    environment: str | None = None
    service: str | None = None
    lock: str
    requested_by: str
    requested_at: float
    automatic: bool = False
    alert: str = ""
    incident: str = ""
    stepwise: bool = False
    looking: bool = False
    state: RunState = "waiting"
    waiting_for: str = ""
    outcome: Outcome | None = None
    reason: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    steps: tuple[Step, ...] = ()
    gone: tuple[str, ...] = ()
    approvals: tuple[Approval, ...] = ()
    cancel: Cancel | None = None
    captured: dict[str, str] = {}
    undoing: str = ""
    reopened: int = 0  # how often somebody had it go on after its end

    @property
    def ended(self) -> bool:
        return self.state == "ended"

    @property
    def subject(self) -> str:
        """What the journal says it is about: ``production/web`` where that is known."""
        if self.environment and self.service:
            return f"{self.environment}/{self.service}"
        return self.environment or f"runbook/{self.page}"

    def but(self, **changes: Any) -> Run:
        return self.model_copy(update=changes)

    def tries(self, step: str) -> tuple[Step, ...]:
        """Those that count, the oldest first."""
        return tuple(one for one in self.steps if one.step == step and not one.superseded)

    def last(self, step: str) -> Step | None:
        return next(reversed(self.tries(step)), None)

    @property
    def work_id(self) -> str:
        """Of its durable work, which is another one after each end."""
        return f"{self.id}.{self.reopened}" if self.reopened else self.id

    def with_step(self, changed: Step) -> Run:
        """With this try in place of the one of its number, or as the newest."""
        if changed.number > len(self.steps):
            return self.but(steps=(*self.steps, changed))
        return self.but(steps=tuple(changed if one.number == changed.number else one for one in self.steps))


def number_of(name: str) -> int:
    """7 of ``run-7``; 0 of what is no run's id."""
    digits = name.removeprefix("run-")
    known = name != digits and digits.isascii() and digits.isdigit() and digits[0] != "0"
    return int(digits) if known and len(digits) <= 10 else 0


def binding(run: Run, page: Runbook, block: Block) -> str:
    """SHA-256 of what an approval is for: the commit, the page, the step's text, the parameters, the machines."""
    about = [
        run.commit,
        page.digest,
        block.id,
        block.digest,
        sorted(run.params.items()),
        sorted(run.hidden),
        str(block.on),
    ]
    return hashlib.sha256(json.dumps(about).encode("utf-8", "surrogatepass")).hexdigest()
