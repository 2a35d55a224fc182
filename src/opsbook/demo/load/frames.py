"""The client's side of a WebSocket (RFC 6455), as far as an echo needs it. Pure; randomness is handed in."""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import dataclass

from opsbook.demo.load.answers import MalformedError

_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
_CONTINUATION = 0x0
NORMAL, GOING_AWAY = 1000, 1001


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message or a control frame."""

    opcode: int
    payload: bytes

    @property
    def close_code(self) -> int:
        """The code of a CLOSE; 1005 when it has none (RFC 6455, section 7.1.5)."""
        return struct.unpack("!H", self.payload[:2])[0] if len(self.payload) >= 2 else 1005


def accept_key(key: str) -> str:
    """What the server must answer to Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1(key.encode() + _MAGIC.encode()).digest()).decode()  # noqa: S324 - the RFC's


def masked(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """One final frame as clients send it; `mask` is four random bytes."""
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


class MessageReader:
    """Reads message after message from bytes that come in any pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._parts = bytearray()
        self._opcode = _CONTINUATION

    @property
    def begun(self) -> bool:
        return bool(self._buffer or self._parts)

    def feed(self, data: bytes) -> Message | None:
        """Take the next bytes; the next whole message if there is one. `feed(b"")` asks for a further one.

        Raises:
            MalformedError: the server breaks the protocol.
        """
        self._buffer += data
        while (frame := self._frame()) is not None:
            final, opcode, payload = frame
            if opcode & 0x8:
                return Message(opcode, payload)
            if (opcode == _CONTINUATION) != (self._opcode != _CONTINUATION):
                raise MalformedError("fragments out of order")
            self._opcode = opcode or self._opcode
            self._parts += payload
            if final:
                message = Message(self._opcode, bytes(self._parts))
                self._parts.clear()
                self._opcode = _CONTINUATION
                return message
        return None

    def end(self) -> Message | None:
        """A WebSocket that ends without CLOSE has broken."""
        return None

    def _frame(self) -> tuple[bool, int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        if buffer[0] & 0x70 or buffer[1] & 0x80:
            raise MalformedError("a frame with reserved bits, or masked by the server")
        length, start = buffer[1] & 0x7F, 2
        extended = {126: 2, 127: 8}.get(length, 0)
        if extended:
            start += extended
            if len(buffer) < start:
                return None
            length = int.from_bytes(buffer[2:start], "big")
        if len(buffer) < start + length:
            return None
        frame = (bool(buffer[0] & 0x80), buffer[0] & 0x0F, bytes(buffer[start : start + length]))
        del buffer[: start + length]
        return frame
