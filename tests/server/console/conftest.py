"""One stand for the tests of a module, and a way to ask it as a browser does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parent))

if TYPE_CHECKING:
    from stand import Stand


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    """Four services in two environments, and a history."""
    from stand import SERVICES, Stand

    from opsbook.deployment.model import Outcome

    made = Stand()
    try:
        for service in SERVICES:
            made.place("staging", service, replicas=1)
            made.place("production", service, healthy=2 if service == "search" else None)
        made.finished("d-80", "search", "2.2", Outcome.ROLLED_BACK, reason="p95 412 ms > 180 ms of stable")
        made.hold("production", "search", "2.2", "p95 412 ms > 180 ms of stable", "d-80")
        made.finished("d-85", "web", "2.0", Outcome.SUCCEEDED, before="1.9", hours=5)
        made.finished("d-70", "api", "1.9", Outcome.SUCCEEDED, before="1.8", hours=50, environment="staging")
        made.address = made.serve()
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def browse(stand: Stand) -> Iterator[Callable[..., httpx.Client]]:
    """``browse("ana")`` is signed in as Ana; ``browse(None)`` is nobody. They send what browsers send."""
    opened: list[httpx.Client] = []

    def browsing(person: str | None, **headers: str) -> httpx.Client:
        cookies: dict[str, Any] = {} if person is None else {"opsbook_session": stand.cookie(person)}
        headers = {"accept": "text/html", "origin": stand.address, **headers}
        opened.append(httpx.Client(base_url=stand.address, cookies=cookies, headers=headers, timeout=20))
        return opened[-1]

    yield browsing
    for client in opened:
        client.close()
