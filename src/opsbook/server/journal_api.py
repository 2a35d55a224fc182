"""Routes of the journal: read it, prove it, take it away."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from opsbook.security.api import Visible, requires, requires_somewhere
from opsbook.security.plan import sees
from opsbook.server.events import kinds_of

if TYPE_CHECKING:
    from opsbook.journal import Journal

CHUNK = 64 * 1024  # bytes


def router(journal: Journal) -> APIRouter:
    """``/api/journal/...``."""
    routes = APIRouter(prefix="/api/journal", tags=["journal"])

    @routes.get("/events", dependencies=[requires_somewhere("view")])
    def events(
        *,
        visible: Visible,
        after: Annotated[int, Query(ge=0)] = 0,
        before: Annotated[int | None, Query(ge=1)] = None,
        kinds: Annotated[
            list[str] | None, Query(description="kinds, comma separated; `deployment.*`")
        ] = None,
        subject: str | None = None,
        subject_prefix: str | None = None,
        since: Annotated[float | None, Query(description="UTC epoch seconds")] = None,
        until: Annotated[float | None, Query(description="UTC epoch seconds")] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
        newest: Annotated[bool, Query(description="the newest `limit`, still oldest first")] = False,
    ) -> dict[str, Any]:
        """Events that match, oldest first; of environments that one may look at."""
        found = journal.events(
            after=after,
            before=before,
            kinds=kinds_of(kinds or []),
            subject=subject,
            subject_prefix=subject_prefix,
            since=since,
            until=until,
            limit=limit,
            newest=newest,
        )
        mine = [event for event in found if sees(visible, event.subject)]
        ordered = sorted(mine, key=lambda event: event.id)
        return {"events": [event.to_json() for event in ordered], "head": journal.head().id}

    @routes.get("/verify", dependencies=[requires("view")])
    def verify() -> dict[str, Any]:
        """Recompute the whole hash chain."""
        return asdict(journal.verify())

    @routes.get("/head", dependencies=[requires("view")])
    def head() -> dict[str, Any]:
        """The newest id and hash, signed; keep it elsewhere to prove later that nothing was cut off."""
        return dict(journal.signed_head())

    @routes.get("/export", response_class=StreamingResponse, dependencies=[requires("audit")])
    def export() -> StreamingResponse:
        """All events as NDJSON; the last line is the signed head."""
        # Written whole before the first byte is sent: a failure is an error answer, not a file that looks
        # complete.
        file = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed when it has been sent
        try:
            journal.export(lambda text: _line(file, text))
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return StreamingResponse(_chunks(file), media_type="application/x-ndjson")

    return routes


def _line(file: IO[str], text: str) -> None:
    file.write(text if text.endswith("\n") else text + "\n")


def _chunks(file: IO[str]) -> Iterator[str]:
    with file:
        while chunk := file.read(CHUNK):
            yield chunk
