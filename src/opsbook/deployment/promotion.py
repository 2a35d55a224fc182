"""Whether a release may come here: its source must have succeeded in the environment before.

What counts is the source's digest: the configuration differs between environments by its nature.
"""

from __future__ import annotations

from collections.abc import Collection

from opsbook.book import Environment
from opsbook.deployment.model import Deployment, Outcome, Release
from opsbook.deployment.records import Records

_HISTORY = 1000  # deployments of the service there that are looked through, the newest first


def promotion(
    records: Records, environment: Environment, release: Release, succeeded: Collection[str]
) -> str | None:
    """None: it is not asked for. Empty: it has succeeded. Else: why it may not come here.

    Args:
        succeeded: releases that have, from `succeeded_before`. One that was taken back since is held, and counts
            no more.
    """
    origin = environment.promote_from
    if origin is None or not environment.require_promotion:
        return None
    service = release.service
    same = _same_source(records, origin, release)
    holds = {hold.release: hold for hold in records.placement(origin, service).holds if hold.release in same}
    if any(name not in holds for name in succeeded):
        return ""
    for hold in holds.values():
        return f"{release.version} was taken back in {origin}: {hold.reason}"
    return (
        f"{release.version} has not succeeded in {origin} yet: opsbook deploy {service} --to {origin} "
        f"--version {release.version}"
    )


def succeeded_before(records: Records, environment: Environment, release: Release) -> frozenset[str]:
    """The releases of the same source that have succeeded in the environment before. Reads its whole history."""
    origin = environment.promote_from
    if origin is None or not environment.require_promotion:
        return frozenset()
    same = _same_source(records, origin, release)
    if not same:
        return frozenset()
    history = records.deployments(origin, release.service, limit=_HISTORY)
    return frozenset(one.release for one in history if one.release in same and _succeeded(one))


def _same_source(records: Records, origin: str, release: Release) -> set[str]:
    known = records.releases(origin, release.service)
    return {
        one.id
        for one in known
        if one.digest == release.digest and bool(one.digest or one.version == release.version)
    }


def _succeeded(deployment: Deployment) -> bool:
    brought = deployment.kind in ("deploy", "rollback")
    return brought and deployment.outcome is Outcome.SUCCEEDED and not deployment.reverted_by
