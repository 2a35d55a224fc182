"""What was changed lately: releases of the service and of what it needs, settings, secrets, scaling, runbooks."""

from __future__ import annotations

import math
from collections.abc import Mapping

from opsbook.deployment.model import Deployment, Outcome
from opsbook.journal import Event
from opsbook.response.diagnosis.checks.releases import clues_of, lately, was_taken_back, when
from opsbook.response.diagnosis.model import Check, Clue
from opsbook.response.diagnosis.plan import AFTERWARDS, span
from opsbook.response.diagnosis.scene import DAY, Scene

NAME, TITLE = "changes", "what was changed"
EVENTS = 200
WRITTEN = 5.0  # seconds within which the handbook is read again after opsbook itself wrote a version into it


def look(scene: Scene) -> Check:
    if scene.site.deployments is None:
        return Check(name=NAME, title=TITLE, state="skipped", text="nobody knows what was deployed")
    clues: list[Clue] = []
    begun = min((alert.starts_at for alert in scene.own_alerts), default=scene.now)
    for service in (scene.service, *scene.depends_on) if scene.service else ():
        numbers = _numbers(scene, f"{scene.environment}/{service}")
        replaced = False
        known = lately(scene, service)
        times = {one.id: when(one) for one in known}
        for deployment in known:
            if deployment.kind == "rollback" and deployment.requested_at >= begun:
                continue  # what was done about it
            over = _gone_at(deployment, times) < begun
            clues += clues_of(
                scene, deployment, numbers.get(deployment.id), replaced=replaced or over, over=over
            )
            live = deployment.kind in {"deploy", "rollback"} and deployment.outcome is Outcome.SUCCEEDED
            replaced = replaced or (live and not over and when(deployment) <= begun + AFTERWARDS)
    clues += _events(scene)
    clues.sort(key=lambda clue: -(clue.at or 0.0))
    named = [clue for clue in clues if clue.names]
    told = [clue for clue in clues if clue.names or clue.key.startswith("release:")]
    lines = tuple(f"{span(max(0.0, scene.now - (clue.at or scene.now)))} ago: {clue.why}" for clue in told)
    own = [clue for clue in named if clue.subject == f"{scene.environment}/{scene.service}"]
    text = lines[0] if lines else "nothing within a day"
    if own and named[0] is not own[0]:
        text = f"{text}; {span(max(0.0, scene.now - (own[0].at or scene.now)))} ago: {own[0].why}"
    return Check(name=NAME, title=TITLE, state="ok", text=text, lines=lines, clues=tuple(clues))


def _gone_at(deployment: Deployment, times: Mapping[str, float]) -> float:
    """When it was taken back; never: infinity."""
    if deployment.reverted_by:
        return times.get(deployment.reverted_by, 0.0)
    return deployment.finished_at or math.inf if was_taken_back(deployment) else math.inf


def _numbers(scene: Scene, subject: str) -> Mapping[str, int]:
    """The newest event of each deployment."""
    found = scene.site.journal.events(
        kinds=("deployment.succeeded", "deployment.rolled_back", "deployment.aborted", "deployment.failed",
               "deployment.requested"),
        subject=subject, since=scene.now - DAY, limit=EVENTS, newest=True,
    )  # fmt: skip
    numbers: dict[str, int] = {}
    for event in found:
        numbers.setdefault(str(event.data.get("id")), event.id)
    return numbers


# --- what the journal knows beside deployments


def _events(scene: Scene) -> list[Clue]:
    journal, since = scene.site.journal, scene.now - DAY
    found: list[Clue] = []
    written = journal.events(kinds=("book.version_written",), since=since, limit=EVENTS, newest=True)
    ours = {str(event.data.get("commit")) for event in written} - {"", "None"}
    for event in journal.events(kinds=("book.changed",), since=since, limit=EVENTS, newest=True):
        by_us = str(event.data.get("commit")) in ours or any(
            0 <= event.at - one.at < WRITTEN for one in written
        )
        if scene.service in (event.data.get("services") or ()) and not by_us:
            commit = str(event.data.get("commit") or "")[:10]
            text = f"the handbook says something else of {scene.service}"
            why = f"{text}{f', since commit {commit}' if commit else ''}"
            found.append(_of(event, "change", f"{scene.environment}/{scene.service}", text, why, 0.3))
    for event in journal.events(
        kinds=("traffic.proxy", "traffic.refused"), since=since, limit=20, newest=True
    ):
        said = str(event.data.get("message") or event.data.get("reason") or "")
        found.append(_of(event, "change", "proxy", f"the proxy: {said}", f"the proxy: {said}", 0.4))
    subject = f"{scene.environment}/{scene.service}"
    for event in journal.events(
        kinds=("runbook.started",), subject=subject, since=since, limit=50, newest=True
    ):
        if event.actor != scene.actor and not event.data.get("looking"):
            text = f"{event.actor} ran the page {event.data.get('page')}"
            found.append(
                _of(event, "change", subject or event.subject, text, f"{text} ({event.data.get('id')})", 0.25)
            )
    return found


def _of(event: Event, kind: str, subject: str, text: str, why: str, weight: float) -> Clue:
    return Clue(
        key=f"event:{event.id}", kind=kind, subject=subject, text=text, why=why, weight=weight, at=event.at,
        event=event.id,
    )  # fmt: skip
