"""Reads only the lines that can fit: a pattern over whole pieces of a file, before anything is parsed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from opsbook.world.logs.query import LogQuery, compiled
from opsbook.world.telemetry.log_files import MAX_LINE, RawLine

PIECE = 256 * 1024
_LONGEST = 1024 * 1024  # a line is remembered up to here while its beginning is looked for
_PLAIN = re.compile(r"[A-Za-z0-9_.:/ -]+")
_EDGES = re.compile(r"\\[AzZ]|\(\?[a-zA-Z-]*s")  # would mean the piece instead of the line

_SIGNS = {  # what stands in lines of a level or a worse one, at least
    "warning": r"warn|\"[1-9]\d\"|:\s?[4-9]\d|=[4-9]\d|^W\d{4} ",
    "error": r"err|severe|traceback|:\s?[5-9]\d|=[5-9]\d|^E\d{4} ",
    "critical": r"crit|fatal|panic|alert|emerg|:\s?[6-9]\d|=[6-9]\d|^F\d{4} ",
}


def narrowed(query: LogQuery) -> Any | None:
    """A pattern for bytes that every line has which fits; None: none can be given.

    The rarest part of the question is chosen; the lines that are found are looked at in full afterwards.
    """
    if query.trace_id:
        return compiled(f"(?i){re.escape(query.trace_id)}".encode())
    plain = sorted((value for value in query.fields.values() if _PLAIN.fullmatch(value)), key=len)
    if plain and len(plain[-1]) > 2:
        return compiled(re.escape(plain[-1]).encode())
    if query.text and query.text.isascii():
        return compiled(f"(?i){re.escape(query.text)}".encode())
    if query.grep and not _EDGES.search(query.grep):
        return compiled(f"(?m){query.grep}".encode())
    if query.level in _SIGNS:
        levels = list(_SIGNS)
        return compiled(
            f"(?im){'|'.join(_SIGNS[one] for one in levels[levels.index(query.level) :])}".encode()
        )
    return None


def candidates(
    read: Callable[[int, int], bytes], end: int, wanted: Any | None, hides: Callable[[bytes], bool]
) -> Iterator[RawLine]:
    """The lines before offset `end` in which `wanted` is found, the last one first.

    Before each piece of the file comes a mark: a line of length -1, for whoever wants to stop.

    Args:
        read: gives so many bytes (second) from an offset (first).
        wanted: a pattern for bytes; None: all lines.
        hides: whether a piece has something in it that is shown otherwise than it stands there: all its lines are
            given then.
    """
    kept, dropped, position = b"", 0, end
    while position > 0:
        step = min(PIECE, position)
        position -= step
        yield RawLine(b"", -1, position + step)
        data = read(position, step) + kept
        if not data:
            return
        first = 0 if position == 0 else data.find(b"\n") + 1
        if position and not first:
            if len(data) > _LONGEST:
                dropped += len(data) - MAX_LINE
                data = data[:MAX_LINE]
            kept = data
            continue
        # Lines are what begins at `first`; before it is the end of a line whose beginning comes later.
        body, kept = data[first:], data[:first]
        origin = position + first
        everything = wanted is None or hides(body)
        spans = _all(body) if everything else _hits(body, wanted)
        for begin, stop in reversed(spans):
            last = stop >= len(body)
            more = dropped if last else 0
            length = stop - begin + more
            yield RawLine(
                body[begin : min(stop, begin + MAX_LINE)], length, min(origin + stop + 1 + more, end)
            )
        dropped = 0


def _all(body: bytes) -> list[tuple[int, int]]:
    found, begin, size = [], 0, len(body)
    while begin < size:
        stop = body.find(b"\n", begin)
        stop = size if stop < 0 else stop
        found.append((begin, stop))
        begin = stop + 1
    return found


def _hits(body: bytes, wanted: Any) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    begin, size = 0, len(body)
    while begin < size:
        hit = wanted.search(body, begin)
        if hit is None:
            break
        start = body.rfind(b"\n", begin, hit.start()) + 1 or begin
        stop = body.find(b"\n", max(hit.end() - 1, hit.start()))
        stop = size if stop < 0 else stop
        # A match may reach over several lines: each of them is looked at.
        found += [(start + first, start + last) for first, last in _all(body[start:stop])]
        begin = stop + 1
    return found
