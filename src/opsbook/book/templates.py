"""The three placeholders that a command and the values of an environment may hold.

``{port}``, ``{secret:NAME}`` and ``{url:SERVICE}``; doubled braces stand for one. Whoever fills them in at the start
of a process un-doubles the braces too; `fill` does both in one pass, so that no value is ever read as a
placeholder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

PlaceholderKind = Literal["port", "secret", "url"]

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_SECRET = re.compile(r"secret:([A-Za-z0-9][A-Za-z0-9._-]{0,99})")
_URL = re.compile(r"url:([a-z][a-z0-9-]{0,40})")

KNOWN = "{port}, {secret:NAME} or {url:SERVICE}"


@dataclass(frozen=True, slots=True)
class Placeholder:
    kind: PlaceholderKind
    name: str  # of the secret or the service; empty for port


def placeholders(text: str) -> Iterator[Placeholder]:
    """The placeholders of `text` in order.

    Raises:
        ValueError: a brace that is neither doubled nor part of one of the three; the message quotes it.
    """
    for match in _TOKEN.finditer(text):
        if match[0] not in {"{{", "}}"}:
            yield _read(match)


def fill(text: str, value: Callable[[Placeholder], str]) -> str:
    """`text` with each placeholder replaced by what `value` says of it and doubled braces made single."""
    return _TOKEN.sub(lambda m: m[0][0] if m[0] in {"{{", "}}"} else value(_read(m)), text)


def _read(match: re.Match[str]) -> Placeholder:
    inner = match[1]
    if inner == "port":
        return Placeholder("port", "")
    if inner is not None:
        if secret := _SECRET.fullmatch(inner):
            return Placeholder("secret", secret[1])
        if url := _URL.fullmatch(inner):
            return Placeholder("url", url[1])
    raise ValueError(match[0])
