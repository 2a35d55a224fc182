"""A folder of foreign pages, taken over as one: names, links among them, pictures. Pure but for what it is handed.

A page is known by its place in the foreign folder until all of them have names here; then links among them lead on.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

from opsbook.book.markdown import CODE, ELSEWHERE, LINK, outside_code
from opsbook.book.runbook_pages import read_runbook
from opsbook.response.runbooks.importing import Imported, Note, imported

IMAGES = "images"
"""The folder beside the pages to which their pictures go."""
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp"})
_OF_ITS_FOLDER = frozenset({"index", "_index", "readme", "home", "default"})
_ENDINGS = re.compile(r"\.(?:md|markdown|html?)$", re.IGNORECASE)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_ALERT = re.compile(r"(?:[A-Z]+[a-z0-9]+){2,}[A-Z]*")
_SAID = 3  # dead links that are named


@dataclass(frozen=True, slots=True)
class Foreign:
    """A page from elsewhere; `path` is absolute."""

    path: PurePosixPath
    content: bytes


@dataclass(frozen=True, slots=True)
class Moved:
    """A page as it would be written here.

    Args:
        pictures: where each is, and its name below the folder of the pages.
        is_there: whether it was taken over before, and is the same still.
    """

    path: PurePosixPath
    page: Imported
    pictures: tuple[tuple[PurePosixPath, str], ...]
    is_there: bool

    def to_json(self) -> dict[str, Any]:
        pictures = [name for _, name in self.pictures]
        return {
            "from": str(self.path),
            **self.page.to_json(),
            "pictures": pictures,
            "unchanged": self.is_there,
        }


def moved(
    pages: Sequence[Foreign],
    existing: Callable[[str], bytes | None],
    is_picture: Callable[[PurePosixPath], bool] = lambda path: False,
) -> list[Moved]:
    """Take over all pages at once. Never fails, and makes nothing run.

    Args:
        existing: the page that is here by a name, if there is one: it is never written over.
        is_picture: whether there is a picture at a place that may be read.
    """
    every = [one.path for one in pages]
    found = _written(pages, named(every, taken=lambda name: False), existing, is_picture)
    there = {one.path: one for one in found if one.is_there}
    if all(one.is_there or existing(one.page.name) is None for one in found):
        return found
    # Some names are others' here. What is there already stays as it is, wherever its links would lead by now.
    names = {path: one.page.name for path, one in there.items()}
    names |= named([path for path in every if path not in there], lambda name: existing(name) is not None)
    anew = _written(pages, names, existing, is_picture)
    return [there.get(one.path, one) for one in anew]


def named(paths: Sequence[PurePosixPath], taken: Callable[[str], bool]) -> dict[PurePosixPath, str]:
    """A name for each page: of its file, of its folder where that says more, of both where there are several.

    Args:
        taken: whether another page has a name already.
    """
    found: dict[PurePosixPath, str] = {}
    used: set[str] = set()
    for path in paths:
        candidates = _candidates(path)
        name = next((one for one in candidates if one not in used and not taken(one)), candidates[0])
        number, base = 1, name
        while name in used or taken(name):
            number += 1
            name = f"{base}-{number}"
        used.add(name)
        found[path] = name
    return found


def _candidates(path: PurePosixPath) -> list[str]:
    stem = path.name
    while (shorter := _ENDINGS.sub("", stem)) != stem and shorter:
        stem = shorter
    folders = [one for one in path.parts[:-1] if one.strip("/")]
    if stem.lower() in _OF_ITS_FOLDER and folders:
        stem = folders.pop()
    parts = [_slug(stem)]
    found = [_name(parts)]
    for folder in reversed(folders[-2:]):
        parts = [_slug(folder), *parts]
        found.append(_name(parts))
    return list(dict.fromkeys(found))


def _name(parts: Sequence[str]) -> str:
    base = "-".join(filter(None, parts))[:50].strip("-")
    return base if base[:1].isalpha() else f"page-{base}".strip("-")


def _slug(text: str) -> str:
    apart = "-".join(_HUMP.split(text)) if _ALERT.fullmatch(text) else text
    return re.sub(r"[^a-z0-9]+", "-", apart.lower()).strip("-")


def _written(
    pages: Sequence[Foreign],
    names: Mapping[PurePosixPath, str],
    existing: Callable[[str], bytes | None],
    is_picture: Callable[[PurePosixPath], bool],
) -> list[Moved]:
    found = []
    for one in pages:
        links = _Links(one.path, names, is_picture)
        page = imported(names[one.path], one.content)
        page = links.followed(replace(page, name=names[one.path]))
        stem = _ENDINGS.sub("", one.path.name)
        if _ALERT.fullmatch(stem):
            said = f"is it the page of an alert? Then its front matter says so: alerts: [{stem}]"
            page = replace(page, notes=(*page.notes, Note(1, said)))
        same = existing(page.name) == page.text.encode("utf-8", "surrogatepass")
        found.append(Moved(one.path, page, tuple(links.pictures.items()), same))
    return found


class _Links:
    """The links of one page."""

    def __init__(
        self,
        path: PurePosixPath,
        names: Mapping[PurePosixPath, str],
        is_picture: Callable[[PurePosixPath], bool],
    ) -> None:
        self._path, self._names, self._is_picture = path, names, is_picture
        self.pictures: dict[PurePosixPath, str] = {}
        self._dead: dict[str, None] = {}

    def followed(self, page: Imported) -> Imported:
        lines = page.text.splitlines(keepends=True)
        for number, line in outside_code(page.text):
            lines[number - 1] = self._line(line) + lines[number - 1][len(line) :]
        text = "".join(lines)
        read, _, _ = read_runbook(page.name, text.encode("utf-8", "surrogatepass"))
        if read is None or read.blocks:
            self.pictures.clear()
            return page
        notes = page.notes
        if self._dead:
            some = ", ".join(list(self._dead)[:_SAID]) + (", ..." if len(self._dead) > _SAID else "")
            count = len(self._dead)
            said = (
                f"{count} {'link leads' if count == 1 else 'links lead'} to what was not taken over: {some}"
            )
            notes = (*notes, Note(1, said))
        return replace(page, text=text, notes=notes)

    def _line(self, line: str) -> str:
        codes = [match.span() for match in CODE.finditer(line)]

        def lead(match: re.Match[str]) -> str:
            if any(start <= match.start(1) < end for start, end in codes):
                return match[0]
            there = self._there(match[1])
            start = match.start(1) - match.start()
            return match[0][:start] + there + match[0][start + len(match[1]) :]

        return LINK.sub(lead, line)

    def _there(self, link: str) -> str:
        if ELSEWHERE.match(link):
            return link
        bare, mark, fragment = link.partition("#")
        target = posixpath.normpath(posixpath.join(self._path.parent, unquote(bare.split("?")[0])))
        for one in (
            target,
            f"{target}.md",
            *(f"{target}/{index}.md" for index in ("index", "README", "_index")),
        ):
            if (known := self._names.get(PurePosixPath(one))) is not None:
                return f"{known}.md{mark}{fragment}"
        picture = PurePosixPath(target)
        if picture.suffix.lower() in PICTURES and self._is_picture(picture):
            said = re.sub(r"[^A-Za-z0-9._-]+", "-", picture.name)
            self.pictures[picture] = f"{IMAGES}/{self._names[self._path]}-{said}"
            return quote(self.pictures[picture])
        self._dead[link] = None
        return link
