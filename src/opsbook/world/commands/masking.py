"""Taking secrets out of a stream: across the borders of its pieces, and in the forms in which programs print them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection
from urllib.parse import quote, quote_plus

MASK = b"***"
_LINE = 16  # characters of base64, from which on a line may have been broken rather than have ended
_LONG_LINE = re.compile(rb"[A-Za-z0-9+/_-]{%d}\Z" % _LINE)
SHORTEST = 4  # of a shorter value, forms other than itself would be found everywhere


def forms(value: str) -> set[bytes]:
    """The value, and how it looks within JSON, a URL, hexadecimal; base64 is `_base64`'s business."""
    plain = value.encode("utf-8", "surrogatepass")
    found = {
        plain,
        json.dumps(value)[1:-1].encode(),
        json.dumps(value, ensure_ascii=False)[1:-1].encode("utf-8", "replace"),
    }
    if len(plain) >= SHORTEST:
        found |= {quote(plain, safe=safe).encode() for safe in ("", "/", "~")} | {quote_plus(plain).encode()}
        found |= {re.sub(rb"%[0-9A-F]{2}", lambda hexed: hexed[0].lower(), form) for form in set(found)}
        found |= {plain.hex().encode(), plain.hex().upper().encode()}
        found |= {line for line in plain.splitlines() if len(line) >= 8}
    return found - {b""}


def _base64(value: str) -> set[bytes]:
    """The characters of base64 that the value alone decides, at each of the three places it may begin at."""
    plain = value.encode("utf-8", "surrogatepass")
    found = set()
    for before in range(3) if len(plain) >= SHORTEST else ():
        whole = (before + len(plain)) * 8
        first, last = -(-before * 8 // 6), whole // 6
        text = base64.b64encode(b"\0" * before + plain)[first:last]
        if len(text) >= SHORTEST:
            found |= {text, text.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


def _may_go_on(data: bytes) -> bool:
    """Whether base64 may go on behind the end of `data`: a short line has ended, and was not broken."""
    line = data.rstrip(b"\r\n")
    return line == data or _LONG_LINE.search(line) is not None


class StreamMask:
    """Masks a stream of bytes piece by piece.

    Args:
        values: the secrets. Those that are learnt later come with `learn`.
    """

    def __init__(self, values: Collection[str] = ()) -> None:
        self._known: set[str] = set()
        self._held = b""
        self._before = b""  # what stood before that, as it was
        self._pattern: re.Pattern[bytes] | None = None
        self._plain: list[bytes] = []
        self._encoded: list[bytes] = []
        self._longest = 0
        self.learn(values)

    def learn(self, values: Collection[str]) -> None:
        """Mask these too."""
        new = {value for value in values if value} - self._known
        if not new:
            return
        self._known |= new
        plain = {form for value in self._known for form in forms(value)}
        encoded = {form for value in self._known for form in _base64(value)}
        # Programs break base64 into lines, where it pleases them.
        broken = [
            (len(form), rb"(?:\r?\n)?".join(re.escape(form[i : i + 1]) for i in range(len(form))))
            for form in encoded
        ]
        parts = sorted([*((len(form), re.escape(form)) for form in plain), *broken], reverse=True)
        self._pattern = re.compile(b"|".join(part for _, part in parts))
        self._plain, self._encoded = sorted(plain), sorted(encoded)
        self._longest = max([*(len(form) for form in plain), *(3 * len(form) for form in encoded)])

    def feed(self, chunk: bytes) -> bytes:
        """What can be shown of the stream so far: all but an end that may be the beginning of a secret."""
        if self._pattern is None:
            return chunk
        data = self._held + chunk
        border = self._begun(data)
        out, at = bytearray(), 0
        for match in self._pattern.finditer(data):
            if match.end() > border:
                # It may be the beginning of a longer secret: decided when more of it has come.
                border = min(border, match.start())
                break
            out += data[at : match.start()] + MASK
            at = match.end()
        border = max(at, border)
        out += data[at:border]
        self._before = (self._before + data[:border])[-_LINE:]
        self._held = data[border:]
        return bytes(out)

    def _begun(self, data: bytes) -> int:
        """Where the longest end of `data` starts that a secret could begin with."""
        start = max(0, len(data) - self._longest + 1)
        tail = data[start:]
        found = len(tail)
        for form in self._plain:
            at = tail.find(form[:1])
            while 0 <= at < found:
                if form.startswith(tail[at:]):
                    found = at
                at = tail.find(form[:1], at + 1)
        for form in self._encoded if _may_go_on(self._before + data) else ():
            at = tail.find(form[:1])
            while 0 <= at < found:
                if form.startswith(tail[at:].replace(b"\n", b"").replace(b"\r", b"")):
                    found = at
                at = tail.find(form[:1], at + 1)
        return start + found

    def flush(self) -> bytes:
        """The rest."""
        rest, self._held = self._held, b""
        return self._pattern.sub(MASK, rest) if self._pattern else rest

    def text(self, text: str) -> str:
        """A whole text, masked."""
        return (
            self._pattern.sub(MASK, text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
            if self._pattern
            else text
        )
