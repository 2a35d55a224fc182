"""What the tests of incidents share: a real journal and book, a clock in the test's hand, alerting's alerts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import opsbook.deployment.model
import opsbook.monitoring.rules.kinds  # noqa: F401 - registers its events
from opsbook.book import Book, TextFiles, load
from opsbook.journal import Journal
from opsbook.monitoring.alerting.model import Alert
from opsbook.response.incidents.room import Incidents
from opsbook.response.incidents.telling import Telling

START = 1_763_712_000.0
COVER = """name: shop
contacts:
  ana: {email: ana@example.com, channel: ops}
  ben: {email: ben@example.com, channel: ops}
channels:
  ops: {webhook: "https://ops.example.com/hook"}
"""
POLICY = """escalations:
  - {name: usual, steps: [{page: ana}]}
  - {name: storage, steps: [{page: ben}]}
severities:
  SEV1: {escalation: storage, update_every: 10m}
incidents:
  channels: [ops]
"""
SERVICES = {"web": ["api"], "api": ["db"], "db": [], "mail": []}


def book(policy: str = POLICY) -> Book:
    """A handbook in which web needs api needs db; mail is by itself."""
    files = {"opsbook.yaml": COVER.encode(), "incidents/policy.yaml": policy.encode()}
    for name, needs in SERVICES.items():
        text = f"service: {name}\nrun: {{command: [sleep, '1']}}\ndepends_on: [{', '.join(needs)}]\n"
        files[f"services/{name}.yaml"] = text.encode()
    for port, name in enumerate(("production", "staging"), 8080):
        places = "".join(f"  {one}: {{}}\n" for one in SERVICES)
        text = f"environment: {name}\nentry: {{port: {port}}}\nservices:\n{places}"
        files[f"environments/{name}.yaml"] = text.encode()
    return load(TextFiles(files))


class Clock:
    """Stands still until it is moved."""

    def __init__(self, at: float = START) -> None:
        self.at = at

    def now(self) -> float:
        return self.at


class House:
    """The room with all that it stands on; `again` is the same after a crash."""

    def __init__(
        self, folder: Path, *, policy: str = POLICY, mask: Callable[[str], str] = lambda text: text
    ) -> None:
        self.folder, self.clock = folder, Clock()
        self.written = book(policy)
        self.mask = mask
        self.told: list[Telling] = []
        self.opened: list[str] = []
        self.changed: list[tuple[str, str]] = []
        self.deaf = False
        self._open()

    def _open(self) -> None:
        self.journal = Journal.open(
            self.folder / "journal.sqlite", keys=self.folder / "keys", clock=self.clock, mask=self.mask
        )
        self.room = Incidents(
            lambda: self.written, self.journal, now=self.clock.now, tell=self._tell, mask=self.mask
        )
        self.room.on_opened(self._hear)
        self.room.on_changed(lambda one: self.changed.append((one.id, one.state)))

    def _tell(self, telling: Telling) -> None:
        if self.deaf:
            raise OSError("the outbox is away")
        self.told.append(telling)

    def _hear(self, incident: object) -> None:
        if self.deaf:
            raise OSError("nobody listens")
        self.opened.append(incident.id)  # type: ignore[attr-defined]

    def again(self) -> None:
        """Ended without a word, and started anew."""
        self.journal.close()
        self._open()

    def fire(self, *alerts: Alert) -> list[str]:
        """Alerts fire; the ids of what changed."""
        return [one.id for one in self.room.receive(alerts, ())]

    def end(self, *alerts: Alert) -> list[str]:
        """They fire no more."""
        return [one.id for one in self.room.receive((), alerts)]

    def happens(self, kind: str, subject: str, data: dict[str, object], actor: str = "opsbook") -> int:
        """Something is written into the journal by another room."""
        return self.journal.append(kind, subject, data, actor=actor).id

    def kinds(self) -> list[str]:
        """What incidents wrote."""
        return [one.kind for one in self.journal.events(kinds=("incident.*",))]

    def close(self) -> None:
        self.room.stop()
        self.journal.close()


def alert(
    name: str = "HighErrorRate",
    service: str = "web",
    environment: str = "production",
    *,
    at: float = START,
    severity: str = "critical",
    page: str = "",
    runbook: str = "",
    summary: str = "",
    ends: float | None = None,
    **labels: str,
) -> Alert:
    """As alerting hands it over."""
    said = {"alertname": name, "service": service, "environment": environment, "severity": severity, **labels}
    annotations = {"summary": summary or f"{name} of {service}", "runbook": runbook}
    return Alert(
        {key: text for key, text in said.items() if text},
        {key: text for key, text in annotations.items() if text},
        starts_at=at,
        ends_at=ends,
        actions=({"page": page},) if page else (),
    )
