"""What escalation asks of others; the composition root fills it in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from opsbook.response.escalation.model import Incident


class Incidents(Protocol):
    """The incidents' room, as far as escalation needs it."""

    def acknowledge(self, incident: str, actor: str, /) -> object:
        """Somebody has it. Raises NotFound, Conflict; Failed when it cannot be written."""

    def get(self, incident: str, /) -> Incident:
        """Raises NotFound; Failed when it cannot be read."""

    def waiting(self) -> Iterable[Incident]:
        """Those that nobody has acknowledged and that are not over."""
