"""How the last drill of a page went, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opsbook.terminal import age, duration


def verdict(evidence: Mapping[str, Any]) -> str:
    """In a word or two. What was proved of a text that has changed since is not proved of the page as it is.

    Args:
        evidence: of one page, as `GET /api/response/drills` gives it.
    """
    changed = evidence["state"] == "passed" and evidence.get("changed_since")
    return "changed since" if changed else str(evidence["state"])


def in_a_cell(evidence: Mapping[str, Any] | None, now: float) -> str:
    """For a table. None: the page was never drilled. `now`: epoch seconds."""
    return f"{age(evidence['at'], now)} {verdict(evidence)}" if evidence is not None else "never"


def in_a_line(evidence: Mapping[str, Any], now: float) -> str:
    """For below the page."""
    found = age(evidence["at"], now)
    words = [f"drilled {found} ago" if found != "now" else "drilled just now", str(evidence["state"])]
    for name, what in (("detect_seconds", "detected in"), ("fix_seconds", "fixed in")):
        if evidence.get(name) is not None:
            words.append(f"{what} {duration(evidence[name])}")
    if evidence.get("reason"):
        words.append(str(evidence["reason"]))
    return ", ".join(words) + ("; the page has been changed since" if evidence.get("changed_since") else "")
