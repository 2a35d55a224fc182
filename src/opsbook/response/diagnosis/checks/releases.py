"""What speaks for a deployment, and for the settings and secrets that came with it."""

from __future__ import annotations

from collections.abc import Mapping

from opsbook.deployment.model import Deployment, Outcome, Release
from opsbook.errors import NotFound
from opsbook.response.diagnosis.checks.dependencies import key as dependency_key
from opsbook.response.diagnosis.model import Clue
from opsbook.response.diagnosis.scene import DAY, Scene

LOOKED_AT = 30  # deployments of a service
LONGEST = DAY  # that one may have waited before it went live
_WEIGHTS = {"deploy": 0.95, "rollback": 0.5, "scale": 0.35, "restart": 0.25}
_TAKEN_BACK = 0.3
_OF_OTHERS = 0.6  # of what the same change of the service itself would weigh
_DONE = {
    "deploy": "went live",
    "rollback": "was gone back to",
    "scale": "was scaled",
    "restart": "was restarted",
}


def when(deployment: Deployment) -> float:
    """When it changed what serves, as far as is known."""
    serving = [one.at for one in deployment.transitions if one.phase in {"shifting", "promoting"}]
    return min(serving, default=deployment.started_at or deployment.requested_at)


def lately(scene: Scene, service: str) -> list[Deployment]:
    """The deployments of a service that changed what serves within a day, the newest first.

    They are found by their events: a journal of years has too many deployments to go through.
    """
    records = scene.site.deployments
    if records is None:
        return []
    asked = scene.site.journal.events(
        kinds=("deployment.requested",),
        subject=f"{scene.environment}/{service}",
        since=scene.now - LONGEST - DAY,
        limit=LOOKED_AT,
        newest=True,
    )
    found = []
    for name in dict.fromkeys(str(event.data.get("id")) for event in asked):
        try:
            deployment = records.deployment(name)
        except NotFound:
            continue  # let go since
        if scene.now - when(deployment) < DAY:
            found.append(deployment)
    return sorted(found, key=when, reverse=True)


def was_taken_back(deployment: Deployment) -> bool:
    """Whether its end was that it did not stay."""
    back = deployment.outcome in {Outcome.ROLLED_BACK, Outcome.ABORTED, Outcome.FAILED}
    return back or bool(deployment.reverted_by)


def clues_of(
    scene: Scene, deployment: Deployment, number: int | None, *, replaced: bool, over: bool = False
) -> list[Clue]:
    """Its clues. `replaced`: another release took its place before the trouble began; `over`: it was taken back."""
    mine = deployment.service == scene.service
    weight = _WEIGHTS[deployment.kind] * (1.0 if mine else _OF_OTHERS)
    back = was_taken_back(deployment)
    if replaced or over:
        weight *= _TAKEN_BACK
    release, before = (
        _release(scene, deployment, deployment.release),
        _release(scene, deployment, deployment.before.release),
    )
    who = deployment.requested_by + (" (opsbook itself)" if deployment.automatic else "")
    ended = "failed" if deployment.outcome is Outcome.FAILED else "taken back"
    what = f"{deployment.service} {deployment.version} {_DONE[deployment.kind]}"
    if deployment.kind == "scale":
        what = f"{deployment.service} was scaled from {deployment.before.replicas} to {deployment.replicas}"
        if mine and deployment.replicas < deployment.before.replicas:
            weight = max(weight, 0.6)
    elif deployment.outcome is None:
        what = f"{deployment.service} {deployment.version} is being brought ({deployment.phase})"
    elif back and not over and deployment.outcome is not Outcome.FAILED:
        what = f"{what}, and has been taken back since"
    elif back:
        what = f"{deployment.service} {deployment.version} was tried and {ended}"
    about = f"{what} ({deployment.id}, by {who}{_message(release)})"
    clues = [
        Clue(
            key=f"release:{deployment.release}"
            if deployment.kind == "deploy" and mine
            else f"deployment:{deployment.id}",
            kind="deployment" if deployment.kind in {"deploy", "rollback"} else "change",
            subject=deployment.subject,
            text=what,
            why=about,
            weight=weight,
            at=when(deployment),
            event=number,
            command=_way_back(scene, deployment) if mine and not (back or replaced) else "",
            runbooks=("failed-deployment",) if mine and deployment.kind == "deploy" else (),
        )
    ]
    if not mine:
        clues.append(clues[0].model_copy(update={
            "key": dependency_key(deployment.environment, deployment.service), "names": False, "weight": weight / 2,
        }))  # fmt: skip
    if release is not None and before is not None and deployment.kind == "deploy":
        clues += _differences(deployment, release, before, number, weight)
    return clues


def _way_back(scene: Scene, deployment: Deployment) -> str:
    if deployment.kind == "deploy" and not deployment.finished:
        return f"opsbook abort {deployment.id}"
    if (
        deployment.kind == "deploy"
        and deployment.before.release
        and deployment.before.release != deployment.release
    ):
        return f"opsbook rollback {deployment.service} --in {scene.environment}"
    if deployment.kind == "scale" and deployment.before.replicas > deployment.replicas:
        count = deployment.before.replicas
        return f"opsbook scale {deployment.service} --in {scene.environment} --replicas {count}"
    return ""


def _message(release: Release | None) -> str:
    if release is None or not release.commit:
        return ""
    said = f" “{release.message[:100]}”" if release.message else ""
    author = f" of {release.author}" if release.author else ""
    return f", commit {release.commit[:10]}{author}{said}"


def _release(scene: Scene, deployment: Deployment, name: str) -> Release | None:
    if not name or scene.site.deployments is None:
        return None
    try:
        return scene.site.deployments.release(deployment.environment, deployment.service, name)
    except NotFound:
        return None  # let go since


def _differences(
    deployment: Deployment, release: Release, before: Release, number: int | None, weight: float
) -> list[Clue]:
    """The settings and secrets that came with a release: they are what it may be that fails."""
    secrets = [
        name for name, version in release.secrets.items() if before.secrets.get(name) not in {None, version}
    ]
    new = [name for name in release.secrets if name not in before.secrets]
    settings = _changed(before.config, release.config)
    found = []
    for names, word, share in (
        (secrets, "the secret {} has another value", 0.5),
        (new, "the secret {} is new", 0.4),
    ):
        for name in names:
            what = word.format(name)
            found.append((f"secret:{name}", "secret", what, weight * share))
    if settings:
        shown = ", ".join(settings[:6]) + (f" and {len(settings) - 6} more" if len(settings) > 6 else "")
        found.append(
            (f"release:{release.id}", "deployment", f"settings changed with it: {shown}", weight * 0.2)
        )
    return [
        Clue(
            key=key,
            kind=kind,
            subject=deployment.subject,
            text=f"{text}, since {deployment.version}",
            why=text,
            weight=share,
            at=when(deployment),
            event=number,
            names=kind == "secret",
            runbooks=("compromised-credential",) if kind == "secret" else (),
        )
        for key, kind, text, share in found
    ]


def _changed(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """The names of settings that differ, those of the environment one by one. Values are nobody's business here."""
    names = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if name == "env" and isinstance(old, Mapping) and isinstance(new, Mapping):
            names += [f"env {one}" for one in sorted({*old, *new}) if old.get(one) != new.get(one)]
        else:
            names.append(name)
    return names
