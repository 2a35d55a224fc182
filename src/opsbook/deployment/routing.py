"""From placements to the proxy's route table. Pure: the same placements and addresses give the same table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from opsbook.deployment.model import BASELINE, Group, Placement, Release
from opsbook.deployment.workloads import health_check
from opsbook.world.words import Address, Backend, Endpoint, Listener, Pin, Route, RouteTable, Split

TRIAL_HEADER = "x-opsbook-trial"


def route_table(
    placements: Iterable[Placement], releases: Mapping[str, Release], addresses: Mapping[str, Address]
) -> RouteTable:
    """All listeners and backends.

    Args:
        releases: by release id, for every release that a placement's groups name.
        addresses: by instance id; an instance without one (it is gone) is left out.
    """
    backends: list[Backend] = []
    routes: dict[tuple[str, Address], list[Route]] = defaultdict(list)
    listeners: list[Listener] = []
    for placement in sorted(placements, key=lambda placement: placement.subject):
        entry = placement.entry
        if entry is None:
            continue
        here = [
            _backend(placement, group, releases[group.release.removesuffix(BASELINE)], addresses)
            for group in placement.groups
        ]
        backends += here
        split = _split(placement, {backend.name: backend for backend in here})
        if entry.kind == "tcp":
            listeners.append(Listener(entry.listener, Address(entry.address, entry.port), "tcp", split=split))
            continue
        routes[entry.listener, Address(entry.address, entry.port)].append(
            Route(
                service=placement.service,
                split=split,
                host=entry.host,
                prefix=entry.path,
                strip_prefix=entry.strip_prefix,
                pins=_pins(placement, {backend.name for backend in here}),
                sticky=f"opsbook-{placement.service}" if placement.trial and placement.trial.sticky else None,
                timeout=entry.timeout,
            )
        )
    listeners += [
        Listener(name, address, "http", routes=tuple(sorted(found, key=_most_specific_first)))
        for (name, address), found in routes.items()
    ]
    return RouteTable(
        listeners=tuple(sorted(listeners, key=lambda listener: listener.name)),
        backends=tuple(sorted(backends, key=lambda backend: backend.name)),
    )


def backend_name(placement: Placement, release: str) -> str:
    return f"{placement.environment}/{placement.service}/{release}"


def _backend(
    placement: Placement, group: Group, release: Release, addresses: Mapping[str, Address]
) -> Backend:
    endpoints = tuple(
        Endpoint(member.instance, addresses[member.instance], draining=member.draining)
        for member in group.members
        if member.instance in addresses
    )
    return Backend(
        name=backend_name(placement, group.release),
        protocol=release.config.get("port") or "tcp",
        endpoints=endpoints,
        health=health_check(release.config),
    )


def _split(placement: Placement, known: Mapping[str, Backend]) -> Split:
    # What is under test comes first: where clients stay, those that have it keep it while its share grows.
    trial = placement.trial.release if placement.trial else ""
    order = sorted(placement.weights.items(), key=lambda item: (item[0] != trial, item[0]))
    weights = ((backend_name(placement, release), weight) for release, weight in order)
    shares = tuple((name, weight) for name, weight in weights if weight > 0 and name in known)
    return Split(shares, fallback=_fallback(placement, [name for name, _ in shares], known))


def _pins(placement: Placement, known: set[str]) -> tuple[Pin, ...]:
    trial = placement.trial
    if trial is None or (name := backend_name(placement, trial.release)) not in known:
        return ()
    pins = [Pin(name, header=TRIAL_HEADER, value=trial.token)] if trial.token else []
    if trial.pin is not None:
        pins.append(Pin(name, header=trial.pin.header, cookie=trial.pin.cookie))
    return tuple(pins)


def _fallback(placement: Placement, served: list[str], known: Mapping[str, Backend]) -> str | None:
    """The backend that stands in for those of `served` that are on trial; None when none is, or nothing could.

    On trial is a release that is not promoted yet, and a promoted one in its watch window. After it the release
    before must not answer silently, however warm it still is.
    """
    release = placement.release
    if placement.trial is not None and len(served) > 1:
        return (
            None  # what the stable version answers for a canary would be counted as the canary's own success
        )
    if placement.watch is not None and served == [backend_name(placement, release)]:
        release = placement.watch.back_to
    name = backend_name(placement, release)
    if name not in known or not any(each != name for each in served):
        return None
    if any(known[each].protocol != known[name].protocol for each in served):
        return None
    return name if any(not endpoint.draining for endpoint in known[name].endpoints) else None


def _most_specific_first(route: Route) -> tuple[bool, str, int, str]:
    return (route.host is None, route.host or "", -len(route.prefix), route.prefix)
