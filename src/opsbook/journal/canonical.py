"""One spelling for each JSON value, so that a hash of it means something.

Canonical is: UTF-8, keys sorted by code point, no spaces, no escapes but those JSON requires, no NaN or
infinity, numbers as Python spells them (the shortest text that reads back as the same float).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from opsbook.errors import Invalid

LARGEST_DATA = 256 * 1024
"""Bytes of canonical JSON that one event's data may have."""

_DEEPEST = 100  # levels; far below where the JSON module of any reader gives up


def canonical(value: Any) -> str:
    """`value`, which must be JSON (see `normal`), in its one canonical spelling."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def normal(value: Any, *, where: str, mask: Callable[[str], str] | None = None) -> Any:
    """`value` as plain dicts, lists, strings, numbers, booleans and None: what a reader will get back.

    Args:
        value: JSON, where mappings may stand for dicts and tuples for lists.
        where: for the error message.
        mask: applied to every string, keys too.

    Raises:
        Invalid: something in it is not JSON; `where` names the path to it.
    """
    return _normal(value, where, mask, 0)


def _normal(value: Any, where: str, mask: Callable[[str], str] | None, depth: int) -> Any:
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return text(mask(value) if mask else value, where=where)
    if isinstance(value, int | float):
        return _number(value, where)
    if depth >= _DEEPEST:
        raise Invalid(f"nested deeper than {_DEEPEST} levels", hint="does it contain itself?", where=where)
    if isinstance(value, Mapping):
        return _normal_object(value, where, mask, depth)
    if isinstance(value, list | tuple):
        return [_normal(item, f"{where}[{index}]", mask, depth + 1) for index, item in enumerate(value)]
    raise Invalid(
        f"a {type(value).__name__} is not JSON",
        hint="use dicts, lists, strings, numbers, booleans and None only",
        where=where,
    )


def _number(value: float, where: str) -> float:
    if isinstance(value, int):
        # Beyond 64 bits other readers of the export would round it, and its hash would no longer fit.
        if not -(2**63) <= value < 2**64:
            raise Invalid("a whole number beyond 64 bits", hint="write it as a string", where=where)
        return int(value)
    if not math.isfinite(value):
        raise Invalid(f"{value} is not JSON", hint="write null where there is no number", where=where)
    return float(value)


def _normal_object(
    value: Mapping[Any, Any], where: str, mask: Callable[[str], str] | None, depth: int
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise Invalid(f"the key {key!r} is not a string", hint="JSON has string keys only", where=where)
        name = text(mask(key) if mask else key, where=where)
        if name in found:
            raise Invalid(f"the key {name!r} is there twice", where=where)
        found[name] = _normal(item, f"{where}.{name}", mask, depth + 1)
    return found


def text(value: str, *, where: str) -> str:
    """`value` as a plain string that UTF-8 can hold (a lone surrogate cannot be written down).

    Raises:
        Invalid: it holds half of a surrogate pair.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Invalid(
            "the text holds half of a surrogate pair, which UTF-8 cannot hold",
            hint='decode program output with errors="replace"',
            where=where,
        ) from None
    return str(value)


def label(value: str, *, where: str) -> str:
    """`value` as a name: not empty, at most 512 characters, no control characters (a database refuses NUL).

    Raises:
        Invalid: it is none.
    """
    value = text(value, where=where)
    if not value or len(value) > 512 or any(ord(character) < 32 for character in value):
        raise Invalid(
            f"{value[:40]!r} is no {where}",
            hint="give 1 to 512 characters, none of them a control character",
            where=where,
        )
    return value


def digest(previous: str, *, id: int, at: float, kind: str, subject: str, actor: str, data: Any) -> str:  # noqa: A002
    """The hash of an event: SHA-256 of the previous one's 64 hex characters and of the canonical JSON."""
    body = {"id": id, "at": at, "kind": kind, "subject": subject, "actor": actor, "data": data}
    return hashlib.sha256((previous + canonical(body)).encode()).hexdigest()
