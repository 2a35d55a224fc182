"""What the first screen of all shows of this room: what is open, who is on call."""

from __future__ import annotations

from typing import Any

from opsbook.response.pages.incidents import open_incidents
from opsbook.response.pages.source import Source
from opsbook.response.pages.states import Condition
from opsbook.security.model import Identity
from opsbook.security.plan import may_somewhere

SHOWN = 4


def now(source: Source | None, identity: Identity) -> dict[str, Any]:
    """For the template: ``open`` incidents, ``more_open`` that are not shown, ``duty``; None: nobody responds."""
    if source is None:
        return {"open": [], "more_open": 0, "duty": None}
    found = open_incidents(source, identity)
    return {
        "open": found[:SHOWN],
        "more_open": max(0, len(found) - SHOWN),
        "duty": _duty(source) if may_somewhere(identity, "view").allowed else None,
    }


def headline(open_: list[dict[str, Any]], more: int) -> Condition | None:
    """One sentence about what is open, where that is worse than a service that is not well."""
    if not open_:
        return None
    first = open_[0]
    others = len(open_) + more - 1
    rest = f", and {others} more" if others else ""
    return Condition(first["condition"].state, f"{first['severity']}: {first['title']}{rest}.")


def _duty(source: Source) -> list[dict[str, Any]]:
    """Each schedule with who is on call now and next, and the next gap."""
    return [
        {
            "name": one["name"],
            "people": list(one["now"]["people"]),
            "until": one["now"]["end"],
            "next": list(one["next"]["people"]) if one["next"] else [],
            "gap": one["gaps"][0]["start"] if one["gaps"] else None,
        }
        for one in source.on_call()
    ]
