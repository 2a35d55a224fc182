"""The plain words the world speaks, and the small Protocols behind which its engines stand.

A capability says what should run in these words and is told in these words what does. Nothing here knows a
handbook, a journal or a strategy. All sizes are bytes, all durations seconds, all wall-clock times UTC epoch seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

Protocol_ = Literal["http", "grpc", "tcp"]


class Clock(Protocol):
    """The two clocks; tests hand in their own."""

    def now(self) -> float:
        """Wall clock, UTC epoch seconds. May jump; never used to measure a duration."""

    def monotonic(self) -> float:
        """Seconds that only grow; meaningful within one process."""

    def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How an instance says it is well. ``kind`` ``alive`` only asks that the process has run for `start_period`."""

    kind: Literal["http", "tcp", "command", "alive"]
    path: str = "/"
    command: tuple[str, ...] = ()
    interval: float = 2.0
    timeout: float = 2.0
    start_period: float = 1.0  # `alive`: how long it must have run
    unhealthy_after: int = 3  # consecutive failures, steady state


@dataclass(frozen=True, slots=True)
class Limits:
    cpu: float | None = None  # cores
    memory: int | None = None  # bytes resident, of the whole process group
    open_files: int | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """One release of one service in one environment, ready to be started any number of times.

    `command` and the values of `env` may hold the placeholders ``{port}`` and ``{secret:NAME}``; the runtime fills
    them in at the moment of starting, so that no secret is ever at rest. An unknown secret fails the start.
    """

    service: str
    environment: str
    release: str  # immutable release id, e.g. "web-3f9c2ab81d"
    version: str  # what a person calls it
    command: tuple[str, ...]
    folder: Path | None  # the release's immutable snapshot; the working folder is an instance's own
    env: Mapping[str, str] = field(default_factory=dict)
    port: Protocol_ | None = "http"
    health: HealthCheck = HealthCheck("tcp")
    limits: Limits = Limits()
    user: str | None = None
    stop_grace: float = 10.0  # SIGTERM to SIGKILL

    @property
    def backend(self) -> str:
        """The name of the traffic backend of this release; never reused with another meaning."""
        return f"{self.environment}/{self.service}/{self.release}"


class InstanceState(StrEnum):
    STARTING = "starting"  # recorded, not yet proven running
    RUNNING = "running"  # the process is there; says nothing of health
    BACKOFF = "backoff"  # it died and will be started again at `restart_at`
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"  # it cannot be started: command not found, no such user ...


@dataclass(frozen=True, slots=True)
class Exit:
    """How an instance's last process ended."""

    code: int | None  # exit code, or None when killed by a signal or unknown
    signal: int | None
    at: float
    reason: str = ""  # "memory limit 256 MiB exceeded", "command not found: foo", ...

    def __str__(self) -> str:
        if self.reason:
            return self.reason
        if self.signal is not None:
            return f"killed by signal {self.signal}"
        return f"exit code {self.code}" if self.code is not None else "exit code unknown"


@dataclass(frozen=True, slots=True)
class Instance:
    id: str  # "web-production-k3x9": unique in this opsbook, safe as a folder name
    service: str
    environment: str
    release: str
    version: str
    state: InstanceState
    address: Address | None  # None for a service without a port
    pid: int | None = None
    started_at: float | None = None  # of the current process
    created_at: float = 0.0
    restarts: int = 0  # unplanned ends since it was created
    recent_restarts: tuple[float, ...] = ()  # their times, newest last, at most 20
    restart_at: float | None = None
    last_exit: Exit | None = None

    @property
    def alive(self) -> bool:
        return self.state is InstanceState.RUNNING


@dataclass(frozen=True, slots=True)
class Probe:
    """One look at an instance's health."""

    healthy: bool
    detail: str  # "200 in 3 ms", "connection refused", "exit code 1: ..."
    seconds: float


class Runtime(Protocol):
    """Where instances run: local processes, Docker, Kubernetes. Every verb is idempotent."""

    def start(self, workload: Workload, instance: str) -> Instance:
        """Start `instance` of `workload`, or return it when it already runs. Does not wait for health.

        Raises:
            OpsbookError: it cannot be started at all; the instance is then FAILED with `last_exit.reason`.
        """

    def stop(self, instance: str, *, grace: float | None = None) -> None:
        """End the whole process group: SIGTERM, `grace` seconds, SIGKILL; returns when it is gone. Forgets it."""

    def instances(self, environment: str | None = None, service: str | None = None) -> tuple[Instance, ...]:
        """Every instance that is wanted or still there, as the world is now."""

    def probe(self, instance: str) -> Probe:
        """Ask the instance itself, directly and now (not through the proxy)."""

    def log_tail(self, instance: str, lines: int = 20) -> tuple[str, ...]:
        """The last lines it wrote, stdout and stderr together, secrets masked; also after its end."""

    def adopt(self) -> tuple[Instance, ...]:
        """After a start of opsbook: take over what still runs (pid *and* start time), end what nobody wants."""

    def supervise(self, on_change: Callable[[Instance], None]) -> None:
        """Begin watching in the background: restart with back-off what dies, call `on_change` on every change."""

    def close(self) -> None:
        """Stop watching. Instances go on running."""


