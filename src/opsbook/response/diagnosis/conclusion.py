"""From the checks to the diagnosis, and who stands beside the service. Pure."""

from __future__ import annotations

from opsbook.book import Book
from opsbook.monitoring.alerting.model import Alert
from opsbook.response.diagnosis.model import Check, Diagnosis, plain
from opsbook.response.diagnosis.plan import next_step, outcome, pages, pages_of
from opsbook.response.diagnosis.scene import Scene


def concluded(name: str, at: float, scene: Scene, checks: tuple[Check, ...], version: str) -> Diagnosis:
    """What the checks come to: the diagnosis `name`, begun at `at`."""
    found = outcome(scene.environment, scene.service, checks, scene.now)
    alerts = (*scene.own_alerts, *scene.host_alerts)
    about = pages(scene.book, scene.environment, scene.service, alerts, found.suspects, checks)
    first = next((page for page in about if page.name in scene.book.runbooks), None)
    page = scene.book.runbooks[first.name] if first is not None else None
    leading: Alert | None = pages_of(scene.book, alerts).get(first.name) if first is not None else None
    return Diagnosis(
        id=name,
        environment=scene.environment,
        service=scene.service,
        version=version,
        incident=scene.incident,
        alert=plain(scene.alert),
        actor=scene.actor,
        at=at,
        state=found.state,
        symptom=found.symptom,
        since=found.since,
        checks=checks,
        suspects=found.suspects,
        runbook=first,
        further=tuple(one for one in about if one is not first),
        next=next_step(
            found,
            scene.environment,
            scene.service,
            page=page,
            labels=leading.labels if leading is not None else {},
        ),
        affected=scene.affected,
        runs=tuple(run for check in checks for run in check.runs),
    )


def neighbours(book: Book, environment: str, service: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the service needs, directly or by others, and what needs it; of those that are in the environment."""
    placed = book.effective_services(environment)
    needs: dict[str, None] = {}
    waiting = list(placed[service].depends_on) if service in placed else []
    while waiting:
        name = waiting.pop(0)
        if name in placed and name != service and name not in needs:
            needs[name] = None
            waiting += placed[name].depends_on
    affected: dict[str, None] = {}
    waiting = [service]
    while waiting:
        wanted = waiting.pop(0)
        for name, one in placed.items():
            if wanted in one.depends_on and name != service and name not in affected:
                affected[name] = None
                waiting.append(name)
    return tuple(needs), tuple(affected)
