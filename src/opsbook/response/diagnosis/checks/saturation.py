"""What may be full: CPU, memory, disks, files, connections, queues."""

from __future__ import annotations

from dataclasses import dataclass

from opsbook.errors import OpsbookError
from opsbook.response.diagnosis.model import Check, Clue
from opsbook.response.diagnosis.scene import Scene
from opsbook.response.diagnosis.words import percent

NAME, TITLE = "saturation", "what may be full"


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that can run out.

    Args:
        query: how much of it is used, 0..1; ``{only}`` are the service's matchers.
        limit: from which on it may be the cause. weight: how often it is then.
        label: which one of several, where there are several.
        mine: it is the service's own; else of the machine, or of a server that many use.
    """

    name: str
    query: str
    limit: float
    weight: float
    runbooks: tuple[str, ...]
    label: str = ""
    mine: bool = True


_DISK = (
    "1 - node_filesystem_avail_bytes / "
    "(node_filesystem_size_bytes - node_filesystem_free_bytes + node_filesystem_avail_bytes > 0)"
)
RESOURCES = (
    Resource("CPU", "opsbook:cpu_usage{{{only}}}", 0.9, 0.5, ("high-cpu", "high-cpu-usage")),
    Resource("memory", "opsbook:memory_usage{{{only}}}", 0.9, 0.6, ("high-memory", "high-memory-usage")),
    Resource(
        "CPU of the machine", 'opsbook:cpu_usage{{service=""}}', 0.9, 0.5, ("high-cpu", "high-cpu-usage"),
        "host", mine=False,
    ),
    Resource(
        "memory of the machine", 'opsbook:memory_usage{{service=""}}', 0.92, 0.6,
        ("high-memory", "high-memory-usage"), "host", mine=False,
    ),
    Resource("disk", _DISK, 0.95, 0.75, ("disk-full",), "mountpoint", mine=False),
    Resource(
        "inodes", "1 - node_filesystem_files_free / (node_filesystem_files > 0)", 0.97, 0.75, ("disk-full",),
        "mountpoint", mine=False,
    ),
    Resource(
        "open files of the machine", "node_filefd_allocated / (node_filefd_maximum > 0)", 0.9, 0.6, (),
        mine=False,
    ),
    Resource(
        "connections of PostgreSQL",
        "sum by (instance) (pg_stat_activity_count)"
        " / on (instance) max by (instance) (pg_settings_max_connections > 0)",
        0.9, 0.7, ("database-connections",), "instance", mine=False,
    ),
    Resource(
        "connections of Redis", "redis_connected_clients / (redis_config_maxclients > 0)", 0.9, 0.65,
        ("cache-failure",), "instance", mine=False,
    ),
    Resource(
        "memory of Redis", "redis_memory_used_bytes / (redis_memory_max_bytes > 0)", 0.95, 0.5,
        ("cache-failure",), "instance", mine=False,
    ),
)  # fmt: skip


def look(scene: Scene) -> Check:
    if scene.site.queries is None:
        return Check(name=NAME, title=TITLE, state="skipped", text="there is nobody to ask for metrics")
    lines: list[str] = []
    unknown: list[str] = []
    clues: list[Clue] = []
    for resource in RESOURCES:
        if resource.mine and not scene.service:
            continue
        if scene.stop():
            unknown.append(f"{resource.name}: there was no time left")
            continue
        try:
            found = scene.numbers(resource.query.format(only=scene.only))
        except OpsbookError as error:
            unknown.append(f"{resource.name}: {error.message}")
            continue
        if not found:
            continue
        labels, value = max(found, key=lambda one: one[1])
        place = labels.get(resource.label, "") if resource.label else ""
        lines.append(f"{resource.name}{f' {place}' if place else ''} {percent(value)}")
        if value >= resource.limit:
            clues.append(_clue(scene, resource, place, value))
    if not lines and unknown:
        return Check(name=NAME, title=TITLE, state="unknown", text=unknown[0], lines=tuple(unknown))
    if not lines:
        return Check(name=NAME, title=TITLE, state="skipped", text="nothing of it was measured")
    full = "; ".join(clue.text for clue in clues)
    return Check(
        name=NAME,
        title=TITLE,
        state="warning" if clues else "ok",
        text=full or f"nothing is full: {', '.join(lines[:3])}",
        lines=(*lines, *unknown),
        symptom=_symptom(scene, clues),
        clues=tuple(clues),
    )


def _symptom(scene: Scene, clues: list[Clue]) -> str:
    if not clues or not scene.service:
        return clues[0].text if clues else ""
    own = clues[0].subject == f"{scene.environment}/{scene.service}"
    return clues[0].text if own else f"{clues[0].text}, and {scene.service} stands on it"


def _clue(scene: Scene, resource: Resource, place: str, value: float) -> Clue:
    subject = f"{scene.environment}/{scene.service}" if resource.mine else place or "the machine"
    whose = f" of {scene.service}" if resource.mine else f" {place}" if place else ""
    return Clue(
        key="saturation:memory" if resource.name == "memory" else f"saturation:{resource.name}:{place}",
        kind="saturation",
        subject=subject,
        text=f"{resource.name}{whose} is {percent(value)} used",
        why=f"{percent(value)} used, more than {percent(resource.limit)}",
        weight=resource.weight,
        runbooks=resource.runbooks,
    )
