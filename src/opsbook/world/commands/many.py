"""One script on many machines at once, with a limit to how many may fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from opsbook.world.commands.words import Kept, Outcome, Runner, Script

_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class ManyRunner:
    """Runs a script by each of several runners; every line of output begins with the runner's name.

    Args:
        max_fail: how many may fail. With the next one, those that have not begun are left alone.
    """

    runners: Mapping[str, Runner]
    max_fail: int = 0
    at_once: int = _AT_ONCE

    def run(self, script: Script, heard: Callable[[bytes], None], cancelled: Callable[[], bool]) -> Outcome:
        """See `Runner`. It is ok when no more than `max_fail` failed."""
        began = time.monotonic()
        kept, writing = Kept(), threading.Lock()
        failed: dict[str, str] = {}
        left: list[str] = []

        def say(name: str, lines: bytes) -> None:
            marked = b"".join(name.encode() + b": " + line for line in lines.splitlines(keepends=True))
            with writing:
                kept.add(marked)
                heard(marked)

        def one(name: str) -> None:
            if len(failed) > self.max_fail or cancelled():
                left.append(name)
                return
            lines = _Lines(lambda whole: say(name, whole))
            outcome = self.runners[name].run(script, lines.feed, cancelled)
            lines.end()
            if not outcome.ok:
                failed[name] = outcome.reason
                say(name, f"{outcome.reason}\n".encode())

        with ThreadPoolExecutor(max(1, min(self.at_once, len(self.runners)))) as pool:
            list(pool.map(one, self.runners))
        problem = ""
        if len(failed) > self.max_fail:
            told = "; ".join(f"{name}: {why}" for name, why in sorted(failed.items()))
            problem = f"{len(failed)} of {len(self.runners)} failed, {self.max_fail} may: {told}"[:2000]
            problem += f"; not begun: {', '.join(sorted(left))}" if left else ""
        over = cancelled()
        return Outcome(
            None if over else int(bool(problem)),
            kept.text(),
            kept.dropped,
            cancelled=over,
            seconds=time.monotonic() - began,
            problem="" if over else problem,
        )


class _Lines:
    """Whole lines only, so that those of several machines do not run into each other."""

    def __init__(self, on_lines: Callable[[bytes], None]) -> None:
        self._on_lines = on_lines
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        whole, newline, self._rest = (self._rest + chunk).rpartition(b"\n")
        if newline:
            self._on_lines(whole + newline)
        if len(self._rest) > 8192:
            self.end()

    def end(self) -> None:
        if self._rest:
            self._on_lines(self._rest + b"\n")
            self._rest = b""
