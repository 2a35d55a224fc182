"""The tour: opsbook deploys a small shop, well and badly, while a steady stream of requests loses not one.

It is a user of opsbook like any other: it types commands, reads their JSON and sends requests.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Give the tour; the exit code is 0 only when everything was as promised."""
    from opsbook.demo.tour import main as tour

    return tour(arguments)
