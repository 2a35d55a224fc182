"""Telling a listener what changed, in order, without anybody waiting for it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from opsbook.world.words import Instance


class Changes:
    """A queue and the thread that empties it. What changes before `start` is told to nobody."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Instance | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self, on_change: Callable[[Instance], None]) -> None:
        """Begin to call `on_change`, in one daemon thread; a second call changes nothing."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, args=(on_change,), name="opsbook-process-changes", daemon=True
            )
            self._thread.start()

    def tell(self, instance: Instance) -> None:
        """Put a change in the queue; returns at once."""
        if self._thread is not None:
            self._queue.put(instance)

    def close(self) -> None:
        """Tell what is in the queue, then end."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _run(self, on_change: Callable[[Instance], None]) -> None:
        while (change := self._queue.get()) is not None:
            try:
                on_change(change)
            except Exception as error:
                arguments = (type(error), error, error.__traceback__, threading.current_thread())
                threading.excepthook(threading.ExceptHookArgs(arguments))
