"""Which files a handbook knows, and what to say of the others."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator

from opsbook.book.draft import COVER
from opsbook.book.problems import Problem

FOLDERS = (
    "services", "environments", "deployment", "infrastructure", "monitoring", "runbooks", "troubleshooting",
    "incidents", "recovery", "maintenance", "security",
)  # fmt: skip
YAML_ENDINGS = (".yaml", ".yml")


def unknown_files(paths: Collection[str]) -> Iterator[Problem]:
    """Files that look as if they were meant for opsbook and are read by nobody."""
    if COVER not in paths:
        hint = "opsbook init"
        beside = next((path for path in paths if path.rpartition("/")[2] == COVER), "")
        hint = f"is the handbook {beside.rpartition('/')[0]}/ meant? --book names it" if beside else hint
        yield Problem(
            COVER, 0, "", "the handbook has no opsbook.yaml, which is the one file it must have", hint
        )
    folders: set[str] = set()
    for path in paths:
        folder, _, rest = path.partition("/")
        if not rest:
            if path.endswith(YAML_ENDINGS) and path != COVER:
                yield _warning(path, "nothing reads this file", folder.rpartition(".")[0])
        elif folder in {"services", "environments"}:
            yield from _definition(path, rest)
        elif folder not in FOLDERS and folder not in folders:
            near = difflib.get_close_matches(folder, FOLDERS, n=1, cutoff=0.7)
            if near or (path.endswith(YAML_ENDINGS) and "/" not in rest):
                folders.add(folder)
                yield _warning(f"{folder}/", "nothing reads this folder", folder)


def _definition(path: str, rest: str) -> Iterator[Problem]:
    """Services and environments are read from one level, with one ending; else they would silently be left out."""
    if path.endswith(".yml"):
        yield Problem(path, 0, "", "expected the ending .yaml", f"rename it to {path[:-4]}.yaml")
    elif path.endswith(".yaml") and "/" in rest:
        yield _warning(path, "nothing reads files in folders below this one", "")


def _warning(path: str, message: str, name: str) -> Problem:
    near = difflib.get_close_matches(name, (*FOLDERS, "opsbook"), n=1, cutoff=0.6)
    hint = ""
    if near:
        hint = f'did you mean "{near[0]}/"?' if near[0] in FOLDERS else f'did you mean "{COVER}"?'
    return Problem(path, 0, "", message, hint, "warning")
