"""Looks side by side, each with a deadline of its own: what does not come in time is said to be unknown.

A look that hangs cannot be ended, only left alone: its thread is a daemon, and while it hangs the same look at the
same service is not begun again.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence

from opsbook.errors import OpsbookError
from opsbook.response.diagnosis.checks import Look
from opsbook.response.diagnosis.model import Check
from opsbook.response.diagnosis.ports import Clock
from opsbook.response.diagnosis.scene import Scene

GRACE = 0.25  # seconds between "stop" and "given up": a look that can stop says what it found


class Looking:
    """Runs looks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._hanging: dict[tuple[str, str, str], threading.Thread] = {}
        self._guard = threading.Lock()

    def run(
        self, looks: Sequence[Look], scene_of: Callable[[Callable[[], bool]], Scene], budget: float
    ) -> Iterator[Check]:
        """Each check as soon as it is there; all of them after `budget` seconds at the latest.

        Args:
            scene_of: the scene, given what says when to stop.
        """
        began = self._clock.monotonic()
        came: queue.SimpleQueue[tuple[Look, Check]] = queue.SimpleQueue()
        waiting: dict[str, tuple[Look, float]] = {}
        for look in looks:
            seconds = min(look.seconds, budget)
            scene = scene_of(self._stop(began + seconds - GRACE))
            if self._begin(look, scene, came, began):
                waiting[look.name] = look, began + seconds
            else:
                yield _unknown(look, "the same look at it hangs since an earlier diagnosis", 0.0)
        while waiting:
            now = self._clock.monotonic()
            for look, deadline in list(waiting.values()):
                if now >= deadline:
                    del waiting[look.name]
                    yield _unknown(look, f"no answer within {deadline - began:.1f} s", now - began)
            if not waiting:
                return
            try:
                look, check = came.get(timeout=max(0.001, min(at for _, at in waiting.values()) - now))
            except queue.Empty:
                continue
            if waiting.pop(look.name, None) is not None:
                yield check

    def _stop(self, at: float) -> Callable[[], bool]:
        return lambda: self._clock.monotonic() >= at

    def _begin(
        self, look: Look, scene: Scene, came: queue.SimpleQueue[tuple[Look, Check]], began: float
    ) -> bool:
        place = (look.name, scene.environment, scene.service)

        def work() -> None:
            try:
                check = look.look(scene)
            except OpsbookError as error:
                check = _unknown(look, str(error), 0.0)
            except Exception as error:  # one look that breaks must not take the others with it
                check = _unknown(look, f"it broke: {type(error).__name__}: {error}", 0.0)
            came.put((look, check.took(self._clock.monotonic() - began)))

        thread = threading.Thread(target=work, name=f"diagnosis {look.name}", daemon=True)
        with self._guard:
            before = self._hanging.get(place)
            if before is not None and before.is_alive():
                return False
            self._hanging = {key: one for key, one in self._hanging.items() if one.is_alive()}
            self._hanging[place] = thread
            thread.start()
        return True


def _unknown(look: Look, why: str, seconds: float) -> Check:
    return Check(name=look.name, title=look.title, state="unknown", text=why).took(seconds)
