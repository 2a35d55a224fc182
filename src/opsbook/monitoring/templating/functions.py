"""The functions a template may call: Go's own, and Prometheus' (template/template.go)."""

from __future__ import annotations

import html
import ipaddress
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote_plus

import re2

from opsbook.book.rule_files import prometheus_duration
from opsbook.monitoring.templating.model import Duration, Sample, TemplateError, Time
from opsbook.monitoring.templating.printing import moment, significant, spelled, sprint, sprintf

LARGEST_TEXT = 1024 * 1024  # characters that one function may make


def truth(value: Any) -> bool:
    """What `if` and `with` take for true: neither zero nor empty."""
    return not (
        value is None or value is False or value == 0 or (hasattr(value, "__len__") and len(value) == 0)
    )


# --- Go's own ----------------------------------------------------------------------------------------------------


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, float):
        return "float"
    return "int" if isinstance(value, int) else "string" if isinstance(value, str) else ""


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise TemplateError("missing argument for comparison")
    for other in others:
        if first is None or other is None:
            if first is other:
                return True
        elif not _kind(first) or not _kind(other):
            raise TemplateError("non-comparable type")
        elif _kind(first) != _kind(other):
            raise TemplateError(
                "incompatible types for comparison", hint="compare a value with 5.0 and not with 5"
            )
        elif first == other:
            return True
    return False


def _less(first: Any, second: Any) -> bool:
    if not _kind(first) or not _kind(second) or _kind(first) == "bool":
        raise TemplateError("invalid type for comparison")
    if _kind(first) != _kind(second):
        raise TemplateError(
            "incompatible types for comparison", hint="compare a value with 5.0 and not with 5"
        )
    return bool(first < second)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(str(key), "")
        elif isinstance(value, Sequence) and isinstance(key, int):
            if not 0 <= key < len(value):
                raise TemplateError(f"index out of range: {key}")
            value = value[key]
        else:
            raise TemplateError("can't index this value")
    return value


def _slice(value: Any, *bounds: Any) -> Any:
    if not isinstance(value, str | list | tuple) or not all(isinstance(bound, int) for bound in bounds):
        raise TemplateError("can't slice this value")
    if (
        len(bounds) > 2
        or any(not 0 <= bound <= len(value) for bound in bounds)
        or list(bounds) != sorted(bounds)
    ):
        raise TemplateError("slice bounds out of range")
    return value[slice(*bounds)] if len(bounds) == 2 else value[bounds[0] :] if bounds else value


def _len(value: Any) -> int:
    if not hasattr(value, "__len__"):
        raise TemplateError("len of a value that has none")
    return len(value.encode()) if isinstance(value, str) else len(value)


# --- numbers -----------------------------------------------------------------------------------------------------


