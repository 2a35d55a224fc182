"""Where a service is reached: its entry in an environment, and the ``{url:SERVICE}`` that others are given."""

from __future__ import annotations

import re
from typing import Any

from opsbook.book import Book
from opsbook.deployment.model import Entry
from opsbook.deployment.records import entry_port_key
from opsbook.deployment.site import Site
from opsbook.errors import Invalid

_URL = re.compile(r"\{\{|\}\}|\{url:([a-z][a-z0-9-]*)\}")  # doubled braces are text
ASSIGNED_PORTS = range(7400, 7900)
"""Where opsbook looks for the entry port of a TCP service that names none."""


def entry_of(site: Site, book: Book, environment: str, service: str) -> Entry | None:
    """The entry of `service`; None for a worker. A TCP port that nobody chose is assigned once and kept."""
    effective = book.effective(environment, service)
    at = book.environments[environment].entry
    route = effective.route
    if effective.run.port is None or route is None:
        return None
    if effective.run.port == "tcp":
        port = route.port or _assigned_port(site, book, environment, service)
        return Entry(listener=f"{environment}/{service}", kind="tcp", address=at.host, port=port)
    return Entry(
        listener=environment,
        kind="http",
        address=at.host,
        port=at.port,
        host=route.host,
        path=route.path or "/",
        strip_prefix=route.strip_prefix,
        timeout=route.timeout,
    )


def with_urls(site: Site, book: Book, environment: str, config: dict[str, Any]) -> dict[str, Any]:
    """`config` with every ``{url:SERVICE}`` of its command and environment filled in."""

    def url(match: re.Match[str]) -> str:
        return match[0] if match[1] is None else url_of(site, book, environment, match[1])

    filled = dict(config)
    filled["command"] = [_URL.sub(url, part) for part in config.get("command") or ()]
    filled["env"] = {name: _URL.sub(url, value) for name, value in (config.get("env") or {}).items()}
    return filled


def url_of(site: Site, book: Book, environment: str, service: str) -> str:
    """Where a service is reached from beside the proxy: a web address, or ``host:port`` of a TCP service.

    Raises:
        Invalid: it has no port. NotFound: it is not in that environment.
    """
    entry = entry_of(site, book, environment, service)
    if entry is None:
        raise Invalid(
            f"{service} has no port, so it has no address", where=f"{environment}: {{url:{service}}}"
        )
    # What runs beside the proxy reaches it on loopback even when it listens on every network.
    address = "127.0.0.1" if entry.address in ("0.0.0.0", "::") else entry.address  # noqa: S104
    if entry.kind == "tcp":
        return f"{address}:{entry.port}"
    return f"http://{entry.host or address}:{entry.port}{entry.path.rstrip('/')}"


def _assigned_port(site: Site, book: Book, environment: str, service: str) -> int:
    known = site.journal.state.get(entry_port_key(environment, service))
    if known is not None:
        return int(known)
    taken = {int(port) for port in site.journal.state.items("entry-port/").values()}
    taken |= {found.entry.port for found in book.environments.values()}
    port = next((port for port in ASSIGNED_PORTS if port not in taken and site.free_port(port)), None)
    if port is None:
        raise Invalid(
            f"no free entry port for {service} between {ASSIGNED_PORTS.start} and {ASSIGNED_PORTS.stop - 1}",
            hint="name one: route: {port: 5432}",
            where=f"{environment}/{service}",
        )
    site.journal.state.put(entry_port_key(environment, service), port)
    return port
