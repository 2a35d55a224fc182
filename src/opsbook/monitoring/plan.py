"""What a question means: pure."""

from __future__ import annotations

from opsbook.book.quantities import duration
from opsbook.errors import Invalid


def seconds_of(text: str, *, where: str) -> float:
    """A span of time as people and programs write it: ``10m``, ``1h30m``, or a plain number of seconds.

    Args:
        text: the span.
        where: the parameter it was given for.

    Raises:
        Invalid: it is neither, or negative or infinite.
    """
    try:
        seconds = float(text) if text.replace(".", "", 1).isdecimal() else duration(text)
    except ValueError as error:
        raise Invalid(f"expected {error} or a number of seconds, found {text!r}", where=where) from error
    return seconds


def matchers_of(**labels: str | None) -> dict[str, str]:
    """The labels that were asked for."""
    return {label: value for label, value in labels.items() if value is not None}
