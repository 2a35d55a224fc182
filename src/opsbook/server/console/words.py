"""How the console says things: filters and small words for the templates. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from opsbook.terminal import count, duration


def moment(at: float | None, kind: str = "ago") -> Markup:
    """A time: UTC for everybody, which the page turns into how long ago, as far as the reader's clock can tell.

    Args:
        kind: "clock" where the time of day is what matters, "since" for what goes on, "until" for what is to come,
            "due" for what is expected by then.
    """
    if at is None:
        return Markup('<span class="none">never</span>')
    found = datetime.fromtimestamp(at, UTC)
    exact = found.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    shown = found.strftime("%d %b %H:%M:%S")
    return Markup('<time class="{}" datetime="{}">{} UTC</time>').format(kind, exact, shown)


def percent(ratio: float | None, digits: int = 2) -> str:
    """``0.02`` as ``2.00 %``; a dash for what is not known."""
    return "–" if ratio is None else f"{ratio * 100:.{digits}f} %"


def number(value: float | None) -> str:
    """``1912`` as ``1,912``."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1e6 else f"{value:,.4g}"


def compact(value: Any) -> str:
    """A value of an event or of evidence on one line."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return number(value)
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "), default=str)


def pairs(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The fields of an event that say something."""
    empty: tuple[Any, ...] = (None, "", [], {}, False)
    return [(name, _field(name, value)) for name, value in data.items() if value not in empty]


def _field(name: str, value: Any) -> str:
    if isinstance(value, float) and value > 1e9 and (name == "until" or name.endswith("_at")):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return compact(value)


FILTERS = {
    "compact": compact,
    "count": count,
    "duration": duration,
    "moment": moment,
    "number": number,
    "pairs": pairs,
    "percent": percent,
}
