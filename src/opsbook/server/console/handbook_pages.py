"""``/handbook``: its files at the commit in force, what is wrong in them, and what runs otherwise than they say."""

from __future__ import annotations

from typing import Any, Protocol

from fastapi import APIRouter, Request, Response

from opsbook.book import Book, Files
from opsbook.deployment.pages.source import Source
from opsbook.errors import NotFound
from opsbook.security.api import signed_in
from opsbook.security.plan import may_somewhere, sees, visible
from opsbook.server.console.shell import Shell
from opsbook.server.console.trouble import pages

READABLE = (".yaml", ".yml", ".md", ".json", ".toml", ".txt")
LARGEST = 200_000  # bytes of a file that are shown


class Handbook(Protocol):
    """`opsbook.server.handbook.Handbook`, as far as its pages need it."""

    def current(self) -> Book: ...

    def problems(self) -> list[dict[str, Any]]: ...

    def files(self) -> Files: ...


def router(handbook: Handbook, source: Source, shell: Shell) -> APIRouter:
    """``/handbook``."""
    routes = APIRouter(include_in_schema=False, route_class=pages(shell))

    @routes.get("/handbook")
    def overview(request: Request) -> Response:
        mine = visible(signed_in(request))
        return shell.page(
            request, "handbook.html", lambda: _overview(handbook, source, mine), topics=("handbook", "now")
        )

    @routes.get("/handbook/{path:path}")
    def file(request: Request, path: str) -> Response:
        if not may_somewhere(signed_in(request), "view").allowed:
            raise NotFound("there is nothing here that you may look at")
        return shell.page(request, "file.html", lambda: _file(handbook, path))

    return routes


def _overview(handbook: Handbook, source: Source, mine: frozenset[str] | None) -> dict[str, Any]:
    book, files = handbook.current(), handbook.files()
    return {
        "title": "Handbook",
        "book": book,
        "where": files.where,
        "problems": handbook.problems(),
        "paths": [path for path in files.paths() if path.endswith(READABLE)],
        "plans": [plan for plan in source.room.plans(None, frozenset()) if sees(mine, plan["environment"])],
    }


def _file(handbook: Handbook, path: str) -> dict[str, Any]:
    files = handbook.files()
    if path not in files.paths() or not path.endswith(READABLE):
        raise NotFound(f"the handbook has no file {path}", where=files.where)
    content = files.read(path)
    problems: dict[int, list[dict[str, Any]]] = {}
    for problem in handbook.problems():
        if problem["file"] == path:
            problems.setdefault(max(1, problem["line"]), []).append(problem)
    return {
        "title": path,
        "file": path,
        "commit": files.commit,
        "lines": content[:LARGEST].decode("utf-8", "replace").splitlines(),
        "cut": len(content) > LARGEST,
        "problems": problems,
    }
