"""Holds: releases that were taken back, and the word of a person that one may be deployed again."""

from __future__ import annotations

from typing import Any

from opsbook.deployment.records import placement_key
from opsbook.deployment.site import Site
from opsbook.deployment.turns import at_work, lease_subject
from opsbook.errors import Locked, NotFound
from opsbook.security.model import Identity

_TURN = 5.0  # seconds that changing a placement may take


class Holds:
    """Listing and releasing."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def listed(self) -> list[dict[str, Any]]:
        """All, the newest first."""
        rows = [
            {"environment": placement.environment, "service": placement.service, **hold.to_json()}
            for placement in self._site.records.placements()
            for hold in placement.holds
        ]
        return sorted(rows, key=lambda row: float(row["at"]), reverse=True)

    def release(self, environment: str, service: str, release: str, who: Identity) -> None:
        """Forget the hold on `release` (an id, or a version that stands for one).

        Raises:
            NotFound: it is not held. Locked: a deployment is under way, which alone may change the placement.
        """
        journal, subject = self._site.journal, f"{environment}/{service}"
        if (busy := at_work(self._site, environment, service)) is not None:
            raise Locked(
                f"{busy.holder} is under way: {busy.reason}",
                hint=f"opsbook deployments watch {busy.holder}",
                where=subject,
                details={"holder": busy.holder, "reason": busy.reason, "expires_at": busy.expires_at},
            )
        lease = journal.leases.acquire(
            lease_subject(environment, service),
            holder=f"hold of {who.actor}",
            reason="release a hold",
            ttl=_TURN,
        )
        try:
            placement = self._site.records.placement(environment, service)
            found = [hold for hold in placement.holds if release in (hold.release, hold.version)]
            if not found:
                held = ", ".join(f"{hold.version} ({hold.release})" for hold in placement.holds) or "nothing"
                raise NotFound(f"{release} is not held", hint=f"held there: {held}", where=subject)
            kept = tuple(hold for hold in placement.holds if hold not in found)
            changed = placement.but(holds=kept, revision=placement.revision + 1)
            about = {"release": found[0].release, "version": found[0].version, "reason": found[0].reason}
            put = {placement_key(environment, service): changed.to_json()}
            journal.append("hold.released", subject, about, actor=who.actor, lease=lease, put=put)
        finally:
            journal.leases.release(lease)
