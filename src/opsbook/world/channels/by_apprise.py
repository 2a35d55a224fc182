"""Everything that Apprise can reach: chats, phones, and a hundred more.

Apprise is imported when the first such message is sent: that takes half a second and is not everybody's.
"""

from __future__ import annotations

import logging
import threading

from opsbook.errors import Unreachable
from opsbook.world.channels.words import Message, Refused

_REASON = 300  # characters of what Apprise says


class ByApprise:
    """Satisfies `Sender`.

    Args:
        url: as https://github.com/caronc/apprise/wiki writes them.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, message: Message) -> str:
        """See `Sender.send`. That it was not taken is all that Apprise tells apart: it is tried again."""
        import apprise

        with _Overheard() as overheard:
            service = apprise.Apprise()
            if not service.add(self._url):
                raise Refused(
                    "Apprise does not know such a URL", hint="https://github.com/caronc/apprise/wiki"
                )
            kind = {"resolve": "success", "acknowledge": "info"}.get(
                message.action, "failure" if message.severity == "critical" else "warning"
            )
            taken = service.notify(
                title=message.title,
                body=message.text,
                notify_type=kind,
                body_format="text",
            )
        if not taken:
            raise Unreachable(f"it was not taken: {overheard.text() or 'no reason was given'}")
        return "taken"

    def close(self) -> None:
        """See `Sender.close`."""


class _Overheard(logging.Handler):
    """What Apprise logs in this thread: the only place where it says why."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self._said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if threading.get_ident() == self._thread:
            self._said.append(record.getMessage())

    def text(self) -> str:
        return " ".join(" ".join(self._said).split())[:_REASON]

    def __enter__(self) -> _Overheard:
        logging.getLogger("apprise").addHandler(self)
        return self

    def __exit__(self, *_error: object) -> None:
        logging.getLogger("apprise").removeHandler(self)
