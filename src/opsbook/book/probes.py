"""What `monitoring/probes.yaml` says: things that opsbook does not run, and how it is seen that they are well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from opsbook.book.alerts import Labels, Severity
from opsbook.book.fields import Line, Name, Part, Port, Seconds, Template, expected, matching, wrong

PROBES = "monitoring/probes.yaml"
KINDS = ("http", "tcp", "dns", "tls", "icmp", "grpc", "ssh")

_STATUS = {"1xx": (100, 199), "2xx": (200, 299), "3xx": (300, 399), "4xx": (400, 499), "5xx": (500, 599)}
_STATUSES = "a status such as 200, or a class such as 2xx"


def _status(value: Any) -> tuple[int, int]:
    if isinstance(value, str) and value.lower() in _STATUS:
        return _STATUS[value.lower()]
    if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599:
        return (value, value)
    return expected(_STATUSES)


def _statuses(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


def _address(value: Any) -> Any:
    """``host:port`` in short, for ``{host: ..., port: ...}``."""
    if isinstance(value, str):
        host, found, port = value.rpartition(":")
        if not found or not host or not port.isdecimal():
            expected("host:port")
        return {"host": host.strip("[]"), "port": int(port)}
    return value


def _place(value: Any) -> Any:
    """``host`` or ``host:port`` in short."""
    if isinstance(value, str):
        return _address(value) if value.count(":") == 1 else {"host": value.strip("[]")}
    return value


def _under(key: str) -> BeforeValidator:
    """A text alone stands for the field `key`."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


_HOST = r"[A-Za-z0-9._-]+|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*"

Pattern = Annotated[str, matching(r"(?s).+", "a regular expression (RE2)")]
HostName = Annotated[str, matching(_HOST, "a host's name or address")]
Url = Annotated[Template, matching(r"https?://\S+", "an http or https URL")]
StatusRange = Annotated[tuple[int, int], BeforeValidator(_status)]


class HttpProbe(Part):
    """A request, and what its answer must be."""

    url: Url = Field(
        description="What is asked for; {secret:NAME} is filled in.",
        examples=["https://pay.example.com/health"],
    )
    method: Literal["GET", "HEAD", "POST", "PUT", "OPTIONS"] = Field("GET", description="How.")
    headers: Mapping[str, Template] = Field(
        default={}, description="Sent with it.", examples=[{"Authorization": "Bearer {secret:pay}"}]
    )
    body: str = Field("", description="Sent with it.")
    status: Annotated[tuple[StatusRange, ...], BeforeValidator(_statuses), Field(min_length=1)] = Field(
        ((200, 299),),
        description="What it may answer.",
        examples=[[200, "3xx"]],
        json_schema_extra={"default": "2xx"},
    )
    contains: Pattern | None = Field(None, description="What must be found in the answer.", examples=['"ok"'])
    redirects: bool = Field(True, description="Whether they are followed.")
    verify: bool = Field(True, description="Whether the certificate must be vouched for.")
    max_time: Seconds | None = Field(None, description="It must not take longer.", examples=["500ms"])


class TcpProbe(Part):
    """A connection; with send and expect, what is said and must be answered."""

    host: HostName = Field(description="Where.", examples=["db.example.com"])
    port: Port = Field(description="The port.", examples=[5432])
    send: str = Field("", description="What is said.", examples=["QUIT"])
    expect: Pattern | None = Field(None, description="What must be answered.", examples=["PONG"])


class DnsProbe(Part):
    """A question to a name server."""

    name: HostName = Field(description="The name that is asked for.", examples=["shop.example.com"])
    record: Literal["A", "AAAA", "CNAME", "MX", "NS", "TXT", "SRV", "CAA", "SOA", "PTR"] = Field(
        "A", description="Which record."
    )
    expect: tuple[str, ...] = Field(
        (), description="What must be among the answers.", examples=[["10.0.0.7"]]
    )
    server: HostName | None = Field(None, description="Who is asked. Left out: this machine's servers.")
    port: Port = Field(53, description="The name server's port.")


