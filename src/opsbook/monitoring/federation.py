"""``/prometheus/federate``: the newest sample of each series, for another Prometheus that scrapes opsbook."""

from __future__ import annotations

import math
from collections.abc import Iterator

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse

from opsbook.errors import Invalid
from opsbook.monitoring.querying.parameters import selectors
from opsbook.promql.series import NAME, Labels, Storage, is_sample
from opsbook.security.api import requires
from opsbook.world.words import Clock

LOOKBACK = 300_000  # milliseconds: what is older is no present value


def router(storage: Storage, clock: Clock) -> APIRouter:
    """The route.

    Args:
        storage: where the samples are.
        clock: for "now".
    """
    routes = APIRouter(prefix="/prometheus", tags=["prometheus"])

    @routes.get("/federate", dependencies=[requires("view")], response_class=PlainTextResponse)
    def federate(match: list[str] = Query(default=[], alias="match[]")) -> PlainTextResponse:  # noqa: B008
        """The newest sample of every series that one of the selectors fits, with its time."""
        if not match:
            raise Invalid("no match[] parameter provided", hint="match[]={job=~'.+'}", where="match[]")
        text = "".join(_lines(storage, match, round(clock.now() * 1000)))
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes


def _lines(storage: Storage, match: list[str], now: int) -> Iterator[str]:
    found: dict[tuple[str, str], str] = {}
    for matchers in selectors(match):
        for selection in storage.select(matchers, now - LOOKBACK, now):
            for row, labels in enumerate(selection.series):
                times, values = selection.points(row)
                if times.size and is_sample(values[-1:])[0]:
                    key = (labels.get(NAME, ""), _braces(labels))
                    found[key] = f"{_text(float(values[-1]))} {int(times[-1])}"
    before = None
    for (name, braces), sample in sorted(found.items()):
        if name != before:
            yield f"# TYPE {name} untyped\n"
            before = name
        yield f"{name}{braces} {sample}\n"


def _braces(labels: Labels) -> str:
    pairs = [f'{name}="{_escaped(text)}"' for name, text in sorted(labels.items()) if name != NAME and text]
    return "{" + ",".join(pairs) + "}" if pairs else ""


def _text(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
