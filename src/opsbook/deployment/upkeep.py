"""Keeps the proxy on the routes that are recorded, where nobody else is about to: after a start, after a failure."""

from __future__ import annotations

from collections.abc import Callable

from opsbook.deployment.router import Router
from opsbook.deployment.site import Site
from opsbook.errors import OpsbookError


class Upkeep:
    """What is in the way is told once and tried again; instances and everything else go on meanwhile.

    Args:
        tell: a sentence for people.
    """

    def __init__(self, site: Site, router: Router, tell: Callable[[str], None]) -> None:
        self._site = site
        self._router = router
        self._tell = tell
        self._told = ""
        self._was_behind = False

    def begin(self) -> None:
        """Start or adopt the proxy, with the routes that are recorded."""
        try:
            self._site.traffic.ensure()
            if self._has_entries():
                self._router.apply()
        except OpsbookError as error:
            # A port that somebody else took must not keep opsbook from running all the rest.
            if str(error) != self._told:
                self._tell(f"not all routes are served: {error}" + (f" ({error.hint})" if error.hint else ""))
            self._told = str(error)
            return
        if self._told:
            self._tell("all routes are served again")
        self._told = ""

    def look(self) -> None:
        """Asked every second: begins again at the second time in a row that the routes are not served.

        The first time it may be a deployment that has recorded its change and is about to make it.
        """
        behind = self._has_entries() and not self._router.serves_present()
        if behind and self._was_behind:
            self.begin()
        self._was_behind = behind

    def _has_entries(self) -> bool:
        return any(placement.entry for placement in self._site.records.placements())
