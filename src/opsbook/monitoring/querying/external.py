"""Another server's metrics instead of our own: what `monitoring: {metrics: URL}` asks for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from opsbook.book.settings import MetricsServer
from opsbook.errors import OpsbookError
from opsbook.monitoring.alerting.model import Alert
from opsbook.monitoring.targets.plan import headers_of, tls_of
from opsbook.world.telemetry.remote_queries import RemoteQueries

EVERY = 5.0  # seconds between two looks
DOWN_AFTER = 30.0  # seconds
REFRESH, VALID = 60.0, 300.0  # seconds: an alert is said again, and is over when it is not


def external_queries(server: MetricsServer, folder: Path, secret: Callable[[str], str]) -> RemoteQueries:
    """Queries and catalogue of a server with Prometheus' HTTP API.

    Args:
        server: what the handbook says of it.
        folder: the handbook's.
        secret: the value of a secret; asked for with every question, so that it may change.
    """
    return RemoteQueries(
        server.url,
        timeout=server.timeout,
        headers=lambda: headers_of(server, secret),
        tls=tls_of(server, folder),
    )


class Receiver(Protocol):
    """Who decides whom to tell."""

    def receive(self, alerts: Sequence[Alert]) -> object: ...


class ServerWatch:
    """Tells when the other server does not answer: no rule can be evaluated then, so none of them would.

    Args:
        server: what is asked.
        receiver: who is told.
        moment: epoch seconds.
        log: a sentence for people.
    """

    def __init__(
        self,
        server: RemoteQueries,
        receiver: Receiver,
        *,
        moment: Callable[[], float],
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._server = server
        self._receiver = receiver
        self._moment = moment
        self._log = log
        self._silent_since: float | None = None
        self._told_at: float | None = None

    def keep(self, stopping: threading.Event) -> None:
        """Look until the end."""
        while not stopping.wait(EVERY):
            self.look()

    def look(self) -> None:
        """Ask once, and say what is to be said."""
        at = self._moment()
        try:
            self._server.instant("1", round(at * 1000))
        except OpsbookError as error:
            if self._silent_since is None:
                self._silent_since = at
                self._log(f"no rule can be evaluated: {error}")
            since = self._silent_since
            if at - since >= DOWN_AFTER and (self._told_at is None or at - self._told_at >= REFRESH):
                self._tell(self._alert(str(error.message), since, at + VALID), at)
            return
        if self._silent_since is not None:
            self._log(f"the metrics server answers again after {at - self._silent_since:.0f} s")
            if self._told_at is not None:
                self._tell(self._alert("it answers again", self._silent_since, at), None)
        self._silent_since = None

    def _tell(self, alert: Alert, at: float | None) -> None:
        try:
            self._receiver.receive((alert,))
        except OpsbookError as error:
            self._log(f"that the metrics server is silent cannot be told: {error}")
            return  # tried again at the next look
        self._told_at = at

    def _alert(self, said: str, since: float, until: float) -> Alert:
        return Alert(
            labels={
                "alertname": "MetricsServerUnreachable",
                "severity": "critical",
                "server": self._server.url,
            },
            annotations={
                "summary": f"no rule can be evaluated: {said}",
                "description": "Alerts that fired before stay as they are; nothing new is found until it answers.",
            },
            starts_at=since,
            ends_at=until,
        )
