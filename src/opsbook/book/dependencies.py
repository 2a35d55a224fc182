"""In which order services depend on each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Protocol

from opsbook.errors import Invalid


class Dependent(Protocol):
    """What has a name and depends on others: a service as written or as it is in an environment."""

    @property
    def name(self) -> str: ...
    @property
    def depends_on(self) -> tuple[str, ...]: ...


def dependency_order(services: Iterable[Dependent] | Mapping[str, Dependent]) -> list[list[str]]:
    """Levels of names: each depends only on levels before it; names within a level are sorted.

    Dependencies that are not among `services` are left out, so a part of an environment can be ordered too.

    Raises:
        Invalid: they depend on each other in a circle, which the message names.
    """
    items = services.values() if isinstance(services, Mapping) else services
    graph = {service.name: tuple(service.depends_on) for service in items}
    cycle = find_cycle(graph)
    if cycle:
        raise Invalid(f"services depend on each other in a circle: {' → '.join(cycle)}")
    return levels(graph)


def levels(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The names of an acyclic graph (name to what comes before it) in levels; unknown names are left out."""
    sorter = TopologicalSorter(
        {name: [before for before in graph[name] if before in graph] for name in graph}
    )
    sorter.prepare()
    found: list[list[str]] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        found.append(ready)
        sorter.done(*ready)
    return found


def find_cycle(graph: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """One circle of the graph, from its least name round to that name again; empty when there is none."""
    try:
        TopologicalSorter({name: sorted(graph[name]) for name in sorted(graph)}).prepare()
    except CycleError as error:
        # graphlib gives the circle against the arrows.
        circle: list[str] = list(reversed(error.args[1]))[:-1]
        start = circle.index(min(circle))
        return (*circle[start:], *circle[:start], circle[start])
    return ()
