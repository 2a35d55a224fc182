"""The room of post-mortems: written when an incident is over, kept as people leave them, and what they promise."""

from __future__ import annotations

import hashlib
import re
import threading
from datetime import UTC, date, datetime
from typing import Any

import opsbook.response.postmortems.kinds as _kinds  # noqa: F401 - registers them
from opsbook.book.postmortems import PostmortemPage
from opsbook.book.write_back import set_value
from opsbook.errors import Conflict, Invalid, NotFound, OpsbookError
from opsbook.journal import Entry
from opsbook.response.incidents.model import Incident
from opsbook.response.postmortems.author import ACTOR, Author
from opsbook.response.postmortems.model import Lesson, Record, Tracked
from opsbook.response.postmortems.parts import edited
from opsbook.response.postmortems.plan import OVER, due
from opsbook.response.postmortems.publishing import Publishing
from opsbook.response.postmortems.records import Records, key_of
from opsbook.response.postmortems.site import Site
from opsbook.response.postmortems.tracking import tracked

LOOK = 30.0  # seconds between two looks, when nothing happens
LARGEST = 1024 * 1024  # characters of a page that somebody sends
_DRAFT = re.compile(r"state:\s*[\"']?draft[\"']?\s*")


class Postmortems:
    """See the module; `publishing` is the status page.

    `start` writes what a crash or a restart left, and then follows the incidents in a thread of its own.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._records = Records(site.journal, site.pages)
        self._author = Author(site, self._records)
        self.publishing = Publishing(site)
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None

    # --- by itself

    def start(self) -> None:
        """Begin to follow the incidents."""
        self._site.incidents.on_changed(lambda _: self._wake.set())
        self._thread = threading.Thread(target=self._follow, name="postmortems", daemon=True)
        self._wake.set()
        self._thread.start()

    def close(self) -> None:
        """Let the thread finish what it is writing, and end."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=10.0)

    def _follow(self) -> None:
        while True:
            self._wake.wait(LOOK)
            self._wake.clear()
            if self._closing:
                return
            try:
                self.look()
            except Exception as error:  # a fault here must not end the thread: the next round looks again
                self._site.log(f"post-mortems: {error}")

    def look(self) -> list[Record]:
        """Write every post-mortem that is due, and the status page when it says something new."""
        now, spec = self._site.now(), self._site.book().postmortems
        every, records = self._site.incidents.every(), self._records.every()
        written = []
        for incident in every:
            record = records.get(incident.id)
            if self._closing:
                break
            if due(incident, record, spec, now):
                written.append(self._try(incident))
            elif record is not None and incident.state in OVER:
                self._tell(incident, record)
        self.publishing.look(every)
        return [record for record in written if record is not None]

    def _tell(self, incident: Incident, record: Record) -> None:
        """Where a crash came between the page and the incident's knowing of it."""
        known = incident.postmortem == record.path and incident.state != "resolved"
        if record.path and record.impact is not None and not known:
            self._site.incidents.has_postmortem(incident.id, record.path, record.impact)

    def _try(self, incident: Incident) -> Record | None:
        try:
            with self._lock:
                return self._author.write(incident, ACTOR, anew=False)
        except OpsbookError as error:
            self._failed(incident, str(error))
            return None

    def _failed(self, incident: Incident, reason: str) -> None:
        before = self._records.get(incident.id) or Record(incident=incident.id)
        record = before.model_copy(
            update={"failed": reason, "tries": before.tries + 1, "written_at": self._site.now()}
        )
        news = [Entry("postmortem.failed", incident.id, {"incident": incident.id, "reason": reason}, ACTOR)]
        self._site.journal.append_all(
            news if before.failed != reason else [], put={key_of(incident.id): record.to_json()}
        )

    # --- what is asked

    def listed(self) -> list[dict[str, Any]]:
        """Every post-mortem of the handbook, the newest first, and those that could not be written."""
        records, today = self._records.every(), self._today()
        found = [self._line(page, records, today) for page in self._site.book().postmortem_pages.values()]
        known = {one["path"] for one in found}
        for record in records.values():
            if record.path not in known:  # just written, or not yet
                page = self._records.page(record.path) if record.path else None
                if page is not None:
                    found.append(self._line(page, records, today))
                elif record.failed:
                    found.append(
                        {"incident": record.incident, "path": "", "title": "", "failed": record.failed}
                    )
        return sorted(found, key=lambda one: (str(one["path"]) or "~", one["incident"]), reverse=True)

    def show(self, incident: str) -> dict[str, Any]:
        """One of them: its text, the text's digest for `edit`, and what opsbook knows of it. Raises NotFound."""
        record, path, text = self._text(incident)
        page = self._records.page(path)
        about = self._line(page, {incident: record} if record else {}, self._today()) if page else {}
        return {
            **about,
            "incident": incident,
            "path": path,
            "text": text,
            "digest": _digest(text),
            "changed_parts": list(edited(text)),
            "record": record.to_json() if record else None,
        }

    def environment_of(self, incident: str) -> str | None:
        """Where it was: of the incident, or of a page about one that this opsbook does not know. Raises NotFound."""
        try:
            return self._site.incidents.get(incident).environment or None
        except NotFound:
            path = self._records.find(incident, "")
            page = self._records.page(path) if path else None
            if page is None:
                raise
            return page.head.environment

    def plot(self, incident: str) -> str:
        """The SVG file. Raises NotFound."""
        record, path, _ = self._text(incident)
        name = record.plot if record else ""
        text = self._site.pages.read(f"{path.rpartition('/')[0]}/{name}") if name else None
        if text is None:
            raise NotFound("nothing was measured, so there is no plot", where=incident)
        return text

    def record(self, incident: str) -> Record | None:
        """What opsbook knows of the post-mortem; None: it has written none."""
        return self._records.get(incident)

    def actions(self, *, owner: str = "", open_only: bool = False) -> list[Tracked]:
        """What all post-mortems and incidents promise: what is overdue first, then by date."""
        pages = dict(self._site.book().postmortem_pages)
        for record in self._records.every().values():
            page = self._records.page(record.path) if record.path else None
            if page is not None:  # as it lies there now: the book may be of the last commit
                pages[page.file] = page
        found = tracked(self._site.incidents.every(), pages.values(), self._today())
        return [one for one in found if (not owner or one.owner == owner) and not (open_only and one.done)]

    # --- what is changed

    def write(self, incident: str, actor: str) -> Record:
        """Write the page, or what opsbook has of it, now; also of an incident that is not over.

        Raises:
            NotFound: no such incident. Conflict: the page has changes that are not committed. Failed.
        """
        with self._lock:
            return self._author.write(self._site.incidents.get(incident), actor)

    def lesson(self, incident: str, actor: str) -> Lesson | None:
        """Propose the change to the runbook anew; None: the incident has nothing to say to a page. Raises NotFound."""
        with self._lock:
            return self._author.lesson(self._site.incidents.get(incident), actor)

    def edit(self, incident: str, text: str, base: str, actor: str) -> dict[str, Any]:
        """Put a person's text in place of the page.

        Args:
            base: the digest of the text that they began from.

        Raises:
            NotFound: there is no page. Conflict: somebody else has changed it meanwhile. Invalid: it is too large, or
            no longer about this incident.
        """
        text = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n") + "\n"
        if len(text) > LARGEST:
            raise Invalid("the page is too large", hint=f"at most {LARGEST} characters", where=incident)
        with self._lock:
            _, path, present = self._text(incident)
            if _digest(present) != base:
                hint = "load it again, and take your changes over"
                raise Conflict("somebody has changed the page meanwhile", hint=hint, where=path)
            self._put(incident, path, text, "postmortem.edited", f"Edit the post-mortem of {incident}", actor)
        return self.show(incident)

    def finish(self, incident: str, actor: str) -> dict[str, Any]:
        """Say that it is complete: `state: final`. Raises NotFound, Invalid (the front matter cannot be read)."""
        with self._lock:
            _, path, text = self._text(incident)
            message = f"The post-mortem of {incident} is complete"
            self._put(incident, path, _final(text, path), "postmortem.finished", message, actor)
        return self.show(incident)

    def _put(self, incident: str, path: str, text: str, kind: str, message: str, actor: str) -> None:
        page = _read(path, text)
        if page is None or page.head.incident != incident:
            raise Invalid(
                "the page no longer says which incident it is about",
                hint=f"incident: {incident} between the lines --- at its beginning",
                where=path,
            )
        commit = self._site.pages.write({path: text}, message, actor)
        self._site.journal.append(
            kind, incident, {"incident": incident, "path": path, "commit": commit}, actor=actor
        )

    def _text(self, incident: str) -> tuple[Record | None, str, str]:
        record = self._records.get(incident)
        path = self._records.find(incident, record.path if record else "")
        text = self._site.pages.read(path) if path else None
        if text is None:
            failed = f"; the last try failed: {record.failed}" if record and record.failed else ""
            hint = f"opsbook postmortem write {incident}"
            raise NotFound(f"there is no post-mortem of {incident}{failed}", hint=hint)
        return record, path, text

    def _line(self, page: PostmortemPage, records: dict[str, Record], today: date) -> dict[str, Any]:
        head = page.head
        record = records.get(head.incident or "")
        waiting = [action for action in page.actions if not action.done]
        return {
            "incident": head.incident or "",
            "path": page.file,
            "day": page.day,
            "title": page.title,
            "severity": head.severity or "",
            "environment": head.environment or "",
            "services": list(head.services),
            "state": head.state,
            "actions": len(page.actions),
            "open_actions": len(waiting),
            "overdue_actions": sum(action.overdue(today) for action in waiting),
            "lesson": record.lesson.to_json() if record and record.lesson else None,
            "failed": record.failed if record else "",
        }

    def _today(self) -> date:
        return datetime.fromtimestamp(self._site.now(), tz=UTC).date()


def _read(path: str, text: str) -> PostmortemPage | None:
    from opsbook.book.postmortems import read_postmortem

    return read_postmortem(path, text.encode("utf-8", "surrogatepass"))[0]


def _final(text: str, path: str) -> str:
    lines = text.split("\n")
    end = next((number for number, line in enumerate(lines[1:], 1) if line.strip() in {"---", "..."}), 0)
    if not lines or lines[0].strip() != "---" or not end:
        raise Invalid("the page has no front matter", hint="it begins and ends with ---", where=path)
    if draft := [number for number in range(1, end) if _DRAFT.fullmatch(lines[number])]:
        return "\n".join([*lines[: draft[0]], "state: final", *lines[draft[0] + 1 :]])
    front = set_value("\n".join([*lines[1:end], ""]), ("state",), "final", where=path)
    return "\n".join([lines[0], front.rstrip("\n"), *lines[end:]])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
