"""The heartbeat: a request that is made as long as opsbook is well. Whoever gets it tells people when it stays away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from opsbook.book import Book, fill
from opsbook.errors import OpsbookError

_PAUSE: Final = 30.0
"""Seconds between two looks whether the handbook has come to want one."""
_TIMEOUT: Final = 10.0


class Heartbeat:
    """See the module.

    Args:
        secret: the value of a secret. Raises OpsbookError.
        status_of: method, URL and timeout to the status of the answer; `opsbook.world.hosts.web.status_of` is one.
        trouble: why opsbook is not well; empty: it is. In trouble it does not beat.
        now: epoch seconds.
        log: takes a line when it begins to fail, and when it goes again.
    """

    def __init__(
        self,
        book: Callable[[], Book],
        secret: Callable[[str], str],
        status_of: Callable[..., int],
        trouble: Callable[[], str],
        *,
        now: Callable[[], float],
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._book = book
        self._secret = secret
        self._status_of = status_of
        self._trouble = trouble
        self._now = now
        self._log = log
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.last_at: float | None = None  # when one was taken
        self.error = ""  # why the last one was not sent, or not taken

    def start(self) -> None:
        """Begin to beat, as soon as the handbook wants it."""
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=2.0)

    def _run(self) -> None:
        while True:
            spec = self._book().heartbeat
            if spec is not None:
                self.beat()
            if self._stopping.wait(_PAUSE if spec is None else spec.every):
                return

    def beat(self) -> bool:
        """One beat, if the handbook wants it and opsbook is well; whether it was taken."""
        spec = self._book().heartbeat
        if spec is None:
            return False
        error = self._beat(spec.url)
        if bool(error) != bool(self.error):
            self._log(f"heartbeat: {error}" if error else "heartbeat: it goes again")
        self.error = error
        if not error:
            self.last_at = self._now()
        return not error

    def _beat(self, url: str) -> str:
        try:
            if trouble := self._trouble():
                return f"not sent: {trouble}"
            status = self._status_of("GET", fill(url, lambda one: self._secret(one.name)), timeout=_TIMEOUT)
        except OpsbookError as error:
            return error.message  # not where: the address may hold a secret
        except Exception as error:
            return f"not sent: {type(error).__name__}"
        return "" if 200 <= status < 300 else f"it was answered with {status}"
