"""What is sent, and what a way of sending must do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from opsbook.errors import Failed


class Refused(Failed):
    """The receiver was reached and does not want this message: trying for hours would not help."""


Action = Literal["trigger", "acknowledge", "resolve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message, written for every kind of channel.

    Args:
        id: the same at each try, so that a receiver can tell that it has seen it.
        thread: the same for all messages of one group, at most 64 characters.
        action: what happened to the group.
        severity: ``critical``, ``warning``, ``info`` or nothing.
        title: one line. text: plain. html: the same for mail.
        body: JSON, for machines.
        url: where more can be seen; may be empty.
        at: when it was decided, UTC epoch seconds.
    """

    id: str
    thread: str
    action: Action
    severity: str
    title: str
    text: str
    html: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    url: str = ""
    at: float = 0.0


class Sender(Protocol):
    """A way to one receiver. Used by one thread at a time."""

    def send(self, message: Message) -> str:
        """Send it; returns what the receiver said, in a few words.

        Raises:
            Unreachable: it was not taken and may be later; ``details["after"]`` has the seconds that the receiver
                asks to wait, if it does.
            Refused: it was not taken and will not be.
        """

    def close(self) -> None:
        """Let go of connections."""
