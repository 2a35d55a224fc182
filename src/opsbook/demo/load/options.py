"""What to send, where to and how often."""

from __future__ import annotations

import argparse
import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Target:
    """Where a kind of traffic goes, on this machine."""

    host: str
    port: int
    path: str = "/"

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Options:
    """A target that is None gets no traffic of its kind. Times are seconds, `rate` is requests a second."""

    http: Target | None
    connections: int
    rate: float
    stream: Target | None
    streams: int
    websocket: Target | None
    websockets: int
    lines: Target | None
    line_connections: int
    line_send: str
    line_expect: str
    line_exchanges: int
    every: float
    host: str
    timeout: float
    stream_timeout: float
    duration: float | None
    report: float
    controlled: bool
    expect_errors_of: tuple[str, ...] = ()


def target(text: str) -> Target:
    """Parse ``http://127.0.0.1:8080/path``, ``ws://...`` or ``tcp://127.0.0.1:6379``.

    Raises:
        argparse.ArgumentTypeError: it is none of these, or not on this machine.
    """
    url = urlsplit(text)
    if url.scheme not in {"http", "ws", "tcp"} or not url.hostname or not url.port:
        raise argparse.ArgumentTypeError(
            f"expected http://, ws:// or tcp:// with an address and a port, got {text!r}"
        )
    if not _is_loopback(url.hostname):
        raise argparse.ArgumentTypeError(
            f"{url.hostname} is not a loopback address; this generator loads no others"
        )
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    host = "127.0.0.1" if url.hostname == "localhost" else url.hostname
    return Target(host, url.port, path)


def _is_loopback(host: str) -> bool:
    """Literal addresses and `localhost` only: another name may mean something else when it is used."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse(arguments: list[str] | None = None) -> Options:
    """The options of the command line; ends the process with code 2 and a message when they make no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m opsbook.demo.load",
        description="Keep connections open, send requests over them, count strictly what fails.",
        epilog='Prints figures as JSON lines; the last has "final": true. Exit code 1 when a request failed.',
    )
    add = parser.add_argument
    add("--url", dest="http", type=target, help="GET this, e.g. http://127.0.0.1:8080/")
    add("--connections", type=int, default=50, help="keep-alive connections (default 50)")
    add(
        "--rate",
        type=float,
        default=0.0,
        help="requests a second over all connections; 0: flat out (default)",
    )
    add(
        "--stream-url",
        dest="stream",
        type=target,
        help="GET this again and again; each answer must come whole",
    )
    add("--streams", type=int, default=4, help="streams at a time (default 4)")
    add(
        "--websocket-url",
        dest="websocket",
        type=target,
        help="echo messages here, e.g. ws://127.0.0.1:8080/ws",
    )
    add("--websockets", type=int, default=4, help="WebSockets at a time (default 4)")
    add("--lines-url", dest="lines", type=target, help="exchange lines here, e.g. tcp://127.0.0.1:7001")
    add("--line-connections", type=int, default=4, help="TCP connections at a time (default 4)")
    add("--line-send", default="PING {n}", help="the line to send; {n} counts (default: PING {n})")
    add("--line-expect", default="PONG {n}", help="the line that must come back (default: PONG {n})")
    add(
        "--line-exchanges",
        type=int,
        default=50,
        help="exchanges before a TCP connection is renewed (default 50)",
    )
    add("--every", type=float, default=0.1, help="seconds between messages of a WebSocket or line connection")
    add("--host", default="", help="the Host header (default: the address)")
    add(
        "--timeout",
        type=float,
        default=10.0,
        help="seconds until an unanswered request has failed (default 10)",
    )
    add("--stream-timeout", type=float, default=120.0, help="the same for a whole stream (default 120)")
    add("--duration", type=float, help="seconds to run (default: until told to stop)")
    add(
        "--control",
        dest="controlled",
        action="store_true",
        help="obey lines on stdin: `rate N`, `stop`; its end stops",
    )
    add("--report", type=float, default=1.0, help="seconds between two lines of figures (default 1)")
    add(
        "--expect-errors-of",
        action="extend",
        nargs="+",
        default=[],
        metavar="VERSION",
        help="count answers with an error status and this X-Version apart: they are no failures",
    )
    given = vars(parser.parse_args(arguments))
    options = Options(**{**given, "expect_errors_of": tuple(given["expect_errors_of"])})
    if not (options.http or options.stream or options.websocket or options.lines):
        parser.error("give at least one of --url, --stream-url, --websocket-url, --lines-url")
    return options
