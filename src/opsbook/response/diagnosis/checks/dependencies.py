"""What the service needs: whether it runs, and what fires there."""

from __future__ import annotations

from opsbook.response.diagnosis.checks.alerting import said
from opsbook.response.diagnosis.model import Check, Clue
from opsbook.response.diagnosis.plan import span
from opsbook.response.diagnosis.scene import Scene, concerns, in_order
from opsbook.response.diagnosis.words import counted

NAME, TITLE = "dependencies", "what it needs"


def key(environment: str, service: str) -> str:
    """What clues about a dependency have in common."""
    return f"dependency:{environment}/{service}"


def look(scene: Scene) -> Check:
    if not scene.depends_on:
        return Check(name=NAME, title=TITLE, state="skipped", text="the handbook names nothing that it needs")
    lines: list[str] = []
    clues: list[Clue] = []
    for service in scene.depends_on:
        found = [*_instances(scene, service), *_alerts(scene, service)]
        clues += found
        why = "; ".join(clue.why for clue in found)
        lines.append(f"{service}: {why or _well(scene, service)}")
    names = sorted({clue.subject.partition("/")[2] for clue in clues})
    if not clues:
        text = "; ".join(lines)
        return Check(name=NAME, title=TITLE, state="ok", text=text, lines=tuple(lines))
    down = any(clue.weight >= 0.8 for clue in clues)
    return Check(
        name=NAME,
        title=TITLE,
        state="failed" if down else "warning",
        text=f"not well: {', '.join(names)}",
        lines=tuple(lines),
        symptom=f"{', '.join(names)}, which {scene.service} needs, {'is' if len(names) == 1 else 'are'} not well",
        clues=tuple(clues),
    )


def _well(scene: Scene, service: str) -> str:
    """What is said of one that nothing speaks against: nobody can vouch for what opsbook does not run."""
    world = scene.site.instances
    return "well" if world is None or world.instances(scene.environment, service) else "not deployed here"


def _instances(scene: Scene, service: str) -> list[Clue]:
    world, records = scene.site.instances, scene.site.deployments
    if world is None:
        return []
    found = world.instances(scene.environment, service)
    alive = [one for one in found if one.alive]
    wanted = records.placement(scene.environment, service).replicas if records is not None else 0
    crashed = [one for one in found if one.recent_restarts and scene.now - one.recent_restarts[-1] < 600]
    if not (found or wanted):
        return []  # it was never deployed here: another environment's, or somebody else's
    if not alive:
        ends = [str(one.last_exit) for one in found if one.last_exit is not None]
        why = f"no instance runs{f', {ends[0]}' if ends else ''}"
        times = [one.last_exit.at for one in found if one.last_exit is not None]
        return [_clue(scene, service, f"{service} is down", why, 0.85, min(times, default=None))]
    if crashed:
        last = max(one.recent_restarts[-1] for one in crashed)
        why = f"{counted(len(crashed), 'instance')} crashed, last {span(max(0.0, scene.now - last))} ago"
        begun = min(one.recent_restarts[0] for one in crashed)
        return [_clue(scene, service, f"instances of {service} crash", why, 0.7, begun)]
    if len(alive) < wanted:
        why = f"{len(alive)} of {counted(wanted, 'instance')} run"
        return [_clue(scene, service, f"instances of {service} are missing", why, 0.4, None)]
    return []


def _alerts(scene: Scene, service: str) -> list[Clue]:
    mine = in_order(one for one in scene.alerts if concerns(one, scene.environment, service))
    return [
        _clue(
            scene,
            service,
            f"{service} is not well: {said(alert)}",
            f"{alert.name} fires for {span(max(0.0, scene.now - alert.starts_at))}",
            0.8 if alert.severity == "critical" else 0.45,
            alert.starts_at,
        )
        for alert in mine[:3]
    ]


def _clue(scene: Scene, service: str, text: str, why: str, weight: float, at: float | None) -> Clue:
    return Clue(
        key=key(scene.environment, service),
        kind="dependency",
        subject=f"{scene.environment}/{service}",
        text=text,
        why=why,
        weight=weight,
        at=at,
        lasting=True,
        command=f"opsbook diagnose {service} --in {scene.environment}",
    )
