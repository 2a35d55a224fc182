"""Functions on labels, and orders by them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from opsbook.errors import Invalid
from opsbook.promql.quoting import BROKEN
from opsbook.promql.series import NAME, Labels, compile_anchored
from opsbook.promql.vectors import Vectors, merged

_REFERENCE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")
_CHUNK = re.compile(r"(\d+|\D+)")


def replace(vectors: Vectors, target: str, replacement: str, source: str, pattern: str) -> Vectors:
    """``label_replace``.

    Raises:
        Invalid: `target` is no label, or `pattern` no regular expression.
        Failed: two series become the same.
    """
    expression = compile_anchored(pattern, where="label_replace")
    _check(target, "label_replace")
    series: list[Labels] = []
    nameless = vectors.nameless.copy()
    for row, labels in enumerate(vectors.series):
        match = expression.fullmatch(labels.get(source, ""))
        if match is None:
            series.append(labels)
            continue
        series.append(_set(labels, target, _expand(replacement, match)))
        if target == NAME:
            nameless[row] = False
    return _relabelled(vectors, series, nameless)


def join(vectors: Vectors, target: str, separator: str, sources: tuple[str, ...]) -> Vectors:
    """``label_join``.

    Raises:
        Invalid: `target` is no label.
        Failed: two series become the same.
    """
    for label in (target, *sources):
        _check(label, "label_join")
    nameless = vectors.nameless.copy()
    if target == NAME:
        nameless[:] = False
    series: list[Labels] = [
        _set(labels, target, separator.join(labels.get(source, "") for source in sources))
        for labels in vectors.series
    ]
    return _relabelled(vectors, series, nameless)


def _relabelled(vectors: Vectors, series: list[Labels], nameless: Any) -> Vectors:
    return merged(Vectors(series, vectors.values, vectors.present, nameless, None, vectors.natives))


def _check(label: str, function: str) -> None:
    if not label or BROKEN in label:
        raise Invalid(f"invalid label name in {function}(): {label!r}", where=function)


def _set(labels: Labels, label: str, value: str) -> Labels:
    changed = dict(labels)
    if value:
        changed[label] = value
    else:
        changed.pop(label, None)
    return changed


def _expand(replacement: str, match: Any) -> str:
    """Go's ``Expand``: ``$1``, ``${name}``, ``$$``; what names no group is empty."""

    def value(reference: re.Match[str]) -> str:
        dollar, braced, bare = reference.groups()
        if dollar:
            return "$"
        name = braced or bare
        try:
            found = match.group(int(name)) if name.isdigit() else match.group(name)
        except (IndexError, KeyError):
            return ""
        return found or ""

    return _REFERENCE.sub(value, replacement)


@lru_cache(maxsize=65536)
def _natural(value: str) -> tuple[tuple[int, int, str], ...]:
    """A key that orders 2 before 10."""
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in _CHUNK.findall(value))


def by_labels(labels: Labels) -> list[tuple[str, str]]:
    """The key of Prometheus' order of series."""
    return sorted(labels.items())


def ordered_by(vectors: Vectors, labels: tuple[str, ...], *, descending: bool) -> Vectors:
    """``sort_by_label``: natural order of some labels, then of all."""

    def key(row: int) -> Any:
        series = vectors.series[row]
        return ([_natural(series.get(label, "")) for label in labels], by_labels(series))

    return vectors.rows(sorted(range(len(vectors)), key=key, reverse=descending))
