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


def copies(*, without: Collection[str] = ()) -> dict[str, str]:
    """The set as files of a handbook, by path: from then on its own, and its owner's.

    Args:
        without: pages that are left out, their drills too.
    """
    found = {}
    for one in standard_pages().values():
        if one.name not in without:
            found[f"runbooks/{one.name}.md"] = one.runbook
            found[f"runbooks/drills/{one.name}.md"] = one.drill
    return found