class TlsProbe(Part):
    """A certificate that is valid, and for some time yet."""

    host: HostName = Field(description="Where.", examples=["shop.example.com"])
    port: Port = Field(443, description="The port.")
    name: HostName | None = Field(None, description="As whom the server is addressed. Left out: host.")
    expires_in: Seconds = Field(
        14 * 86400.0,
        description="It must be valid for so long yet.",
        examples=["14d"],
        json_schema_extra={"default": "14d"},
    )
    verify: bool = Field(True, description="Whether somebody known must vouch for it.")


class IcmpProbe(Part):
    """Echoes; one answer is enough."""

    host: HostName = Field(description="Where.", examples=["10.0.0.1"])
    count: int = Field(3, ge=1, le=20, description="How many are sent.")


class GrpcProbe(Part):
    """The standard health service of gRPC."""

    host: HostName = Field(description="Where.", examples=["orders.example.com"])
    port: Port = Field(description="The port.", examples=[9000])
    service: str = Field("", description="Which of its services. Left out: the server as a whole.")
    tls: bool = Field(False, description="Whether it speaks TLS.")


class SshProbe(Part):
    """An exchange of keys; nobody signs in."""

    host: HostName = Field(description="Where.", examples=["bastion.example.com"])
    port: Port = Field(22, description="The port.")
    fingerprint: Annotated[str, matching(r"SHA256:[A-Za-z0-9+/]+=*", "SHA256:...")] | None = Field(
        None, description="The key that the server must have.", examples=["SHA256:9f2c..."]
    )


class ProbeSpec(Part):
    """One thing that is looked at; exactly one of http, tcp, dns, tls, icmp, grpc and ssh."""

    name: Name = Field(description="What it is called.", examples=["payment-provider"])
    http: Annotated[HttpProbe, _under("url")] | None = Field(None, description="A URL, or more of it.")
    tcp: Annotated[TcpProbe, BeforeValidator(_address)] | None = Field(
        None, description="host:port, or more of it."
    )
    dns: Annotated[DnsProbe, _under("name")] | None = Field(None, description="A name, or more of it.")
    tls: Annotated[TlsProbe, BeforeValidator(_place)] | None = Field(
        None, description="host or host:port, or more of it."
    )
    icmp: Annotated[IcmpProbe, _under("host")] | None = Field(None, description="A host, or more of it.")
    grpc: Annotated[GrpcProbe, BeforeValidator(_address)] | None = Field(
        None, description="host:port, or more of it."
    )
    ssh: Annotated[SshProbe, BeforeValidator(_place)] | None = Field(
        None, description="host or host:port, or more of it."
    )
    interval: Seconds = Field(
        30.0, ge=1, description="How often.", examples=["30s"], json_schema_extra={"default": "30s"}
    )
    timeout: Seconds = Field(
        10.0,
        gt=0,
        description="After which there was no answer.",
        examples=["10s"],
        json_schema_extra={"default": "10s"},
    )
    failures: int = Field(3, ge=1, le=100, description="So many in a row, and it is down.")
    successes: int = Field(1, ge=1, le=100, description="So many in a row, and it is up again.")
    environment: Name | None = Field(None, description="The environment that it is part of.")
    service: Name | None = Field(None, description="The service that needs it, or that it is.")
    labels: Labels = Field(default={}, description="Further labels of its series and alerts.")
    severity: Severity = Field("critical", description="Of the alert while it is down.")
    runbook: Name | None = Field(None, description="The page of runbooks/ that says what to do then.")
    description: Line | None = Field(None, description="What it is.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        written = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(written) != 1:
            wrong(f"expected exactly one of {', '.join(KINDS)}", "keep one of them", at=tuple(written[1:2]))
        return self

    @property
    def kind(self) -> str:
        """How it is looked at."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)


class ProbesFile(Part):
    """The whole file."""

    probes: tuple[ProbeSpec, ...] = Field((), description="What is looked at.")

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        seen: set[str] = set()
        for number, probe in enumerate(self.probes):
            if probe.name in seen:
                wrong(
                    f"there are two probes {probe.name}",
                    "give each its own name",
                    at=("probes", number, "name"),
                )
            seen.add(probe.name)
        return self
