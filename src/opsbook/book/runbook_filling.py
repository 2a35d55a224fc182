"""Parameters in PromQL and URLs: ``${NAME}`` within a string literal, or behind the host of an address.

A value is quoted for exactly the place where it stands, so it cannot become another part of the expression. Scripts are
never filled in: they read variables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from opsbook.errors import Invalid

NAME = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")
# Comments and strings as PromQL has them; whatever is between them is left as it is.
_PIECES = re.compile(
    r"(?P<comment>#[^\n]*)|(?P<operator>[=!]~\s*)?(?P<text>\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)"
)
_METACHARACTER = re.compile(r"[.+*?()|\[\]{}^$\\]")


def names_in(text: str) -> tuple[str, ...]:
    """The variables that a text asks for."""
    return tuple(dict.fromkeys(NAME.findall(text)))


def filled_promql(expression: str, values: Mapping[str, str]) -> str:
    """The expression with its variables; in a regular expression they mean themselves.

    Raises:
        Invalid: a variable stands outside of a string in double quotes, or is unknown.
    """

    def piece(match: re.Match[str]) -> str:
        text = match["text"]
        if text is None or not NAME.search(text):
            return match.group()
        if not text.startswith('"'):
            raise Invalid(f"{NAME.search(text)[0]} stands in {text[0]}", hint="put it into double quotes")  # type: ignore[index]
        is_pattern = match["operator"] is not None

        def value(name: re.Match[str]) -> str:
            found = _value(name[1], values)
            if is_pattern:
                found = _METACHARACTER.sub(lambda one: "\\" + one[0], found)
            return found.replace("\\", "\\\\").replace('"', '\\"')

        return (match["operator"] or "") + NAME.sub(value, text)

    outside = _PIECES.sub("", expression)
    if loose := NAME.search(outside):
        raise Invalid(f"{loose[0]} stands outside of a string", hint=f'service="{loose[0]}"')
    return _PIECES.sub(piece, expression)


def filled_url(url: str, values: Mapping[str, str]) -> str:
    """The address with its variables, each percent-encoded.

    Raises:
        Invalid: a variable stands in the scheme or the host, or is unknown.
    """
    head = re.match(r"(https?://[^/?#]*|\{url:[a-z][a-z0-9-]*\})", url)
    if head is None or NAME.search(head[0]):
        raise Invalid("a variable may stand behind the host only", hint="GET {url:web}/items/${ITEM}")

    def value(name: re.Match[str]) -> str:
        found = _value(name[1], values)
        if found in {".", ".."}:
            raise Invalid(f"{name[1]} may not be {found} in an address")
        return quote(found, safe="")

    return head[0] + NAME.sub(value, url[head.end() :])


def _value(name: str, values: Mapping[str, str]) -> str:
    if name not in values:
        raise Invalid(
            f"nothing is called {name} here", hint=f"params: {{{name.lower()}: {{}}}}, or capture={name}"
        )
    return values[name]
