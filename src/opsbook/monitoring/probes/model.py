"""What is known of a probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ProbeState:
    """Up or down, by the thresholds; a look that differs changes it only when others like it follow.

    Args:
        up: None until it was looked at.
        since: when it became so, epoch seconds.
        failures, successes: in a row, up to now.
        looked_at: when it was looked at last.
        detail: what was seen then.
        seconds: how long that took.
        certificate_until: of the certificate that was seen, epoch seconds.
    """

    up: bool | None = None
    since: float | None = None
    failures: int = 0
    successes: int = 0
    looked_at: float | None = None
    detail: str = ""
    seconds: float = 0.0
    certificate_until: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As it is kept, and told."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> ProbeState:
        """The inverse of `to_json`; what an older version did not know is as in the beginning."""
        return cls(**{name: value for name, value in document.items() if name in cls.__slots__})
