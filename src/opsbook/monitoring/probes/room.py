"""The room of probes: looks as the handbook says, remembers what is up, writes series, tells of changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from opsbook.book import Book
from opsbook.book.probes import ProbeSpec
from opsbook.errors import NotFound, OpsbookError
from opsbook.journal import Journal, register
from opsbook.monitoring.probes.model import ProbeState
from opsbook.monitoring.probes.plan import check_of, groups_of, seen, series_of
from opsbook.monitoring.rules.model import RuleGroup
from opsbook.promql.series import Labels
from opsbook.world.probes.prober import Prober, Schedule
from opsbook.world.probes.words import Finding

_TOLD = {
    "probe": "its name",
    "target": "what was looked at",
    "detail": "what was seen",
    "environment": "what it is part of",
    "service": "who needs it",
}
register("probe.down", "Something that opsbook does not run is down, by its probe's threshold.", _TOLD)
register(
    "probe.up",
    "Something that was down, or was not known, is up.",
    _TOLD | {"seconds": "how long it was down"},
)


class Writer(Protocol):
    """Where a probe's series go."""

    def write(self, at_ms: int, samples: Iterable[tuple[Labels, float]]) -> object: ...

    def end(self, at_ms: int) -> object: ...


class Series(Protocol):
    """The part of the storage that probes write to."""

    def writer(self, owner: Labels) -> Writer: ...


class Probes:
    """See the module.

    Args:
        book: the handbook as last read.
        series: where samples go; None with an external server.
        journal: what is up, and events of changes.
        secret: the value of a secret. mask: hides secrets in a text.
        moment: the time that samples are stamped with, epoch seconds.
        log: a sentence for people.
    """

    def __init__(
        self,
        book: Callable[[], Book],
        series: Series | None,
        journal: Journal,
        *,
        secret: Callable[[str], str],
        mask: Callable[[str], str],
        moment: Callable[[], float],
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._book = book
        self._series = series
        self._journal = journal
        self._secret = secret
        self._mask = mask
        self._moment = moment
        self._log = log
        self._prober = Prober(self._found)
        self._lock = threading.Lock()
        self._specs: dict[str, ProbeSpec] = {}
        self._schedules: dict[str, Schedule] = {}
        self._states: dict[str, ProbeState] = {}
        self._writers: dict[str, Writer] = {}
        self._read: Book | None = None
        self._problems: dict[str, str] = {}

    def start(self) -> None:
        """Remember what was before the restart, and begin to look."""
        for key, document in self._journal.state.items("probe/").items():
            self._states[key.removeprefix("probe/")] = ProbeState.from_json(document)
        self.look()

    def keep(self, stopping: threading.Event) -> None:
        """Follow the handbook until the end."""
        while not stopping.wait(1.0):
            self.look()

    def look(self) -> None:
        """Take over the probes of the handbook, when it has changed."""
        book = self._book()
        if book is self._read:
            return
        wanted, problems = {}, {}
        for spec in book.probes:
            try:
                wanted[spec.name] = Schedule(check_of(spec, self._secret), spec.interval, spec.timeout)
            except OpsbookError as error:
                problems[spec.name] = str(error)
                if self._problems.get(spec.name) != str(error):
                    self._log(f"probe {spec.name} cannot look: {error}")
        at = int(self._moment() * 1000)
        with self._lock:
            for name in [name for name in self._states if name not in {spec.name for spec in book.probes}]:
                del self._states[name]
                self._journal.state.delete(f"probe/{name}")
            for name in [name for name in self._writers if self._schedules.get(name) != wanted.get(name)]:
                self._writers.pop(name).end(at)
            self._specs = {spec.name: spec for spec in book.probes}
            self._schedules, self._problems = wanted, problems
        self._prober.schedule(wanted)
        self._read = book

    def groups(self, book: Book) -> Sequence[RuleGroup]:
        """The alerts of the handbook's probes."""
        return groups_of(book.probes)

    def close(self) -> None:
        """Look no more."""
        self._prober.close()

    # --- what is asked

    def listed(self) -> list[dict[str, Any]]:
        """All probes with what is known of them, those that are down first."""
        with self._lock:
            rows = [self._told(spec) for spec in self._specs.values()]
        return sorted(rows, key=lambda row: ({False: 0, None: 1, True: 2}[row["up"]], row["name"]))

    def run(self, name: str) -> dict[str, Any]:
        """Look once, now. Raises NotFound, and what keeps it from looking."""
        spec = self._specs.get(name)
        if spec is None:
            raise NotFound(
                f"there is no probe {name}", hint=f"there are: {', '.join(sorted(self._specs)) or 'none'}"
            )
        schedule = Schedule(check_of(spec, self._secret), spec.interval, spec.timeout)
        finding = self._prober.look(schedule)
        return {
            "name": name,
            "kind": spec.kind,
            "target": self._mask(schedule.check.target),
            "ok": finding.ok,
            "seconds": finding.seconds,
            "detail": self._mask(finding.detail),
            "phases": dict(finding.phases),
            "status": finding.status,
            "certificate_until": finding.certificate_until,
        }

    def _told(self, spec: ProbeSpec) -> dict[str, Any]:
        schedule = self._schedules.get(spec.name)
        state = self._states.get(spec.name, ProbeState())
        return {
            "name": spec.name,
            "kind": spec.kind,
            "target": self._mask(schedule.check.target) if schedule else "",
            "environment": spec.environment,
            "service": spec.service,
            "interval": spec.interval,
            "problem": self._problems.get(spec.name, ""),
            **state.to_json(),
        }

    # --- what was found

    def _found(self, name: str, finding: Finding) -> None:
        """Called in a worker thread for each look."""
        at = self._moment()
        with self._lock:
            spec, schedule = self._specs.get(name), self._schedules.get(name)
            if spec is None or schedule is None:
                return
            before = self._states.get(name, ProbeState())
            target = self._mask(schedule.check.target)
            after = seen(before, finding, spec, at)
            after = ProbeState.from_json({**after.to_json(), "detail": self._mask(after.detail)})
            self._states[name] = after
            if self._series is not None:
                if name not in self._writers:
                    self._writers[name] = self._series.writer({"probe": name})
                self._writers[name].write(int(at * 1000), series_of(spec, target, finding, after))
        if after.up is not before.up:
            self._tell(spec, target, before, after)

    def _tell(self, spec: ProbeSpec, target: str, before: ProbeState, after: ProbeState) -> None:
        """Event and state in one transaction; what cannot be written now is tried at the next change."""
        data: dict[str, Any] = {
            "probe": spec.name,
            "target": target,
            "detail": after.detail,
            "environment": spec.environment or "",
            "service": spec.service or "",
        }
        if after.up and before.since is not None:
            data["seconds"] = (after.since or 0.0) - before.since
        try:
            self._journal.append(
                "probe.up" if after.up else "probe.down",
                f"probe/{spec.name}",
                data,
                actor="opsbook",
                put={f"probe/{spec.name}": after.to_json()},
            )
        except OpsbookError as error:
            self._log(f"probe {spec.name}: its change is not written down: {error}")
