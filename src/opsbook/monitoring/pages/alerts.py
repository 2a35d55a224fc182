"""``/alerts``: what fires, what is about to, what is kept quiet, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from opsbook.book.matchers import LabelMatcher
from opsbook.errors import NotAllowed, NotFound
from opsbook.journal import Event
from opsbook.monitoring.alerting.intake import current_times, silence_state
from opsbook.monitoring.alerting.model import Silence
from opsbook.monitoring.dashboards.marks import marks
from opsbook.monitoring.dashboards.model import Panel, Query
from opsbook.monitoring.dashboards.span import span_of
from opsbook.monitoring.pages.figures import figure, length, table_of
from opsbook.monitoring.pages.reasons import COMPARED, Reason, reason_of
from opsbook.monitoring.pages.source import Shell, Source
from opsbook.monitoring.pages.spans import spans_of
from opsbook.monitoring.pages.spells import KINDS, remembered, spells
from opsbook.monitoring.pages.states import STATES, Filter, Shown, of_view, shown_alerts
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.plan import may, may_somewhere, visible

HISTORY = 20
MOST_EVENTS = 2000  # of which the history of one alert is picked
TABLE_WIDTH = 50
SPAN = "1h"


def router(source: Source, shell: Shell, route_class: type[APIRoute]) -> APIRouter:
    """The pages under ``/alerts``."""
    routes = APIRouter(prefix="/alerts", include_in_schema=False, route_class=route_class)

    @routes.get("")
    def listed(
        request: Request, state: str = "", text: str = "", environment: str = "", severity: str = ""
    ) -> Response:
        identity = signed_in(request)
        decision = may_somewhere(identity, "view")
        if not decision.allowed:
            raise NotAllowed(decision.why)
        wanted = Filter(state if state in STATES else "", text, environment, severity)
        return shell.page(
            request, "monitoring/alerts.html", lambda: _listed(source, identity, wanted), topics=("alerts",)
        )

    @routes.get("/{fingerprint}")
    def one(request: Request, fingerprint: str) -> Response:
        identity = signed_in(request)
        find(source, identity, fingerprint)
        return shell.page(
            request,
            "monitoring/alert.html",
            lambda: _one(source, identity, request, fingerprint),
            topics=("alerts",),
        )

    @routes.get("/{fingerprint}/points")
    def points(request: Request, fingerprint: str, width: int = 600) -> dict[str, Any]:
        """What its condition compares, over time: as charts have it."""
        alert = find(source, signed_in(request), fingerprint)
        span = _span(source, request.query_params)
        chart = source.dashboards.plotted(
            panel_of(alert, reason_of(alert.expression)), span, width=width, only=alert.labels
        )
        return chart.to_json()

    @routes.get("/{fingerprint}/marks")
    def fired(request: Request, fingerprint: str) -> dict[str, Any]:
        """When it fired."""
        alert = find(source, signed_in(request), fingerprint)
        span = _span(source, request.query_params)
        events = reversed(_events(source, fingerprint))
        found = marks(events, (), span.start, span.end)
        return {
            "marks": [
                {"at": mark.at, "until": mark.until, "state": mark.state, "text": alert.name, "href": ""}
                for mark in found
            ]
        }

    return routes


def _span(source: Source, query: Mapping[str, str]) -> Any:
    return span_of(
        source.dashboards.now(), query.get("range", SPAN), query.get("from", ""), query.get("to", "")
    )


def all_alerts(source: Source, identity: Identity) -> tuple[Shown, ...]:
    """Those that whoever is asking may know of, the worst first."""
    mine = visible(identity)
    found = shown_alerts(source.rules.alerts(visible=mine), source.alerting.alerts())
    return tuple(one for one in found if mine is None or one.environment in mine)


def find(source: Source, identity: Identity, fingerprint: str) -> Shown:
    """One alert, also one that has ended. Raises NotFound."""
    for one in all_alerts(source, identity):
        if one.fingerprint == fingerprint:
            return one
    mine = visible(identity)
    found: Shown | None = None
    if events := _events(source, fingerprint):
        found = remembered(events[0])
    elif (view := source.alerting.alert(fingerprint)) is not None:
        found = of_view(view)
    if found is None or not (mine is None or found.environment in mine):
        raise NotFound("there is no such alert", hint="opsbook alerts", where=fingerprint)
    return found


def _events(source: Source, fingerprint: str) -> list[Event]:
    """The newest first."""
    found = source.journal.events(kinds=KINDS, newest=True, limit=MOST_EVENTS)
    return [event for event in found if event.data.get("fingerprint") == fingerprint]


def panel_of(alert: Shown, reason: Reason) -> Panel:
    """The chart of what its condition compares."""
    return Panel(
        id="why",
        title=alert.name,
        unit=reason.unit,
        queries=(Query(reason.measured),),
        limit=reason.threshold,
    )


# --- the list


def _listed(source: Source, identity: Identity, wanted: Filter) -> dict[str, Any]:
    mine, now = visible(identity), source.now()
    every = [one for one in all_alerts(source, identity) if wanted.fits(one)]
    counted: dict[str, int] = {state: sum(1 for one in every if one.state == state) for state in STATES}
    alerts = [one for one in every if wanted.state in ("", one.state)]
    events = source.journal.events(kinds=KINDS, newest=True, limit=HISTORY * 8)
    silences = [_silence(one, now) for one in source.alerting.silences()]
    silences.sort(
        key=lambda one: (("active", "pending", "expired").index(one["state"]), one["ends_at"] or 1e12)
    )
    return {
        "title": "Alerts",
        "alerts": [
            {"alert": one, "value": value_of(one), "href": f"/alerts/{one.fingerprint}"} for one in alerts
        ],
        "wanted": wanted,
        "counted": counted,
        "tabs": [_tab(wanted, state, counted) for state in ("", *STATES)],
        "headline": _headline(every),
        "environments": [name for name in source.book().environments if mine is None or name in mine],
        "history": [one for one in spells(source.about(events, mine)) if one.until is not None][:HISTORY],
        "silences": [one for one in silences if one["state"] != "expired"],
        "maintenance": [
            {"name": name, "comment": comment, "open": is_open, "changes_at": change}
            for name, comment, is_open, change in source.alerting.maintenance()
        ],
        "silencing": may(identity, "silence"),
    }


def _tab(wanted: Filter, state: str, counted: Mapping[str, int]) -> dict[str, Any]:
    asked = {
        "state": state,
        "text": wanted.text,
        "environment": wanted.environment,
        "severity": wanted.severity,
    }
    query = urlencode({name: value for name, value in asked.items() if value})
    return {
        "name": state or "all",
        "count": counted[state] if state else sum(counted.values()),
        "href": f"/alerts?{query}" if query else "/alerts",
        "chosen": wanted.state == state,
    }


def headline(firing: Sequence[Shown]) -> str:
    """One sentence about what fires; there is something."""
    said = firing[0].sentence
    text = said if len(firing) == 1 else f"{len(firing)} alerts fire: {said}"
    return text if text.endswith(".") else f"{text}."


def _headline(alerts: list[Shown]) -> dict[str, str]:
    firing = [one for one in alerts if one.state == "firing"]
    if not firing:
        pending = sum(1 for one in alerts if one.state == "pending")
        more = (
            f"{pending} {'is' if pending == 1 else 'are'} about to"
            if pending
            else "Nothing is about to either."
        )
        return {"state": "ok", "text": "No alert fires.", "more": more}
    worst, text = firing[0], headline(firing)
    quiet = sum(1 for one in alerts if one.state in ("silenced", "inhibited"))
    more = f"{quiet} more {'is' if quiet == 1 else 'are'} kept quiet" if quiet else ""
    return {"state": worst.condition.state, "text": text, "more": more}


def _silence(silence: Silence, now: float) -> dict[str, Any]:
    starts_at, ends_at = current_times(silence, now)
    return {
        "id": silence.id,
        "state": silence_state(silence, now),
        "matchers": [str(LabelMatcher(one.label, one.operator, one.value)) for one in silence.matchers],
        "comment": silence.comment,
        "by": silence.created_by,
        "starts_at": starts_at,
        "ends_at": ends_at,
        "during": silence.during,
        "weekly": silence.window is not None,
        "written": silence.written,
    }


def value_of(alert: Shown) -> str:
    """What was found, with its unit."""
    return figure(alert.value, reason_of(alert.expression).unit if alert.expression else "count")


# --- one of them


def _one(source: Source, identity: Identity, request: Request, fingerprint: str) -> dict[str, Any]:
    alert = find(source, identity, fingerprint)
    reason = reason_of(alert.expression) if alert.expression else None
    events = _events(source, fingerprint)
    spans = spans_of(source.dashboards.now(), f"/alerts/{fingerprint}", request.query_params, default=SPAN)
    table = None
    if spans.tabled and reason is not None:
        panel = panel_of(alert, reason)
        found = source.dashboards.plotted(panel, spans.span, width=TABLE_WIDTH, only=alert.labels)
        table = table_of(found)
    placed = bool(alert.service) and alert.service in source.book().placed.get(alert.environment, {})
    return {
        "title": alert.name,
        "alert": alert,
        "reason": reason,
        "value": figure(alert.value, reason.unit) if reason is not None else figure(alert.value),
        "threshold": figure(reason.threshold, reason.unit) if reason and reason.threshold is not None else "",
        "held": length(alert.held_for),
        "compared": COMPARED.get(reason.operator, "") if reason is not None else "",
        "spans": spans,
        "table": table,
        "spells": spells(events)[:HISTORY],
        "silence_href": f"/silences/new?{urlencode({'matchers': _own_matchers(alert)})}",
        "silencing": may(identity, "silence"),
        "explore_href": f"/explore?{urlencode({'expr': reason.measured})}" if reason is not None else "",
        "may_explore": may(identity, "view").allowed,
        "service_href": f"/environments/{alert.environment}/{alert.service}" if placed else "",
        "runbook_href": _runbook(source, alert.runbook),
        "dashboard_href": f"/dashboards/services/{alert.environment}/{alert.service}" if placed else "",
    }


def _runbook(source: Source, name: str) -> str:
    """Where it is read: a page of the handbook, or elsewhere."""
    if name.startswith(("https://", "http://")):
        return name
    return f"/handbook/runbooks/{name}.md" if name in source.book().runbooks else ""


def _own_matchers(alert: Shown) -> str:
    """Matchers that mean this alert, and as few labels as can be."""
    keep = ("alertname", "environment", "service", "host", "probe", "slo")
    labels = [(name, alert.labels[name]) for name in keep if alert.labels.get(name)]
    if len(labels) < 2:
        labels = sorted(alert.labels.items())
    return "\n".join(str(LabelMatcher(name, "=", value)) for name, value in labels)
