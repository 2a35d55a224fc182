"""Who responds, as alerting asks and tells: made before alerting, which it hands its messages to later."""

from __future__ import annotations

import threading

from opsbook.errors import Conflict, Invalid, NotFound, OpsbookError
from opsbook.monitoring.alerting.model import Alert, GroupMessage, Notification, Words
from opsbook.monitoring.alerting.responding import Responders
from opsbook.monitoring.alerting.room import Alerting
from opsbook.response.escalation.chains import reaching
from opsbook.response.escalation.model import Page
from opsbook.response.incidents.room import Incidents
from opsbook.response.incidents.telling import Telling
from opsbook.response.oncall.room import OnCall
from opsbook.response.runbooks.room import Runbooks
from opsbook.server.watching import Ground


class Late:
    """What is made after those who use it."""

    def __init__(self) -> None:
        self.alerting: Alerting | None = None
        self.runbooks: Runbooks | None = None
        self.ready = threading.Event()


class Duty:
    """Who is on call, and incidents: what alerting needs."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._late = Late()
        book, journal, now = ground.handbook.current, ground.journal, ground.clock.now
        self.oncall = OnCall(book, journal, now=now)
        self.incidents = Incidents(book, journal, now=now, tell=self._tell, mask=ground.secrets.mask)

    def ready(self, alerting: Alerting, runbooks: Runbooks) -> None:
        """From now on there is somebody to hand messages to, and pages can be run."""
        self._late.alerting, self._late.runbooks = alerting, runbooks
        self._late.ready.set()

    @property
    def responders(self) -> Responders:
        """As alerting asks."""
        return Responders(
            on_call=self.oncall.people,
            opens=self.incidents.opens,
            escalates=lambda name: any(
                one.name == name for one in self._ground.handbook.current().escalations
            ),
            receive=self.receive,
        )

    # --- what alerting hands over

    def receive(self, notification: Notification) -> str:
        """Open, join or end incidents, and start the pages that alerts name. Returns what was done.

        Raises:
            OpsbookError: it could not be written down; it is handed over again.
        """
        self._late.ready.wait()
        opening = [alert for alert in notification.firing if self.incidents.opens(alert)]
        incidents = self.incidents.receive(opening, notification.resolved)
        done = [f"{one.id} is {one.state}" for one in incidents]
        for alert in notification.firing:
            done += [self._run(alert, name) for action in alert.actions if (name := action.get("run"))]
        return ", ".join(done) or "nothing is to be done"

    def _run(self, alert: Alert, page: str) -> str:
        """Start a page for an alert. Whatever stands in the way is said, and keeps no incident waiting."""
        runbooks = self._late.runbooks
        assert runbooks is not None
        # Not only of those that changed: when it is handed over again, they were written before.
        mine = (
            one
            for one in self.incidents.listed("open")
            if any(alert.fingerprint == known.fingerprint for known in one.alerts)
        )
        incident = next((one.id for one in mine), "")
        try:
            known = runbooks.book.runbook(page).head.params
            params = {name: alert.labels[name] for name in known if alert.labels.get(name)}
            run, attached = runbooks.run(
                page, params, "opsbook", automatic=True, alert=alert.name, incident=incident
            )
        except (Conflict, Invalid, NotFound) as error:
            if incident:
                self.incidents.note(incident, f"{page} was not run: {error}", "opsbook")
            self._ground.log(f"{alert.name} does not start {page}: {error}")
            return f"{page} was not run"
        return f"{run.id} of {page} {'goes on' if attached else 'begins'}"

    # --- what goes out

    def page(self, channel: str, page: Page) -> None:
        """Hand a page to the outbox. Raises OpsbookError: its channel does not exist."""
        labels = {"alertname": "Page", "severity": "critical", **page.labels}
        mask = self._ground.secrets.mask  # the diagnosis quotes what others wrote
        words = Words(mask(page.title), mask(page.text), page.link or page.url)
        self._send(page.id, channel, labels, f"incident:{page.incident}", words, page.at)

    def _tell(self, telling: Telling) -> None:
        labels = {"alertname": "Incident", "severity": "info", "incident": telling.incident}
        words = Words(telling.title, telling.text, self._address(f"/incidents/{telling.incident}"))
        now = self._ground.clock.now()
        self._send(telling.id, telling.channel, labels, f"incident:{telling.incident}:told", words, now)

    def _send(
        self, name: str, channel: str, labels: dict[str, str], key: str, words: Words, at: float
    ) -> None:
        alerting = self._late.alerting
        if alerting is None:
            raise Conflict("messages cannot be sent yet", where=channel)
        alert = Alert(labels, {"summary": words.title}, starts_at=at)
        group = GroupMessage(key=key, labels=labels, firing=(alert,))
        alerting.send(Notification(id=name, channel=channel, groups=(group,), at=at, words=words))

    def drill_failed(self, page: str, why: str) -> None:
        """Tell whoever answers for a page that it did not help. Once: no incident is to be made of a rehearsal.

        Raises OpsbookError: it could not be written down.
        """
        book, now = self._ground.handbook.current(), self._ground.clock.now()
        reach = reaching(book, self.oncall.people)
        owner = book.runbooks[page].head.owner if page in book.runbooks else None
        words = Words(
            self._ground.secrets.mask(f"The drill of {page} failed"),
            self._ground.secrets.mask(f"{why}\nTry it: opsbook runbooks test {page}"),
            self._address(f"/runbooks/{page}"),
        )
        labels = {"alertname": "DrillFailed", "severity": "warning", "page": page}
        for target in (reach(owner) if owner else ()) or reach(book.owner or "") or reach(""):
            way = next((one for one in target.ways if not self.failing(one)), target.ways[0])
            self._send(f"drill:{page}:{now:.3f}:{way}", way, labels, f"drill:{page}", words, now)

    def failing(self, channel: str) -> bool:
        """Whether a channel takes no messages at this time."""
        alerting = self._late.alerting
        now = self._ground.clock.now()
        return alerting is not None and alerting.delivery.state(channel).failing(now)

    def _address(self, path: str) -> str:
        base = self._ground.address()
        return f"{base}{path}" if base else ""

    def incident_open(self, name: str) -> bool:
        """Whether there is such an incident, and it is open."""
        try:
            return self.incidents.get(name).open
        except OpsbookError:
            return False
