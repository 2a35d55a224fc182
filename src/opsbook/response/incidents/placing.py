"""Where the alerts of an incident are kept: each in a document of its own, whose keys sort as the alerts came.

An incident of hundreds of alerts that flap would else be written whole with each of their changes. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from opsbook.response.incidents.model import Incident, IncidentAlert

ALERTS: Final = "incidents/alert/"
Placed = Mapping[str, tuple[int, IncidentAlert]]
"""The alerts of an incident by their fingerprints, each with its place."""


def placed(before: Placed, alerts: Iterable[IncidentAlert]) -> Placed:
    """The alerts as they are now: each where it was, unless it comes behind one that has a later place."""
    highest = max((place for place, _ in before.values()), default=0)
    found: dict[str, tuple[int, IncidentAlert]] = {}
    last = 0
    for alert in alerts:
        known = before.get(alert.fingerprint)
        if known is not None and known[0] > last:
            last = known[0]
            found[alert.fingerprint] = known if known[1] is alert else (last, alert)
        else:
            highest = last = highest + 1
            found[alert.fingerprint] = (last, alert)
    return found


def changes(number: int, before: Placed, after: Placed) -> dict[str, Any]:
    """What is to be written of the alerts of an incident; None where one is no longer."""
    stay = {place for place, _ in after.values()}
    put: dict[str, Any] = {key_of(number, place): None for place, _ in before.values() if place not in stay}
    for fingerprint, (place, alert) in after.items():
        known = before.get(fingerprint)
        if known is None or known[0] != place or (known[1] is not alert and known[1] != alert):
            put[key_of(number, place)] = alert.to_json()
    return put


def key_of(number: int, place: int) -> str:
    return f"{ALERTS}{number:010d}/{place:08d}"


def read(documents: Mapping[str, Any]) -> dict[int, dict[str, tuple[int, IncidentAlert]]]:
    """The alerts of each incident, by its number, from their documents in the order of the keys."""
    found: dict[int, dict[str, tuple[int, IncidentAlert]]] = {}
    for key, document in documents.items():
        number, _, place = key.removeprefix(ALERTS).partition("/")
        alert = IncidentAlert.from_json(document)
        found.setdefault(int(number), {})[alert.fingerprint] = (int(place), alert)
    return found


def with_alerts(incident: Incident, apart: Placed) -> Incident:
    """An incident with its alerts; one of an earlier version has them in its own document."""
    return incident.but(alerts=tuple(alert for _, alert in apart.values())) if apart else incident
