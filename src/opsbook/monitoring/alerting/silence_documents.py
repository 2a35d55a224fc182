"""Silences as documents of the journal's state, and as the API gives and takes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from opsbook.book.windows import Weekly, Window
from opsbook.monitoring.alerting.model import Silence
from opsbook.promql.series import Matcher


def silence_to_json(silence: Silence) -> dict[str, Any]:
    """As `silence_from` reads it."""
    window = silence.window
    weekly = window.weekly if window else None
    return {
        "id": silence.id,
        "matchers": [
            {"label": one.label, "operator": one.operator, "value": one.value} for one in silence.matchers
        ],
        "starts_at": silence.starts_at,
        "ends_at": silence.ends_at,
        "weekly": None if weekly is None else weekly_to_json(weekly),
        "timezone": window.timezone if window else "UTC",
        "during": silence.during,
        "created_by": silence.created_by,
        "comment": silence.comment,
        "created_at": silence.created_at,
        "updated_at": silence.updated_at,
        "expired": silence.expired,
    }


def silence_from(document: Mapping[str, Any]) -> Silence:
    """A silence as `silence_to_json` wrote it."""
    weekly = document.get("weekly")
    window = None
    if weekly is not None:
        parsed = Weekly.model_validate({**weekly, "days": tuple(weekly["days"])})
        window = Window(weekly=parsed, timezone=document.get("timezone", "UTC"))
    return Silence(
        id=document["id"],
        matchers=tuple(Matcher(one["label"], one["operator"], one["value"]) for one in document["matchers"]),
        starts_at=float(document["starts_at"]),
        ends_at=document.get("ends_at"),
        window=window,
        during=document.get("during"),
        created_by=document.get("created_by", ""),
        comment=document.get("comment", ""),
        created_at=float(document.get("created_at", 0.0)),
        updated_at=float(document.get("updated_at", 0.0)),
        expired=bool(document.get("expired", False)),
    )


def weekly_to_json(weekly: Weekly) -> dict[str, Any]:
    """As the handbook writes it."""
    return {"days": list(weekly.days), "from": _clock(weekly.starts), "until": _clock(weekly.until)}


def _clock(time: timedelta) -> str:
    minutes = round(time.total_seconds() / 60)
    return f"{minutes // 60:02}:{minutes % 60:02}"
