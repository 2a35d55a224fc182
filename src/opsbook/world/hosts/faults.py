"""Places where a crash matters, and how a test has this process end at one of them, as by a power cut.

The rooms call their `Boundary` with the name of each place they pass, e.g. ``d-2:shifting:reroute-journaled``. Nothing
happens there unless the environment variable ``OPSBOOK_CRASH_AT``, read once at the start, names the place.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

CRASH_VARIABLE = "OPSBOOK_CRASH_AT"
"""``[SIGNAL@]PLACE[#N]``: this process gets SIGNAL (KILL) when it passes PLACE for the Nth (first) time. STOP instead
of KILL holds it there until it gets SIGCONT."""

Boundary = Callable[[str], None]


def no_fault(place: str) -> None:
    """The boundary of every opsbook that is not under test."""


def fault_at(wanted: str) -> Boundary:
    """A boundary that strikes where `wanted` (see CRASH_VARIABLE) says; `no_fault` when it is empty.

    Raises:
        AttributeError, ValueError: no such signal, or N is no number.
    """
    if not wanted:
        return no_fault
    name, _, place = wanted.rpartition("@")
    place, _, turn = place.partition("#")
    number = getattr(signal, f"SIG{name or 'KILL'}")
    left = int(turn or 1)
    counting = threading.Lock()

    def strike(passed: str) -> None:
        nonlocal left
        if passed != place:
            return
        with counting:
            left -= 1
            due = left == 0
        if due:
            os.kill(os.getpid(), number)

    return strike
