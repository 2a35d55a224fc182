"""A runbook: what a page of `runbooks/` says, and its blocks by their roles."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from opsbook.book.fields import Line, Name, OrEmpty, Part, Seconds
from opsbook.book.runbook_parameters import ParameterName, ParameterSpec

FOLDER = "runbooks/"

Role = Literal["precheck", "diagnose", "run", "check", "rollback", "manual"]
ROLES: tuple[Role, ...] = ("precheck", "diagnose", "run", "check", "rollback", "manual")
Language = Literal["bash", "sh", "http", "promql", "text"]
Risk = Literal["read", "write", "danger"]
OnFailure = Literal["rollback", "stop", "continue"]
STEP_SECONDS = 300.0
COOLDOWN_SECONDS = 600.0


class RunbookHead(Part):
    """The front matter of a page of `runbooks/`; its fenced blocks with a role are what runs."""

    title: Line | None = Field(None, description="What the page is called.", examples=["Disk full"])
    owner: Name | None = Field(None, description="Who answers for it.", examples=["team-shop"])
    severity: Annotated[str, Field(pattern=r"^SEV[1-4]$")] | None = Field(
        None, description="Of the incident that it is for.", examples=["SEV2"]
    )
    alerts: tuple[Line, ...] = Field((), description="The alerts that lead here.", examples=[["DiskFull"]])
    reviewed: Line | None = Field(None, description="When it was read last.", examples=["2026-11-01"])
    review_every: Line | None = Field(None, description="How often it is read.", examples=["90d"])
    lock: Line | None = Field(
        None,
        description="What nobody else may work on meanwhile; `{host}` is the parameter. Left out: the page with its "
        "service, environment and host.",
        examples=["disk/{host}"],
    )
    params: Annotated[Mapping[ParameterName, Annotated[ParameterSpec, OrEmpty]], OrEmpty] = Field(
        default={}, description="What a run is told.", examples=[{"host": {"type": "host"}}]
    )
    risk: Risk = Field("write", description="Of a step that does not say so itself.", examples=["danger"])
    timeout: Seconds | None = Field(
        None, description="Of a whole run, after which it is undone.", examples=["30m"]
    )
    cooldown: Seconds | None = Field(
        None,
        description="After a run, no alert starts another on the same target for so long. Left out: 10m.",
        examples=["15m"],
    )
    automatic_per_hour: int = Field(
        3, ge=0, le=60, description="How many runs alerts may start in an hour; 0: none.", examples=[1]
    )
    environments: tuple[Name, ...] | None = Field(
        None, min_length=1, description="Where alerts may start it. Left out: in all.", examples=[["staging"]]
    )

    @property
    def rest(self) -> float:
        """Seconds between two runs that alerts start."""
        return COOLDOWN_SECONDS if self.cooldown is None else self.cooldown


@dataclass(frozen=True, slots=True)
class Retry:
    """How often something is tried, and the seconds between two tries."""

    times: int = 1
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block runs.

    Args:
        kind: ``local``: where opsbook is; ``host``: on the machine that the parameter `host` names; ``hosts``: on all
            of `hosts`; ``instance``: in an instance of what the parameters `service` and `environment` name.
        max_fail: how many of `hosts` may fail.
    """

    kind: Literal["local", "host", "hosts", "instance"] = "local"
    hosts: tuple[str, ...] = ()
    max_fail: int = 0

    def __str__(self) -> str:
        return f"hosts:{','.join(self.hosts)}" if self.hosts else self.kind


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """A request and the status that it should be answered with. `url` may begin with ``{url:SERVICE}``."""

    method: str
    url: str
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fence with a role.

    Args:
        title: the heading it stands under, without its number.
        for_: of a check or a rollback: the step that it belongs to.
        timeout: of one try, in seconds.
        capture: the variable that later blocks find its output in.
    """

    id: str
    role: Role
    language: Language
    script: str
    line: int
    title: str = ""
    for_: str = ""
    timeout: float = STEP_SECONDS
    risk: Risk = "read"
    approve: str | None = None
    on_failure: OnFailure = "rollback"
    idempotent: bool = False
    retry: Retry = Retry()
    sensitive: bool = False
    capture: str = ""
    on: Place = Place()
    request: HttpCheck | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides what it does; where it stands in the page does not."""
        said = repr((self.role, self.language, self.script, self.for_, self.timeout, self.risk, self.approve,
                     self.on_failure, self.idempotent, self.retry, self.sensitive, self.capture, self.on))  # fmt: skip
        return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def repeatable(self) -> bool:
        """Whether it may be run again without anybody being asked."""
        return self.risk == "read" or self.idempotent


@dataclass(frozen=True, slots=True, kw_only=True)
class Runbook:
    """One page. `source` is its whole text: a run keeps it, so that nobody edits what is under way.

    A page without blocks is documentation, and cannot be run.
    """

    name: str
    file: str
    source: str
    head: RunbookHead
    title: str
    blocks: tuple[Block, ...] = ()
    fences: int = 0  # all of them, those without a role too
    summary: str = ""
    lines: Mapping[str, int] = field(default_factory=dict)  # of the front matter's keys

    @property
    def executable(self) -> bool:
        return any(block.role in {"run", "manual", "diagnose", "check", "precheck"} for block in self.blocks)

    @property
    def digest(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.source.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def steps(self) -> tuple[Block, ...]:
        """What changes something, or asks a person to: in order."""
        return tuple(block for block in self.blocks if block.role in {"run", "manual"})

    def of_role(self, role: Role) -> tuple[Block, ...]:
        return tuple(block for block in self.blocks if block.role == role)

    def block(self, name: str) -> Block | None:
        return next((block for block in self.blocks if block.id == name), None)

    def checks_of(self, step: str) -> tuple[Block, ...]:
        return tuple(block for block in self.blocks if block.role == "check" and block.for_ == step)

    def rollbacks_of(self, step: str) -> tuple[Block, ...]:
        return tuple(block for block in self.blocks if block.role == "rollback" and block.for_ == step)
