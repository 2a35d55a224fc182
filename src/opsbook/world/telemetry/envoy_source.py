"""Asks the proxy for its statistics in a thread of its own, because the answer may hang."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from opsbook.errors import Failed, OpsbookError

Asker = TypeVar("Asker")


class EnvoySource(Generic[Asker]):
    """One question at a time to `stats`; the answers are collected by who asked.

    Args:
        stats: gives Prometheus text; may block and may raise.
        wake: called from the thread when an answer is there.
    """

    def __init__(self, stats: Callable[[], str], wake: Callable[[], None]) -> None:
        self._stats = stats
        self._wake = wake
        self._asked: queue.SimpleQueue[Asker | None] = queue.SimpleQueue()
        self._answers: deque[tuple[Asker, bytes | OpsbookError]] = deque()
        self._under_way: set[Asker] = set()
        self._thread: threading.Thread | None = None

    def ask(self, asker: Asker) -> None:
        """Ask on behalf of `asker`; nothing more happens while its last question is unanswered."""
        if asker in self._under_way:
            return
        if self._thread is None:
            # A daemon: a proxy that hangs for ever must not keep opsbook from ending.
            self._thread = threading.Thread(target=self._run, name="opsbook-envoy-stats", daemon=True)
            self._thread.start()
        self._under_way.add(asker)
        self._asked.put(asker)

    def answers(self) -> list[tuple[Asker, bytes | OpsbookError]]:
        """What was answered since the last call: the text, or why there is none."""
        found = []
        while self._answers:
            asker, answer = self._answers.popleft()
            self._under_way.discard(asker)
            found.append((asker, answer))
        return found

    def close(self) -> None:
        """End the thread after the question under way, without waiting for it."""
        self._asked.put(None)

    def _run(self) -> None:
        while (asker := self._asked.get()) is not None:
            try:
                answer: bytes | OpsbookError = self._stats().encode()
            except OpsbookError as error:
                answer = error
            except Exception as error:
                answer = Failed(f"the proxy gave no statistics: {type(error).__name__}: {error}")
            self._answers.append((asker, answer))
            self._wake()
