"""What a machine can say about an item of the checklist. What it cannot tell is `unknown`, never passed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from opsbook.book import ChecklistItem, HttpRequest
from opsbook.deployment.commands import Commands
from opsbook.deployment.gates import CheckResult
from opsbook.deployment.model import Deployment
from opsbook.deployment.site import Site
from opsbook.errors import OpsbookError

ERROR_RATE = 0.001  # where the strategy names no limit
ERROR_WINDOW = 300.0  # seconds
HTTP_TIMEOUT = 30.0  # seconds, unless the item's own is shorter
_URL = re.compile(r"\{url:([a-z][a-z0-9-]*)\}")

StatusOf = Callable[..., int]
"""As `opsbook.world.hosts.web.status_of`."""


class Checks:
    """The built-in checks, and those that an item brings itself.

    Args:
        book_errors: the errors of the handbook's files as last read. None: nobody can tell.
        alerts: those that fire for a service in an environment. None: nobody watches them.
    """

    def __init__(
        self,
        site: Site,
        commands: Commands,
        status_of: StatusOf,
        *,
        book_errors: Callable[[], Sequence[str]] | None = None,
        alerts: Callable[[str, str], Sequence[str]] | None = None,
    ) -> None:
        self._site = site
        self._commands = commands
        self._status_of = status_of
        self._book_errors = book_errors
        self._alerts = alerts

    def check(self, item: ChecklistItem, deployment: Deployment) -> CheckResult:
        """Look, now."""
        begun = self._site.clock.monotonic()
        try:
            result = self._check(item, deployment)
        except OpsbookError as error:
            result = CheckResult(status="failed", detail=self._site.secrets.mask(str(error)))
        return result.but(seconds=round(self._site.clock.monotonic() - begun, 3))

    def _check(self, item: ChecklistItem, deployment: Deployment) -> CheckResult:
        match item.check:
            case "book":
                return self._listed(self._book_errors and self._book_errors(), "error in the handbook")
            case "alerts":
                found = self._alerts and self._alerts(deployment.environment, deployment.service)
                return self._listed(found, "alert fires")
            case "rollback":
                return self._rollback(deployment)
            case "health":
                return self._health(deployment)
            case "error_rate":
                return self._error_rate(deployment)
            case "journal":
                found_whole = self._site.journal.verify()
                return _answer(
                    found_whole.ok, found_whole.reason or f"{found_whole.checked} events are whole"
                )
            case "http" if item.request is not None:
                return self._http(item.request, min(item.timeout, HTTP_TIMEOUT), deployment)
        if item.command is None:
            return CheckResult(status="unknown", detail=f"opsbook does not know the check {item.check}")
        ran = self._commands.run(item.command, item.timeout, deployment)
        return _answer(ran.passed, ran.detail)

    def _listed(self, found: Sequence[str] | None, what: str) -> CheckResult:
        if found is None:
            return CheckResult(status="unknown", detail="opsbook cannot tell: look yourself, and sign")
        return _answer(not found, f"{len(found)} × {what}: {found[0]}" if found else f"no {what}")

    def _rollback(self, deployment: Deployment) -> CheckResult:
        serving = deployment.before.version
        if not deployment.before.release:
            return CheckResult(
                status="unknown", detail="a first deployment: there is nothing to go back to yet"
            )
        return _answer(True, f"{serving} can be gone back to")

    def _health(self, deployment: Deployment) -> CheckResult:
        environment, service = deployment.environment, deployment.service
        placement = self._site.records.placement(environment, service)
        serving = [m.instance for m in placement.members(placement.release) if not m.draining]
        living = {found.id for found in self._site.runtime.instances(environment, service) if found.alive}
        for name in serving:
            if name not in living:
                return _answer(False, f"{name} does not run")
            probe = self._site.runtime.probe(name)
            if not probe.healthy:
                return _answer(False, f"{name}: {probe.detail}")
        return _answer(True, f"{len(serving)} healthy" if serving else "nothing runs yet")

    def _error_rate(self, deployment: Deployment) -> CheckResult:
        limits = [rule.max for rule in deployment.strategy.analysis if rule.metric == "error_rate"]
        limit = next((one for one in limits if one is not None), ERROR_RATE)
        about = {"environment": deployment.environment, "service": deployment.service}
        sample = self._site.telemetry.named("error_rate", about, window=ERROR_WINDOW)
        if sample is None:
            return CheckResult(status="unknown", detail="no requests to judge by: look yourself, and sign")
        return _answer(sample.value <= limit, f"{sample.value:.2%} of requests fail, {limit:.2%} may")

    def _http(self, request: HttpRequest, timeout: float, deployment: Deployment) -> CheckResult:
        url = _URL.sub(lambda match: self._url(deployment.environment, match[1]), request.url, count=1)
        status = self._status_of(request.method, url, timeout=timeout)
        return _answer(status == request.status, f"{url} answers {status}")

    def _url(self, environment: str, service: str) -> str:
        entry = self._site.records.placement(environment, service).entry
        if entry is None:
            raise OpsbookError(f"{service} has no address in {environment} yet")
        return entry.url.rstrip("/")


def _answer(passed: bool, detail: str) -> CheckResult:
    return CheckResult(status="passed" if passed else "failed", detail=detail)
