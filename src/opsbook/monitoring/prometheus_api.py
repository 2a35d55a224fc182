"""Prometheus' HTTP API under ``/prometheus``, so that what speaks to Prometheus speaks to opsbook: Grafana, promtool.

Parameters come in the query or in a form, answers and errors are in Prometheus' own shape.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request
from fastapi.responses import Response

from opsbook import __version__
from opsbook.errors import Invalid, NotFound, OpsbookError, Unreachable
from opsbook.monitoring.querying.answers import result_json, success
from opsbook.monitoring.querying.parameters import moment, selectors, steps
from opsbook.monitoring.querying.ports import Catalogue, Queries, RulesView, Targets
from opsbook.promql import Matcher, parse
from opsbook.promql.printing import pretty
from opsbook.security.api import requires
from opsbook.world.words import Clock

PREFIX = "/prometheus/api/v1"
SPOKEN = "3.0.0"  # the version of Prometheus whose API this is; clients decide by it what they ask
LARGEST_FORM = 1024 * 1024  # bytes
_ALWAYS = (0, 253402300799000)  # milliseconds: when no time is given

_KINDS = ((Invalid, "bad_data"), (NotFound, "not_found"), (Unreachable, "unavailable"))
_ESCAPED = re.compile(r"_(?:_|([0-9a-fA-F]{1,5})_)")
_STATUS = {
    "timeout": 503,
    "canceled": 503,
    "unavailable": 503,
    "not_found": 404,
    "bad_data": 400,
    "execution": 422,
}


def router(
    queries: Queries,
    catalogue: Catalogue,
    clock: Clock,
    *,
    rules: RulesView | None = None,
    targets: Targets | None = None,
    retention: str = "",
) -> APIRouter:
    """The routes.

    Args:
        queries: what answers.
        catalogue: which series there are.
        clock: for "now".
        rules: rules and alerts; None: there are none.
        targets: what is scraped; None: nothing is known of it.
        retention: how long samples are kept, as a person reads it.
    """
    api = _Answers(queries, catalogue, clock, rules, targets, retention)
    routes = APIRouter(prefix=PREFIX, tags=["prometheus"])
    both = ["GET", "POST"]
    for path, methods, answer in (
        ("/query", both, api.query),
        ("/query_range", both, api.query_range),
        ("/query_exemplars", both, api.exemplars),
        ("/format_query", both, api.format_query),
        ("/parse_query", both, api.parse_query),
        ("/series", both, api.series),
        ("/labels", both, api.labels),
        ("/label/{name}/values", ["GET"], api.values),
        ("/metadata", ["GET"], api.metadata),
        ("/rules", ["GET"], api.rules),
        ("/alerts", ["GET"], api.alerts),
        ("/targets", ["GET"], api.targets),
        ("/alertmanagers", ["GET"], api.alertmanagers),
        ("/status/buildinfo", ["GET"], api.buildinfo),
        ("/status/runtimeinfo", ["GET"], api.runtimeinfo),
        ("/status/flags", ["GET"], api.flags),
        ("/status/config", ["GET"], api.config),
        ("/status/tsdb", ["GET"], api.tsdb),
    ):
        routes.add_api_route(
            path,
            _route(answer),
            methods=methods,
            name=path.strip("/"),
            response_model=None,
            dependencies=[requires("view")],
            summary=(answer.__doc__ or "").strip().split("\n")[0],
        )
    return routes


Parameters = dict[str, list[str]]


def _route(answer: Callable[[Parameters], str]) -> Callable[[Request], Any]:
    async def respond(request: Request) -> Response:
        try:
            body = await run_sync(answer, await _parameters(request))
            return Response(body, media_type="application/json")
        except OpsbookError as error:
            return _refused(error)

    return respond


async def _parameters(request: Request) -> Parameters:
    """Of the query, the form and the path, each with all its values."""
    found = parse_qs(request.url.query, keep_blank_values=True)
    if request.method == "POST":
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_FORM:
                raise Invalid("the form is too large", where="body")
        for name, values in parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True).items():
            found[name] = values + found.get(name, [])
    found.update({f"/{name}": [value] for name, value in request.path_params.items()})
    return found


def _refused(error: OpsbookError) -> Response:
    kind = error.details.get("errorType") or next(
        (kind for of, kind in _KINDS if isinstance(error, of)), "execution"
    )
    said = error.message if not error.hint else f"{error.message}; {error.hint}"
    if isinstance(error, Invalid) and error.where in ("time", "start", "end", "step", "timeout", "match[]"):
        said = f'invalid parameter "{error.where}": {said}'
    body = json.dumps({"status": "error", "errorType": kind, "error": said})
    return Response(body, status_code=_STATUS.get(kind, 422), media_type="application/json")


def _one(parameters: Parameters, name: str, default: str | None = None) -> str:
    values = parameters.get(name)
    if values and values[0] != "":
        return values[0]
    if default is None:
        raise Invalid(f'invalid parameter "{name}": it is missing or empty', where="query")
    return default


class _Answers:
    """What each route answers."""

    def __init__(
        self,
        queries: Queries,
        catalogue: Catalogue,
        clock: Clock,
        rules: RulesView | None,
        targets: Targets | None,
        retention: str,
    ) -> None:
        self._queries = queries
        self._catalogue = catalogue
        self._clock = clock
        self._rules = rules
        self._targets = targets
        self._retention = retention
        self._since = clock.now()

    def query(self, given: Parameters) -> str:
        """The value of an expression at one time."""
        at = moment(_one(given, "time", repr(self._clock.now())), where="time")
        expression = parse(_one(given, "query"))
        with _Executing():
            result = self._queries.instant(expression, at)
        return success(result_json(result), warnings=result.warnings, infos=result.infos)

    def query_range(self, given: Parameters) -> str:
        """The values of an expression over a stretch of time."""
        wanted = steps(_one(given, "start"), _one(given, "end"), _one(given, "step"))
        expression = parse(_one(given, "query"))
        if expression.kind not in ("scalar", "vector"):
            raise Invalid(
                f'invalid parameter "query": invalid expression type "{expression.kind}" for range query,'
                " must be Scalar or instant Vector"
            )
        with _Executing():
            result = self._queries.range(expression, wanted.start, wanted.end, wanted.step)
        return success(result_json(result), warnings=result.warnings, infos=result.infos)

    def exemplars(self, given: Parameters) -> str:
        """Exemplars of what an expression reads; none are kept."""
        parse(_one(given, "query"))
        return success("[]")

    def format_query(self, given: Parameters) -> str:
        """An expression, laid out."""
        return success(json.dumps(pretty(_one(given, "query"))))

    def parse_query(self, given: Parameters) -> str:
        """What an expression is and reads."""
        expression = parse(_one(given, "query"))
        read = [
            {"name": selector.name, "matchers": [str(matcher) for matcher in selector.matchers]}
            for selector in expression.selectors
        ]
        return success(json.dumps({"type": expression.kind, "selectors": read}))

    def series(self, given: Parameters) -> str:
        """The labels of series."""
        if not given.get("match[]"):
            raise Invalid("no match[] parameter provided")
        start, end = self._between(given)
        found = {
            tuple(sorted(labels.items())): labels
            for matchers in selectors(given["match[]"])
            for labels in self._catalogue.series(matchers, start, end)
        }
        return success(json.dumps([dict(found[key]) for key in sorted(found)[: _limit(given)]]))

    def labels(self, given: Parameters) -> str:
        """The names of labels."""
        start, end = self._between(given)
        found = {name for matchers in _matches(given) for name in self._catalogue.names(matchers, start, end)}
        return success(json.dumps(sorted(found)[: _limit(given)]))

    def values(self, given: Parameters) -> str:
        """The values of a label."""
        name = _unescaped(_one(given, "/name"))
        start, end = self._between(given)
        found = {
            value
            for matchers in _matches(given)
            for value in self._catalogue.label_values(name, matchers, start, end)
        }
        return success(json.dumps(sorted(found)[: _limit(given)]))

    def metadata(self, given: Parameters) -> str:
        """What targets say of metrics."""
        metric = _one(given, "metric", "") or None
        found = self._catalogue.metadata(metric)
        told = {
            name: [{"type": each.kind, "unit": each.unit, "help": each.help} for each in entries]
            for name, entries in list(found.items())[: _limit(given)]
        }
        return success(json.dumps(told))

    def rules(self, given: Parameters) -> str:
        """Groups of rules with their health."""
        told = {"groups": []} if self._rules is None else self._rules.rules_json()
        kind = {"alert": "alerting", "record": "recording"}.get(_one(given, "type", ""))
        names, groups, files = (
            set(given.get(f"{each}[]", [])) for each in ("rule_name", "rule_group", "file")
        )
        found = []
        for group in told["groups"]:
            if (groups and group["name"] not in groups) or (files and group["file"] not in files):
                continue
            rules = [
                rule
                for rule in group["rules"]
                if (kind is None or rule["type"] == kind) and (not names or rule["name"] in names)
            ]
            if rules or not (kind or names):
                found.append({**group, "rules": rules})
        return success(json.dumps({"groups": found}))

    def alerts(self, _: Parameters) -> str:
        """Pending and firing alerts."""
        return success(json.dumps({"alerts": []} if self._rules is None else self._rules.alerts_json()))

    def targets(self, given: Parameters) -> str:
        """What is scraped, and how it goes."""
        if self._targets is None or _one(given, "state", "any") == "dropped":
            active = []
        else:
            active = [_target(status) for status in self._targets.status()]
        return success(json.dumps({"activeTargets": active, "droppedTargets": []}))

    def alertmanagers(self, _: Parameters) -> str:
        """Who is told of alerts: opsbook itself."""
        return success(json.dumps({"activeAlertmanagers": [], "droppedAlertmanagers": []}))

    def buildinfo(self, _: Parameters) -> str:
        """The version of the API, and opsbook's own."""
        told = {
            "version": SPOKEN,
            "revision": f"opsbook-{__version__}",
            "branch": "opsbook",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        }
        return success(json.dumps(told))

    def runtimeinfo(self, _: Parameters) -> str:
        """How the server runs."""
        told = {
            "startTime": _iso(self._since),
            "serverTime": _iso(self._clock.now()),
            "storageRetention": self._retention,
            "reloadConfigSuccess": True,
        }
        return success(json.dumps(told))

    def flags(self, _: Parameters) -> str:
        """Flags: opsbook has none."""
        return success("{}")

    def config(self, _: Parameters) -> str:
        """The configuration: it is the handbook."""
        return success(json.dumps({"yaml": "# opsbook is configured by its handbook\n"}))

    def tsdb(self, _: Parameters) -> str:
        """How many series each metric and label has, the most first."""
        start, end = int(self._clock.now() * 1000) - 300_000, int(self._clock.now() * 1000)
        every = self._catalogue.series((Matcher("__name__", "!=", ""),), start, end)
        by_name: dict[str, int] = {}
        for labels in every:
            name = labels.get("__name__", "")
            by_name[name] = by_name.get(name, 0) + 1
        most = sorted(by_name.items(), key=lambda item: (-item[1], item[0]))[:10]
        told = {
            "headStats": {"numSeries": len(every)},
            "seriesCountByMetricName": [{"name": name, "value": count} for name, count in most],
        }
        return success(json.dumps(told))

    def _between(self, given: Parameters) -> tuple[int, int]:
        start, end = _one(given, "start", ""), _one(given, "end", "")
        return (
            moment(start, where="start") if start else _ALWAYS[0],
            moment(end, where="end") if end else _ALWAYS[1],
        )


