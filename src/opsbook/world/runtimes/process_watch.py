"""One thread that knows when a process ends and when a time has come, and sleeps in between."""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from opsbook.world.hosts.processes import ProcessIdentity, entry

Action = Callable[[], None]


class ProcessWatch:
    """Runs actions at the end of processes and at times. Actions must be short: they share the thread.

    What is asked for before `start` waits until then.
    """

    def __init__(self) -> None:
        self._asked: deque[Action] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._times: list[tuple[float, int, Action]] = []
        self._count = itertools.count()
        self._thread: threading.Thread | None = None
        self._closing = False

    def at_end(self, process: ProcessIdentity, action: Action) -> None:
        """Run `action` once `process` has ended; at once when it has already."""
        self._ask(lambda: self._register(process, action))

    def after(self, seconds: float, action: Action) -> None:
        """Run `action` in `seconds` from now."""
        due = (time.monotonic() + max(0.0, seconds), next(self._count), action)
        self._ask(lambda: heapq.heappush(self._times, due))

    def start(self) -> None:
        """Begin to watch, in one daemon thread."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="opsbook-process-watch", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop watching; for good. Closing again changes nothing."""
        if self._closing:
            return
        self._closing = True
        if self._thread is not None:
            os.eventfd_write(self._wake, 1)
            self._thread.join()
            self._thread = None
        for key in list(self._selector.get_map().values()):
            os.close(key.fd)
        self._selector.close()

    def _ask(self, action: Action) -> None:
        if not self._closing:
            self._asked.append(action)
            os.eventfd_write(self._wake, 1)

    def _register(self, process: ProcessIdentity, action: Action) -> None:
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            self._act(action)
            return
        now = entry(process.pid)
        if now is None or now.started != process.started:
            os.close(descriptor)
            self._act(action)
            return
        self._selector.register(descriptor, selectors.EVENT_READ, action)

    def _run(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select(self._wait()):
                if key.fd == self._wake:
                    with suppress(BlockingIOError):
                        os.eventfd_read(self._wake)
                else:
                    self._selector.unregister(key.fd)
                    os.close(key.fd)
                    self._act(key.data)
            while self._asked and not self._closing:
                self._act(self._asked.popleft())
            while self._times and self._times[0][0] <= time.monotonic() and not self._closing:
                self._act(heapq.heappop(self._times)[2])

    def _wait(self) -> float | None:
        if self._asked:
            return 0.0
        return max(0.0, self._times[0][0] - time.monotonic()) if self._times else None

    @staticmethod
    def _act(action: Action) -> None:
        try:
            action()
        except Exception as error:
            arguments = (type(error), error, error.__traceback__, threading.current_thread())
            threading.excepthook(threading.ExceptHookArgs(arguments))
