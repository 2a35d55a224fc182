"""OpenTelemetry's names of metrics and attributes as Prometheus', by the specification of their compatibility. Pure.

https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

_UNITS: Final[Mapping[str, str]] = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds", "us": "microseconds",
    "ns": "nanoseconds", "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
    "TiBy": "tibibytes", "KBy": "kilobytes", "kBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes",
    "TBy": "terabytes", "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams",
    "Cel": "celsius", "Hz": "hertz", "%": "percent",
}  # fmt: skip
_PER: Final[Mapping[str, str]] = {
    "s": "second", "m": "minute", "min": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year",
}  # fmt: skip
_NOTED = re.compile(r"\{[^}]*\}")
_OTHER = re.compile(r"[^a-zA-Z0-9:]+")
_OTHER_IN_LABEL = re.compile(r"[^a-zA-Z0-9_]")


@lru_cache(maxsize=16_384)
def metric_name(name: str, unit: str, *, counter: bool = False, gauge: bool = False) -> str:
    """``http.server.duration`` in ``s`` as ``http_server_duration_seconds``; a counter ends with ``_total``."""
    words = [word for word in _OTHER.split(name) if word]
    unit = _NOTED.sub("", unit).strip()
    main, _, per = unit.partition("/")
    suffixes = []
    if gauge and unit == "1":
        suffixes = ["ratio"]
    elif main not in ("", "1") and (word := _unit_word(main, _UNITS)):
        suffixes = [word]
    if per and (word := _unit_word(per, _PER)):
        suffixes += ["per", word]
    if suffixes and "_".join(suffixes) not in "_".join(words):
        words = [word for word in words if word != "total" or not counter]
        words += suffixes
    if counter:
        words = [*(word for word in words if word != "total"), "total"]
    found = "_".join(words)
    return f"_{found}" if found[:1].isdigit() else found


def _unit_word(unit: str, known: Mapping[str, str]) -> str:
    return known.get(unit) or "_".join(word for word in _OTHER.split(unit) if word and word != ":")


@lru_cache(maxsize=16_384)
def label_name(name: str) -> str:
    """``http.route`` as ``http_route``."""
    found = _OTHER_IN_LABEL.sub("_", name)
    if found[:1].isdigit():
        return f"key_{found}"
    return f"key{found}" if found.startswith("_") and not found.startswith("__") else found


def label_names(attributes: Mapping[str, str]) -> dict[str, str]:
    """Attributes as labels; where two become one, their values stand side by side, in the order of their names."""
    found: dict[str, str] = {}
    for name in sorted(attributes):
        label = label_name(name)
        if label.startswith("__"):
            label = "key" + label
        found[label] = f"{found[label]};{attributes[name]}" if label in found else attributes[name]
    return found