class _Executing:
    """Marks what is refused while a query is answered: it was understood."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, OpsbookError) and not isinstance(error, Unreachable):
            error.details.setdefault("errorType", "execution")


def _matches(given: Parameters) -> list[tuple[Matcher, ...]]:
    return selectors(given["match[]"]) if given.get("match[]") else [()]


def _limit(given: Parameters) -> int | None:
    text = _one(given, "limit", "0")
    try:
        limit = int(text)
    except ValueError:
        raise Invalid(f'invalid parameter "limit": {text!r} is no number') from None
    return limit if limit > 0 else None


def _unescaped(name: str) -> str:
    """Clients write label names with other characters as ``U__...``: ``_2e_`` for a dot, ``__`` for ``_``."""
    if not name.startswith("U__"):
        return name
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else "_", name[3:])


def _target(status: Any) -> dict[str, Any]:
    own = {name: value for name, value in status.target.labels.items() if value}
    labels = {"job": status.target.kind, **own}
    url = status.target.url
    return {
        "discoveredLabels": labels,
        "labels": labels,
        "scrapePool": labels.get("job", status.target.kind),
        "scrapeUrl": url,
        "globalUrl": url,
        "lastError": status.problem,
        "lastScrape": _iso(status.at or 0.0),
        "lastScrapeDuration": status.seconds,
        "health": "unknown" if status.at is None else "up" if status.up else "down",
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
