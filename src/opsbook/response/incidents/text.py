"""Text that comes from anywhere, and what may be kept of it. Pure."""

from __future__ import annotations

import re
import unicodedata

_TITLE, _SLUG, _PLACE = 200, 60, 100


def line(text: str, longest: int = _TITLE) -> str:
    """One line of what can be seen."""
    kept = "".join(" " if unicodedata.category(one)[0] in "CZ" else one for one in str(text)[: longest * 4])
    said = " ".join(kept.split())
    return said if len(said) <= longest else said[: longest - 1] + "…"


def slug_of(title: str) -> str:
    """A title as a part of a file name: letters, digits and dashes of ASCII; never empty."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    found = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_SLUG].strip("-")
    return found or "incident"


def place_of(text: str) -> str:
    """What a label says of an environment or a service, as one part of a subject of the journal."""
    return line(text, _PLACE).replace("/", "-")
