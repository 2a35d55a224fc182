"""What a route table must fulfil before it is worth handing to Envoy. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from opsbook.errors import Invalid
from opsbook.world.words import Address, Backend, Listener, Pin, Route, RouteTable, Split

# One to several segments; they end up in file names, metric names and regular expressions.
NAME = re.compile(r"[A-Za-z0-9_+~][A-Za-z0-9_.+~-]*(/[A-Za-z0-9_+~][A-Za-z0-9_.+~-]*)*")
HOST = re.compile(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|\*")
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")  # RFC 9110, 5.6.2: a header's or a cookie's name
PIN_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,998}[\x21-\x7e])?")
MAX_NAME = 200
MAX_WEIGHT = 2**32 - 1


def check(table: RouteTable) -> None:
    """Raise Invalid, naming the place, when `table` contradicts itself."""
    _unique((backend.name for backend in table.backends), "backend")
    _unique((listener.name for listener in table.listeners), "listener")
    _unique((str(listener.address) for listener in table.listeners), "listener address")
    backends = {backend.name: backend for backend in table.backends}
    for backend in table.backends:
        _check_backend(backend)
    for listener in table.listeners:
        _check_listener(listener, backends)


def _check_backend(backend: Backend) -> None:
    _check_name(backend.name, "backend")
    _unique((str(endpoint.address) for endpoint in backend.endpoints), "endpoint", where=backend.name)
    for endpoint in backend.endpoints:
        _check_address(endpoint.address, where=backend.name)
    if backend.health.kind == "http" and not backend.health.path.startswith("/"):
        raise Invalid(f"the health path {backend.health.path!r} must begin with '/'", where=backend.name)


def _check_listener(listener: Listener, backends: dict[str, Backend]) -> None:
    _check_name(listener.name, "listener")
    _check_address(listener.address, where=listener.name)
    if listener.kind == "tcp":
        _check_split(listener.split, backends, where=listener.name)
        return
    _unique(
        (f"{(route.host or '*').lower()}{route.prefix.rstrip('/')}/" for route in listener.routes),
        "route",
        where=listener.name,
    )
    for route in listener.routes:
        _check_route(route, backends, where=f"{listener.name}: {route.service}")


def _check_route(route: Route, backends: dict[str, Backend], *, where: str) -> None:
    if not route.prefix.startswith("/") or any(character in route.prefix for character in "?#\r\n\0"):
        raise Invalid(f"the route prefix {route.prefix!r} must be a path that begins with '/'", where=where)
    if route.host is not None and not HOST.fullmatch(route.host):
        raise Invalid(
            f"{route.host!r} is not a host name",
            hint="write a name such as shop.example.com or *.example.com, without a port",
            where=where,
        )
    _check_split(route.split, backends, [pin.backend for pin in route.pins], where=where)
    for pin in route.pins:
        _check_pin(pin, where=where)
    if route.sticky is not None and not TOKEN.fullmatch(route.sticky):
        raise Invalid(f"{route.sticky!r} cannot be the name of a cookie", where=where)
    served = [name for name, weight in route.split.weights if weight]
    for name in (*served, *(pin.backend for pin in route.pins)):
        if backends[name].protocol == "tcp":
            raise Invalid(
                f"the backend {name} speaks plain TCP and cannot take HTTP requests",
                hint="give it a listener of its own",
                where=where,
            )


def _check_pin(pin: Pin, *, where: str) -> None:
    if (pin.header is None) == (pin.cookie is None):
        raise Invalid(f"a pin to {pin.backend} must name a header or a cookie, and not both", where=where)
    name = pin.header if pin.header is not None else pin.cookie
    if not TOKEN.fullmatch(name or ""):
        raise Invalid(f"{name!r} cannot be the name of a header or a cookie", where=where)
    if pin.value is not None and not PIN_VALUE.fullmatch(pin.value):
        # The value may be a secret, so it is not repeated.
        raise Invalid(
            f"the value that {name} must have for the pin to {pin.backend} cannot be sent", where=where
        )


def _check_split(
    split: Split, backends: dict[str, Backend], pinned: Iterable[str] = (), *, where: str
) -> None:
    """`pinned`: backends that get requests beside the split, and share its fallback."""
    _unique((name for name, _ in split.weights), "backend of a split", where=where)
    for name in pinned:
        if name not in backends:
            raise Invalid(f"a pin names the backend {name}, which the table does not have", where=where)
    for name, weight in split.weights:
        if name not in backends:
            raise Invalid(f"the split names the backend {name}, which the table does not have", where=where)
        if weight < 0:
            raise Invalid(f"the weight {weight} of {name} is negative", where=where)
    if split.fallback is not None:
        served = [name for name, weight in split.weights if weight]
        _check_fallback([*served, *pinned], split.fallback, backends, where=where)
    if sum(weight for _, weight in split.weights) > MAX_WEIGHT:
        raise Invalid(f"the weights sum to more than {MAX_WEIGHT}", where=where)


def _check_fallback(served: list[str], fallback: str, backends: dict[str, Backend], *, where: str) -> None:
    if fallback not in backends:
        raise Invalid(f"the fallback {fallback} is a backend that the table does not have", where=where)
    if not any(name != fallback for name in served):
        raise Invalid(f"the fallback {fallback} stands in for no other backend", where=where)
    for name in served:
        if backends[name].protocol != backends[fallback].protocol:
            raise Invalid(
                f"the fallback {fallback} speaks {backends[fallback].protocol},"
                f" but {name} {backends[name].protocol}",
                where=where,
            )


def _check_name(name: str, what: str) -> None:
    if not NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise Invalid(
            f"{name!r} cannot be the name of a {what}",
            hint="letters, digits and _ . + ~ - in segments separated by '/', at most 200 characters",
        )


def _check_address(address: Address, *, where: str) -> None:
    if address.host != "localhost":
        try:
            ipaddress.ip_address(address.host)
        except ValueError:
            raise Invalid(
                f"{address.host!r} is not an IP address",
                hint="the proxy does not look up names: write e.g. 127.0.0.1, or 0.0.0.0 for every interface",
                where=where,
            ) from None
    if not 0 < address.port < 65536:
        raise Invalid(f"{address.port} is not a port", where=where)


def _unique(names: Iterable[str], what: str, *, where: str = "") -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise Invalid(f"the {what} {name} is there twice", where=where)
        seen.add(name)
