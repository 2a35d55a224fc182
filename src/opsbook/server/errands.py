"""A few threads that do one thing after the other: a storm of incidents must not begin a thread for each of them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class Errands:
    """See the module.

    Args:
        most: threads at once; they are begun when they are needed, and end when nothing is left.
        log: takes what an errand raised.
    """

    def __init__(self, name: str, most: int, log: Callable[[str], None]) -> None:
        self._name = name
        self._most = most
        self._log = log
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], object]] = deque()
        self._running = 0
        self._closed = False

    def run(self, errand: Callable[[], object]) -> None:
        """Do it, as soon as a thread is free; never in the caller's."""
        with self._lock:
            if self._closed:
                return
            self._waiting.append(errand)
            if self._running >= self._most:
                return
            self._running += 1
        threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def close(self) -> None:
        """Begin nothing more; what is being done is left alone."""
        with self._lock:
            self._closed = True
            self._waiting.clear()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running -= 1
                    return
                errand = self._waiting.popleft()
            try:
                errand()
            except Exception as error:  # the next one is another's
                self._log(f"{self._name}: {type(error).__name__}: {error}")
