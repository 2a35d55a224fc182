"""What `monitoring/targets.yaml` says: what is scraped besides the services, the hosts and the proxy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from opsbook.book.alerts import Labels, Severity
from opsbook.book.fields import Line, Name, Part, ProbePath, Seconds, SecretText, matching, wrong

TARGETS = "monitoring/targets.yaml"
OWN_JOBS = frozenset({"metrics", "process", "host", "envoy", "opsbook"})
"""Values of the label ``job`` that say how opsbook itself measures something."""

_FORBIDDEN = frozenset({"host", "content-length", "transfer-encoding", "connection", "authorization"})


def _list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


HostPort = Annotated[
    str,
    matching(
        r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}",
        "host:port, such as db.example.com:9187",
        lambda text: (
            f'write the address as "{text.split("://")[1].split("/")[0]}", and scheme: and path: beside it'
            if "://" in text
            else ""
        ),
    ),
]
FilePattern = Annotated[
    str,
    matching(
        r"[^*\n]*[^/*\n]*\*?[^/*\n]*\.(json|ya?ml)",
        "a file that ends in .json, .yml or .yaml, whose last part may have one *",
    ),
]
HeaderName = Annotated[str, matching(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", "the name of a header")]


class Access(Part):
    """As whom, and over which certificates, a server is asked."""

    token: SecretText | None = Field(
        None, description="A bearer token.", examples=["{secret:exporter-token}"]
    )
    user: SecretText | None = Field(
        None, description="For basic authentication, with password.", examples=["scraper"]
    )
    password: SecretText | None = Field(
        None, description="For basic authentication.", examples=["{secret:exporter-password}"]
    )
    headers: Mapping[HeaderName, SecretText] = Field(
        default={}, description="Sent with every request.", examples=[{"X-Scope-OrgID": "shop"}]
    )
    ca: Line | None = Field(
        None,
        description="A PEM file with the certificates that vouch for the server, seen from the handbook's folder. "
        "Left out: those of this machine.",
        examples=["security/exporters-ca.pem"],
    )
    insecure: bool = Field(
        False, description="Take any certificate. Whoever is on the way can read the token."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.token is not None and self.user is not None:
            wrong("expected either token or user, not both", "remove one of them", at=("token",))
        if (self.user is None) is not (self.password is None):
            missing = "user" if self.user is None else "password"
            wrong(
                f"user and password go together, {missing} is missing",
                at=("password" if self.user is None else "user",),
            )
        if self.ca is not None and self.insecure:
            wrong("with insecure nobody looks at ca", "remove insecure", at=("insecure",))
        for name in self.headers:
            if name.lower() in _FORBIDDEN:
                hint = "write token, or user and password" if name.lower() == "authorization" else ""
                wrong(f"{name} is not yours to set", hint, at=("headers", name))
        return self


class TargetSpec(Access):
    """Exporters and other servers that speak Prometheus' text format, of one kind."""

    name: Name = Field(description="What they are; the label job of their series.", examples=["postgres"])
    addresses: Annotated[tuple[HostPort, ...], BeforeValidator(_list)] = Field(
        (), description="Where they are.", examples=[["db1.example.com:9187", "db2.example.com:9187"]]
    )
    files: Annotated[tuple[FilePattern, ...], BeforeValidator(_list)] = Field(
        (),
        description="Files with further addresses in the format of Prometheus' file_sd, seen from the handbook's "
        "folder; they may come, change and go at any time.",
        examples=[["monitoring/targets/*.json"]],
    )
    scheme: Literal["http", "https"] = Field("http", description="How they are asked.")
    path: ProbePath = Field("/metrics", description="What they are asked for, with its parameters.")
    interval: Seconds = Field(
        15.0,
        ge=1,
        le=120,
        description="How often, at most every two minutes: what is older than five is no present value.",
        examples=["30s"],
        json_schema_extra={"default": "15s"},
    )
    timeout: Seconds = Field(
        5.0,
        gt=0,
        le=120,
        description="After which there was no answer.",
        examples=["5s"],
        json_schema_extra={"default": "5s"},
    )
    labels: Labels = Field(
        default={},
        description="Further labels of their series; with service and environment they are part of a service.",
        examples=[{"service": "database", "environment": "production"}],
    )
    severity: Severity = Field("warning", description="Of the alert when one of them does not answer.")
    alert: bool = Field(True, description="Whether there is such an alert.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.addresses and not self.files:
            wrong("has neither addresses nor files", 'addresses: ["db.example.com:9187"]')
        if self.name in OWN_JOBS:
            wrong(f"{self.name} is a name that opsbook uses itself", at=("name",))
        if self.timeout > self.interval:
            wrong("timeout is longer than interval", at=("timeout",))
        if (self.ca or self.insecure) and self.scheme == "http" and not self.files:
            key = "ca" if self.ca else "insecure"
            wrong(f"{key} has a meaning with https only", "scheme: https", at=(key,))
        for index, address in enumerate(self.addresses):
            if address in self.addresses[:index]:
                wrong(f"{address} is there twice", at=("addresses", index))
            if int(address.rpartition(":")[2]) not in range(1, 65536):
                wrong(f"{address} has no port between 1 and 65535", at=("addresses", index))
        if "job" in self.labels:
            wrong("job is the name", at=("labels", "job"))
        return self


class TargetsFile(Part):
    """The whole file."""

    targets: tuple[TargetSpec, ...] = Field((), description="What is scraped.")

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        seen: set[str] = set()
        for number, target in enumerate(self.targets):
            if target.name in seen:
                wrong(
                    f"there are two targets {target.name}",
                    "give each its own name",
                    at=("targets", number, "name"),
                )
            seen.add(target.name)
        return self
