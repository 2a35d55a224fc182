"""The nouns of deployment. All are frozen, all are JSON documents of the journal's state.

Times are UTC epoch seconds, durations seconds, weights integers whose sum is what counts as 100 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["deploy", "rollback", "scale", "restart"]
StrategyType = Literal["blue-green", "rolling", "recreate", "canary"]


class Document(BaseModel):
    """A frozen JSON document."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def but(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return self.model_copy(update=changes)


BASELINE = "~baseline"
"""Added to a release's id for the group of fresh instances that a canary is compared with."""


class Phase(StrEnum):
    PENDING = "pending"
    GATED = "gated"
    STARTING = "starting"
    READY = "ready"
    SHIFTING = "shifting"
    ANALYSING = "analysing"
    PROMOTING = "promoting"
    DRAINING = "draining"
    DONE = "done"
    ABORTING = "aborting"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    FAILED_NEEDS_HUMAN = "failed_needs_human"

    @property
    def final(self) -> bool:
        return self in _FINAL


_FINAL = {Phase.DONE, Phase.ROLLED_BACK, Phase.FAILED, Phase.FAILED_NEEDS_HUMAN}


class Outcome(StrEnum):
    SUCCEEDED = "succeeded"
    ROLLED_BACK = "rolled_back"  # opsbook took it back: the evidence is in `reason`
    FAILED = "failed"  # it never touched traffic and there was nothing to go back to, or a person is needed
    ABORTED = "aborted"  # a person took it back
    SUPERSEDED = "superseded"  # a newer deployment took its place


class Release(Document):
    """An immutable thing that can be started: source snapshot, rendered configuration, versions of its secrets."""

    id: str
    service: str
    environment: str
    version: str
    digest: str  # of the source snapshot
    folder: str  # of the snapshot; "" for none
    config: dict[
        str, Any
    ]  # what the handbook rendered to: command, env (secret references), port, health, ...
    secrets: dict[str, str] = {}  # name to version
    handbook_commit: str = ""
    commit: str = ""  # of the source, when it is git
    committed_at: float | None = None
    author: str = ""
    message: str = ""
    created_at: float = 0.0

    @property
    def port(self) -> str | None:
        return self.config.get("port")


class Member(Document):
    """An instance as traffic sees it."""

    instance: str
    draining: bool = False


class Group(Document):
    """The instances of one release that traffic knows."""

    release: str
    members: tuple[Member, ...] = ()


class Entry(Document):
    """Where a service's requests come in. Remembered when deployed, so that a broken handbook changes no route."""

    listener: str
    kind: Literal["http", "tcp"]
    address: str
    port: int
    host: str | None = None
    path: str = "/"
    strip_prefix: bool = False
    timeout: float | None = 15.0

    @property
    def url(self) -> str:
        """What a person on this machine types to reach it."""
        if self.kind == "tcp":
            return f"tcp://{self.address}:{self.port}"
        path = self.path if self.path.endswith("/") else self.path + "/"
        return f"http://{self.host or self.address}:{self.port}{path}"


class Warm(Document):
    """The previous release, kept running without traffic until `until`."""

    release: str
    version: str
    until: float


class Hold(Document):
    """A release that was taken back; nothing redeploys it by itself."""

    release: str
    version: str
    reason: str
    at: float
    deployment: str


class Watch(Document):
    """After `done` the triggers still hold until `until`."""

    deployment: str
    release: str
    back_to: str
    until: float


class Pinning(Document):
    """Requests that carry this header or cookie always go to the new version."""

    header: str | None = None
    cookie: str | None = None


class Trial(Document):
    """A release under test beside the promoted one."""

    release: str
    pin: Pinning | None = None
    sticky: bool = False
    token: str = ""  # requests that carry it in the header x-opsbook-trial go to the release: opsbook's own


class Placement(Document):
    """What runs of one service in one environment: the intent that the world is brought to."""

    environment: str
    service: str
    release: str = ""  # promoted; "" before the first deployment
    version: str = ""
    strategy: str = ""
    replicas: int = 0
    groups: tuple[Group, ...] = ()
    weights: dict[str, int] = {}  # by release; absent: no traffic
    previous: Warm | None = None
    entry: Entry | None = None
    holds: tuple[Hold, ...] = ()
    watch: Watch | None = None
    trial: Trial | None = None
    deployment: str = ""  # the last one that changed it
    revision: int = 0

    @property
    def subject(self) -> str:
        return f"{self.environment}/{self.service}"

    def members(self, release: str) -> tuple[Member, ...]:
        return next((group.members for group in self.groups if group.release == release), ())

    def instances(self) -> dict[str, str]:
        """Every instance it knows, to its release."""
        return {member.instance: group.release for group in self.groups for member in group.members}

    def draining(self) -> set[str]:
        return {member.instance for group in self.groups for member in group.members if member.draining}

    def with_members(self, release: str, instances: Mapping[str, bool]) -> Placement:
        """With `instances` (id to draining) added to, or changed in, the group of `release`."""
        known = {member.instance: member.draining for member in self.members(release)} | dict(instances)
        group = Group(
            release=release, members=tuple(Member(instance=i, draining=d) for i, d in known.items())
        )
        others = tuple(g for g in self.groups if g.release != release)
        return self.but(groups=(*others, group))

    def without(self, instances: set[str]) -> Placement:
        """With `instances` forgotten, and groups and weights of releases that have none left."""
        groups = []
        for group in self.groups:
            members = tuple(member for member in group.members if member.instance not in instances)
            if members:
                groups.append(group.but(members=members))
        kept = {group.release for group in groups}
        weights = {release: weight for release, weight in self.weights.items() if release in kept}
        return self.but(groups=tuple(groups), weights=weights)


