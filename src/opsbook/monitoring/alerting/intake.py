"""Alerts and silences as Alertmanager's clients write and read them: API v2. Pure.

https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from opsbook.book.matchers import LabelMatcher, checked
from opsbook.errors import Invalid
from opsbook.monitoring.alerting.model import PUSHED, Alert, Silence
from opsbook.monitoring.alerting.room import AlertView
from opsbook.monitoring.alerting.silences import Wanted
from opsbook.monitoring.notifications.payload import rfc3339

FOR_EVER = 253370764800.0
"""The year 9999: how the end of what has none is written where there must be one."""

_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_LABELS, _LONGEST = 64, 8192


def moment_of(value: Any, *, where: str) -> float | None:
    """Epoch seconds of an RFC 3339 time; None for none, also as Go writes it (the year 1).

    Raises:
        Invalid: it is no time.
    """
    if value is None or value == "":
        return None
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise Invalid(f"{str(value)[:60]!r} is no time", hint="2026-11-21T06:28:18Z", where=where) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return None if moment.year == 1 else moment.timestamp()


def alerts_of(body: Any) -> list[Alert]:
    """The alerts of ``POST /api/v2/alerts``.

    Raises:
        Invalid: it is no list of alerts; then nothing of it is taken.
    """
    if not isinstance(body, list):
        raise Invalid("expected a list of alerts", where="alerts")
    return [_alert_of(one, f"alerts[{index}]") for index, one in enumerate(body)]


def _alert_of(one: Any, where: str) -> Alert:
    if not isinstance(one, Mapping):
        raise Invalid("expected an alert", where=where)
    labels = _texts(one.get("labels"), f"{where}.labels")
    if not labels:
        raise Invalid("at least one label pair required", where=where)
    starts_at = moment_of(one.get("startsAt"), where=f"{where}.startsAt")
    ends_at = moment_of(one.get("endsAt"), where=f"{where}.endsAt")
    if starts_at is not None and ends_at is not None and ends_at < starts_at:
        raise Invalid("start time must be before end time", where=where)
    url = one.get("generatorURL") or ""
    return Alert(
        labels=labels,
        annotations=_texts(one.get("annotations"), f"{where}.annotations"),
        starts_at=starts_at or 0.0,
        ends_at=ends_at,
        generator_url=url[:_LONGEST] if isinstance(url, str) else "",
        source=PUSHED,
    )


def _texts(value: Any, where: str) -> dict[str, str]:
    """Labels or annotations; empty ones are as good as none, as in Prometheus."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or len(value) > _MOST_LABELS:
        raise Invalid(f"expected names and texts, at most {_MOST_LABELS}", where=where)
    found = {}
    for name, text in value.items():
        if not _LABEL.fullmatch(name) or len(name) > 256:
            raise Invalid(f"{name[:60]!r} is no name", where=where)
        if not isinstance(text, str):
            raise Invalid("expected text", where=f"{where}.{name}")
        if text:
            found[name] = text[:_LONGEST].encode("utf-8", "replace").decode()
    return found


def alert_to_json(view: AlertView, *, now: float, resolve_timeout: float) -> dict[str, Any]:
    """A ``gettableAlert``."""
    alert = view.alert
    silenced = [one.by for one in view.suppressions if one.kind == "silence"]
    inhibited = [one.by or one.why for one in view.suppressions if one.kind != "silence"]
    return {
        "annotations": dict(alert.annotations),
        "endsAt": rfc3339(alert.ends_at if alert.ends_at is not None else now + resolve_timeout),
        "fingerprint": alert.fingerprint,
        "receivers": [{"name": channel} for channel in view.channels],
        "startsAt": rfc3339(alert.starts_at),
        "status": {
            "inhibitedBy": inhibited,
            "silencedBy": silenced,
            "state": "suppressed" if silenced or inhibited else "active",
        },
        "updatedAt": rfc3339(view.updated_at),
        "generatorURL": alert.generator_url,
        "labels": dict(alert.labels),
    }


