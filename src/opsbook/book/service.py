"""What `services/*.yaml` says: one service, how it runs, how it is well, and where its source is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from opsbook.book.fields import (
    Bytes,
    Command,
    Cores,
    Host,
    Image,
    Line,
    Name,
    OrEmpty,
    Part,
    PlainCommand,
    Port,
    PortCommand,
    ProbePath,
    Seconds,
    SecondsOrNone,
    UrlPath,
    User,
    Variables,
    wrong,
)  # fmt: skip

PortKind = Literal["http", "grpc", "tcp"]
HealthKind = Literal["http", "tcp", "command", "alive"]


class Run(Part):
    """How one instance is started."""

    command: Command | None = Field(
        None,
        description="The program and its arguments, started without a shell; for the process runtime. "
        "{port} and {url:SERVICE} are filled in at the start; {secret:NAME} only in env.",
        examples=[["python", "-m", "shop.web", "--port", "{port}"]],
    )
    image: Image | None = Field(
        None,
        description="The container image without its version; for the docker and kubernetes runtimes.",
        examples=["registry.example.com/shop/web"],
    )
    port: PortKind | None = Field(
        None,
        description="What the service speaks on its port; the number is opsbook's. Left out: a worker without a port.",
    )
    env: Variables = Field(
        default={},
        description="Environment variables; the values may hold {port}, {secret:NAME} and {url:SERVICE}.",
        examples=[{"DATABASE_URL": "{secret:database-url}"}],
    )
    user: User | None = Field(
        None, description="The user it runs as, when opsbook runs as root.", examples=["www-data"]
    )
    stop_grace: Seconds = Field(
        10.0, description="From SIGTERM to SIGKILL.", examples=["10s"], json_schema_extra={"default": "10s"}
    )

    @model_validator(mode="after")
    def _can_start(self) -> Self:
        if self.command is None and self.image is None:
            wrong("expected a command or an image", 'command: ["python", "app.py", "--port", "{port}"]')
        return self


class RunOverride(Part):
    """What an environment changes in how a service is started; everything else is the service's."""

    command: Command | None = Field(None, description="Instead of the service's command.")
    image: Image | None = Field(None, description="Instead of the service's image.")
    env: Variables = Field(default={}, description="Added to the service's variables.")
    user: User | None = Field(None, description="Instead of the service's user.")
    stop_grace: Seconds | None = Field(None, description="Instead of the service's.")


class Source(Part):
    """Where a release's files come from."""

    path: Line | None = Field(
        None, description="A folder, relative to the handbook folder.", examples=["../web"]
    )
    git: Line | None = Field(
        None,
        description="A repository; a version is then a branch, a tag or a commit.",
        examples=["https://git.example.com/shop.git"],
    )
    subfolder: str = Field("", description="The service's folder within the repository.", examples=["web"])
    build: PlainCommand | tuple[()] = Field(
        (),
        description="Run once for each release, in its snapshot, before it is sealed.",
        examples=[["make", "dist"]],
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.git is None):
            wrong("expected exactly one of path and git", "path: ../web")
        if self.subfolder and self.git is None:
            wrong("subfolder belongs to git", "write it as part of path", at=("subfolder",))
        if self.subfolder.startswith("/") or ".." in self.subfolder.split("/"):
            wrong("expected a folder within the repository", at=("subfolder",))
        return self