def number(value: Any) -> float:
    """A number, or the text of one, as Prometheus' functions take it."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TemplateError(f"can't convert {spelled(value)} to a number")
    try:
        return float(value)
    except ValueError:
        raise TemplateError(f"{value!r} is no number") from None


def _scaled(value: float, units: Sequence[str], base: float) -> tuple[float, str]:
    prefix = ""
    for unit in units:
        if abs(value) < base:
            break
        prefix, value = unit, value / base
    return value, prefix


def _small(value: float) -> tuple[float, str]:
    prefix = ""
    for unit in "munpfazy":
        if abs(value) >= 1:
            break
        prefix, value = unit, value * 1000
    return value, prefix


def humanize(value: Any) -> str:
    """``1.234M``: powers of 1000."""
    found = number(value)
    if found == 0 or not math.isfinite(found):
        return significant(found)
    scaled, prefix = _scaled(found, "kMGTPEZY", 1000) if abs(found) >= 1 else _small(found)
    return f"{significant(scaled)}{prefix}"


def humanize_1024(value: Any) -> str:
    """``1.2Gi``: powers of 1024."""
    found = number(value)
    if abs(found) <= 1 or not math.isfinite(found):
        return significant(found)
    scaled, prefix = _scaled(found, ("ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"), 1024)
    return f"{significant(scaled)}{prefix}"


def humanize_duration(value: Any) -> str:
    """``1d 2h 3m 4s``, ``1.5s``, ``20ms``."""
    found = number(value)
    if not math.isfinite(found):
        return significant(found)
    if found == 0:
        return "0s"
    if abs(found) < 1:
        scaled, prefix = _small(found)
        return f"{significant(scaled)}{prefix}s"
    sign, found = ("-", -found) if found < 0 else ("", found)
    whole = int(found)
    seconds, minutes, hours, days = whole % 60, whole // 60 % 60, whole // 3600 % 24, whole // 86400
    if days:
        return f"{sign}{days}d {hours}h {minutes}m {seconds}s"
    if hours:
        return f"{sign}{hours}h {minutes}m {seconds}s"
    return f"{sign}{minutes}m {seconds}s" if minutes else f"{sign}{significant(found)}s"


def humanize_percentage(value: Any) -> str:
    """``12.5%`` of 0.125."""
    return f"{significant(number(value) * 100)}%"


def humanize_timestamp(value: Any) -> str:
    """``2026-01-02 03:04:05 +0000 UTC``."""
    found = number(value)
    return moment(found) if math.isfinite(found) else significant(found)


def _to_time(value: Any) -> Time:
    return Time(number(value))


def _to_duration(value: Any) -> Duration:
    return Duration(number(value))


def _parse_duration(text: str) -> float:
    seconds = prometheus_duration(str(text))
    if seconds is None:
        raise TemplateError(f"not a valid duration string: {text!r}")
    return seconds


# --- text --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    try:
        return re2.compile(pattern)
    except re2.error as error:
        raise TemplateError(f"not a regular expression: {error}") from None


_REFERENCE = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))")


def _replace_all(pattern: str, replacement: str, text: str) -> str:
    compiled = _compiled(pattern)

    def expanded(found: Any) -> str:
        def group(reference: re.Match[str]) -> str:
            name = reference[1] or reference[2]
            if name is None:
                return "$"
            try:
                return found.group(int(name) if name.isdigit() else name) or ""
            except (IndexError, KeyError):
                return ""

        return _REFERENCE.sub(group, replacement)

    return _bounded(str(compiled.sub(expanded, text)))


def _match(pattern: str, text: str) -> bool:
    return _compiled(pattern).search(text) is not None


def _title(text: str) -> str:
    return re.sub(r"(?<![\w'])\w", lambda found: found[0].upper(), text)


def _strip_port(address: str) -> str:
    bracketed = re.fullmatch(r"\[([^\]]*)\]:\d+", address)
    if bracketed:
        return bracketed[1]
    host, colon, _ = address.rpartition(":")
    return host if colon and ":" not in host else address


def _strip_domain(address: str) -> str:
    host, port = _strip_port(address), ""
    if host != address:
        port = address.rpartition(":")[2]
    try:
        ipaddress.ip_address(host)
        return address
    except ValueError:
        pass
    short = host.partition(".")[0]
    return f"{short}:{port}" if port else short


def _graph_link(expression: str, tab: int) -> str:
    return f"/graph?g0.expr={quote_plus(expression)}&g0.tab={tab}"


def _js(text: str) -> str:
    return json.dumps(text)[1:-1].replace("<", "\\u003C").replace(">", "\\u003E").replace("&", "\\u0026")


def _html(*values: Any) -> str:
    return html.escape(sprint(values)).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


def _bounded(text: str) -> str:
    if len(text) > LARGEST_TEXT:
        raise TemplateError(f"more than {LARGEST_TEXT} characters")
    return text


# --- samples -----------------------------------------------------------------------------------------------------


def _sample(value: Any) -> Sample:
    if not isinstance(value, Sample):
        raise TemplateError("expected a sample of a query")
    return value


def _first(found: Any) -> Sample:
    if not isinstance(found, Sequence) or not found:
        raise TemplateError("first() called on vector with no elements")
    return _sample(found[0])


def _sort_by_label(label: str, found: Any) -> list[Sample]:
    return sorted((_sample(each) for each in found), key=lambda each: each.Labels.get(label, ""))


def _args(*values: Any) -> dict[str, Any]:
    return {f"arg{index}": value for index, value in enumerate(values)}


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "eq": _equal,
    "ne": lambda first, second: not _equal(first, second),
    "lt": _less,
    "le": lambda first, second: _less(first, second) or _equal(first, second),
    "gt": lambda first, second: not _less(first, second) and not _equal(first, second),
    "ge": lambda first, second: not _less(first, second),
    "not": lambda value: not truth(value),
    "and": lambda *values: next((value for value in values if not truth(value)), values[-1]),
    "or": lambda *values: next((value for value in values if truth(value)), values[-1]),
    "len": _len,
    "index": _index,
    "slice": _slice,
    "print": lambda *values: sprint(values),
    "println": lambda *values: sprint(values, line=True),
    "printf": lambda form, *values: _bounded(sprintf(str(form), values)),
    "html": _html,
    "js": lambda *values: _js(sprint(values)),
    "urlquery": lambda *values: quote_plus(sprint(values)),
    "urlQueryEscape": quote_plus,
    "humanize": humanize,
    "humanize1024": humanize_1024,
    "humanizeDuration": humanize_duration,
    "humanizePercentage": humanize_percentage,
    "humanizeTimestamp": humanize_timestamp,
    "toTime": _to_time,
    "toDuration": _to_duration,
    "parseDuration": _parse_duration,
    "reReplaceAll": _replace_all,
    "match": _match,
    "title": _title,
    "toUpper": lambda text: text.upper(),
    "toLower": lambda text: text.lower(),
    "stripPort": _strip_port,
    "stripDomain": _strip_domain,
    "safeHtml": lambda text: text,  # our templates are text: there is nothing that would be escaped
    "graphLink": lambda expression: _graph_link(expression, 0),
    "tableLink": lambda expression: _graph_link(expression, 1),
    "first": _first,
    "label": lambda name, sample: _sample(sample).Labels.get(name, ""),
    "value": lambda sample: _sample(sample).Value,
    "strvalue": lambda sample: _sample(sample).Labels.get("__value__", ""),
    "sortByLabel": _sort_by_label,
    "args": _args,
}
"""All but those that need something of the moment: `query`, `now`, `externalURL`, `pathPrefix`."""

OF_THE_MOMENT = ("query", "now", "externalURL", "pathPrefix")
NAMES = frozenset({*FUNCTIONS, *OF_THE_MOMENT})

TEXTUAL = frozenset(
    {"reReplaceAll", "match", "title", "toUpper", "toLower", "stripPort", "stripDomain", "safeHtml", "graphLink",
     "tableLink", "query", "parseDuration", "urlQueryEscape"}
)  # fmt: skip
"""Functions of which every argument must be text."""