def wanted_of(body: Any) -> Wanted:
    """The silence of ``POST /api/v2/silences``.

    Raises:
        Invalid: it is none.
    """
    if not isinstance(body, Mapping):
        raise Invalid("expected a silence", where="silence")
    for key in ("comment", "createdBy", "endsAt", "matchers", "startsAt"):
        if body.get(key) in (None, "", []):
            raise Invalid(f"{key} in body is required", where="silence")
    starts_at = moment_of(body["startsAt"], where="startsAt")
    ends_at = moment_of(body["endsAt"], where="endsAt")
    matchers = body["matchers"]
    if not isinstance(matchers, list) or starts_at is None or ends_at is None:
        raise Invalid("expected matchers, startsAt and endsAt", where="silence")
    return Wanted(
        matchers=tuple(_matcher_of(one) for one in matchers),
        starts_at=starts_at,
        ends_at=None if ends_at >= FOR_EVER else ends_at,
        comment=_text(body["comment"], "comment"),
        created_by=_text(body["createdBy"], "createdBy"),
        id=_text(body.get("id") or "", "id"),
    )


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise Invalid("expected text", where=where)
    return value[:_LONGEST].encode("utf-8", "replace").decode()


def _matcher_of(one: Any) -> LabelMatcher:
    if (
        not isinstance(one, Mapping)
        or not isinstance(one.get("name"), str)
        or not _LABEL.fullmatch(one["name"])
    ):
        raise Invalid("expected a matcher with the name of a label", where="matchers")
    equal = one.get("isEqual", True) is not False
    operator = ("=~" if equal else "!~") if one.get("isRegex") else ("=" if equal else "!=")
    return checked(LabelMatcher(one["name"], operator, _text(one.get("value", ""), "matchers")))  # type: ignore[arg-type]


def silence_state(silence: Silence, now: float) -> str:
    """``active``, ``pending`` or ``expired``."""
    if silence.expired or (silence.ends_at is not None and now >= silence.ends_at):
        return "expired"
    if now < silence.starts_at or (silence.window is not None and not silence.window.active(now)):
        return "pending"
    return "active"


def current_times(silence: Silence, now: float) -> tuple[float, float | None]:
    """From when until when it holds now, or will the next time."""
    starts_at, ends_at = silence.starts_at, silence.ends_at
    if silence.window is None or silence_state(silence, now) == "expired":
        return starts_at, ends_at
    if silence.window.active(now):
        change = silence.window.next_change(now)
        return starts_at, _earlier(change, ends_at)
    begins = silence.window.next_change(max(now, starts_at))
    if begins is None:
        return starts_at, ends_at
    return begins, _earlier(silence.window.next_change(begins), ends_at)


def _earlier(one: float | None, other: float | None) -> float | None:
    return min((at for at in (one, other) if at is not None), default=None)


def silence_to_am(silence: Silence, now: float) -> dict[str, Any]:
    """A ``gettableSilence``; of one that comes again, the time it holds now or next."""
    starts_at, ends_at = current_times(silence, now)
    return {
        "id": silence.id,
        "status": {"state": silence_state(silence, now)},
        "updatedAt": rfc3339(silence.updated_at),
        "comment": silence.comment,
        "createdBy": silence.created_by,
        "startsAt": rfc3339(starts_at),
        "endsAt": rfc3339(FOR_EVER if ends_at is None else ends_at),
        "matchers": [
            {
                "isEqual": one.operator in ("=", "=~"),
                "isRegex": one.operator in ("=~", "!~"),
                "name": one.label,
                "value": one.value,
            }
            for one in silence.matchers
        ],
    }


def fits_silence(silence: Silence, filters: Sequence[LabelMatcher]) -> bool:
    """Whether a silence is about what the filter names, as Alertmanager compares them."""
    about = {one.label: one.value for one in silence.matchers}
    return all(
        (about.get(wanted.label) == wanted.value) is (wanted.operator == "=")
        if wanted.operator in ("=", "!=")
        else wanted.label in about
        for wanted in filters
    )
