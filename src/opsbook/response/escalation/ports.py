"""What escalation asks of others; the composition root fills it in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from opsbook.response.escalation.model import Incident


class Incidents(Protocol):
    """The incidents' room, as far as escalation needs it."""

    def acknowledge(self, id: str, actor: str) -> object:  # noqa: A002
        """Somebody has it. Raises NotFound, Conflict; Failed when it cannot be written."""

    def get(self, id: str) -> Incident:  # noqa: A002
        """Raises NotFound; Failed when it cannot be read."""

    def waiting(self) -> Iterable[Incident]:
        """Those that nobody has acknowledged and that are not over."""
