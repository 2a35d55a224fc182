"""Hands pages over to channels, and remembers which of them do not take any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from opsbook.book import Book
from opsbook.errors import OpsbookError
from opsbook.response.escalation.links import Links
from opsbook.response.escalation.model import Page, Sent
from opsbook.response.escalation.plan import Decision
from opsbook.response.escalation.wording import next_in_words, page_of

_REFUSED: Final = 120.0
"""Seconds for which a channel counts as failing after it refused to take a page at all."""


class Pager:
    """See `Escalations`, which hands in the same."""

    def __init__(
        self,
        book: Callable[[], Book],
        send: Callable[[str, Page], None],
        links: Links,
        *,
        now: Callable[[], float],
        failing: Callable[[str], bool],
        address: Callable[[], str],
        log: Callable[[str], None],
        boundary: Callable[[str], None],
    ) -> None:
        self._book = book
        self._send = send
        self._links = links
        self._now = now
        self._failing = failing
        self._address = address
        self._log = log
        self._boundary = boundary
        self._refused: dict[str, float] = {}

    def failing(self, channel: str) -> bool:
        """Whether a channel takes nothing now."""
        at = self._refused.get(channel)
        if at is not None and 0 <= self._now() - at < _REFUSED:
            return True
        if channel not in self._book().channels:
            return True
        try:
            return self._failing(channel)
        except OpsbookError:
            return False  # not known: it is tried

    def hand_over(self, found: Decision, sent: Sent) -> None:
        """One page, with its link, into the outbox of its channel."""
        escalation, address = found.escalation, self._own_address()
        page = page_of(
            escalation,
            sent,
            link=f"{address}{self._links.make(escalation.id, sent.person)}" if address else "",
            url=f"{address}/incidents/{escalation.id}" if address else "",
            next_names=next_in_words(escalation, found.next_at, sent.at),
        )
        try:
            self._send(sent.channel, page)
            self._refused.pop(sent.channel, None)
        except Exception as error:  # the next channel, then the next step, are the answer to whatever it is
            self._refused[sent.channel] = self._now()
            self._log(f"channel {sent.channel} does not take a page about {escalation.id}: {error}")
        self._boundary(f"{escalation.id}:{escalation.position}:sent")

    def _own_address(self) -> str:
        try:
            return self._address().rstrip("/")
        except OpsbookError as error:
            self._log(f"pages have no links: {error}")
            return ""
