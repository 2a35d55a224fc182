"""Reading HTTP/1.1 answers strictly, from bytes that come in any pieces. Pure."""

from __future__ import annotations

from dataclasses import dataclass


class MalformedError(ValueError):
    """The bytes are no HTTP/1.1 answer to one request."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes
    keep: bool  # whether the connection may be used again
    rest: bytes = b""  # after 101 Switching Protocols: what belongs to the new protocol


class AnswerReader:
    """Reads one answer. `feed` until it is there; `end` when the connection ends."""

    def __init__(self, *, head_only: bool = False) -> None:
        self._buffer = bytearray()
        self._head: tuple[int, dict[str, str], bool] | None = None
        self._head_only = head_only
        self._body = bytearray()
        self._length = -1  # of the body; -1 until the end of the connection
        self._chunked = False

    @property
    def begun(self) -> bool:
        """Whether any byte of the answer has come."""
        return bool(self._buffer) or self._head is not None

    def feed(self, data: bytes) -> Answer | None:
        """Take the next bytes; the answer as soon as it is whole.

        Raises:
            MalformedError: this is no answer, or more follows it than was asked for.
        """
        self._buffer += data
        while self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > 65536:
                    raise MalformedError("a head of more than 64 KiB")
                return None
            head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            self._take_head(head)
        status, headers, keep = self._head
        if status == 101:
            return Answer(status, headers, b"", keep=False, rest=bytes(self._buffer))
        if self._chunked:
            if not self._take_chunks():
                return None
        else:
            self._body += self._buffer
            self._buffer.clear()
            if self._length < 0 or len(self._body) < self._length:
                return None
            self._buffer += self._body[self._length :]
            del self._body[self._length :]
        if self._buffer:
            raise MalformedError("more bytes than the answer has")
        return Answer(status, headers, bytes(self._body), keep)

    def end(self) -> Answer | None:
        """The connection has ended: the answer, if its body lasts until then; else None."""
        if self._head is None or self._chunked or self._length >= 0:
            return None
        status, headers, _ = self._head
        return Answer(status, headers, bytes(self._body), keep=False)

    def _take_head(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        protocol, _, status_text = first.partition(" ")
        if protocol not in {"HTTP/1.1", "HTTP/1.0"} or not status_text[:3].isdigit():
            raise MalformedError(f"not a status line: {first[:60]!r}")
        status = int(status_text[:3])
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise MalformedError(f"not a header: {line[:60]!r}")
            headers[name.strip().lower()] = value.strip()
        if 100 <= status < 200 and status != 101:
            return  # an interim answer; the real one follows
        tokens = {token.strip() for token in headers.get("connection", "").lower().split(",")}
        keep = "close" not in tokens and (protocol == "HTTP/1.1" or "keep-alive" in tokens)
        self._head = (status, headers, keep)
        self._chunked = headers.get("transfer-encoding", "").lower() == "chunked" and not self._head_only
        if self._head_only or status in {204, 304}:
            self._length = 0
        elif not self._chunked and "content-length" in headers:
            if not headers["content-length"].isdigit():
                raise MalformedError(f"not a content length: {headers['content-length'][:20]!r}")
            self._length = int(headers["content-length"])

    def _take_chunks(self) -> bool:
        """Move whole chunks into the body; whether the last one was among them."""
        while (end := self._buffer.find(b"\r\n")) >= 0:
            size_text = bytes(self._buffer[:end]).split(b";")[0].strip()
            try:
                size = int(size_text, 16)
            except ValueError:
                raise MalformedError(f"not a chunk size: {size_text[:20]!r}") from None
            if len(self._buffer) < end + 2 + size + 2:
                return False
            if self._buffer[end + 2 + size : end + 4 + size] != b"\r\n":
                raise MalformedError("a chunk does not end where it says")
            self._body += self._buffer[end + 2 : end + 2 + size]
            del self._buffer[: end + 4 + size]
            if size == 0:
                return True
        return False
