"""Reading lines from bytes that come in any pieces. Pure."""

from __future__ import annotations

from opsbook.demo.load.answers import MalformedError


class LineReader:
    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def begun(self) -> bool:
        return bool(self._buffer)

    def feed(self, data: bytes) -> str | None:
        """Take the next bytes; the next whole line, without its end. `feed(b"")` asks for a further one."""
        self._buffer += data
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > 65536:
                raise MalformedError("a line of more than 64 KiB")
            return None
        line = bytes(self._buffer[:end]).decode("utf-8", "replace").rstrip("\r")
        del self._buffer[: end + 1]
        return line

    def end(self) -> str | None:
        return None
