"""Signed links: who holds one may acknowledge one incident as one person, for a day, without signing in."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from opsbook.errors import NotAllowed

PATH: Final = "/answer/"
"""What a link begins with; open without signing in."""
VALID: Final = 86_400.0  # seconds
_MAC = 20  # bytes
_LONGEST = 600  # characters of a link's last part


@dataclass(frozen=True, slots=True)
class Claim:
    """What a link says: this person, this incident, until then (epoch seconds)."""

    incident: str
    person: str
    until: float


class Links:
    """Makes links and reads them.

    Args:
        key: at least 32 bytes that nobody else has.
        now: epoch seconds.
    """

    def __init__(self, key: bytes, now: Callable[[], float]) -> None:
        if len(key) < 32:
            raise ValueError("the key of links has at least 32 bytes")
        self._key = key
        self._now = now

    def make(self, incident: str, person: str, *, seconds: float = VALID) -> str:
        """The path of a link."""
        body = json.dumps([incident, person, int(self._now() + seconds)], separators=(",", ":")).encode()
        return f"{PATH}{_text(body)}.{_text(self._mac(body))}"

    def read(self, token: str) -> Claim:
        """What the last part of a link says.

        Raises:
            NotAllowed: it is none of ours, or too old.
        """
        wrong = NotAllowed("this link is none of ours", hint="opsbook ack")
        if len(token) > _LONGEST:
            raise wrong
        said, _, mac = token.partition(".")
        try:
            body, given = _bytes(said), _bytes(mac)
        except (ValueError, binascii.Error):
            raise wrong from None
        if not hmac.compare_digest(given, self._mac(body)):
            raise wrong
        incident, person, until = json.loads(body)
        if self._now() >= until:
            raise NotAllowed("this link is too old", hint="sign in, or opsbook ack")
        return Claim(str(incident), str(person), float(until))

    def _mac(self, body: bytes) -> bytes:
        return hmac.new(self._key, b"opsbook escalation link\0" + body, hashlib.sha256).digest()[:_MAC]


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _bytes(text: str) -> bytes:
    found = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _text(found) != text:
        raise ValueError("there is more than one way to write it")
    return found
