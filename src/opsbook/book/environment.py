"""What `environments/*.yaml` says: where services run, in which version, and who may change that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidatorFunctionWrapHandler, WrapValidator, model_validator

from opsbook.book.fields import (
    ListenAddress,
    Name,
    Or,
    OrEmpty,
    Part,
    PlainCommand,
    Port,
    Seconds,
    Variables,
    Version,
    expected,
    wrong,
)  # fmt: skip
from opsbook.book.service import Health, Resources, RouteSpec, RunOverride
from opsbook.book.strategy import StrategyChoice

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
    expires: Seconds = Field(
        86400.0,
        gt=0,
        description="How long an approval is good for.",
        examples=["24h"],
        json_schema_extra={"default": "24h"},
    )
    checklist: bool = Field(True, description="deployment/checklist.md must be followed, when there is one.")


class Hook(Part):
    """A command around a deployment; without a shell, and without placeholders."""

    command: PlainCommand = Field(
        description="The program and its arguments.", examples=[["make", "smoke-test"]]
    )
    timeout: Seconds = Field(
        300.0,
        gt=0,
        description="How long it may take.",
        examples=["5m"],
        json_schema_extra={"default": "5m"},
    )


def _hook(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """A bare list is the command; chosen by shape, so that a refusal is about what was meant."""
    if isinstance(value, dict):
        return handler(value)
    if not isinstance(value, tuple):
        expected("a command as a list of strings, or a mapping with command and timeout")
    return Hook(command=_COMMAND.validate_python(value))


_COMMAND: TypeAdapter[tuple[str, ...]] = TypeAdapter(PlainCommand, config=Part.model_config)
HookSpec = Annotated[
    Hook, WrapValidator(_hook), Or({"type": "array", "items": {"type": "string"}, "minItems": 1})
]


class Hooks(Part):
    """Commands around each deployment, one after the other."""

    before: tuple[HookSpec, ...] = Field(
        (),
        description="Before it starts: when one fails, nothing is deployed.",
        examples=[[["make", "check"], {"command": ["make", "backup"], "timeout": "10m"}]],
    )
    after: tuple[HookSpec, ...] = Field(
        (),
        description="When the new version serves: when one fails, it is taken back.",
        examples=[[["make", "smoke-test"]]],
    )


class Placement(Part):
    """One service in one environment; what is not written is the service's own."""

    version: Version | None = Field(
        None,
        description='What runs here; opsbook writes it after a deployment. Quoted: "2.1".',
        examples=["2.1"],
    )
    replicas: int = Field(1, ge=0, le=1000, description="Instances.")
    strategy: StrategyChoice | None = Field(
        None,
        description="How a new version replaces the old: a strategy's name, or one written in place. "
        "Left out: blue-green; recreate without a port or when stateful.",
        examples=["canary", {"type": "canary", "weight": "10%", "duration": "30m"}],
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
    require_promotion: bool = Field(
        True, description="With promote_from: a release that has not succeeded there is refused here."
    )
    hooks: Annotated[Hooks, OrEmpty] = Field(
        default_factory=Hooks,
        description="Commands around each deployment.",
        examples=[{"after": [["make", "smoke-test"]]}],
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

    @model_validator(mode="after")
    def _promotes_from_somewhere(self) -> Self:
        if "require_promotion" in self.model_fields_set and self.promote_from is None:
            wrong(
                "there is no environment to promote from", "promote_from: staging", at=("require_promotion",)
            )
        return self

    @property
    def name(self) -> str:
        return self.environment

    @property
    def is_production(self) -> bool:
        """People depend on it: it is protected, or called so."""
        return self.protect is not None or self.environment in PRODUCTION
