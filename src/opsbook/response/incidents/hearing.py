"""Alerts that come in, one after the other, upon all incidents: which one each belongs to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from opsbook.response.incidents import people, plan
from opsbook.response.incidents.model import Incident, IncidentAlert
from opsbook.response.incidents.plan import Changed, Heard, Note, Rules
from opsbook.response.incidents.text import place_of


@dataclass(frozen=True, slots=True)
class Masked:
    """An alert without secret values; still the same one."""

    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: float
    ends_at: float | None
    actions: tuple[Any, ...] = ()

    @classmethod
    def of(cls, heard: Heard, mask: Callable[[str], str]) -> Masked:
        return cls(
            heard.fingerprint,
            {name: mask(str(text)) for name, text in heard.labels.items()},
            {name: mask(str(text)) for name, text in heard.annotations.items()},
            heard.starts_at,
            heard.ends_at,
            tuple(getattr(heard, "actions", ())),
        )


class Overlay:
    """What becomes of all incidents while alerts come in; `changes` are what is to be written.

    Args:
        known: the incidents before. number: of the next one.
        open_: those that are not over; having: the ids of those that have had an alert, by its fingerprint. With them
            thousands that are long over need not be looked at.
    """

    def __init__(
        self,
        known: Mapping[str, Incident],
        rules: Rules,
        now: float,
        number: int,
        *,
        open_: Iterable[Incident],
        having: Callable[[str], Iterable[str]],
    ) -> None:
        self._known = known
        self._incidents: dict[str, Incident] = {one.id: one for one in open_}  # and those that changed
        self._having = having
        self._rules = rules
        self._now = now
        self._number = number
        self._notes: dict[str, list[Note]] = {}
        self._touched: dict[str, None] = {}
        self._moved: set[str] = set()

    def fires(self, heard: Heard) -> None:
        """One that fires: it is known, joins an incident, opens one again, or opens a new one."""
        alert = plan.alert_of(heard, self._now)
        over = self._over(alert)
        if over is not None and any(
            one.fingerprint == alert.fingerprint and one.firing and one.started_at == alert.started_at
            for one in over.alerts
        ):
            return  # a person has said that it is over, and this is the alert they knew of
        found = self._open(alert)
        if found is not None:
            incident, why = found
            changed = plan.joined(incident, alert, heard, why, self._rules, self._now)
            if changed.notes:
                self._take(changed, moved=changed.incident.services != incident.services)
        elif over is not None and self._soon(over):
            self._again(over, alert, heard)
        else:
            self._take(plan.opened(self._number, alert, heard, self._rules, self._now))
            self._number += 1

    def _again(self, over: Incident, alert: IncidentAlert, heard: Heard) -> None:
        """What comes back so soon was not over."""
        back = people.reopened(over, f"{alert.name or 'an alert'} fires again", self._rules, self._now)
        # Its alerts that were not heard to end when a person resolved it are of the past.
        ended = tuple(
            IncidentAlert(
                one.fingerprint, one.labels, one.summary, one.runbook, one.started_at,
                max(one.started_at, over.resolved_at or self._now),
            ) if one.firing and one.fingerprint == alert.fingerprint else one
            for one in back.incident.alerts
        )  # fmt: skip
        back = Changed(back.incident.but(alerts=ended), back.notes)
        again = plan.joined(back.incident, alert, heard, "it fires again", self._rules, self._now)
        self._take(Changed(again.incident, (*back.notes, *again.notes)))

    def ends(self, heard: Heard) -> None:
        """One that fires no more, wherever it belongs."""
        for incident in self._which_had(heard.fingerprint):
            if incident.state == "merged":
                continue
            at = self._now if heard.ends_at is None else heard.ends_at
            changed = plan.ended(incident, heard.fingerprint, at, self._now)
            if changed.notes:
                self._take(changed, moved=False)

    def changes(self) -> list[Changed]:
        """Each incident that changed, as it is now, with all that happened to it."""
        return [Changed(self._incidents[name], tuple(self._notes[name])) for name in self._touched]

    def moved(self, changed: Changed) -> bool:
        """Whether it began, or is of more services: then what may be behind it is looked for anew."""
        return changed.incident.id in self._moved

    def _take(self, changed: Changed, *, moved: bool = True) -> None:
        name = changed.incident.id
        self._incidents[name] = changed.incident
        self._notes.setdefault(name, []).extend(changed.notes)
        self._touched[name] = None
        if moved:
            self._moved.add(name)

    def _open(self, alert: IncidentAlert) -> tuple[Incident, str] | None:
        """The open incident that it belongs to: the one that has it, else of the same service, else the oldest."""
        service = place_of(alert.labels.get("service", ""))
        found = [
            (one, why)
            for one in self._incidents.values()
            if one.open and (why := plan.joins(one, alert, self._rules, self._now))
        ]
        return min(
            found,
            key=lambda pair: (
                all(one.fingerprint != alert.fingerprint for one in pair[0].alerts),
                not service or service not in pair[0].services,
                pair[0].number,
            ),
            default=None,
        )

    def _over(self, alert: IncidentAlert) -> Incident | None:
        """The newest incident that had it and is over."""
        found = [
            one
            for one in self._which_had(alert.fingerprint)
            if not one.open
            and one.state != "merged"
            and any(known.fingerprint == alert.fingerprint for known in one.alerts)
        ]
        return max(found, key=lambda one: one.number, default=None)

    def _which_had(self, fingerprint: str) -> list[Incident]:
        """As they came: those that may have an alert, and all that are open or have changed meanwhile."""
        others = {name: self._known[name] for name in self._having(fingerprint)}
        return sorted({**others, **self._incidents}.values(), key=lambda one: one.number)

    def _soon(self, over: Incident) -> bool:
        ended = over.resolved_at if over.resolved_at is not None else over.declared_at
        return self._now - ended <= self._rules.join_within
