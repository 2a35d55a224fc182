"""What the shell is handed: the rooms, wired together by the composition root."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from fastapi import APIRouter, FastAPI

    from opsbook.journal import Journal
    from opsbook.security.room import Security


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """The rooms of one running opsbook.

    Args:
        routers: the rooms' own routes, each with its full path (``/api/deployment/...``).
        events: the journal; events are streamed from it.
        status: the body of ``GET /api/status`` for one environment, or for all when it is handed None.
            Called in a worker thread.
        health: the body of ``GET /api/health``; shown to everybody who can reach the port, so it holds no
            names.
            Called in a worker thread; raises or returns ``{"ok": false, ...}`` when opsbook cannot work.
        stop: called exactly once before the end. True ends services and proxy too: it runs in a worker thread
            while the server still answers, and when it raises, the server goes on. False ends background
            loops only.
        security: who knows persons by their tokens and sessions; None: there is the local operator only.
        install_pages: adds the console to the application; None: there is none.
        close: called once, last, after no request is under way: flush and close files and databases.
    """

    routers: Sequence[APIRouter]
    events: Journal
    status: Callable[[str | None], dict[str, Any]]
    health: Callable[[], dict[str, Any]]
    stop: Callable[[bool], None]
    security: Security | None = None
    install_pages: Callable[[FastAPI], None] | None = None
    close: Callable[[], None] = field(default=_nothing)


class Build(Protocol):
    """The composition root as the shell calls it, once, before anybody can connect."""

    def __call__(self, *, book: Path, state: Path, stopping: threading.Event) -> Rooms:
        """Wire the rooms.

        Args:
            book: the handbook's folder.
            state: the folder of everything opsbook remembers; exists, private.
            stopping: set as soon as the server begins to end; whatever blocks or streams must watch it.

        Raises:
            OpsbookError: opsbook cannot start; printed as it is, exit code of its kind.
        """
