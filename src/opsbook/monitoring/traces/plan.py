"""Spans laid out as a waterfall, and questions about traces read. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from opsbook.errors import Invalid
from opsbook.monitoring.traces.model import Row, Waterfall
from opsbook.terminal import parse_duration
from opsbook.world.traces.words import Span

LEAST_SHARE = 0.2  # percent: shorter bars could not be seen


def waterfall(spans: Sequence[Span]) -> Waterfall:
    """The trace laid out.

    A span whose parent is missing stands at the top, marked; so does one of a circle of parents, which broken
    programs send.

    Args:
        spans: all of one trace, at least one.
    """
    ordered = sorted(spans, key=lambda span: (span.start_ns, -span.duration_ns, span.span_id))
    ids = {span.span_id for span in ordered}
    children: dict[str, list[Span]] = {}
    for span in ordered:
        if span.parent_id in ids:
            children.setdefault(span.parent_id, []).append(span)
    start = ordered[0].start_ns
    duration = max(span.start_ns + span.duration_ns for span in ordered) - start
    rows: list[Row] = []
    seen: set[str] = set()
    tops = [span for span in ordered if span.parent_id not in ids]
    for top in [*tops, *ordered]:  # the second time round finds what is in circles only
        waiting = [(top, 0)]
        while waiting:
            span, depth = waiting.pop()
            if span.span_id in seen:
                continue
            seen.add(span.span_id)
            below = children.get(span.span_id, [])
            rows.append(_row(span, depth, below, start, duration))
            waiting += [(child, depth + 1) for child in reversed(below)]
    root = next((span for span in ordered if not span.parent_id), rows[0].span)
    services: dict[str, int] = {}
    for row in rows:
        services[row.span.service] = services.get(row.span.service, 0) + row.own_ns
    return Waterfall(
        trace_id=root.trace_id,
        name=root.name,
        service=root.service,
        start_ns=start,
        duration_ns=duration,
        rows=tuple(rows),
        services=dict(sorted(services.items(), key=lambda item: (-item[1], item[0]))),
    )


def _row(span: Span, depth: int, below: Sequence[Span], start: int, duration: int) -> Row:
    whole = max(duration, 1)
    share = max(LEAST_SHARE, span.duration_ns / whole * 100)
    return Row(
        span=span,
        depth=depth,
        offset=min((span.start_ns - start) / whole * 100, 100 - share),
        share=share,
        own_ns=own_time(span, below),
        orphan=depth == 0 and bool(span.parent_id),
    )


def own_time(span: Span, children: Iterable[Span]) -> int:
    """Nanoseconds in which none of the children worked; what they do at the same time counts once."""
    begin, end = span.start_ns, span.start_ns + span.duration_ns
    taken, reached = 0, begin
    for child in sorted(children, key=lambda child: child.start_ns):
        low = max(child.start_ns, reached)
        high = min(child.start_ns + child.duration_ns, end)
        if high > low:
            taken += high - low
            reached = high
    return end - begin - taken


def pairs_of(given: Iterable[str], where: str) -> dict[str, str]:
    """``http.route=/orders`` as a name and a value.

    Raises:
        Invalid: there is no ``=``.
    """
    found = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise Invalid(f"expected NAME=VALUE, got {text[:80]!r}", where=where, hint="http.route=/orders")
        found[name.strip()] = value
    return found


def seconds_of(text: str, where: str) -> float | None:
    """A duration as people write it; None when nothing was written.

    Raises:
        Invalid: it is none.
    """
    if not text.strip():
        return None
    try:
        return parse_duration(text)
    except Invalid as error:
        raise Invalid(error.message, where=where, hint=error.hint) from None
