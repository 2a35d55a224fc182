"""Why an alert that fires is not told: silences, inhibition, and causes before symptoms. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from opsbook.book import Book
from opsbook.book.notifications import MaintenanceSpec, NotificationsFile
from opsbook.monitoring.alerting.causes import Causes, Place, causes_of
from opsbook.monitoring.alerting.model import Inhibition, Record, Silence, Suppression
from opsbook.monitoring.alerting.routing import matchers_from


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a handbook says about not telling.

    Args:
        causes: by service, all whose alerts may be behind its own; see `causes_of`.
        cause_wait: how long an alert of a service waits for one of what it depends on; also how long it waits after
            that one's end, so that what recovers may do so.
    """

    inhibitions: tuple[Inhibition, ...] = ()
    silences: tuple[Silence, ...] = ()
    maintenance: tuple[MaintenanceSpec, ...] = ()
    causes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    cause_wait: float = 5.0


def rules_from(book: Book) -> Rules:
    """The rules of a handbook."""
    said = book.notifications
    return Rules(
        inhibitions=tuple(
            Inhibition(
                name=f"inhibit[{index}]",
                source=matchers_from(one.source),
                target=matchers_from(one.target),
                equal=one.equal,
            )
            for index, one in enumerate(said.inhibit)
        ),
        silences=tuple(_written(said)),
        maintenance=said.maintenance,
        causes=causes_of(book) if said.dependencies else {},
        cause_wait=said.cause_wait,
    )


def _written(said: NotificationsFile) -> Iterator[Silence]:
    for one in said.silences:
        yield Silence(
            id=f"book:{one.name}",
            matchers=matchers_from(one.match),
            starts_at=0.0,
            window=one.window,
            during=one.during,
            created_by="handbook",
            comment=one.comment,
            written=True,
        )


def holds(
    silence: Silence,
    labels: Mapping[str, str],
    *,
    now: float,
    deploying: Collection[Place],
    maintenance: Sequence[MaintenanceSpec],
) -> bool:
    """Whether `silence` holds for an alert with these labels at this moment, its matchers left aside.

    Args:
        deploying: the services that are being deployed.
        maintenance: the windows that are open now.
    """
    if now < silence.starts_at or (silence.ends_at is not None and now >= silence.ends_at):
        return False
    if silence.window is not None and not silence.window.active(now):
        return False
    if silence.during == "deployment":
        return (labels.get("environment", ""), labels.get("service", "")) in deploying
    if silence.during == "maintenance":
        return any(window.covers(labels) for window in maintenance)
    return True


class Situation:
    """All that fires at one moment, and for each of it why it is not told.

    Args:
        records: every alert that is known; those that ended lately too.
        silences: those that people added.
        suspects: the labels of alerts that are pending.
        deploying: what is being deployed.
    """

    def __init__(
        self,
        rules: Rules,
        records: Iterable[Record],
        *,
        silences: Sequence[Silence] = (),
        suspects: Sequence[Mapping[str, str]] = (),
        deploying: Collection[Place] = (),
        now: float,
    ) -> None:
        self._rules = rules
        self._now = now
        self._deploying = deploying
        self._open = tuple(one for one in rules.maintenance if one.window.active(now))
        every = (*rules.silences, *silences)
        self._silences = [one for one in every if _may_hold(one, now)]
        self._sources = [(one, self._sources_of(one, records)) for one in rules.inhibitions]
        self._causes = (
            Causes(rules.causes, rules.cause_wait, records, suspects, now) if rules.causes else None
        )

    def suppressions(self, record: Record) -> tuple[Suppression, ...]:
        """Why this one, which fires, is not told; empty: it is told."""
        labels = record.alert.labels
        found: list[Suppression] = []
        if self._silences or self._open:
            found += self._silenced(labels)
        if self._sources:
            found += self._inhibited(record)
        if self._causes is not None:
            found += self._causes.behind(record)
        return tuple(found)

    def _silenced(self, labels: Mapping[str, str]) -> Iterator[Suppression]:
        for window in self._open:
            if window.covers(labels):
                until = window.window.next_change(self._now)
                yield Suppression(
                    "silence", f"maintenance:{window.name}", f"maintenance: {window.comment}", until
                )
        for silence in self._silences:
            if silence.fits(labels) and holds(
                silence, labels, now=self._now, deploying=self._deploying, maintenance=self._open
            ):
                said = f"{silence.comment} ({silence.created_by})" if silence.created_by else silence.comment
                yield Suppression("silence", silence.id, said, silence.ends_at)

    def _inhibited(self, record: Record) -> Iterator[Suppression]:
        labels = record.alert.labels
        for inhibition, sources in self._sources:
            if not sources or not all(matcher.matches(labels) for matcher in inhibition.target):
                continue
            both = all(matcher.matches(labels) for matcher in inhibition.source)
            for fingerprint, name, also_target in sources.get(_values(labels, inhibition.equal), ()):
                # What is source and target at once does not inhibit its like, or two would silence each other.
                if fingerprint != record.fingerprint and not (both and also_target):
                    yield Suppression("inhibition", fingerprint, f"{name} fires")
                    break

    def _sources_of(
        self, inhibition: Inhibition, records: Iterable[Record]
    ) -> Mapping[tuple[str, ...], list[tuple[str, str, bool]]]:
        found: dict[tuple[str, ...], list[tuple[str, str, bool]]] = defaultdict(list)
        for record in records:
            labels = record.alert.labels
            if record.firing(self._now) and all(matcher.matches(labels) for matcher in inhibition.source):
                also_target = all(matcher.matches(labels) for matcher in inhibition.target)
                known = found[_values(labels, inhibition.equal)]
                if also_target or not any(not one[2] for one in known):
                    known.append((record.fingerprint, record.alert.name, also_target))
        return found

    def next_change(self) -> float | None:
        """When a silence or a maintenance window begins or ends next, or a suspect is to be looked at again; None: not
        for certain. To be asked after all `suppressions`."""
        changes = (one.window.next_change(self._now) for one in self._rules.maintenance)
        moments = [change for change in changes if change is not None]
        for silence in self._silences:
            moments += _changes(silence, self._now)
        if self._causes is not None and self._causes.asked_again_at is not None:
            moments.append(self._causes.asked_again_at)
        return min(moments, default=None)


def _may_hold(silence: Silence, now: float) -> bool:
    return not silence.expired and (silence.ends_at is None or now < silence.ends_at)


def _changes(silence: Silence, now: float) -> Iterator[float]:
    if now < silence.starts_at:
        yield silence.starts_at
    if silence.ends_at is not None and now < silence.ends_at:
        yield silence.ends_at
    if silence.window is not None and (change := silence.window.next_change(now)) is not None:
        yield change


def _values(labels: Mapping[str, str], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(labels.get(name, "") for name in names)
