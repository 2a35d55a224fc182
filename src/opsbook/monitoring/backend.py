"""Where what was measured lies, and who answers questions about it: opsbook itself, or the handbook's other server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from opsbook.book import Book
from opsbook.monitoring.querying.external import Receiver, ServerWatch, external_queries
from opsbook.monitoring.querying.ports import Catalogue, Queries
from opsbook.monitoring.targets.room import ExtraTargets
from opsbook.promql import Engine
from opsbook.world.telemetry.storage import Storage
from opsbook.world.words import Clock


class Backend:
    """What rules, dashboards and faces ask. Which server it is, is read once.

    Args:
        book: the handbook as last read. folder: where it lies.
        storage: opsbook's own samples.
        secret: the value of a secret.
        clock: its monotonic one. moment: the time samples are stamped with, epoch seconds.
        log: a sentence for people.

    Attributes:
        queries: what answers.
        catalogue: which series there are.
        series: where rules write theirs; None: the other server records what was exported to it.
        targets: what is scraped besides services, machine and proxy.
    """

    def __init__(
        self,
        book: Callable[[], Book],
        folder: Path,
        storage: Storage,
        *,
        secret: Callable[[str], str],
        clock: Clock,
        moment: Callable[[], float],
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        server = book().monitoring.metrics
        self._external = None if server is None else external_queries(server, folder, secret)
        self.queries: Queries = self._external or Engine(storage)
        self.catalogue: Catalogue = self._external or storage
        self.series: Storage | None = None if self._external else storage
        self.targets = ExtraTargets(book, folder, secret=secret, clock=clock, log=log)
        self._moment = moment
        self._log = log

    def keep(self, receiver: Receiver, stopping: threading.Event) -> None:
        """Tell `receiver` when the other server is silent, until the end; without one there is nothing to do."""
        if self._external is not None:
            ServerWatch(self._external, receiver, moment=self._moment, log=self._log).keep(stopping)

    def close(self) -> None:
        """Give connections back."""
        self.targets.close()
        if self._external is not None:
            self._external.close()
