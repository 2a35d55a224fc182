"""Where requests fail and where their time goes, by their traces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from opsbook.errors import NotFound
from opsbook.response.diagnosis.checks.dependencies import key as dependency_key
from opsbook.response.diagnosis.model import Check, Clue
from opsbook.response.diagnosis.ports import Traces
from opsbook.response.diagnosis.scene import Scene
from opsbook.response.diagnosis.words import counted, milliseconds
from opsbook.world.traces.words import Span, TraceQuery, TraceSummary

NAME, TITLE = "traces", "where requests fail"
LATELY = 900.0
LOOKED_AT = 8  # traces that failed, and as many slow ones
SLOW = 1.0  # seconds: below, the slowest trace is no news
MOST_OF_IT = 0.6  # of a slow trace's time


def look(scene: Scene) -> Check:
    traces = scene.site.traces
    if traces is None:
        return Check(name=NAME, title=TITLE, state="skipped", text="there are no traces to search")
    asked = TraceQuery(
        service=scene.service, environment=scene.environment, since=scene.now - LATELY, limit=LOOKED_AT
    )
    visible = frozenset({scene.environment})
    failed = traces.search(_but(asked, error=True))
    slow = [one for one in traces.search(_but(asked, slowest=True)) if one.duration_ns >= SLOW * 1e9]
    if not failed and not slow:
        any_ = bool(traces.search(_but(asked, limit=1)))
        text = "none failed, none was slow" if any_ else f"none of {scene.service} lately"
        return Check(name=NAME, title=TITLE, state="ok" if any_ else "skipped", text=text)
    ends = _ends(scene, traces, failed, visible)
    longest = _longest(scene, traces, slow, visible)
    lines = [
        f"{number} × {place} failed{f': {message}' if message else ''}" for (place, message), number in ends
    ]
    lines += [f"{milliseconds(spent)} of {milliseconds(whole)} in {place}" for place, spent, whole in longest]
    text = lines[0] if lines else f"{counted(len(failed), 'trace')} failed"
    return Check(
        name=NAME,
        title=TITLE,
        state="warning",
        text=text,
        lines=(*lines, *(f"opsbook traces show {one.trace_id}" for one in (*failed[:2], *slow[:1]))),
        symptom=f"requests to {scene.service} in {scene.environment} fail: {text}" if failed else "",
        since=min((one.start_ns / 1e9 for one in failed), default=None) if failed else None,
        clues=(*_failing(scene, ends, len(failed)), *_slow(scene, longest)),
    )


def _but(
    query: TraceQuery, *, error: bool = False, slowest: bool = False, limit: int = LOOKED_AT
) -> TraceQuery:
    return TraceQuery(
        service=query.service, environment=query.environment, since=query.since, error=error, slowest=slowest,
        limit=limit,
    )  # fmt: skip


def _spans(traces: Traces, found: TraceSummary, visible: frozenset[str]) -> Sequence[Span]:
    try:
        return traces.trace(found.trace_id, visible)
    except NotFound:
        return ()  # let go since, or partly of another environment


def _ends(
    scene: Scene, traces: Traces, failed: Sequence[TraceSummary], visible: frozenset[str]
) -> list[tuple[tuple[str, str], int]]:
    """Where failed requests ended: the failed spans within which nothing else failed."""
    counts: Counter[tuple[str, str]] = Counter()
    for found in failed:
        if scene.stop():
            break
        spans = _spans(traces, found, visible)
        bad = [span for span in spans if span.status == "error"]
        parents = {span.parent_id for span in bad}
        for span in bad:
            if span.span_id not in parents:
                counts[f"{span.service or 'unknown'} {span.name}", span.message[:200]] += 1
    return counts.most_common(5)


def _longest(
    scene: Scene, traces: Traces, slow: Sequence[TraceSummary], visible: frozenset[str]
) -> list[tuple[str, float, float]]:
    """Of slow requests: the span that took the most time of its own, with that time and the whole one."""
    found: dict[str, tuple[str, float, float]] = {}
    for one in slow:
        if scene.stop():
            break
        spans = _spans(traces, one, visible)
        if not spans:
            continue
        own = {span.span_id: span.duration_ns for span in spans}
        for span in spans:
            if span.parent_id in own:
                own[span.parent_id] -= span.duration_ns
        worst = max(spans, key=lambda span: own[span.span_id])
        spent, whole = max(0, own[worst.span_id]) / 1e9, one.duration_ns / 1e9
        if spent >= MOST_OF_IT * whole:
            place = f"{worst.service or 'unknown'} {worst.name}"
            found.setdefault(place, (place, spent, whole))
    return list(found.values())[:3]


def _failing(scene: Scene, ends: Sequence[tuple[tuple[str, str], int]], traces: int) -> list[Clue]:
    clues = []
    for (place, message), number in ends:
        service = place.partition(" ")[0]
        if service not in {scene.service, "unknown"}:
            why = f"{number} of {counted(traces, 'failed trace')} end in {place}{f': {message}' if message else ''}"
            clues.append(_clue(scene, service, f"{service} fails requests of {scene.service}", why, 0.55))
    return clues


def _slow(scene: Scene, longest: Sequence[tuple[str, float, float]]) -> list[Clue]:
    return [
        _clue(
            scene,
            place.partition(" ")[0],
            f"{place.partition(' ')[0]} is slow",
            f"{milliseconds(spent)} of {milliseconds(whole)} are spent in {place}",
            0.35,
        )
        for place, spent, whole in longest
        if place.partition(" ")[0] not in {scene.service, "unknown"}
    ]


def _clue(scene: Scene, service: str, text: str, why: str, weight: float) -> Clue:
    known = service in scene.book.services
    return Clue(
        key=dependency_key(scene.environment, service),
        kind="dependency",
        subject=f"{scene.environment}/{service}",
        text=text,
        why=why,
        weight=weight,
        command=f"opsbook diagnose {service} --in {scene.environment}" if known else "",
    )
