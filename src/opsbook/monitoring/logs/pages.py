"""``/logs``: the search form, how many lines there were when, the lines, and those that come."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute

from opsbook.errors import NotAllowed, OpsbookError
from opsbook.monitoring.logs.api import Followers
from opsbook.monitoring.logs.model import Logs
from opsbook.monitoring.logs.plan import Asked
from opsbook.security.api import signed_in, watching
from opsbook.security.plan import may_somewhere, visible
from opsbook.world.logs.query import LEVELS, Found, Histogram, LogQuery
from opsbook.world.logs.search import record_json
from opsbook.world.logs.words import LogRecord

LISTED = 200
COLUMNS = 60
SPANS = ("15m", "1h", "6h", "24h", "7d")
BUDGET = 5.0  # seconds for the lines; somebody waits
COUNTING = 1.5  # seconds for the histogram
STACKED = ("critical", "error", "warning", "info", "debug", "trace", "")

Pick = Annotated[str, Query()]
Watching = Annotated[Callable[[], frozenset[str] | None], Depends(watching)]


class Shell(Protocol):
    """Renders pages; `opsbook.server.console.shell.Shell` is one."""

    def page(
        self,
        request: Request,
        template: str,
        make: Callable[[], Mapping[str, Any]],
        *,
        topics: tuple[str, ...] = (),
        status: int = 200,
    ) -> Response: ...


class Form:
    """The address of the page, taken apart; each part as it was written."""

    NAMES = (
        "service",
        "environment",
        "instance",
        "level",
        "text",
        "grep",
        "field",
        "trace",
        "since",
        "until",
    )

    def __init__(
        self, service: Pick = "", environment: Pick = "", instance: Pick = "", level: Pick = "", text: Pick = "",
        grep: Pick = "", field: Pick = "", trace: Pick = "", since: Pick = "", until: Pick = "", cursor: Pick = "",
    ) -> None:  # fmt: skip
        self.service, self.environment, self.instance = service, environment, instance
        self.level, self.text, self.grep, self.field = level, text, grep, field
        self.trace, self.until, self.cursor = trace, until, cursor
        self.since = since or ("7d" if trace else "1h")

    def asked(self) -> Asked:
        """The same as the API knows it."""
        return Asked(
            services=(self.service,), environments=(self.environment,), instances=(self.instance,),
            level=self.level, text=self.text, grep=self.grep, fields=self.field.split(), trace=self.trace,
            since=self.since, until=self.until, limit=LISTED, cursor=self.cursor,
        )  # fmt: skip

    def address(self, path: str = "/logs", **other: str) -> str:
        """Of the page with some parts different."""
        parts = {name: str(getattr(self, name)) for name in self.NAMES} | other
        return f"{path}?{urlencode({name: value for name, value in parts.items() if value})}"

    def command(self) -> str:
        """The same at a terminal."""
        words = ["opsbook logs", *([self.service] if self.service else [])]
        for option, value in (
            ("--env", self.environment), ("--instance", self.instance), ("--level", self.level),
            ("--text", self.text), ("--grep", self.grep), ("--trace", self.trace), ("--since", self.since),
            ("--until", self.until), *(("--field", one) for one in self.field.split()),
        ):  # fmt: skip
            if value:
                words.append(f"{option} {_quoted(value)}")
        return " ".join(words)


Filled = Annotated[Form, Depends()]


def router(
    logs: Logs,
    shell: Shell,
    route_class: type[APIRoute],
    *,
    now: Callable[[], float],
    stopping: Callable[[], bool] = lambda: False,
) -> APIRouter:
    """The page ``/logs`` and its stream.

    Args:
        route_class: makes pages of failures.
        now: epoch seconds. stopping: True ends the streams.
    """
    routes = APIRouter(prefix="/logs", include_in_schema=False, route_class=route_class)
    followers = Followers(logs, stopping)

    @routes.get("")
    def searched(request: Request, form: Filled) -> Response:
        mine, problem = _visible(request), None
        found, drawn = Found(()), None
        try:
            query = form.asked().query(now(), mine, budget=BUDGET)
            found = logs.search(query)
            drawn = _drawn(logs, query, now(), form) if not form.cursor else None
        except OpsbookError as error:
            problem = error
        origins = logs.origins(mine)
        context = {
            "title": "Logs",
            "form": form,
            "services": sorted({service for _, service in origins if service}),
            "environments": sorted({environment for environment, _ in origins if environment}),
            "levels": LEVELS,
            "spans": SPANS,
            "rows": [_row(record, form) for record in found.records],
            "found": found,
            "older": form.address(cursor=found.cursor) if found.cursor else "",
            "newest": form.address() if form.cursor else "",
            "drawn": drawn,
            "problem": problem,
            "live": "" if form.cursor or form.until else form.address("/logs/live"),
        }
        status = problem.http_status if problem else 200
        return shell.page(request, "monitoring/logs.html", lambda: context, status=status)

    @routes.get("/live")
    def live(request: Request, form: Filled, seeing: Watching) -> Response:
        query = form.asked().query(now(), _visible(request))
        told = followers.follow(query, 0, seeing, _event, ": still here\n\n")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(told, media_type="text/event-stream", headers=headers)

    return routes


def _visible(request: Request) -> frozenset[str] | None:
    identity = signed_in(request)
    decision = may_somewhere(identity, "view")
    if not decision.allowed:
        raise NotAllowed(decision.why)
    return visible(identity)


def _event(record: LogRecord) -> str:
    return f"data: {json.dumps(record_json(record), ensure_ascii=False)}\n\n"


def _row(record: LogRecord, form: Form) -> dict[str, Any]:
    return {
        "at": datetime.fromtimestamp(record.at_ms / 1000, UTC).isoformat(" ", "milliseconds")[5:23],  # UTC
        "record": record,
        "origin": record.instance or record.service or "–",
        "fields": [
            {"name": name, "value": value, "only": form.address(field=_added(form.field, name, value))}
            for name, value in record.fields.items()
        ],
    }


def _added(fields: str, name: str, value: str) -> str:
    """The fields of the form with one more; those with blanks cannot be said in it."""
    pair = f"{name}={value}"
    return fields if " " in pair or pair in fields.split() else f"{fields} {pair}".strip()


def _drawn(logs: Logs, query: LogQuery, now: float, form: Form) -> dict[str, Any]:
    """The histogram: columns of 10 units, 64 high, each a link to its time."""
    end = query.until if query.until is not None else now
    start = query.since if query.since is not None else end - 3600
    counted = LogQuery(**{**_parts(query), "budget": COUNTING})
    found = logs.histogram(counted, start=start, end=end, steps=COLUMNS)
    totals = [sum(column[place] for column in found.counts.values()) for place in range(COLUMNS)]
    most = max(totals) or 1
    columns = [_column(found, place, most, form) for place in range(COLUMNS) if totals[place]]
    by_level = [
        {"level": level or "none", "count": sum(found.counts[level])}
        for level in STACKED
        if level in found.counts
    ]
    return {
        "columns": columns, "most": max(totals), "total": sum(totals), "levels": by_level, "start": start,
        "end": end, "partial": found.partial, "back_to": found.back_to,
    }  # fmt: skip


def _column(found: Histogram, place: int, most: int, form: Form) -> dict[str, Any]:
    bars, top = [], 64.0
    for level in STACKED[::-1]:
        count = found.counts.get(level, (0,) * COLUMNS)[place]
        if count:
            height = max(count / most * 64, 1.0)
            top -= height
            bars.append(
                {"level": level or "none", "y": round(top, 2), "height": round(height, 2), "count": count}
            )
    begin = found.start + place * found.step
    return {
        "x": place * 10,
        "bars": bars,
        "at": begin,
        "told": ", ".join(f"{bar['count']} {bar['level']}" for bar in bars[::-1]),
        "href": form.address(since=f"{begin:.3f}", until=f"{begin + found.step:.3f}"),
    }


def _parts(query: LogQuery) -> dict[str, Any]:
    return {name: getattr(query, name) for name in query.__dataclass_fields__}


def _quoted(value: str) -> str:
    plain = all(c.isalnum() or c in "-_.:=/@," for c in value)
    return value if plain else "'" + value.replace("'", "'\\''") + "'"
