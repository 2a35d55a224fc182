"""Routes of alerting: what becomes of alerts, silences, channels. ``/api/monitoring/{alerting,silences,channels}``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from opsbook.book import Book
from opsbook.book.matchers import LabelMatcher, matcher_of
from opsbook.book.moments import Timezone
from opsbook.book.windows import Weekly
from opsbook.errors import Invalid
from opsbook.journal import Journal
from opsbook.monitoring.alerting.intake import current_times, silence_state
from opsbook.monitoring.alerting.model import Silence
from opsbook.monitoring.alerting.room import Alerting, AlertView
from opsbook.monitoring.alerting.silence_documents import weekly_to_json
from opsbook.monitoring.alerting.silences import Wanted
from opsbook.security.api import Visible, Who, requires, requires_somewhere
from opsbook.security.plan import sees
from opsbook.world.words import Clock

_MOST = 500  # notifications that are listed


class Asked(BaseModel):
    """What a silence is about."""

    model_config = ConfigDict(extra="forbid")

    matchers: list[str] = Field(min_length=1, description='such as service="web"')

    def parsed(self) -> tuple[LabelMatcher, ...]:
        return tuple(matcher_of(one) for one in self.matchers)


class AskedSilence(Asked):
    """A silence as somebody asks for it. Times are epoch seconds."""

    comment: str
    starts_at: float | None = Field(None, description="left out: now")
    ends_at: float | None = Field(
        None, description="left out only with weekly or during: until it is expired"
    )
    weekly: dict[str, Any] | None = Field(
        None, description='{"days": ["sun"], "from": "02:00", "until": "04:00"}'
    )
    timezone: Timezone = "UTC"
    during: Literal["deployment", "maintenance"] | None = None
    id: str = Field("", description="of the one that is changed")


def router(alerting: Alerting, book: Callable[[], Book], journal: Journal, clock: Clock) -> APIRouter:
    """See the module."""
    routes = APIRouter(prefix="/api/monitoring", tags=["alerting"])

    @routes.get("/alerting", dependencies=[requires_somewhere("view")])
    def alerts(environments: Visible) -> dict[str, Any]:
        """Every alert that is known, where it goes, who was told, and why not."""
        return {
            "alerts": [view_to_json(one) for one in alerting.alerts() if _visible(one, environments)],
            "trouble": alerting.trouble,
        }

    _silence_routes(routes, alerting, clock)
    _channel_routes(routes, alerting, journal)
    return routes


def _silence_routes(routes: APIRouter, alerting: Alerting, clock: Clock) -> None:
    @routes.get("/silences", dependencies=[requires_somewhere("view")])
    def silences() -> dict[str, Any]:
        """The handbook's, and those that people added; what is over lately too."""
        now = clock.now()
        return {
            "silences": [silence_to_json(one, now) for one in alerting.silences()],
            "maintenance": [
                {"name": name, "comment": comment, "open": is_open, "changes_at": change}
                for name, comment, is_open, change in alerting.maintenance()
            ],
        }

    @routes.post("/silences/preview", dependencies=[requires_somewhere("view")])
    def preview(asked: Asked, environments: Visible) -> dict[str, Any]:
        """What a silence would hide now."""
        found = alerting.hidden_by(asked.parsed())
        return {"alerts": [view_to_json(one) for one in found if _visible(one, environments)]}

    @routes.post("/silences", dependencies=[requires("silence")])
    def silence(asked: AskedSilence, who: Who) -> dict[str, Any]:
        """Silence alerts."""
        wanted = Wanted(
            matchers=asked.parsed(),
            starts_at=clock.now() if asked.starts_at is None else asked.starts_at,
            ends_at=asked.ends_at,
            comment=asked.comment,
            created_by=who.actor,
            weekly=None if asked.weekly is None else _weekly(asked.weekly),
            timezone=asked.timezone,
            during=asked.during,
            id=asked.id,
        )
        made = alerting.silence(wanted, actor=who.actor)
        hidden = alerting.hidden_by(wanted.matchers)
        return {"silence": silence_to_json(made, clock.now()), "hides": [view_to_json(one) for one in hidden]}

    @routes.delete("/silences/{name}", dependencies=[requires("silence")])
    def expire(name: str, who: Who) -> dict[str, Any]:
        """End a silence now."""
        alerting.expire(name, actor=who.actor)
        return {"id": name}


def _channel_routes(routes: APIRouter, alerting: Alerting, journal: Journal) -> None:
    @routes.get("/channels", dependencies=[requires_somewhere("view")])
    def channels() -> dict[str, Any]:
        """Where messages go, and how it goes there."""
        return {
            "channels": [
                {
                    "name": name,
                    "kind": kind,
                    "waiting": state.waiting,
                    "oldest": state.oldest,
                    "sent": state.sent,
                    "last_sent_at": state.last_sent_at,
                    "error": state.error,
                    "quiet": quiet,
                }
                for name, (kind, state, quiet) in alerting.channels().items()
            ]
        }

    @routes.post("/channels/{name}/test", dependencies=[requires("silence")])
    def test(name: str, who: Who) -> dict[str, Any]:
        """Send a real message; what the channel answered."""
        return {"channel": name, "answer": alerting.test(name, actor=who.actor)}

    @routes.get("/notifications", dependencies=[requires("view")])
    def notifications(limit: int = 50) -> dict[str, Any]:
        """The last messages, newest first."""
        found = journal.events(kinds=["notification.*"], newest=True, limit=max(1, min(limit, _MOST)))
        return {
            "notifications": [{"at": event.at, "kind": event.kind, **dict(event.data)} for event in found]
        }


def _visible(view: AlertView, environments: frozenset[str] | None) -> bool:
    return sees(environments, view.alert.labels.get("environment", ""))


def view_to_json(view: AlertView) -> dict[str, Any]:
    """An alert as the API tells it."""
    alert = view.alert
    return {
        "fingerprint": alert.fingerprint,
        "name": alert.name,
        "severity": alert.severity,
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "state": view.state,
        "starts_at": alert.starts_at,
        "ends_at": alert.ends_at,
        "source": alert.source,
        "channels": list(view.channels),
        "told": list(view.told),
        "suppressed_by": [
            {"kind": one.kind, "by": one.by, "why": one.why, "until": one.until} for one in view.suppressions
        ],
    }


def silence_to_json(silence: Silence, now: float) -> dict[str, Any]:
    """A silence as the API tells it."""
    starts_at, ends_at = current_times(silence, now)
    window = silence.window
    weekly = window.weekly if window else None
    return {
        "id": silence.id,
        "state": silence_state(silence, now),
        "matchers": [str(one) for one in silence.matchers],
        "comment": silence.comment,
        "created_by": silence.created_by,
        "starts_at": starts_at,
        "ends_at": ends_at,
        "expires_at": silence.ends_at,
        "weekly": None if weekly is None else weekly_to_json(weekly),
        "timezone": window.timezone if window else None,
        "during": silence.during,
        "written": silence.written,
    }


def _weekly(given: dict[str, Any]) -> Weekly:
    if isinstance(given.get("days"), list):
        given = {**given, "days": tuple(given["days"])}
    try:
        return Weekly.model_validate(given)
    except ValidationError as error:
        said = error.errors()[0]
        where = ".".join(str(part) for part in said["loc"])
        raise Invalid(f"weekly: {where}: {said['msg']}", hint='{"days": ["sun"], "from": "02:00"}') from None
