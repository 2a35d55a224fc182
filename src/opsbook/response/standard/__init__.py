"""The standard set: runbooks for what goes wrong everywhere, each beside the drill that proves it on the real fault."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class StandardPage:
    """The two texts of one folder of this package: `runbook.md` and `drill.md`."""

    name: str
    runbook: str
    drill: str


@cache
def standard_pages() -> Mapping[str, StandardPage]:
    """Every page of the set by its name, in order of their names."""
    found = {}
    for folder in resources.files("opsbook.response.standard").iterdir():
        page, drill = folder / "runbook.md", folder / "drill.md"
        if folder.is_dir() and page.is_file() and drill.is_file():
            found[folder.name] = StandardPage(folder.name, page.read_text("utf-8"), drill.read_text("utf-8"))
    return MappingProxyType(dict(sorted(found.items())))


def copies(owner: str | None = None, *, without: Collection[str] = ()) -> dict[str, str]:
    """The set as files of a handbook, by path: from then on its own.

    Args:
        owner: the contact who answers for the pages. without: pages that are left out, their drills too.
    """
    found = {}
    for one in standard_pages().values():
        if one.name not in without:
            found[f"runbooks/{one.name}.md"] = _owned(one.runbook, owner)
            found[f"runbooks/drills/{one.name}.md"] = one.drill
    return found


def _owned(text: str, owner: str | None) -> str:
    """The page with its owner, before the day on which it was read last."""
    head, mark, body = text.partition("\n---\n")
    if owner is None or "\nowner:" in head:
        return text
    return head.replace("\nreviewed:", f"\nowner: {owner}\nreviewed:", 1) + mark + body