class Health(Part):
    """How an instance says that it is well; at most one of path, tcp and command."""

    path: ProbePath | None = Field(
        None, description="An HTTP path that answers 200 to 399 when well.", examples=["/healthz"]
    )
    tcp: bool = Field(False, description="Well when the port accepts connections. The default with a port.")
    command: PortCommand | None = Field(
        None,
        description="A command that exits with 0 when well; it may hold {port}.",
        examples=[["redis-cli", "-p", "{port}", "ping"]],
    )
    interval: Seconds = Field(
        2.0, gt=0, description="Between two checks.", examples=["2s"], json_schema_extra={"default": "2s"}
    )
    timeout: Seconds = Field(
        2.0, gt=0, description="Of one check.", examples=["2s"], json_schema_extra={"default": "2s"}
    )
    start_timeout: Seconds = Field(
        60.0,
        gt=0,
        description="How long a new instance may take to become healthy.",
        examples=["60s"],
        json_schema_extra={"default": "60s"},
    )
    unhealthy_after: int = Field(3, ge=1, le=100, description="Consecutive failures that make it unhealthy.")

    @property
    def kind(self) -> HealthKind:
        """What is asked; ``alive`` when only that the process runs."""
        if self.path is not None:
            return "http"
        if self.command is not None:
            return "command"
        return "tcp" if self.tcp else "alive"

    def for_port(self, port: PortKind | None) -> Health:
        """The check itself, where nothing was written: the port when there is one, else that the process runs."""
        return self.model_copy(update={"tcp": True}) if port and self.kind == "alive" else self

    def overridden(self, override: Health | None) -> Health:
        """With every key that `override` writes; another kind of check replaces this one."""
        if override is None:
            return self
        written = override.model_fields_set
        kept = (
            {} if not written & {"path", "tcp", "command"} else {"path": None, "tcp": False, "command": None}
        )
        return self.model_copy(update={**kept, **{name: getattr(override, name) for name in written}})

    @model_validator(mode="after")
    def _one_check(self) -> Self:
        if sum((self.path is not None, self.tcp, self.command is not None)) > 1:
            wrong("expected only one of path, tcp and command", "keep the one that proves most")
        return self


class Metrics(Part):
    """Where the service tells of itself in the Prometheus text format."""

    path: UrlPath = Field("/metrics", description="The HTTP path on the service's own port.")


class Resources(Part):
    """What one instance may use; nothing written means no limit."""

    cpu: Cores | None = Field(None, description="Cores.", examples=["500m", 2])
    memory: Bytes | None = Field(
        None, description="Resident memory of all its processes.", examples=["256Mi"]
    )
    open_files: int | None = Field(None, ge=16, description="File descriptors.", examples=[4096])


class RouteSpec(Part):
    """Which requests come to the service."""

    host: Host | None = Field(None, description="Only requests for this host.", examples=["shop.example.com"])
    path: UrlPath | None = Field(
        None,
        description="Only requests whose path begins with it, segment by segment. Left out: / with a host or when it "
        "is the only HTTP service of the environment, else /NAME with the prefix stripped.",
        examples=["/api"],
    )
    strip_prefix: bool = Field(False, description="The service sees the path without the prefix.")
    port: Port | None = Field(
        None, description="tcp services: the entry port; left out, opsbook assigns one.", examples=[5432]
    )
    timeout: SecondsOrNone = Field(
        15.0,
        description='Of the whole response; "none" for streams without an end.',
        examples=["15s", "none"],
        json_schema_extra={"default": "15s"},
    )


class Service(Part):
    """One service: `services/NAME.yaml`."""

    service: Name = Field(description="The name; the file's name without .yaml.", examples=["web"])
    owner: Name | None = Field(
        None, description="Who answers for it: a contact of opsbook.yaml. Left out: the handbook's owner."
    )
    description: str | None = Field(
        None, description="What it is for, in one line.", examples=["Storefront API"]
    )
    run: Run = Field(description="How an instance is started.")
    source: Source | None = Field(
        None,
        description="Where its files come from. Left out: the command needs none, or an image brings them.",
    )
    health: Annotated[Health, OrEmpty] = Field(
        default=Health(),
        description="How an instance says that it is well. Left out: its port accepts connections, or it runs.",
        json_schema_extra={"default": {}},
    )
    metrics: Metrics | None = Field(
        None, description="Where it tells of itself.", examples=[{"path": "/metrics"}]
    )
    resources: Annotated[Resources, OrEmpty] = Field(
        default=Resources(),
        description="What one instance may use.",
        examples=[{"cpu": "500m", "memory": "256Mi"}],
        json_schema_extra={"default": {}},
    )
    depends_on: tuple[Name, ...] = Field(
        (),
        description="Services that must be well before it starts; deployed in this order.",
        examples=[["postgres"]],
    )
    route: RouteSpec | None = Field(
        None, description="Which requests come to it.", examples=[{"host": "shop.example.com"}]
    )
    stateful: bool = Field(False, description="It keeps data of its own: instances are not interchangeable.")
    links: Annotated[Mapping[str, Line], OrEmpty] = Field(
        default={}, description="Pages about it.", examples=[{"repository": "https://git.example.com/shop"}]
    )

    @property
    def name(self) -> str:
        return self.service
