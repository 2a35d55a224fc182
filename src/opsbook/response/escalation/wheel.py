"""A thread that goes round: does what is due, waits until something is, and is woken by news."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Wheel:
    """See the module.

    Args:
        turn: does what is due; returns the seconds until it is wanted again. Whatever it raises, it goes on.
        log: takes what `turn` raised.
        patience: seconds to wait after it raised something.
    """

    def __init__(
        self, name: str, turn: Callable[[], float], log: Callable[[str], None], *, patience: float = 1.0
    ) -> None:
        self._name = name
        self._turn = turn
        self._log = log
        self._patience = patience
        self._news = threading.Condition()
        self._woken = False
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to turn."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There is news: turn once more, now or as soon as this turn is done."""
        with self._news:
            self._woken = True
            self._news.notify_all()

    def close(self) -> None:
        """End after this turn, but wait at most five seconds for it."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while True:
            try:
                wait = self._turn()
            except Exception as error:  # whatever it is, it must not end the thread that wakes people
                self._log(f"{self._name}: {type(error).__name__}: {error}")
                wait = self._patience
            with self._news:
                if not self._woken and not self._stopping:
                    self._news.wait(max(0.01, wait))
                if self._stopping:
                    return
                self._woken = False
