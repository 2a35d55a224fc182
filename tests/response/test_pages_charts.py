"""Which stretch of time the chart of an incident shows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from opsbook.response.incidents.model import Incident, IncidentAlert
from opsbook.response.pages.incident import _chart
from opsbook.response.pages.source import Source

T = 1_763_700_000.0
ALERT = IncidentAlert("f1", {"alertname": "HighErrorRate"}, "", "", T)


def incident(**fields: Any) -> Incident:
    given = {
        "id": "inc-1", "title": "x", "slug": "x", "severity": "SEV2", "state": "active", "environment": "production",
        "started_at": T, "detected_at": T, "declared_at": T, "alerts": (ALERT,),
    }  # fmt: skip
    return Incident(**(given | fields))


def chart(found: Incident, now: float) -> dict[str, Any] | None:
    return _chart(cast("Source", SimpleNamespace(charts=True, now=lambda: now)), found)


@pytest.mark.parametrize(
    ("after", "span"), [(60, "1h"), (2 * 3600, "6h"), (10 * 3600, "24h"), (4 * 86_400, "7d")]
)
def test_of_one_that_goes_on_the_latest_is_shown(after: float, span: str) -> None:
    """Up to now, and far enough back for its beginning."""
    found = chart(incident(), T + after)
    assert found is not None
    assert (span, None) == (found["range"], found["around"])


@pytest.mark.parametrize(
    ("lasted", "now", "start", "end"),
    [(12, 86_400, 300, 312), (7200, 86_400, 3600, 10_800), (12, 60, 300, 60)],
    ids=["short", "long", "just over"],
)
def test_of_one_that_is_over_its_own_time_is_shown(
    lasted: float, now: float, start: float, end: float
) -> None:
    """From shortly before until shortly after, however long ago: a trouble of seconds is no needle in an hour."""
    over = incident(state="postmortem", resolved_at=T + lasted)
    found = chart(over, T + now)
    assert found is not None
    assert (T - start, T + end) == found["around"]


def test_without_an_alert_there_is_nothing_to_draw() -> None:
    """Somebody declared it; and a clock that was set back draws nothing empty."""
    assert chart(incident(alerts=()), T) is None
    found = chart(incident(state="resolved", resolved_at=T - 5), T)
    assert found is not None
    assert found["around"] is None
