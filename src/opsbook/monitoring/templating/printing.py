"""How Go prints values: ``%v`` and the verbs of ``printf``."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from opsbook.monitoring.templating.model import Duration, Sample, Time

_VERB = re.compile(
    r"%(?P<flags>[-+# 0]*)(?P<width>\*|\d+)?(?:\.(?P<precision>\*|\d*))?(?P<verb>.)?", re.DOTALL
)
_WIDEST = 1000  # characters that a width or precision may ask for


def spelled(value: Any) -> str:
    """``%v``."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Time):
        return moment(float(value))
    if isinstance(value, Duration):
        return go_duration(float(value))
    if isinstance(value, float):
        return shortest(value)
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, Sample):
        return f"{{{spelled(value.Labels)} {spelled(value.Value)}}}"
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{spelled(key)}:{spelled(value[key])}' for key in sorted(value))}]"
    if isinstance(value, Sequence):
        return f"[{' '.join(map(spelled, value))}]"
    return str(value)


def shortest(value: float) -> str:
    """The shortest text that reads back as the same number, with an exponent from 1e21 on and below 1e-4."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    exponent = math.floor(math.log10(abs(value)))
    text = repr(value)
    if "e" in text:
        exponent = int(text.partition("e")[2])
    if exponent < -4 or exponent >= 21:
        mantissa, _, power = (text if "e" in text else f"{value:e}").partition("e")
        if "e" not in text:
            mantissa = mantissa.rstrip("0")
        mantissa = mantissa.removesuffix(".0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{'-' if int(power) < 0 else '+'}{abs(int(power)):02d}"
    if "e" in text:
        text = f"{value:.0f}" if exponent > 0 else f"{value:.20f}".rstrip("0")
    return text.removesuffix(".0")


def significant(value: float) -> str:
    """``%.4g``."""
    if not math.isfinite(value):
        return shortest(value)
    return f"{value:.4g}"


def moment(seconds: float) -> str:
    """Go's `Time.String` in UTC; a number that is no moment as a number."""
    try:
        at = datetime.fromtimestamp(0, UTC) + timedelta(seconds=math.floor(seconds))
    except (OverflowError, ValueError):
        return significant(seconds)
    milliseconds = round((seconds - math.floor(seconds)) * 1000)
    if milliseconds == 1000:
        at, milliseconds = at + timedelta(seconds=1), 0
    fraction = f".{milliseconds:03d}".rstrip("0") if milliseconds else ""
    return f"{at:%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"


def go_duration(seconds: float) -> str:
    """Go's `Duration.String`: ``1h0m5s``, ``1.5s``, ``10ms``."""
    if seconds == 0:
        return "0s"
    sign, nanoseconds = "-" if seconds < 0 else "", round(abs(seconds) * 1e9)
    for unit, scale in (("ns", 1), ("µs", 1000), ("ms", 1_000_000)):
        if nanoseconds < scale * 1000:
            return f"{sign}{shortest(nanoseconds / scale)}{unit}"
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{shortest(rest / 1e9)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{sign}{hours}h{text}" if hours else f"{sign}{text}"


def sprint(values: Sequence[Any], *, line: bool = False) -> str:
    """`print`: a space between two of which neither is text; `println`: always, and a line's end."""
    if line:
        return " ".join(map(spelled, values)) + "\n"
    text = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            text += " "
        text += spelled(value)
    return text


def sprintf(form: str, values: Sequence[Any]) -> str:
    """`printf`, with Go's words for what does not fit (``%!d(string=x)``)."""
    waiting = list(values)
    missing = False

    def verb(match: re.Match[str]) -> str:
        nonlocal missing
        letter = match["verb"]
        if letter is None:
            return "%!(NOVERB)"
        if letter == "%":
            return "%"
        width, precision = match["width"], match["precision"]
        if width == "*":
            width = str(waiting.pop(0)) if waiting else ""
        if precision == "*":
            precision = str(waiting.pop(0)) if waiting else ""
        if not waiting:
            missing = True
            return f"%!{letter}(MISSING)"
        places = (
            None
            if precision is None
            else min(_WIDEST, int(precision or 0))
            if (precision or "0").isdigit()
            else 0
        )
        text = _formatted(letter, match["flags"], places, waiting.pop(0))
        return _padded(text, match["flags"], int(width) if width and width.isdigit() else 0, letter)

    text = _VERB.sub(verb, form)
    if waiting and not missing:
        text += f"%!(EXTRA {', '.join(f'{_type(value)}={spelled(value)}' for value in waiting)})"
    return text


def _padded(text: str, flags: str, width: int, letter: str) -> str:
    width = min(width, _WIDEST)
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and letter in "dfFeEgGxX" and text[-1:].isalnum():
        sign = text[:1] if text[:1] in "+-" else ""
        return sign + text[len(sign) :].rjust(width - len(sign), "0")
    return text.rjust(width)


def _formatted(letter: str, flags: str, places: int | None, value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    signed = "+" in flags
    text: str | None = None
    if letter == "v":
        text = spelled(value) if not (signed and number) else ("+" if value >= 0 else "") + spelled(value)
    elif letter == "T":
        text = _type(value)
    elif letter == "t" and isinstance(value, bool):
        text = spelled(value)
    elif letter in "sq" and isinstance(value, str | Duration | Time):
        text = spelled(value)[:places]
        text = json.dumps(text, ensure_ascii=False) if letter == "q" else text
    elif letter in "xX" and isinstance(value, str):
        text = value.encode().hex()
        text = text.upper() if letter == "X" else text
    elif letter in "dboxXcqU" and isinstance(value, int) and not isinstance(value, bool):
        text = _whole(letter, signed, value)
    elif letter in "eEfFgG" and isinstance(value, float):
        text = _floating(letter, signed, places, value)
    if text is None:
        if letter in "sd" and isinstance(value, list | tuple | Mapping):
            return spelled(value)
        return f"%!{letter}({_type(value)}={spelled(value)})" if value is not None else f"%!{letter}(<nil>)"
    return text


def _whole(letter: str, signed: bool, value: int) -> str:
    match letter:
        case "c":
            return chr(value) if 0 <= value < 0x110000 else "\ufffd"
        case "q":
            return f"'{chr(value)}'" if 0 <= value < 0x110000 else "'\ufffd'"
        case "U":
            return f"U+{value:04X}"
    return f"{value:{'+' if signed else ''}{letter}}"


def _floating(letter: str, signed: bool, places: int | None, value: float) -> str:
    if not math.isfinite(value):
        return shortest(value) if signed or value < 0 or math.isnan(value) else "+Inf"
    plus = "+" if signed else ""
    if letter in "gG":
        if places is None:
            text = shortest(value)
            return ("+" if signed and value >= 0 else "") + (text.upper() if letter == "G" else text)
        return f"{value:{plus}.{places}{letter}}"
    return f"{value:{plus}.{6 if places is None else places}{letter}}"


def _type(value: Any) -> str:
    names = {
        bool: "bool",
        int: "int",
        float: "float64",
        str: "string",
        Time: "time.Time",
        Duration: "time.Duration",
    }
    if type(value) in names:
        return names[type(value)]
    if isinstance(value, Mapping):
        return "map[string]string"
    return "[]interface {}" if isinstance(value, Sequence) else type(value).__name__