class CanaryStep(Document):
    weight: int  # percent
    hold: float = 0.0


class Rule(Document):
    """One thing that a new version must keep. Exactly one of `max`, `min`, `compare`."""

    metric: str
    max: float | None = None
    min: float | None = None
    compare: Literal["stable"] | None = None
    limit: int = 0  # consecutive failures that are tolerated
    window: float = 60.0

    @property
    def name(self) -> str:
        if self.compare is not None:
            return f"{self.metric} against {self.compare}"
        return f"{self.metric} ≤ {self.max:g}" if self.max is not None else f"{self.metric} ≥ {self.min:g}"


class ProbeLoad(Document):
    """Synthetic requests to the canary alone."""

    path: str
    rate: float  # 1/s


Reaction = Literal["rollback", "wait"]


class Strategy(Document):
    """A strategy as it was when the deployment was asked for, percentages resolved to counts."""

    name: str
    type: StrategyType
    max_surge: int = 1
    max_unavailable: int = 0
    keep_previous: float = 600.0
    drain_timeout: float = 30.0
    ready_for: float = 0.0
    start_timeout: float = 60.0
    watch: float = 60.0
    crash_loop: int = 3  # more unplanned ends than this ...
    crash_window: float = 60.0  # ... within this many seconds are a crash loop
    steps: tuple[CanaryStep, ...] = ()
    analysis: tuple[Rule, ...] = ()
    min_samples: int = 50
    inconclusive_after: float = 600.0  # beyond the hold
    on_inconclusive: Reaction = "rollback"
    on_no_data: Reaction = "wait"
    on_error: Reaction = "rollback"
    dry_run: bool = False  # verdicts are recorded and not acted upon
    baseline: bool = False  # compare with fresh instances of the stable version
    sticky: bool = False
    pin: Pinning | None = None
    probe_load: ProbeLoad | None = None
    rollback_on: tuple[str, ...] = ("health", "crash")


class Transition(Document):
    at: float
    phase: Phase
    message: str
    evidence: dict[str, Any] = {}


class Abort(Document):
    by: str
    reason: str
    at: float
    superseded_by: str = ""


class Deployment(Document):
    """One change of one service in one environment, from request to outcome."""

    id: str
    kind: Kind
    service: str
    environment: str
    version: str
    strategy: Strategy
    replicas: int
    release: str = ""  # known once the snapshot is taken
    instances: tuple[str, ...] = ()  # the ones this deployment brings to traffic
    baseline: tuple[str, ...] = ()  # fresh instances of the stable version, for the comparison only
    backups: tuple[str, ...] = ()  # started on the way back, in place of ones already stopped
    before: Placement  # what to go back to
    phase: Phase = Phase.PENDING
    source_release: str = (
        ""  # promoted from another environment: ENV/SERVICE/RELEASE, whose sealed source it takes
    )
    incident: str = ""  # the open incident it is for
    trial_token: str = ""  # nobody can guess it
    step: int = 0
    allowed_step: int = -1  # a person let it go on beyond this step although the analysis did not
    promoted: bool = False
    outcome: Outcome | None = None
    reason: str = ""
    requested_by: str = ""
    requested_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    phase_at: float = 0.0
    transitions: tuple[Transition, ...] = ()
    abort: Abort | None = None  # kept in a document of its own, so that no other write can lose it
    when_busy: Literal["refuse", "queue", "supersede"] = "refuse"
    rollout: str = ""
    automatic: bool = False  # asked for by opsbook itself
    reverts: str = ""  # the deployment that this rollback takes back
    reverted_by: str = ""
    log_tail: tuple[str, ...] = ()
    shift_seconds: float | None = None  # until the route change was serving
    plan: dict[str, Any] = Field(default_factory=dict)  # entry, config ... as planned

    @property
    def subject(self) -> str:
        return f"{self.environment}/{self.service}"

    @property
    def finished(self) -> bool:
        return self.phase.final


class Rollout(Document):
    """Several services deployed one after the other in dependency order."""

    id: str
    environment: str
    deployments: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]  # ids that may run side by side, in order
    together: bool = False  # when one is taken back, so are those done before it, in reverse
    requested_by: str = ""
    outcome: Outcome | None = None
