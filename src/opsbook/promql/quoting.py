"""The texts within a query: read by Go's rules, so that the parser's own shortcomings do not matter."""

from __future__ import annotations

import re

from opsbook.errors import Invalid

BROKEN = "\ufffd"  # stands for bytes that are no UTF-8; nothing valid is spelled with it

_SIMPLE = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, "'": 39, '"': 34}
_ESCAPE = re.compile(
    r"""\\(?:([abfnrtv\\'"])|x([0-9a-fA-F]{2})|([0-7]{3})|(?:u(?=[0-9a-fA-F]{4})|U(?=[0-9a-fA-F]{8}))((?<=u)[0-9a-fA-F]{4}|(?<=U)[0-9a-fA-F]{8}))"""
)


def requote(text: str, *, where: str) -> tuple[str, int]:
    """The query with every text in it written in double quotes with plain escapes, and without comments.

    Returns:
        The query, and how deep its brackets are nested.

    Raises:
        Invalid: a text has no end or an unknown escape sequence, or `@` is given a time before 1970.
    """
    parts: list[str] = []
    depth = deepest = position = 0
    start = 0
    while position < len(text):
        character = text[position]
        if character in "\"'`":
            parts.append(text[start:position])
            value, position = _read(text, position, where)
            parts.append(_quote(value))
            start = position
            continue
        if character == "#":
            end = text.find("\n", position)
            parts.append(text[start:position])
            start = position = len(text) if end < 0 else end
            continue
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
        elif character == "@" and text[position + 1 :].lstrip().startswith("-"):
            raise Invalid(_at(text, position, "a time before 1970 has no samples"), where=where)
        position += 1
    parts.append(text[start:])
    return "".join(parts), deepest


def _read(text: str, start: int, where: str) -> tuple[str, int]:
    quote = text[start]
    end = start + 1
    while end < len(text) and text[end] != quote:
        if quote != "`" and text[end] == "\\":
            end += 1
        elif quote != "`" and text[end] == "\n":
            break
        end += 1
    if end >= len(text) or text[end] != quote:
        raise Invalid(_at(text, start, "a quoted text has no end"), where=where)
    inside = text[start + 1 : end]
    if quote == "`" or "\\" not in inside:
        return inside, end + 1
    return _unescape(text, start + 1, end, where), end + 1


def _unescape(text: str, position: int, end: int, where: str) -> str:
    found = bytearray()
    while position < end:
        if text[position] != "\\":
            found += text[position].encode(errors="replace")
            position += 1
            continue
        escape = _ESCAPE.match(text, position, end)
        if escape is None:
            raise Invalid(
                _at(text, position, f"unknown escape sequence {text[position : position + 2]}"), where=where
            )
        position = escape.end()
        simple, byte, octal, code = escape.groups()
        if simple:
            found.append(_SIMPLE[simple])
        elif code:
            known = int(code, 16) <= 0x10FFFF
            found += (chr(int(code, 16)) if known else BROKEN).encode(errors="replace")
        else:
            found.append(int(byte, 16) if byte else int(octal, 8) & 255)
    return found.decode(errors="replace")


def _quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _at(text: str, position: int, message: str) -> str:
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return f"{line}:{column}: {message}"
