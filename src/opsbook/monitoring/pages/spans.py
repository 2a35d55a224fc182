"""The stretch of time of a page, as its address has it: links to others, and what the page says of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from opsbook.monitoring.dashboards.span import DEFAULT, PRESETS, Span, span_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A link to the same page with another stretch of time."""

    name: str
    href: str
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """What the bar over charts offers.

    Args:
        span: what is shown. zoomed: it stands still between two times.
        back: the address without the two times. compare: with a week ago, or without.
        table: as tables, or as charts.
    """

    span: Span
    preset: str
    choices: tuple[Choice, ...]
    zoomed: bool
    back: str
    compare: Choice
    table: Choice

    @property
    def tabled(self) -> bool:
        return self.table.chosen


def spans_of(now: float, path: str, query: Mapping[str, str], *, default: str = DEFAULT) -> Spans:
    """Of an address. Raises Invalid: what it says is no stretch of time."""
    asked = {name: value for name, value in query.items() if value and name != "region"}
    preset = asked.get("range", default)
    zoomed = bool(asked.get("from") or asked.get("to"))
    span = span_of(now, preset, asked.get("from", ""), asked.get("to", ""))

    def href(**changes: str) -> str:
        found = {name: value for name, value in {**asked, **changes}.items() if value}
        return f"{path}?{urlencode(found)}" if found else path

    compared, tabled = "compare" in asked, asked.get("view") == "table"
    return Spans(
        span=span,
        preset=preset,
        choices=tuple(
            Choice(
                name=one, href=href(range=one, **{"from": "", "to": ""}), chosen=one == preset and not zoomed
            )
            for one in PRESETS
        ),
        zoomed=zoomed,
        back=href(**{"from": "", "to": ""}),
        compare=Choice(name="A week ago", href=href(compare="" if compared else "1"), chosen=compared),
        table=Choice(name="Tables", href=href(view="" if tabled else "table"), chosen=tabled),
    )
