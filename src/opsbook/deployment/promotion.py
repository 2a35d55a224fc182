"""Whether a release may come here: its source must have succeeded in the environment before."""

from __future__ import annotations

from opsbook.book import Environment
from opsbook.deployment.model import Deployment, Outcome, Release
from opsbook.deployment.records import Records

_HISTORY = 10_000  # deployments looked through, the newest first


def promotion(
    records: Records, environment: Environment, deployment: Deployment, release: Release
) -> str | None:
    """None: it is not asked for. Empty: it has succeeded. Else: why it may not come here.

    What counts is the source's digest: the configuration differs between environments by its nature.
    """
    origin = environment.promote_from
    if origin is None or not environment.require_promotion:
        return None
    service = deployment.service
    same = {known.id for known in records.releases(origin, service) if _same_source(known, release)}
    holds = {hold.release: hold for hold in records.placement(origin, service).holds if hold.release in same}
    for earlier in records.deployments(origin, service, limit=_HISTORY):
        if earlier.release in same - holds.keys() and _succeeded(earlier):
            return ""
    for hold in holds.values():
        return f"{release.version} was taken back in {origin}: {hold.reason}"
    return (
        f"{release.version} has not succeeded in {origin} yet: opsbook deploy {service} --to {origin} "
        f"--version {release.version}"
    )


def _same_source(one: Release, other: Release) -> bool:
    return one.digest == other.digest and bool(one.digest or one.version == other.version)


def _succeeded(deployment: Deployment) -> bool:
    brought = deployment.kind in ("deploy", "rollback")
    return brought and deployment.outcome is Outcome.SUCCEEDED and not deployment.reverted_by
