"""From the handbook's source to the world's."""

from __future__ import annotations

from typing import Any

from opsbook.book import EffectiveService
from opsbook.deployment.site import Site
from opsbook.world.words import SourceRef


def source_of(site: Site, effective: EffectiveService) -> SourceRef:
    """Relative paths are relative to the handbook's folder."""
    source = effective.source
    if source is None:
        return SourceRef()
    if source.path is not None:
        return SourceRef(path=(site.root / source.path).resolve(), build=tuple(source.build))
    git = source.git or ""
    local = not ("://" in git or git.startswith("git@"))
    where = str((site.root / git).resolve()) if local else git
    return SourceRef(git=where, subfolder=source.subfolder, build=tuple(source.build))


def rendered(effective: EffectiveService) -> dict[str, Any]:
    """All that an instance is started with, as JSON: what makes a release another one when it changes."""
    return {
        **effective.rendered(),
        "stop_grace": effective.stop_grace,
        "metrics": effective.metrics.path if effective.metrics else None,
    }


def secret_names(effective: EffectiveService) -> tuple[str, ...]:
    return tuple(sorted({p.name for p in effective.placeholders() if p.kind == "secret"}))


def label_of(site: Site, effective: EffectiveService, version: str | None) -> str:
    """The version that is meant when somebody names none: the handbook's, else one that follows from the content."""
    if version:
        return version
    if effective.version:
        return effective.version
    source = source_of(site, effective)
    if source.git:
        return "HEAD"
    # No release ever bears this label alone, so it is compared with nothing.
    digest = site.releases.resolve(source, effective.name, "snapshot")
    return f"snapshot-{digest[:8]}"
