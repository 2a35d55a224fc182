"""What an unquoted word in a handbook means: YAML 1.2's core rules, and a refusal where YAML 1.1 guesses.

The rules are those of YAML 1.2.2, 10.3.2. The refusals are the words which a YAML 1.1 reader (most tools still
are) would read as something else, so that one file never means two things.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

Scalar = str | int | float | bool | None

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
TRUE = frozenset({"true", "True", "TRUE"})
FALSE = frozenset({"false", "False", "FALSE"})
YAML_1_1_BOOLEANS = frozenset(
    form for word in ("yes", "no", "on", "off") for form in (word, word.title(), word.upper())
)

# A word that begins with none of these is text under every version of YAML.
_MAY_BE_SPECIAL = frozenset("0123456789+-.~nNtTfFyYoO=<")

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_OCTAL = re.compile(r"[-+]?0[0-9_]+")
_BINARY = re.compile(r"[-+]?0b[01_]+")
_UNDERSCORED = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*(\.[0-9_]*)?)")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t]+[0-9]{1,2}:[0-9]{2}:[0-9]{2}(\.[0-9]*)?[ \t]*(Z|[-+][0-9:]+)?)?"
)
_PLAIN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_QUANTITY = re.compile(r"[0-9]+([A-Za-z]+|%)")  # 500ms, 10%
_LONGEST_NUMBER = 24  # digits; beyond it no field of a handbook has a meaning


class Guess(Exception):
    """An unquoted word that YAML 1.1 reads differently; the message says as what, the hint what to write."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def plain(text: str) -> Scalar:
    """The value of an unquoted word.

    Raises:
        Guess: the word means different things to different YAML readers, or is no finite number.
    """
    if not text or text[0] in _MAY_BE_SPECIAL:
        if text in NULLS:
            return None
        if text in TRUE:
            return True
        if text in FALSE:
            return False
        if len(text) <= _LONGEST_NUMBER:
            if _INTEGER.fullmatch(text):
                return int(text)
            if _BASED.fullmatch(text):
                return int(text, 0)
        _refuse_guesses(text)
        if _FLOAT.fullmatch(text):
            return _finite(text)
    return text


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number) or len(text) > _LONGEST_NUMBER:
        raise Guess(f"{shorten(text)} is too large or too long for a number", f"as text write {quoted(text)}")
    return number


def _refuse_guesses(text: str) -> None:
    if text in YAML_1_1_BOOLEANS:
        truth = "true" if text.lower() in {"yes", "on"} else "false"
        raise Guess(f"{text} is read as {truth} by many tools", f"write {quoted(text)} or {truth}")
    if _SPECIAL_FLOAT.fullmatch(text):
        raise Guess(f"{text} is not a finite number", "write a number")
    if _OCTAL.fullmatch(text):
        raise Guess(f"{shorten(text)} is read as an octal number by many tools", f"write {quoted(text)}")
    if _SEXAGESIMAL.fullmatch(text):
        raise Guess(f"{shorten(text)} is read as a number of base 60 by many tools", f"write {quoted(text)}")
    if _DATE.fullmatch(text):
        raise Guess(f"{shorten(text)} is read as a date by many tools", f"write {quoted(text)}")
    if _BINARY.fullmatch(text):
        raise Guess(f"{shorten(text)} is read as a binary number by many tools", f"write {quoted(text)}")
    if "_" in text and _UNDERSCORED.fullmatch(text):
        hint = f"write {text.replace('_', '')}, or {quoted(text)} as text"
        raise Guess(f"{shorten(text)} is read as a number without its underscores by many tools", hint)
    if text == "<<":
        raise Guess("merge keys are not part of the format", "write the keys out")
    if text == "=":
        raise Guess("= has a meaning of its own for many tools", 'write "="')


def is_plain_text(text: str) -> bool:
    """Whether `text` needs no quotes, anywhere in a file and for any reader of YAML."""
    try:
        return bool(_PLAIN_TEXT.fullmatch(text)) and isinstance(plain(text), str)
    except Guess:
        return False


def flow(value: Any) -> str:
    """A value as YAML in one line, unquoted where it may be."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(inner) for inner in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value if is_plain_text(value) or _QUANTITY.fullmatch(value) else quoted(value)
    return str(value)


def shorten(text: str, limit: int = 40) -> str:
    """`text` on one line, cut to `limit` characters, so that an error stays readable."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def quoted(text: str) -> str:
    """`text` in double quotes as YAML reads them, on one line."""
    escaped = "".join(_escape(character) for character in text)
    return f'"{escaped}"'


def _escape(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    named = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}.get(character)
    code = ord(character)
    return named or (f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}")
