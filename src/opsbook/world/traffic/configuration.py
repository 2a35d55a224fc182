"""A route table as the files that Envoy reads. Pure: text in, text out; `folder` only names where they lie.

Each file is one xDS `DiscoveryResponse`. The `version_info` of clusters, endpoints and listeners is a digest
of their content, so a file changes only when what it says does; that of the routes is the table's generation,
which Envoy therefore tells back for every HTTP listener.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from opsbook.world.traffic.clusters import aggregate, cluster, load_assignment
from opsbook.world.traffic.routes import listener, route_configuration, stat_name
from opsbook.world.traffic.selection import pairs
from opsbook.world.words import RouteTable

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """One xDS file: where it lies, what it says, and the metric by which Envoy tells the version it took."""

    path: Path
    version: str
    text: str
    version_metric: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """The files of one route table."""

    generation: int
    endpoints: Mapping[str, Document]  # by backend
    clusters: Document
    routes: Mapping[str, Document]  # by HTTP listener
    listeners: Document

    def documents(self) -> tuple[Document, ...]:
        """Every file, in the order in which it may be written: nothing refers to what comes later."""
        return (*self.endpoints.values(), self.clusters, *self.routes.values(), self.listeners)

    def versions(self) -> dict[str, str]:
        """What Envoy must report once it has taken every file: version by metric."""
        return {document.version_metric: document.version for document in self.documents()}


@dataclass(frozen=True, slots=True)
class Folder:
    """The names of the files below `root`."""

    root: Path

    @property
    def clusters(self) -> Path:
        return self.root / "cds" / "clusters.json"

    @property
    def listeners(self) -> Path:
        return self.root / "lds" / "listeners.json"

    def endpoints(self, backend: str) -> Path:
        return self.root / "eds" / f"{file_name(backend)}.json"

    def routes(self, listener_name: str) -> Path:
        return self.root / "rds" / f"{file_name(listener_name)}.json"


def file_name(name: str) -> str:
    """`name` as a single path segment, two names never alike."""
    return quote(name, safe="")


def render(
    table: RouteTable, generation: int, *, folder: Folder, probe_host: str, kept_clusters: Iterable[Json] = ()
) -> Configuration:
    """The files for `table`.

    Args:
        kept_clusters: clusters of earlier tables that routes may still refer to (see `clusters_in`); those
            that `table` has too are ignored.
    """
    backends = {backend.name: backend for backend in table.backends}
    clusters = [cluster(backend, str(folder.endpoints(backend.name))) for backend in table.backends]
    clusters += [aggregate(backends[one], backends[other]) for one, other in pairs(table)]
    names = {resource["name"] for resource in clusters}
    kept = [resource for resource in kept_clusters if resource["name"] not in names]
    endpoints = {}
    for backend in table.backends:
        metric = f"cluster.{backend.name.replace(':', '_')}.version_text"
        endpoints[backend.name] = _document(
            folder.endpoints(backend.name), [load_assignment(backend)], version_metric=metric
        )
    routes = {}
    for each in (each for each in table.listeners if each.kind == "http"):
        routes[each.name] = _document(
            folder.routes(each.name),
            [route_configuration(each, generation, probe_host)],
            version=str(generation),
            version_metric=f"http.{stat_name(each.name)}.rds.{each.name.replace(':', '_')}.version_text",
        )
    return Configuration(
        generation=generation,
        endpoints=endpoints,
        clusters=_document(
            folder.clusters, [*clusters, *kept], version_metric="cluster_manager.cds.version_text"
        ),
        routes=routes,
        listeners=_document(
            folder.listeners,
            [listener(each, str(folder.routes(each.name))) for each in table.listeners],
            version_metric="listener_manager.lds.version_text",
        ),
    )


def clusters_in(text: str) -> tuple[Json, ...]:
    """The clusters in the text of a clusters file; none when the text is empty or damaged."""
    try:
        resources = json.loads(text)["resources"]
    except (ValueError, KeyError, TypeError):
        return ()
    return tuple(resource for resource in resources if "name" in resource)


def _document(path: Path, resources: list[Json], *, version_metric: str, version: str = "") -> Document:
    content = json.dumps(resources, separators=(",", ":"))
    version = version or hashlib.sha256(content.encode()).hexdigest()[:16]
    text = f'{{"version_info":"{version}","resources":{content}}}\n'
    return Document(path=path, version=version, text=text, version_metric=version_metric)
