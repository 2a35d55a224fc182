"""Several verbs at once, each in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

from opsbook.errors import OpsbookError


def side_by_side(verbs: list[Callable[[], None]]) -> None:
    """Run all, wait for all, then raise the first failure."""
    failures: list[OpsbookError] = []

    def run(verb: Callable[[], None]) -> None:
        try:
            verb()
        except OpsbookError as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(verb,), daemon=True) for verb in verbs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
