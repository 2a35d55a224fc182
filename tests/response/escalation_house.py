"""What the tests of escalation share: a real journal, book and room; incidents and channels that remember."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from opsbook.book import Book, TextFiles, load
from opsbook.errors import Conflict, Failed, NotFound
from opsbook.journal import Journal
from opsbook.response.escalation.links import Links
from opsbook.response.escalation.model import Page, Subject
from opsbook.response.escalation.room import Escalations
from opsbook.response.escalation.watchdog import Watchdog
from opsbook.response.oncall.room import OnCall

START = 1_767_603_600.0  # Monday, 2026-01-05T09:00Z
KEY = b"k" * 32
COVER = """\
name: shop
owner: cto
contacts:
  ana: {channel: ana-chat, fallback: [ana-sms]}
  ben: {channel: ben-chat}
  team-lead: {channel: lead-chat}
  cto: {channel: cto-chat}
channels:
  ana-chat: {webhook: "http://127.0.0.1:9/a"}
  ana-sms: {webhook: "http://127.0.0.1:9/s"}
  ben-chat: {webhook: "http://127.0.0.1:9/b"}
  lead-chat: {webhook: "http://127.0.0.1:9/l"}
  cto-chat: {webhook: "http://127.0.0.1:9/c"}
"""
POLICY = """\
schedules:
  - name: on-call
    layers:
      - {name: weekly, people: [ana, ben], from: 2026-01-05T09:00}
escalations:
  - name: usual
    steps: [{page: on-call}, {page: team-lead, after: 5m}]
    repeat: 0
"""


def book(policy: str = POLICY, cover: str = COVER) -> Book:
    return load(TextFiles({"opsbook.yaml": cover.encode(), "incidents/policy.yaml": policy.encode()}))


class Time:
    def __init__(self, at: float = START) -> None:
        self.at = at

    def now(self) -> float:
        return self.at


@dataclass
class Incidents:
    """The part of incidents that escalation asks."""

    known: dict[str, Subject] = field(default_factory=dict)
    told: Callable[[Subject], None] = lambda one: None
    down: bool = False
    answers: list[tuple[str, str]] = field(default_factory=list)

    def acknowledge(self, id: str, actor: str) -> object:  # noqa: A002
        if self.down:
            raise Failed("the disk is full")
        self.answers.append((id, actor))
        return self.change(id, acknowledged_at=START + 1.0, acknowledged_by=actor)

    def get(self, id: str) -> Subject:  # noqa: A002
        if id not in self.known:
            raise NotFound(f"there is no incident {id}")
        return self.known[id]

    def waiting(self) -> Iterable[Subject]:
        return [one for one in self.known.values() if not one.over and one.acknowledged_at is None]

    def change(self, name: str, **fields: object) -> Subject:
        if self.known[name].over and "reopened" not in fields:
            raise Conflict("it is over")
        found = self.known[name] = replace(self.known[name], **fields)  # type: ignore[arg-type]
        self.told(found)
        return found


class House:
    """A room whose clock, channels and incidents are in the test's hand."""

    def __init__(
        self,
        folder: Path,
        *,
        policy: str = POLICY,
        cover: str = COVER,
        clock: Time | None = None,
        send: Callable[[str, Page], None] | None = None,
        incidents: Incidents | None = None,
        boundary: Callable[[str], None] = lambda place: None,
    ) -> None:
        self.clock = clock or Time()
        self.book = book(policy, cover)
        self.journal = Journal.open(
            folder / "journal.sqlite", keys=folder / "keys", clock=self.clock, busy_timeout=0.2
        )
        self.oncall = OnCall(lambda: self.book, self.journal, now=self.clock.now)
        self.sent: list[Page] = []
        self.down: set[str] = set()
        self.log: list[str] = []
        self.links = Links(KEY, self.clock.now)
        self.incidents = incidents or Incidents()
        deliver = send or (lambda channel, page: self.sent.append(page))
        self.room = Escalations(
            lambda: self.book,
            self.journal,
            on_call=self.oncall.people,
            incidents=self.incidents,
            send=deliver,
            links=self.links,
            now=self.clock.now,
            failing=lambda channel: channel in self.down,
            address=lambda: "https://ops.example.com",
            log=self.log.append,
            boundary=boundary,
        )
        self.incidents.told = self.room.follow
        self.watchdog = Watchdog(
            self.room,
            self.incidents,
            lambda: self.book,
            self.journal,
            send=deliver,
            now=self.clock.now,
            log=self.log.append,
        )

    def open(self, name: str = "inc-1", **fields: object) -> Subject:
        """An incident opens."""
        subject = Subject(
            name, "web is down", severity="SEV1", environment="production", started_at=START - 30
        )
        self.incidents.known[name] = found = replace(subject, **fields)  # type: ignore[arg-type]
        return found

    def at(self, seconds: float) -> list[str]:
        """The channels that get a page when it is so many seconds after the start."""
        before = len(self.sent)
        self.clock.at = START + seconds
        self.room.tick()
        return [page.channel for page in self.sent[before:]]

    def kinds(self) -> list[str]:
        return [event.kind.partition(".")[2] for event in self.journal.events(kinds=["escalation.*"])]

    def close(self) -> None:
        self.room.close()
        self.journal.close()
