"""How results and failures of durable steps are recorded: as JSON that keeps the kind of an error."""

from __future__ import annotations

import json
from typing import Any

from opsbook.errors import Failed, Invalid, OpsbookError, from_json
from opsbook.journal.canonical import canonical, normal


class JsonSerializer:
    """What DBOS calls a serializer. A value is ``{"value": …}``, a failure ``{"error": {kind, …}}``."""

    def name(self) -> str:
        """What DBOS stores beside each text, to know who can read it."""
        return "opsbook_json"

    def serialize(self, data: Any) -> str:
        """`data` as text.

        Raises:
            Invalid: it is no JSON and no exception.
        """
        if isinstance(data, BaseException):
            error = data if isinstance(data, OpsbookError) else as_opsbook_error(data)
            return canonical({"error": _plain(error)})
        return canonical({"value": normal(data, where="recorded value")})

    def deserialize(self, serialized_data: str) -> Any:
        """What `serialize` was given: a failure as an `OpsbookError`, to be raised."""
        recorded = json.loads(serialized_data)
        return from_json(recorded["error"]) if "error" in recorded else recorded["value"]


def as_opsbook_error(error: BaseException) -> Failed:
    """Any exception as one that can be recorded; its type is in the text and in ``details``."""
    name = type(error).__name__
    try:
        said = str(error)
    except Exception:
        # An exception that cannot even be printed must still end its workflow.
        said = ""
    return Failed(f"{name}: {said}" if said else name, details={"type": name})


def _plain(error: OpsbookError) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = normal(error.to_json(), where="error")
    except Invalid:
        # Details that are no JSON are left out rather than the error.
        text = str(error).encode("utf-8", "replace").decode()
        plain = {"kind": error.kind, "message": text, "hint": "", "where": "", "details": {}}
    return plain
