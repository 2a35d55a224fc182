"""A webhook: JSON by POST, signed so that the receiver knows it is from this opsbook.

The signature is over the time and the body, ``HMAC-SHA256(key, TIMESTAMP + "." + BODY)``: an old request cannot be sent
again as a new one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time

from opsbook.world.channels.posting import Posting
from opsbook.world.channels.words import Message

ID_HEADER, TIME_HEADER, SIGNATURE_HEADER = "Idempotency-Key", "X-Opsbook-Timestamp", "X-Opsbook-Signature"


class Webhook:
    """Satisfies `Sender`.

    Args:
        url: where to.
        key: to sign with; empty: nothing is signed.
    """

    def __init__(self, url: str, key: str = "") -> None:
        self._url = url
        self._key = key
        self._posting = Posting()

    def send(self, message: Message) -> str:
        """See `Sender.send`."""
        body = json.dumps(message.body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "opsbook",
            ID_HEADER: message.id,
            TIME_HEADER: timestamp,
        }
        if self._key:
            headers[SIGNATURE_HEADER] = f"v1={signature(self._key, timestamp, body)}"
        return self._posting.post(self._url, body, headers)

    def close(self) -> None:
        """See `Sender.close`."""
        self._posting.close()


def signature(key: str, timestamp: str, body: bytes) -> str:
    """As the receiver computes it, in hexadecimal digits."""
    return hmac.new(key.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
