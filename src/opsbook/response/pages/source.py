"""What the pages need of the rooms and of the console's shell; all handed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fastapi import Request, Response

from opsbook.book import Book
from opsbook.response.runbooks.room import Runbooks

Json = dict[str, Any]


class Shell(Protocol):
    """Renders pages; `opsbook.server.console.shell.Shell` is one."""

    def page(
        self,
        request: Request,
        template: str,
        make: Callable[[], Mapping[str, Any]],
        *,
        topics: tuple[str, ...] = (),
        status: int = 200,
    ) -> Response: ...

    def see_other(self, path: str) -> Response: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """All of it.

    Args:
        book: as last read. now: epoch seconds.
        on_call: every schedule with who is on call now and next (`OnCall.now`).
        tested: of each page that was tried as a drill, how that went.
    """

    book: Callable[[], Book]
    now: Callable[[], float]
    runbooks: Runbooks
    on_call: Callable[[], Sequence[Json]] = list
    tested: Callable[[], Mapping[str, Json]] = dict
