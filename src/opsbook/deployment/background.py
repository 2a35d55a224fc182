"""Work that takes its time beside the looks of a workflow, each piece once at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from opsbook.errors import OpsbookError


class Background:
    """Threads by key. What a piece of work has to say it records itself; when it cannot, it is begun again later."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, threading.Thread] = {}

    def start(self, key: str, work: Callable[[], None]) -> None:
        """Begin `work`, unless the one with this key is still going on."""
        with self._lock:
            if key in self._running:
                return
            thread = threading.Thread(target=self._run, args=(key, work), name=key, daemon=True)
            self._running[key] = thread
            thread.start()

    def busy(self, key: str) -> bool:
        with self._lock:
            return key in self._running

    def _run(self, key: str, work: Callable[[], None]) -> None:
        try:
            work()
        except OpsbookError:
            pass  # the journal could not be written: nothing was recorded, so whoever looks next begins it again
        finally:
            with self._lock:
                del self._running[key]
