"""The server's side of a WebSocket (RFC 6455): the handshake, whole messages, ping, close."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct

MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
GOING_AWAY = 1001
LARGEST = 1 << 20


def accept_key(key: str) -> str:
    """The value of Sec-WebSocket-Accept for the client's Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1(key.encode() + MAGIC.encode()).digest()).decode()


def frame(opcode: int, payload: bytes) -> bytes:
    """One final, unmasked frame, as servers send them."""
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", 0x80 | opcode, length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 126, length)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 127, length)
    return head + payload


async def read_frame(reader: asyncio.StreamReader) -> tuple[bool, int, bytes]:
    """The next frame: whether it is the last of its message, its opcode, its payload unmasked."""
    first, second = await reader.readexactly(2)
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
    elif length == 127:
        (length,) = struct.unpack("!Q", await reader.readexactly(8))
    if length > LARGEST:
        raise ValueError("a frame above 1 MiB")
    mask = await reader.readexactly(4) if second & 0x80 else bytes(4)
    payload = await reader.readexactly(length)
    unmasked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bool(first & 0x80), first & 0x0F, unmasked


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stopping: asyncio.Event) -> None:
    """Send every message back. When the service stops, say so (1001) and wait for the client's goodbye."""
    leaving = asyncio.ensure_future(stopping.wait())
    message, kind, said_goodbye = b"", TEXT, False
    while True:
        reading = asyncio.ensure_future(read_frame(reader))
        waiting = {reading} if said_goodbye else {reading, leaving}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            writer.write(frame(CLOSE, struct.pack("!H", GOING_AWAY) + b"the service stops"))
            said_goodbye = True
            await asyncio.wait({reading})
        final, opcode, payload = reading.result()
        if opcode == CLOSE:
            if not said_goodbye:
                writer.write(frame(CLOSE, payload[:2]))
            break
        if opcode == PING:
            writer.write(frame(PONG, payload))
            continue
        if opcode == PONG or said_goodbye:
            continue  # after CLOSE no message may follow (RFC 6455, section 5.5.1)
        if opcode in (TEXT, BINARY):
            message, kind = b"", opcode
        message += payload
        if final:
            writer.write(frame(kind, message))
        await writer.drain()
    leaving.cancel()
    await writer.drain()
