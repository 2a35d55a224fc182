"""Which requests of a route go where: those that are pinned, those of clients that stay, all others. Pure.

A client stays by a cookie that holds nothing but a random value. Envoy hashes it to a number, and the backends of
the split have a range of the numbers each, the first backend the lowest. So a client that had the first backend
keeps it while its share grows, and every share is right at once, also of clients that came before it changed.

Envoy's own way to make that cookie does not work where a hash chooses among clusters and not among hosts: it never
sends one (1.40: tried out). We therefore send the request's id, a random UUID, and let its hash choose for the first
request already, so that the answer that brings the cookie comes from the backend that the cookie will lead to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from opsbook.world.traffic.clusters import aggregate_name
from opsbook.world.words import Pin, Route, RouteTable, Split

Json = dict[str, Any]

STICKY_TOTAL = 1_000_000
"""What the weights of a sticky split are scaled to: were their sum to change, a client would get another number."""

# An id that somebody else chose is echoed only if it can do nothing in a cookie.
REQUEST_ID = {"name": "x-request-id", "string_match": {"safe_regex": {"regex": "[0-9A-Za-z-]+"}}}
ANY_VALUE = {"safe_regex": {"regex": ".+"}}


@dataclass(frozen=True, slots=True)
class Selected:
    """Some of a route's requests, and what Envoy is to do with them beyond what it does with all.

    Args:
        destination: ``cluster`` or ``weighted_clusters``; None when there is nowhere to send them to.
        headers, cookies: what of the request must match.
        action: further fields of the `RouteAction`.
        route: further fields of the `Route`.
    """

    destination: Json | None
    headers: tuple[Json, ...] = ()
    cookies: tuple[Json, ...] = ()
    action: Json = field(default_factory=dict)
    route: Json = field(default_factory=dict)

    def narrowed(self, match: Json) -> Json:
        """`match` for these requests only."""
        headers = [*match.get("headers", ()), *self.headers]
        cookies = list(self.cookies)
        return {
            **match,
            **({"headers": headers} if headers else {}),
            **({"cookies": cookies} if cookies else {}),
        }


def selections(route: Route) -> Iterator[Selected]:
    """All requests of `route`; the first that matches counts."""
    for pin in route.pins:
        yield _pinned(pin, route.split)
    if route.sticky is not None and len(shares(route.split)) > 1:
        yield from _sticky(route.sticky, route.split)
    else:
        yield Selected(destination(route.split) if shares(route.split) else None)


def shares(split: Split) -> tuple[tuple[str, int], ...]:
    """The backends of `split` that get anything at all."""
    return tuple((name, weight) for name, weight in split.weights if weight > 0)


def destination(split: Split) -> Json:
    """The cluster or the clusters of a split that has any shares."""
    weights = [(_cluster(name, split.fallback), weight) for name, weight in shares(split)]
    if len(weights) == 1:
        return {"cluster": weights[0][0]}
    return {"weighted_clusters": {"clusters": [{"name": name, "weight": weight} for name, weight in weights]}}


def pairs(table: RouteTable) -> tuple[tuple[str, str], ...]:
    """Every backend that a split or a pin gives requests to, with the fallback it has there; sorted, none twice."""
    served = [(name, listener.split) for listener in table.listeners for name, _ in shares(listener.split)]
    for route in (route for listener in table.listeners for route in listener.routes):
        served += [(name, route.split) for name, _ in shares(route.split)]
        served += [(pin.backend, route.split) for pin in route.pins]
    return tuple(
        sorted({(name, split.fallback) for name, split in served if split.fallback not in (None, name)})
    )


def _pinned(pin: Pin, split: Split) -> Selected:
    value = ANY_VALUE if pin.value is None else {"exact": pin.value}
    mark = {"name": pin.header or pin.cookie, "string_match": value}
    to_it = destination(Split(((pin.backend, 1),), fallback=split.fallback))
    return Selected(to_it, headers=(mark,)) if pin.header else Selected(to_it, cookies=(mark,))


def _sticky(cookie: str, split: Split) -> Iterator[Selected]:
    names = [_cluster(name, split.fallback) for name, _ in shares(split)]
    scaled = scaled_weights([weight for _, weight in shares(split)])
    clusters = [{"name": name, "weight": weight} for name, weight in zip(names, scaled, strict=True)]
    by_hash: Json = {"weighted_clusters": {"clusters": clusters, "use_hash_policy": True}}
    yield Selected(
        by_hash,
        cookies=({"name": cookie, "string_match": ANY_VALUE},),
        action={"hash_policy": [{"cookie": {"name": cookie}}]},
    )
    # Without Max-Age: a share may be held for longer than any that we would choose.
    set_cookie = f"{cookie}=%REQ(X-REQUEST-ID)%; Path=/; HttpOnly; SameSite=Lax"
    yield Selected(
        by_hash,
        headers=(REQUEST_ID,),
        action={"hash_policy": [{"header": {"header_name": "x-request-id"}}]},
        route={
            "response_headers_to_add": [
                {
                    "header": {"key": "set-cookie", "value": set_cookie},
                    "append_action": "APPEND_IF_EXISTS_OR_ADD",
                }
            ]
        },
    )
    yield Selected(destination(split))


def scaled_weights(weights: list[int]) -> list[int]:
    """Positive `weights` scaled to sum to `STICKY_TOTAL`, each at least 1.

    What is rounded are the ends of the ranges, so that the first one's never falls while its share grows.
    """
    total, scaled, cumulative, end = sum(weights), [], 0, 0
    for number, weight in enumerate(weights, 1):
        cumulative += weight
        highest = STICKY_TOTAL - (len(weights) - number)
        next_end = min(max(end + 1, round(cumulative * STICKY_TOTAL / total)), highest)
        scaled.append(next_end - end)
        end = next_end
    return scaled


def _cluster(backend: str, fallback: str | None) -> str:
    return aggregate_name(backend, fallback) if fallback is not None and fallback != backend else backend
