"""Bodies of requests unpacked, never larger than what was agreed: a small body may claim to be enormous. Pure."""

from __future__ import annotations

import zlib
from typing import Final

import cramjam

from opsbook.errors import Invalid

LARGEST_PACKED: Final = 16 * 1024 * 1024  # bytes, as sent
LARGEST: Final = 64 * 1024 * 1024  # bytes, unpacked


class Malformed(Invalid):
    """It cannot be read; sending it again would not help."""

    http_status = 400


class TooLarge(Invalid):
    """It is more than is taken in one request."""

    http_status = 413


class Unsupported(Invalid):
    """It is in a form that is not spoken here."""

    http_status = 415


def unpacked(body: bytes, encoding: str, *, largest: int = LARGEST) -> bytes:
    """The body behind a ``Content-Encoding``.

    Args:
        encoding: ``gzip``, ``deflate``, ``snappy`` (the block form, as remote write has it), ``identity`` or empty.
        largest: bytes.

    Raises:
        Malformed, TooLarge, Unsupported: what the sender is told.
    """
    match encoding.strip().lower():
        case "" | "identity":
            found = body
        case "gzip":
            found = _inflated(body, zlib.MAX_WBITS | 16, largest)
        case "deflate":
            found = _inflated(body, zlib.MAX_WBITS, largest)
        case "snappy":
            found = _unsnapped(body, largest)
        case other:
            raise Unsupported(
                f"the encoding {other[:40]!r} is not understood", hint="send gzip", where="Content-Encoding"
            )
    if len(found) > largest:
        raise TooLarge(f"at most {largest} bytes are taken at once", hint="send smaller batches")
    return found


def _inflated(body: bytes, bits: int, largest: int) -> bytes:
    stream = zlib.decompressobj(bits)
    try:
        found = stream.decompress(body, largest + 1)
    except zlib.error as error:
        raise Malformed(f"the body cannot be unpacked: {error}", where="body") from None
    if len(found) <= largest and not stream.eof:
        raise Malformed("the packed body is cut off", where="body")
    return found


def _unsnapped(body: bytes, largest: int) -> bytes:
    try:
        claimed = cramjam.snappy.decompress_raw_len(body)
        if claimed > largest:
            raise TooLarge(f"at most {largest} bytes are taken at once", hint="send smaller batches")
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise Malformed(f"the body is not packed with snappy: {error}", where="body") from None