# --- traffic ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Endpoint:
    instance: str
    address: Address
    draining: bool = False  # gets no new requests; those under way go on


@dataclass(frozen=True, slots=True)
class Backend:
    """One release's endpoints. The name is ``ENV/SERVICE/RELEASE`` and never changes its meaning."""

    name: str
    protocol: Protocol_
    endpoints: tuple[Endpoint, ...]
    health: HealthCheck = HealthCheck("tcp")
    connect_timeout: float = 1.0
    max_connections: int = 10_000
    max_requests: int = 10_000
    outlier_ejection: bool = True


@dataclass(frozen=True, slots=True)
class Split:
    """Which backend gets which share; weights are integers and need not sum to 100. Empty: 503 with a reason.

    The order counts where a route is sticky: a client that had the first backend keeps it while its weight grows.

    `fallback` takes what the chosen backend cannot: the request when none of its endpoints is healthy, and the retry
    of one that may be sent again. It gets nothing while the chosen one answers, and has no fallback itself.
    """

    weights: tuple[tuple[str, int], ...]
    fallback: str | None = None  # a backend of the table, of the same protocol


TRIAL_HEADER = "x-opsbook-trial"
"""The header of a pin that is opsbook's own; the proxy never passes it on. Others it does."""


@dataclass(frozen=True, slots=True)
class Pin:
    """Requests that carry this header or this cookie go to `backend`, whatever the split says.

    Where nothing of `backend` is healthy they find the split's fallback, as others do.
    """

    backend: str
    header: str | None = None
    cookie: str | None = None
    value: str | None = None  # None: any value but an empty one


@dataclass(frozen=True, slots=True)
class Route:
    """Requests to `host` (None: any) whose path begins with `prefix` (segment-wise) go to `split`."""

    service: str
    split: Split
    host: str | None = None
    prefix: str = "/"
    strip_prefix: bool = False
    pins: tuple[Pin, ...] = ()  # the first that matches counts
    sticky: str | None = None  # the name of a cookie: a client stays with the backend that answered it first
    timeout: float | None = 15.0  # of the whole response; None: no limit (streams)
    idle_timeout: float = 300.0


@dataclass(frozen=True, slots=True)
class Listener:
    """Where requests come in. `kind` http takes HTTP/1.1, HTTP/2 (prior knowledge), gRPC and WebSocket on one port."""

    name: str  # "production" or "production/redis"
    address: Address
    kind: Literal["http", "tcp"]
    routes: tuple[Route, ...] = ()  # http
    split: Split = Split(())  # tcp


@dataclass(frozen=True, slots=True)
class RouteTable:
    """All that the proxy should do. Applied as a whole; `listeners` and `backends` have unique names."""

    listeners: tuple[Listener, ...] = ()
    backends: tuple[Backend, ...] = ()


@dataclass(frozen=True, slots=True)
class EndpointState:
    address: Address
    healthy: bool
    active: int  # requests (http) or connections (tcp) under way
    draining: bool = False


@dataclass(frozen=True, slots=True)
class BackendState:
    name: str
    endpoints: tuple[EndpointState, ...]
    active: int  # requests under way, streams and WebSockets included; connections for tcp

    @property
    def healthy(self) -> int:
        return sum(1 for endpoint in self.endpoints if endpoint.healthy)


@dataclass(frozen=True, slots=True)
class TrafficState:
    """What the proxy itself says it does."""

    alive: bool
    generation: int  # the route table that every listener serves; 0: none
    backends: Mapping[str, BackendState] = field(default_factory=dict)
    pid: int | None = None
    version: str = ""


class Traffic(Protocol):
    """The proxy in front of the instances."""

    def ensure(self) -> None:
        """Start or adopt the proxy; returns when its admin interface answers. Raises OpsbookError with the cause."""

    def apply(self, table: RouteTable) -> int:
        """Write the table atomically and return its generation (grows by one a change; same table, same number)."""

    def confirm(self, generation: int, *, timeout: float = 10.0) -> float:
        """Wait until `generation` is *serving*: the proxy's own state and a probe through every listener say so.

        Returns:
            Seconds it took.

        Raises:
            OpsbookError: the proxy refused the configuration (its reason in the message; the last good table has
                been restored) or the time ran out.
        """

    def observe(self) -> TrafficState: ...

    def supervise(self, on_change: Callable[[str], None]) -> None:
        """Begin watching in the background: a dead proxy is started again within a second with the last table."""

    def stop(self) -> None:
        """End the proxy itself (only `down --services`)."""

    def close(self) -> None:
        """Stop watching. The proxy goes on."""


