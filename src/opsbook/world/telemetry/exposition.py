"""The text format of Prometheus, and what of OpenMetrics it needs: one line at a time, tolerant, with located errors.

This is the slow path (about 150 thousand lines a second): `ScrapeCache` calls it once per series, not per sample.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from opsbook.errors import Invalid

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_BLANKS = re.compile(r"[ \t]*")
_TOKEN = re.compile(r"[^ \t]+")
_NUMBER = re.compile(
    r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|inf|infinity|nan)$", re.IGNORECASE
)
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", "\\": "\\", '"': '"'}


@dataclass(frozen=True, slots=True)
class Line:
    """One sample as a target wrote it. A timestamp is accepted and ignored: samples carry the time of the scrape."""

    labels: Mapping[str, str]  # __name__ included
    value: float
    value_at: int  # where in the line the value begins


def parse_line(text: str, number: int = 1) -> Line:
    """Parse a line that is neither empty nor a comment.

    Args:
        text: the line without its end.
        number: its number, for the place in errors.

    Raises:
        Invalid: it is not a sample; `where` is ``line N, column M`` (columns are characters, from 1).
    """
    reader = _Reader(text.rstrip(" \t\r"), number)
    labels = reader.series()
    reader.blanks()
    value_at = reader.position
    value = reader.number("a value")
    reader.blanks()
    if not reader.ended() and not reader.looking_at("#"):
        reader.number("a timestamp")
        reader.blanks()
        if not reader.ended() and not reader.looking_at("#"):
            raise reader.error("the end of the line")
    return Line(labels, value, value_at)


class _Reader:
    """A position in one line."""

    def __init__(self, text: str, number: int) -> None:
        self.text = text
        self.number_of_line = number
        self.position = _BLANKS.match(text).end()  # type: ignore[union-attr]  # matches the empty string too

    def series(self) -> dict[str, str]:
        labels: dict[str, str] = {}
        name = self._take(_NAME)
        if name is not None:
            labels["__name__"] = name
            self.blanks()
        if self.looking_at("{"):
            self.position += 1
            self._labels_into(labels)
        if "__name__" not in labels:
            raise self.error("a metric name")
        return labels

    def _labels_into(self, labels: dict[str, str]) -> None:
        while True:
            self.blanks()
            if self.looking_at("}"):
                self.position += 1
                return
            self._label_into(labels)
            self.blanks()
            if self.looking_at(","):
                self.position += 1
            elif not self.looking_at("}"):
                raise self.error("',' or '}'")

    def _label_into(self, labels: dict[str, str]) -> None:
        start = self.position
        quoted = self.looking_at('"')
        name = self._quoted() if quoted else self._take(_LABEL_NAME)
        if name is None:
            raise self.error("a label name")
        self.blanks()
        if quoted and not self.looking_at("="):  # {"a.metric", label="x"}: the name of the metric itself
            name, value = "__name__", name
        elif self.looking_at("="):
            self.position += 1
            self.blanks()
            value = self._quoted()
        else:
            raise self.error("'='")
        if name in labels:
            self.position = start
            raise self.error("every label once")
        labels[name] = value

    def _quoted(self) -> str:
        match = _QUOTED.match(self.text, self.position)
        if match is None:
            raise self.error("text in double quotes")
        self.position = match.end()
        raw = match[1]
        return _ESCAPE.sub(_unescape, raw) if "\\" in raw else raw

    def number(self, what: str) -> float:
        match = _TOKEN.match(self.text, self.position)
        if match is None or _NUMBER.match(match[0]) is None:
            raise self.error(what)
        self.position = match.end()
        return float(match[0])

    def blanks(self) -> None:
        self.position = _BLANKS.match(self.text, self.position).end()  # type: ignore[union-attr]

    def looking_at(self, character: str) -> bool:
        return self.text.startswith(character, self.position)

    def ended(self) -> bool:
        return self.position >= len(self.text)

    def _take(self, pattern: re.Pattern[str]) -> str | None:
        match = pattern.match(self.text, self.position)
        if match is None:
            return None
        self.position = match.end()
        return match[0]

    def error(self, expected: str) -> Invalid:
        found = self.text[self.position : self.position + 20] or "the end of the line"
        return Invalid(
            f"expected {expected}, found {found!r}",
            hint="see https://prometheus.io/docs/instrumenting/exposition_formats/",
            where=f"line {self.number_of_line}, column {self.position + 1}",
        )


def _unescape(match: re.Match[str]) -> str:
    return _ESCAPED.get(match[1], match[0])  # an unknown escape stands for itself


@dataclass(frozen=True, slots=True)
class Metric:
    """One of opsbook's own metrics, ready to be written."""

    name: str
    kind: str  # "gauge" or "counter"
    description: str
    samples: tuple[tuple[Mapping[str, str], float], ...]


def render(metrics: Iterable[Metric]) -> str:
    """The metrics as Prometheus text."""
    lines: list[str] = []
    for metric in metrics:
        description = metric.description.replace("\\", "\\\\").replace("\n", "\\n")
        lines += [f"# HELP {metric.name} {description}", f"# TYPE {metric.name} {metric.kind}"]
        lines += [f"{render_series(metric.name, labels)} {value!r}" for labels, value in metric.samples]
    return "\n".join(lines) + "\n"


def render_series(name: str, labels: Mapping[str, str]) -> str:
    """``name{label="value"}`` with its labels in order."""
    if not labels:
        return name
    pairs = ",".join(f'{key}="{_escape(labels[key])}"' for key in sorted(labels))
    return f"{name}{{{pairs}}}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
