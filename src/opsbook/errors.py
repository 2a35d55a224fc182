"""One error type for everything that a person can be told, and the handful of kinds a script must tell apart.

The exit code and the HTTP status of each kind are mapped here and nowhere else.
"""

from __future__ import annotations

from typing import Any, ClassVar


class OpsbookError(Exception):
    """Something a person can understand and act on.

    Args:
        message: what is wrong, in one sentence, without a trailing full stop.
        hint: the way out, usually a command or a line to write.
        where: the place, e.g. ``services/web.yaml:7`` or ``production/web``.
        details: machine-readable facts for ``--json`` and the API; JSON-serialisable.
    """

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    kind: ClassVar[str] = "error"

    def __init__(
        self, message: str, *, hint: str = "", where: str = "", details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where
        self.details = details or {}

    def __str__(self) -> str:
        if not self.where or _names(self.message, self.where):
            return self.message
        return f"{self.where}: {self.message}"

    def to_json(self) -> dict[str, Any]:
        """The error as the API sends it: ``{kind, message, hint, where, details}``."""
        return {
            "kind": self.kind,
            "message": self.message,
            "hint": self.hint,
            "where": self.where,
            "details": self.details,
        }


def _names(message: str, place: str) -> bool:
    """Whether the place stands in the message as it is, so that it need not be said twice."""
    at = message.find(place)
    before, after = message[max(at - 1, 0) : max(at, 0)], message[at + len(place) :][:1]
    return at >= 0 and not before.strip('"( ') and not (after.isalnum() or after in tuple("-_/."))


class Failed(OpsbookError):
    """The work was tried and did not succeed (exit 1)."""

    kind = "failed"


class NotFound(OpsbookError):
    """A thing that was named does not exist (exit 2: the caller's words are off)."""

    exit_code = 2
    http_status = 404
    kind = "not_found"


class Invalid(OpsbookError):
    """Usage or handbook error (exit 2)."""

    exit_code = 2
    http_status = 422
    kind = "invalid"


class RolledBack(OpsbookError):
    """The deployment was taken back (exit 3)."""

    exit_code = 3
    http_status = 409
    kind = "rolled_back"


class NotAllowed(OpsbookError):
    """The caller may not do this (exit 4)."""

    exit_code = 4
    http_status = 403
    kind = "not_allowed"


class Locked(OpsbookError):
    """Somebody else is working on the subject; ``details`` has holder, reason and expires_at (exit 5)."""

    exit_code = 5
    http_status = 423
    kind = "locked"


class NeedsApproval(OpsbookError):
    """A person must approve first (exit 6)."""

    exit_code = 6
    http_status = 403
    kind = "needs_approval"


class Conflict(OpsbookError):
    """What was decided upon is no longer so: a stale plan, a superseded writer (exit 1)."""

    http_status = 409
    kind = "conflict"


class Unreachable(OpsbookError):
    """A server that should answer does not (exit 1)."""

    http_status = 502
    kind = "unreachable"


KINDS: dict[str, type[OpsbookError]] = {
    error.kind: error
    for error in (
        OpsbookError, Failed, NotFound, Invalid, RolledBack, NotAllowed, Locked, NeedsApproval, Conflict, Unreachable,
    )
}  # fmt: skip


def from_json(body: dict[str, Any]) -> OpsbookError:
    """Rebuild the error that the API sent, so that the CLI exits as the server meant."""
    error = KINDS.get(str(body.get("kind")), OpsbookError)
    return error(
        str(body.get("message", "unknown error")),
        hint=str(body.get("hint", "")),
        where=str(body.get("where", "")),
        details=dict(body.get("details") or {}),
    )
