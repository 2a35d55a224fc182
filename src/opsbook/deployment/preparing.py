"""Before anything moves: take the snapshot, make the release, settle which instances there will be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsbook.book import Book, EffectiveService
from opsbook.deployment.entries import entry_of, with_urls
from opsbook.deployment.looks import instance_names
from opsbook.deployment.model import Deployment, Placement, Release
from opsbook.deployment.records import release_key
from opsbook.deployment.site import Site
from opsbook.deployment.sources import rendered, secret_names, source_of
from opsbook.deployment.workloads import release_id
from opsbook.errors import NotFound
from opsbook.world.words import Snapshot


@dataclass(frozen=True, slots=True)
class NewRelease:
    """A release as it is recorded."""

    put: dict[str, Any]
    event: dict[str, Any]


def prepare(
    site: Site, deployment: Deployment, say: Callable[[str], None]
) -> tuple[Deployment, Placement | None, NewRelease | None]:
    """Everything that can fail without touching what serves.

    Returns:
        The deployment with release and instances; the placement with its entry, where that changes; the release,
        where it is new.

    Raises:
        OpsbookError: the version is unknown, the build failed, a secret is missing, ...
    """
    placement = site.records.placement(deployment.environment, deployment.service)
    deployment = deployment.but(before=placement)
    if deployment.kind == "deploy":
        return _prepare_deploy(site, deployment, placement, say)
    if deployment.kind == "rollback":
        release = site.records.release(deployment.environment, deployment.service, deployment.release)
        return _with_instances(site, deployment.but(version=release.version), placement), None, None
    running = len([member for member in placement.members(placement.release) if not member.draining])
    deployment = deployment.but(release=placement.release, version=placement.version)
    grown = deployment.replicas if deployment.kind == "restart" else max(0, deployment.replicas - running)
    return deployment.but(instances=instance_names(deployment, range(1, grown + 1))), None, None


def _prepare_deploy(
    site: Site, deployment: Deployment, placement: Placement, say: Callable[[str], None]
) -> tuple[Deployment, Placement | None, NewRelease | None]:
    book = site.book()
    release = make_release(site, book, deployment, say)
    deployment = deployment.but(release=release.id, version=release.version, trial_token=site.new_token())
    if deployment.strategy.baseline and deployment.strategy.type == "canary" and placement.release:
        deployment = deployment.but(baseline=instance_names(deployment, range(1, 2), "s"))
    entry = entry_of(site, book, deployment.environment, deployment.service)
    changed = placement.but(entry=entry)
    known = site.journal.state.get(release_key(release.environment, release.service, release.id))
    new = None
    if known is None:
        new = NewRelease(
            put={release_key(release.environment, release.service, release.id): release.to_json()},
            event={
                "release": release.id,
                "version": release.version,
                "digest": release.digest,
                "commit": release.commit,
                "handbook": release.handbook_commit,
                "secrets": release.secrets,
            },
        )
    return _with_instances(site, deployment, placement), changed if changed != placement else None, new


def make_release(site: Site, book: Book, deployment: Deployment, say: Callable[[str], None]) -> Release:
    """The immutable release that this deployment brings: snapshot, rendered configuration, pinned secrets."""
    effective = book.effective(deployment.environment, deployment.service)
    snapshot = _snapshot(site, deployment, effective, say)
    config = with_urls(site, book, deployment.environment, rendered(effective))
    names = secret_names(effective)
    secrets = {name: site.secrets.version(name) for name in names}
    site.secrets.pin(names)
    version = deployment.version or snapshot.version
    return Release(
        id=release_id(deployment.service, deployment.environment, version, snapshot.digest, config, secrets),
        service=deployment.service,
        environment=deployment.environment,
        version=version,
        digest=snapshot.digest,
        folder=str(snapshot.folder),
        config=config,
        secrets=secrets,
        handbook_commit=book.commit,
        commit=snapshot.commit,
        committed_at=snapshot.committed_at,
        author=snapshot.author,
        message=snapshot.message,
        created_at=site.clock.now(),
    )


def _snapshot(
    site: Site, deployment: Deployment, effective: EffectiveService, say: Callable[[str], None]
) -> Snapshot:
    """The sealed source: of the release that is promoted, or taken now."""
    if deployment.source_release:
        environment, service, name = deployment.source_release.split("/")
        known = site.records.release(environment, service, name)
        return Snapshot(
            digest=known.digest,
            folder=Path(known.folder),
            version=known.version,
            commit=known.commit,
            committed_at=known.committed_at,
            author=known.author,
            message=known.message,
        )
    say(f"the snapshot of {deployment.service} {deployment.version}")
    return site.releases.snapshot(
        source_of(site, effective),
        deployment.service,
        deployment.version,
        on_output=lambda line: say(f"build: {line}"),
    )


def _with_instances(site: Site, deployment: Deployment, placement: Placement) -> Deployment:
    """What of the release still runs is taken over; the rest is new. So a warm release needs no start at all."""
    alive = {
        instance.id
        for instance in site.runtime.instances(deployment.environment, deployment.service)
        if instance.alive
    }
    running = [m.instance for m in placement.members(deployment.release) if m.instance in alive]
    taken = tuple(running[: deployment.replicas])
    fresh = instance_names(deployment, range(1, deployment.replicas - len(taken) + 1))
    return deployment.but(instances=taken + fresh)


def target_release(
    releases: Mapping[str, Release], placement: Placement, wanted: str | None, history: list[Deployment]
) -> Release:
    """Where a rollback goes.

    Args:
        releases: all of this service and environment, by id.
        wanted: a version or a release id; None: the one before.
        history: deployments of it, newest first.

    Raises:
        NotFound: there is none; the hint lists those there are.
    """
    promoted = [d.release for d in history if d.promoted and d.release in releases]
    earlier = list(dict.fromkeys(r for r in promoted if r != placement.release))
    held = {hold.release for hold in placement.holds}
    if wanted is None:
        if placement.previous is not None and placement.previous.release in releases:
            return releases[placement.previous.release]
        good = [release for release in earlier if release not in held]
        if good:
            return releases[good[0]]
        raise NotFound(
            "there is no earlier release to go back to",
            hint="deploy another version: opsbook deploy ... --version V",
            where=placement.subject,
        )
    for name in earlier:
        if wanted in (name, releases[name].version):
            return releases[name]
    versions = ", ".join(dict.fromkeys(releases[name].version for name in earlier)) or "none"
    if wanted in (placement.release, placement.version):
        raise NotFound(
            f"{wanted} is what serves already", hint=f"earlier versions: {versions}", where=placement.subject
        )
    raise NotFound(
        f"{wanted} never served here", hint=f"earlier versions: {versions}", where=placement.subject
    )
