"""How the last drill of each page went, as the console shows it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opsbook.response.drills.words import verdict
from opsbook.response.pages.states import Condition, Look

_LOOKS: Mapping[str, Look] = {
    "passed": "ok",
    "changed since": "warning",
    "failed": "critical",
    "skipped": "paused",
}


def evidence(results: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each page that was drilled its condition, and when that was (`at`, epoch seconds).

    Args:
        results: what `opsbook.response.drills.room.Drills.evidence` says.
    """
    words = {page: verdict(result) for page, result in results.items()}
    return {
        page: {
            "condition": Condition(_LOOKS.get(words[page], "unknown"), words[page]),
            "at": float(result["at"]),
        }
        for page, result in results.items()
    }
