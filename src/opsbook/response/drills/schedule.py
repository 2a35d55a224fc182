"""Drills that opsbook runs by itself: one at a time, each in a process of its own."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from opsbook.book import Book
from opsbook.errors import Failed, OpsbookError
from opsbook.response.drills.model import Result
from opsbook.response.drills.plan import due
from opsbook.response.drills.room import Drills
from opsbook.world.hosts.commands import run

_LOOK_EVERY = 60.0
_LONGEST = 3600.0


class Schedule:
    """See the module.

    Args:
        rehearse: runs the drill of a page; raises OpsbookError.
        tell: says to whoever answers for a page that its drill failed, and why; raises OpsbookError.
        log: is told what could not be run.
    """

    def __init__(
        self,
        book: Callable[[], Book],
        drills: Drills,
        *,
        now: Callable[[], float],
        rehearse: Callable[[str], Result],
        tell: Callable[[str, str], object],
        log: Callable[[str], None],
    ) -> None:
        self._book, self._drills, self._now, self._rehearse, self._log = book, drills, now, rehearse, log
        self._tell = tell
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._tried: dict[str, float] = {}

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="drills", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No further drill is begun; one under way ends by itself."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_EVERY):
            self.look()

    def look(self) -> None:
        """Run what is due now; what cannot be known or run is told, and looked at again."""
        try:
            self._look()
        except OpsbookError as error:
            self._log(f"drills on a schedule: {error}")

    def _look(self) -> None:
        spec = self._book().drilled
        for page in spec.pages:
            results = self._drills.of(page)
            last = max(
                [*(one.at for one in results[:1]), *([self._tried[page]] if page in self._tried else [])],
                default=None,
            )
            if self._stopping.is_set() or not due(spec.every, last, self._now()):
                continue
            self._tried[page] = self._now()
            try:
                result = self._drills.record(self._rehearse(page), "opsbook")
            except OpsbookError as error:
                self._log(f"the drill of {page} could not be run: {error}")
                self._tell(page, f"it could not be run: {error}")
                continue
            if result.state == "failed":
                self._tell(page, f"{result.stage}: {result.reason}" if result.stage else result.reason)


def in_a_process(book: Path) -> Callable[[str], Result]:
    """What runs a drill as `opsbook runbooks test` does."""

    def rehearse(page: str) -> Result:
        words = ["--book", str(book), "runbooks", "test", page, "--json", "--no-record"]
        done = run([sys.executable, "-m", "opsbook", *words], cwd=Path("/"), timeout=_LONGEST)
        try:
            return Result.from_json(json.loads(done.output)["drills"][0])
        except (ValueError, KeyError, IndexError):
            raise Failed(done.text.strip()[-500:] or "it did not end in time") from None

    return rehearse
