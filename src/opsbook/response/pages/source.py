"""What the pages need of the rooms and of the console's shell; all handed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fastapi import Request, Response

from opsbook.book import Book
from opsbook.errors import NotFound
from opsbook.response.escalation.model import Escalation
from opsbook.response.incidents.model import Incident
from opsbook.response.runbooks.room import Runbooks

Json = dict[str, Any]


class Shell(Protocol):
    """Renders pages; `opsbook.server.console.shell.Shell` is one."""

    def page(
        self,
        request: Request,
        template: str,
        make: Callable[[], Mapping[str, Any]],
        *,
        topics: tuple[str, ...] = (),
        status: int = 200,
    ) -> Response: ...

    def see_other(self, path: str) -> Response: ...


class Incidents(Protocol):
    """What is wrong, and what people do about it; `opsbook.response.incidents.room.Incidents` knows."""

    def get(self, name: str) -> Incident: ...

    def listed(self, state: str | None = None, limit: int | None = None) -> Sequence[Incident]: ...

    def timeline(self, name: str) -> Sequence[Any]: ...

    def figures(self, since: float) -> Mapping[str, Any]: ...

    def attachment(self, name: str, attachment: str) -> str: ...

    def declare(
        self, title: str, severity: str, environment: str, services: Sequence[str], actor: str
    ) -> Incident: ...

    def acknowledge(self, name: str, actor: str) -> Incident: ...

    def note(self, name: str, text: str, actor: str) -> Incident: ...

    def set_role(self, name: str, role: str, person: str, actor: str) -> Incident: ...

    def set_severity(self, name: str, severity: str, actor: str) -> Incident: ...

    def mitigate(self, name: str, actor: str, *, reason: str = "") -> Incident: ...

    def resolve(self, name: str, actor: str, *, reason: str = "") -> Incident: ...

    def reopen(self, name: str, reason: str, actor: str) -> Incident: ...

    def merge(self, name: str, into: str, actor: str) -> Incident: ...

    def close(self, name: str, actor: str) -> Incident: ...

    def update(self, name: str, text: str, public: bool, actor: str) -> Incident: ...

    def add_action(self, name: str, text: str, owner: str, due: str, actor: str) -> Incident: ...

    def done_action(self, name: str, action: str, actor: str) -> Incident: ...


class Postmortems(Protocol):
    """What is written afterwards; `opsbook.response.postmortems.room.Postmortems` has it."""

    def show(self, incident: str) -> Json: ...

    def plot(self, incident: str) -> str: ...

    def write(self, incident: str, actor: str) -> Any: ...

    def edit(self, incident: str, text: str, base: str, actor: str) -> Json: ...

    def finish(self, incident: str, actor: str) -> Json: ...

    def lesson(self, incident: str, actor: str) -> Any: ...


class Escalations(Protocol):
    """Who is paged; `opsbook.response.escalation.room.Escalations` knows."""

    def get(self, incident_id: str) -> Escalation: ...

    def due(self, escalation: Escalation) -> float | None: ...

    def next_in_words(self, escalation: Escalation) -> str: ...

    def acknowledge(self, incident_id: str, actor: str) -> Escalation: ...

    def escalate(self, incident_id: str, actor: str) -> Escalation: ...


@dataclass(frozen=True, slots=True)
class NextPage:
    """Who is paged next, and when (epoch seconds)."""

    who: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """All of it.

    Args:
        book: as last read. now: epoch seconds.
        on_call: every schedule with who is on call now and next (`OnCall.now`).
        escalations: None: nobody is paged.
        charts: there are charts of alerts (``/alerts/FINGERPRINT/points``).
        tested: of each page that was tried as a drill, how that went.
    """

    book: Callable[[], Book]
    now: Callable[[], float]
    runbooks: Runbooks
    incidents: Incidents
    postmortems: Postmortems | None = None
    escalations: Escalations | None = None
    charts: bool = False
    on_call: Callable[[], Sequence[Json]] = list
    tested: Callable[[], Mapping[str, Json]] = dict

    def acknowledge(self, incident: str, actor: str) -> object:
        """Somebody has it; saying so again gives them more time. Raises NotFound, Conflict."""
        if self.escalations is not None:
            try:
                return self.escalations.acknowledge(incident, actor)
            except NotFound:
                pass  # nobody was paged about it
        return self.incidents.acknowledge(incident, actor)

    def next_page(self, incident: str) -> NextPage | None:
        """None: nobody is paged about it next."""
        if self.escalations is None:
            return None
        try:
            known = self.escalations.get(incident)
        except NotFound:
            return None
        words, at = self.escalations.next_in_words(known), self.escalations.due(known)
        return NextPage(words.rpartition(" in ")[0], at) if words and at is not None else None
