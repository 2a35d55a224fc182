"""The registry of event kinds: what may be appended, and the reference page about it.

Each room registers its kinds where it defines its nouns, at import, so that no event can appear in a journal
that the reference does not explain.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from opsbook.errors import Conflict, Invalid

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of event: its name, one line for people, and its data fields with one line each."""

    name: str
    description: str
    fields: Mapping[str, str] = field(default_factory=dict)


_registered: dict[str, Kind] = {}


def register(name: str, description: str, fields: Mapping[str, str] | None = None) -> Kind:
    """Make `name` (``room.what_happened``) known. Registering the same again changes nothing.

    Args:
        name: lower case, words joined by dots, at least two.
        description: one line, for the reference page.
        fields: the keys of the event's data and one line about each.

    Raises:
        Invalid: the name is not of that form, or the description is empty or longer than a line.
        Conflict: the name is taken by a kind that reads differently.
    """
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"event kind {name!r} is not of the form room.what_happened",
            hint="use lower case words joined by a dot, e.g. deployment.requested",
        )
    if not description or "\n" in description:
        raise Invalid(f"event kind {name} needs a description of exactly one line", where=name)
    kind = Kind(name, description, dict(fields or {}))
    known = _registered.setdefault(name, kind)
    if known != kind:
        raise Conflict(
            f"event kind {name} is registered already, with another meaning",
            hint="choose another name, or register it in one place only",
            where=name,
        )
    return known


def kind_of(name: str) -> Kind:
    """The registered kind.

    Raises:
        Invalid: nobody has registered it; the hint names the nearest that is.
    """
    try:
        return _registered[name]
    except KeyError:
        near = difflib.get_close_matches(name, _registered, n=1)
        hint = (
            f"did you mean {near[0]}?"
            if near
            else "register it with opsbook.journal.register(kind, description, fields)"
        )
        raise Invalid(f"unknown event kind {name!r}", hint=hint, where=name) from None


def kinds() -> tuple[Kind, ...]:
    """Every registered kind, by name."""
    return tuple(_registered[name] for name in sorted(_registered))


def reference() -> str:
    """The reference page of all registered kinds, as Markdown (docs/reference/events.md is made of it)."""
    lines = [
        "# Events",
        "",
        "Every kind of event that opsbook writes to its journal, and the data it carries.",
    ]
    room = ""
    for kind in kinds():
        if kind.name.split(".")[0] != room:
            room = kind.name.split(".")[0]
            lines += ["", f"## {room}"]
        lines += ["", f"### `{kind.name}`", "", kind.description]
        if kind.fields:
            lines += ["", "| field | meaning |", "|---|---|"]
            lines += [f"| `{name}` | {_cell(text)} |" for name, text in kind.fields.items()]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    # A bar would end the table's cell.
    return text.replace("|", "\\|")


LEASE_BROKEN = register(
    "lease.broken",
    "Somebody took the lease away from its holder, whose further writes are refused",
    {"holder": "who had it", "reason": "what for", "token": "its fencing token"},
)
