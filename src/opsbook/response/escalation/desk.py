"""Escalation with all that belongs to it: the room, its watchdog, the heartbeat, the routes."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter

from opsbook.book import Book
from opsbook.journal import Journal
from opsbook.response.escalation import answering, api
from opsbook.response.escalation.answering import Spark
from opsbook.response.escalation.chains import OnCall
from opsbook.response.escalation.heartbeat import Heartbeat
from opsbook.response.escalation.links import Links
from opsbook.response.escalation.model import Page
from opsbook.response.escalation.ports import Incidents
from opsbook.response.escalation.room import Escalations
from opsbook.response.escalation.watchdog import Watchdog


class Desk:
    """See the module; what is handed in that is not said here, `Escalations` and `Heartbeat` say.

    Args:
        key: signs the links; `opsbook.world.hosts.keys.random_key` keeps one.
        trouble: why others (alerting, say) could not wake anybody now; empty: they could. Then no heartbeat leaves.
    """

    def __init__(
        self,
        book: Callable[[], Book],
        journal: Journal,
        *,
        on_call: OnCall,
        incidents: Incidents,
        send: Callable[[str, Page], None],
        failing: Callable[[str], bool],
        key: bytes,
        address: Callable[[], str],
        secret: Callable[[str], str],
        status_of: Callable[..., int],
        now: Callable[[], float],
        trouble: Callable[[], str] = str,
        log: Callable[[str], None] = lambda line: None,
        boundary: Callable[[str], None] = lambda place: None,
    ) -> None:
        self._book = book
        self._on_call = on_call
        self._now = now
        self.room = Escalations(
            book,
            journal,
            on_call=on_call,
            incidents=incidents,
            send=send,
            links=Links(key, now),
            now=now,
            failing=failing,
            address=address,
            log=log,
            boundary=boundary,
        )
        self.watchdog = Watchdog(self.room, incidents, book, journal, send=send, now=now, log=log)
        self.heartbeat = Heartbeat(
            book, secret, status_of, lambda: self.watchdog.trouble or trouble(), now=now, log=log
        )

    def start(self) -> None:
        """After incidents and channels: go on with what a crash left."""
        self.room.start()
        self.watchdog.start()
        self.heartbeat.start()

    def close(self) -> None:
        """Before incidents and channels."""
        self.heartbeat.close()
        self.watchdog.close()
        self.room.close()

    def router(self) -> APIRouter:
        """The API."""
        return api.router(self.room, self._book, self._on_call)

    def pages(self, spark: Spark = lambda environment, service: ()) -> APIRouter:
        """The pages behind links, which nobody has to be signed in for."""
        return answering.router(self.room, self._book, now=self._now, spark=spark)
