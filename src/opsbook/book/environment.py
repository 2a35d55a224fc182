"""What `environments/*.yaml` says: where services run, in which version, and who may change that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from opsbook.book.fields import ListenAddress, Name, OrEmpty, Part, Port, Variables, Version
from opsbook.book.service import Health, Resources, RouteSpec, RunOverride

Runtime = Literal["process", "docker", "kubernetes"]
WhenBusy = Literal["refuse", "queue", "supersede"]

PRODUCTION = frozenset({"production", "prod", "live"})


class Entry(Part):
    """Where requests come in."""

    port: Port = Field(description="The port for HTTP and gRPC.", examples=[8080])
    host: ListenAddress = Field(
        "127.0.0.1",
        description="The address it listens on; 0.0.0.0 for every network.",
        examples=["192.0.2.10"],
    )


class Protect(Part):
    """What a change needs before it is made."""

    approvals: int = Field(
        1, ge=1, le=10, description="How many people must approve; never who asked for it."
    )
    approvers: tuple[Name, ...] = Field(
        min_length=1, description="Contacts who may approve: people or teams.", examples=[["team-shop"]]
    )


class Placement(Part):
    """One service in one environment; what is not written is the service's own."""

    version: Version | None = Field(
        None,
        description='What runs here; opsbook writes it after a deployment. Quoted: "2.1".',
        examples=["2.1"],
    )
    replicas: int = Field(1, ge=0, le=1000, description="Instances.")
    strategy: Name | None = Field(
        None,
        description="How a new version replaces the old. "
        "Left out: blue-green; recreate without a port or when stateful.",
        examples=["canary"],
    )
    env: Variables = Field(
        default={},
        description="Variables added to the service's, or instead of them.",
        examples=[{"LOG_LEVEL": "warning"}],
    )
    route: RouteSpec | None = Field(None, description="Keys that replace those of the service's route.")
    resources: Resources | None = Field(
        None, description="Keys that replace those of the service's resources."
    )
    health: Health | None = Field(None, description="Keys that replace those of the service's health.")
    run: RunOverride | None = Field(None, description="Keys that replace those of the service's run.")


class Environment(Part):
    """One environment: `environments/NAME.yaml`."""

    environment: Name = Field(description="The name; the file's name without .yaml.", examples=["production"])
    runtime: Runtime = Field("process", description="Where its instances run.")
    entry: Entry = Field(
        description="Where requests come in; routed by host and path.", examples=[{"port": 8080}]
    )
    promote_from: Name | None = Field(
        None, description="The environment in which a version must run before.", examples=["staging"]
    )
    protect: Protect | None = Field(
        None,
        description="What a change here needs. Left out: nothing.",
        examples=[{"approvals": 1, "approvers": ["team-shop"]}],
    )
    when_busy: WhenBusy = Field(
        "refuse",
        description="What happens to a deployment while another one of the same service is under way.",
    )
    services: Annotated[Mapping[Name, Annotated[Placement, OrEmpty]], OrEmpty] = Field(
        default={},
        description="The services that run here; one that is not listed does not.",
        examples=[{"web": {"version": "2.1", "replicas": 2, "strategy": "canary"}}],
    )

    @property
    def name(self) -> str:
        return self.environment

    @property
    def is_production(self) -> bool:
        """People depend on it: it is protected, or called so."""
        return self.protect is not None or self.environment in PRODUCTION