# --- releases --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SourceRef:
    """Where a release's files come from. Exactly one of `path` (a plain folder) and `git` is set, or neither."""

    path: Path | None = None
    git: str | None = None  # URL or local path of a repository
    subfolder: str = ""  # within the repository
    build: tuple[str, ...] = ()  # run once per release in the snapshot, before it is sealed


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An immutable copy of a source, content-addressed."""

    digest: str  # sha256 hex of the sorted (path, mode, content) list, before the build
    folder: Path  # read-only for everyone
    version: str
    commit: str = ""  # full git commit when the source is git
    committed_at: float | None = None
    author: str = ""
    message: str = ""  # first line


class Releases(Protocol):
    """The store of snapshots."""

    def resolve(self, source: SourceRef, service: str, version: str) -> str:
        """What `version` means now: a commit for git, a digest for a path. Cheap; writes nothing.

        Raises:
            NotFound: no such ref. Conflict: the label stands for other content already.
        """

    def snapshot(
        self, source: SourceRef, service: str, version: str, *, on_output: Callable[[str], None] | None = None
    ) -> Snapshot:
        """Take (or find) the snapshot. Builds in a staging folder and seals by one rename, so a crash leaves nothing.

        Raises:
            Failed: the build failed (tail of its output in details["log"]), or the disk is full.
            Conflict: `version` already labels other content; the hint says how to go on.
        """

    def collect(self, keep: Sequence[str]) -> int:
        """Remove snapshots whose digest is not in `keep`; returns bytes freed."""


# --- secrets ---------------------------------------------------------------------------------------------------


class Secrets(Protocol):
    """Values by name. A value never leaves this interface but into a process's environment."""

    def get(self, name: str) -> str:
        """Raises NotFound naming where it was looked for."""

    def version(self, name: str) -> str:
        """Short id that changes when the value does and tells nothing about it (a keyed hash)."""

    def mask(self, text: str) -> str:
        """`text` with every value that was ever handed out replaced by ``***``."""


# --- telemetry -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tls:
    """Who must vouch for a server."""

    ca: Path | None = None  # PEM; None: those whom this machine trusts
    insecure: bool = False  # anybody


@dataclass(frozen=True, slots=True)
class Target:
    """What is scraped, and the labels every one of its series gets."""

    kind: Literal["metrics", "process", "host", "envoy", "opsbook"]
    labels: Mapping[str, str]  # service, environment, release, version, instance
    address: Address | None = None  # metrics
    path: str = "/metrics"
    pid: int | None = None  # process: usage of its whole group
    name: str = ""  # of the server as in its certificate; empty: the address's host
    tls: Tls | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # secrets among them
    interval: float | None = None  # None: as all others
    timeout: float | None = None
    problem: str = ""  # why it cannot be scraped at present; what each scrape fails with

    @property
    def url(self) -> str:
        """Where it is scraped; empty when it is measured in another way."""
        if self.address is None:
            return ""
        host = self.name or self.address.host
        host = f"[{host}]" if ":" in host else host
        return f"{'http' if self.tls is None else 'https'}://{host}:{self.address.port}{self.path}"


@dataclass(frozen=True, slots=True)
class Sample:
    labels: Mapping[str, str]
    value: float
    at: float


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """What a release answered in a stretch of time."""

    requests: int
    errors: int  # of them, answered with a status of 500 or more
    latency: tuple[
        int, ...
    ] = ()  # requests by response time, one number a bucket, the last one beyond all bounds
    bounds_ms: tuple[
        float, ...
    ] = ()  # the upper bounds of all buckets but the last; empty as long as `latency` is


class Telemetry(Protocol):
    """The hot metrics store and what fills it."""

    def targets(self, targets: Sequence[Target]) -> None:
        """Replace the set of targets; those that left get staleness markers."""

    def interval(self, seconds: float) -> None:
        """How often to scrape: 1 while something is being decided, up to 15 otherwise."""

    def named(self, metric: str, matchers: Mapping[str, str], *, window: float = 60.0) -> Sample | None:
        """A named metric (`error_rate`, `response_time_p95`, `throughput`, ...) over the last `window` seconds.

        Returns:
            None when there is no data. Units: ratios 0..1, times in seconds, throughput in 1/s.

        Raises:
            NotFound: no such named metric; the hint lists them.
        """

    def moment(self) -> float:
        """Now, on the clock that samples are stamped with: UTC epoch seconds that never go back."""

    def counts(
        self, environment: str, service: str, release: str, window: float, *, since: float | None = None
    ) -> RequestCounts | None:
        """What `release` answered in the last `window` seconds; with `since`, an earlier `moment`, from just then.

        With the same `since` the counts never go back; the beginning of a window that is told by its length depends
        on when exactly one asks.

        Returns:
            None when nothing was measured: no request ever, fewer than two scrapes, or the proxy unknown.
        """

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class LogLine:
    at: float
    instance: str
    service: str
    environment: str
    text: str


class Logs(Protocol):
    """What the instances wrote."""

    def read(
        self,
        *,
        environment: str,
        service: str,
        since: float | None = None,
        grep: str | None = None,
        limit: int = 1000,
    ) -> list[LogLine]:
        """Oldest first; the newest `limit` lines that match. Secrets are masked."""

    def follow(
        self,
        *,
        environment: str,
        service: str,
        grep: str | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[LogLine]:
        """Lines as they come, of instances that come and go too."""
