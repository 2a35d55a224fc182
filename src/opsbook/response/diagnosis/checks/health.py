"""Whether the instances run and answer, and how those that died ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from opsbook.deployment.model import Outcome
from opsbook.errors import OpsbookError
from opsbook.response.diagnosis.checks.releases import lately
from opsbook.response.diagnosis.model import Check, Clue, State
from opsbook.response.diagnosis.plan import span
from opsbook.response.diagnosis.ports import Instances
from opsbook.response.diagnosis.scene import Scene
from opsbook.response.diagnosis.words import counted
from opsbook.world.words import Instance, InstanceState, Probe

NAME, TITLE = "health", "health now"
PROBED = 16  # instances at most
AT_ONCE = 8
LEAVING = frozenset({InstanceState.STOPPING, InstanceState.STOPPED})  # because somebody wants it
YOUNG = 60.0  # seconds in which one may still be starting
LATELY = 600.0  # seconds: restarts within them count
TAIL = 5  # lines that an instance wrote last


def look(scene: Scene) -> Check:
    world = scene.site.instances
    if world is None:
        return Check(name=NAME, title=TITLE, state="skipped", text="nobody knows which instances run")
    every = sorted(world.instances(scene.environment, scene.service), key=lambda one: one.id)
    found = [one for one in every if one.state not in LEAVING]
    wanted = _wanted(scene)
    if not found:
        return _none(scene, wanted)
    probes = _probes(world, [one for one in found if one.alive][:PROBED])
    proxied = _proxied(scene)
    faults = {one.id: _fault(one, probes.get(one.id), proxied, scene.now) for one in found}
    bad = [one for one in found if faults[one.id]]
    dead = [one for one in bad if not one.alive or not _answers(probes.get(one.id))]
    lines: list[str] = []
    for one in bad:
        lines.append(f"{one.id} ({one.version}): {faults[one.id]}")
        lines += [f"  {text}" for text in _tail(world, one)]
    missing = max(0, wanted - len(found))
    state: State = "failed" if len(dead) == len(found) else "warning" if bad or missing else "ok"
    good = len(found) - len(bad)
    text = f"{good} of {counted(max(wanted, len(found)), 'instance')} well"
    return Check(
        name=NAME,
        title=TITLE,
        state=state,
        text=text,
        lines=tuple(lines),
        symptom=_symptom(scene, state, bad, len(found), faults),
        runbooks=("service-down", "crash-loop") if state == "failed" else ("instance-down", "service-down"),
        since=min((at for one in bad if (at := _since(one, scene.now)) is not None), default=None),
        clues=tuple(_clues(scene, found, bad)),
    )


def _symptom(
    scene: Scene, state: State, bad: Sequence[Instance], all_: int, faults: Mapping[str, str]
) -> str:
    if state == "ok" or not bad:
        return ""
    who = (
        f"no instance of {scene.service}"
        if len(bad) == all_
        else f"{len(bad)} of {all_} instances of {scene.service}"
    )
    verb = "is well" if len(bad) == all_ else "is not well" if len(bad) == 1 else "are not well"
    return f"{who} in {scene.environment} {verb}: {faults[bad[0].id]}"


def _wanted(scene: Scene) -> int:
    records = scene.site.deployments
    return 0 if records is None else records.placement(scene.environment, scene.service).replicas


def _none(scene: Scene, wanted: int) -> Check:
    last = next(iter(lately(scene, scene.service)), None)
    if not wanted and last is not None and last.outcome is Outcome.FAILED:
        text = f"nothing runs: {last.id} of {last.version} failed: {last.reason}"
        symptom = (
            f"nothing of {scene.service} runs in {scene.environment}: {last.id} of {last.version} failed"
        )
        return Check(
            name=NAME,
            title=TITLE,
            state="failed",
            text=text,
            lines=last.log_tail[-TAIL:],
            symptom=symptom,
            runbooks=("failed-deployment", "service-down"),
        )
    if not wanted:
        text = f"{scene.service} is not deployed in {scene.environment}"
        return Check(name=NAME, title=TITLE, state="unknown", text=text)
    text = f"no instance runs, {wanted} should"
    symptom = f"no instance of {scene.service} runs in {scene.environment}"
    return Check(
        name=NAME, title=TITLE, state="failed", text=text, symptom=symptom, runbooks=("service-down",)
    )


def _probes(world: Instances, asked: Sequence[Instance]) -> dict[str, Probe]:
    if not asked:
        return {}

    def probe(one: Instance) -> Probe:
        try:
            return world.probe(one.id)
        except OpsbookError as error:  # it ended just now
            return Probe(False, str(error), 0.0)

    with ThreadPoolExecutor(min(AT_ONCE, len(asked)), thread_name_prefix="diagnosis-probe") as pool:
        return dict(zip((one.id for one in asked), pool.map(probe, asked), strict=True))


def _answers(probe: Probe | None) -> bool:
    return probe is None or probe.healthy


def _proxied(scene: Scene) -> Mapping[str, bool]:
    """By address, whether the proxy would send it requests."""
    if scene.site.traffic is None:
        return {}
    backends = scene.site.traffic().backends.values()
    return {str(one.address): one.healthy for backend in backends for one in backend.endpoints}


def _fault(one: Instance, probe: Probe | None, proxied: Mapping[str, bool], now: float) -> str:
    """What is wrong with an instance; empty when nothing is."""
    crashes = [at for at in one.recent_restarts if now - at < LATELY]
    again = f", started again {counted(len(crashes), 'time')} in {span(LATELY)}" if crashes else ""
    ended = str(one.last_exit) if one.last_exit is not None else ""
    if one.state is InstanceState.STARTING and not crashes and now - one.created_at < YOUNG:
        return ""
    if not one.alive:
        return f"{one.state}{f', {ended}' if ended else ''}{again}"
    if probe is not None and not probe.healthy:
        return f"{probe.detail}{again}"
    if crashes:
        return f"runs now{again}{f', {ended}' if ended else ''}"
    if one.address is not None and proxied.get(str(one.address)) is False:
        return "answers here, but the proxy counts it as down"
    return ""


def _since(one: Instance, now: float) -> float | None:
    crashes = [at for at in one.recent_restarts if now - at < LATELY]
    if crashes:
        return min(crashes)
    return one.last_exit.at if one.last_exit is not None and not one.alive else None


def _tail(world: Instances, one: Instance) -> Sequence[str]:
    try:
        return world.log_tail(one.id, TAIL)
    except OpsbookError:
        return ()  # it never wrote anything


def _clues(scene: Scene, found: Sequence[Instance], bad: Sequence[Instance]) -> list[Clue]:
    subject = f"{scene.environment}/{scene.service}"
    clues: list[Clue] = []
    starved = [one for one in bad if one.last_exit is not None and "memory limit" in one.last_exit.reason]
    if starved:
        exit_ = starved[0].last_exit
        clues.append(
            Clue(
                key="saturation:memory",
                kind="saturation",
                subject=subject,
                text=f"{scene.service} runs out of memory",
                why=f"{counted(len(starved), 'instance')} ended: {exit_}",
                weight=0.75,
                runbooks=("high-memory", "high-memory-usage"),
            )
        )
    releases = {one.release for one in bad}
    if len(releases) == 1 and (release := next(iter(releases))):
        well = {one.release for one in found} - releases
        clues.append(
            Clue(
                key=f"release:{release}",
                kind="deployment",
                subject=subject,
                text=f"the release {release} is broken",
                why=f"only instances of {bad[0].version} are not well"
                if well
                else f"instances of {bad[0].version} are not well",
                weight=0.6 if well else 0.2,
                names=False,
            )
        )
    return clues
