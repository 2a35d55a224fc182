"""What is asked, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCheck:
    """A request, and what its answer must be."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    status: tuple[tuple[int, int], ...] = ((200, 299),)  # from, to
    contains: str = ""  # a regular expression (RE2)
    follow: bool = True  # redirects
    verify: bool = True  # the certificate
    within: float | None = None  # seconds

    @property
    def target(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpCheck:
    """A connection; with `send`, what must be answered."""

    host: str
    port: int
    send: str = ""
    expect: str = ""  # a regular expression

    @property
    def target(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsCheck:
    """A question to a name server, and answers that must be among those given."""

    name: str
    record: str = "A"
    expect: tuple[str, ...] = ()
    server: str = ""  # an address; empty: those of this machine
    port: int = 53

    @property
    def target(self) -> str:
        return f"{self.name} {self.record}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsCheck:
    """A certificate that is valid for `name`, and for some time yet."""

    host: str
    port: int = 443
    name: str = ""  # as whom the server is addressed; empty: host
    days: float = 0.0  # it must be valid for so long yet
    verify: bool = True

    @property
    def target(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class IcmpCheck:
    """An echo."""

    host: str
    count: int = 3

    @property
    def target(self) -> str:
        return self.host


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcCheck:
    """The standard health service of gRPC must answer SERVING."""

    host: str
    port: int
    service: str = ""
    tls: bool = False

    @property
    def target(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SshCheck:
    """A key exchange; with `fingerprint`, by a server that has this key. Nobody signs in."""

    host: str
    port: int = 22
    fingerprint: str = ""  # SHA256:...

    @property
    def target(self) -> str:
        return f"{self.host}:{self.port}"


Check = HttpCheck | TcpCheck | DnsCheck | TlsCheck | IcmpCheck | GrpcCheck | SshCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one look found.

    Args:
        ok: all is as it must be.
        seconds: how long it took.
        detail: what was found, in words; the reason where it is not ok.
        phases: seconds of parts of it: ``connect``, ``tls``, ``answer``...
        status: of an HTTP answer.
        certificate_until: when the certificate that was seen ends, epoch seconds.
    """

    ok: bool
    seconds: float
    detail: str
    phases: Mapping[str, float] = field(default_factory=dict)
    status: int | None = None
    certificate_until: float | None = None
