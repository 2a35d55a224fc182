"""Errors, response times and load, now beside an hour and a day ago."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opsbook.response.diagnosis.model import Check, Clue, State
from opsbook.response.diagnosis.scene import DAY, HOUR, Scene
from opsbook.response.diagnosis.words import milliseconds, percent, rate

NAME, TITLE = "traffic", "requests, errors, times"
OVER = "10m"  # what an hour and a day ago is averaged over
TOO_MANY = 0.01  # errors, as the alert HighErrorRate has it
ENOUGH = 20  # requests a minute: ratios of fewer say nothing
WORSE = 3.0  # times an hour ago
SLOWER = 2.0
LEAST_SLOWER = 0.1  # seconds
BUSIER = 2.0
FELL = 0.2
STEP = 15.0


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure now, an hour and a day ago; None where nothing was measured."""

    now: float | None
    hour: float | None
    day: float | None

    @property
    def usual(self) -> float | None:
        """The larger of what it was: a nightly peak is no surprise where there was one yesterday."""
        return max((one for one in (self.hour, self.day) if one is not None), default=None)


def look(scene: Scene) -> Check:
    if scene.site.queries is None:
        return Check(name=NAME, title=TITLE, state="skipped", text="there is nobody to ask for metrics")
    errors, slow, load = (
        _compared(scene, name) for name in ("error_rate", "response_time_p95", "throughput")
    )
    if load.now is None and load.hour is None:
        return Check(name=NAME, title=TITLE, state="skipped", text="no requests were measured")
    lines = [
        _line("errors", errors, percent),
        _line("95 % within", slow, milliseconds),
        _line("requests", load, rate),
    ]
    enough = (scene.number(f"opsbook:request_count{{{scene.only}}}") or 0.0) >= ENOUGH
    state: State = "ok"
    symptom, since = "", None
    where = f"{scene.service} in {scene.environment}"
    if enough and errors.now is not None and errors.now > max(TOO_MANY, WORSE * (errors.usual or 0.0)):
        state, symptom = (
            "failed",
            f"{where} fails {percent(errors.now)} of its requests{_was(errors, percent)}",
        )
        since = _since(scene, "error_rate", max(TOO_MANY, (errors.usual or 0.0) * WORSE))
    elif enough and _is_slower(slow):
        state, symptom = (
            "warning",
            f"{where} answers 95 % within {milliseconds(slow.now or 0)}{_was(slow, milliseconds)}",
        )
        since = _since(scene, "response_time_p95", max(SLOWER * (slow.usual or 0.0), LEAST_SLOWER))
    elif (
        load.usual is not None
        and load.usual > 1
        and (load.now or 0.0) < FELL * min(one for one in (load.hour, load.day) if one is not None)
    ):
        state, symptom = "warning", f"hardly any requests come to {where}{_was(load, rate)}"
    return Check(
        name=NAME,
        title=TITLE,
        state=state,
        text=", ".join(lines[:2]) if load.now else "no requests now",
        lines=tuple(lines),
        symptom=symptom,
        since=since,
        runbooks=("high-error-rate", "slow-api") if state == "failed" else ("slow-api", "high-response-time"),
        clues=(*_load(scene, load), *_releases(scene)) if state != "ok" else (),
    )


def _compared(scene: Scene, name: str) -> Compared:
    series = f"opsbook:{name}{{{scene.only}}}"
    before = f"avg_over_time({series}[{OVER}])"
    return Compared(scene.number(series), scene.number(before, ago=HOUR), scene.number(before, ago=DAY))


def _line(what: str, figure: Compared, word: Callable[[float], str]) -> str:
    said = [f"{what} {_said(figure.now, word)}"]
    if figure.hour is not None:
        said.append(f"1 h ago {_said(figure.hour, word)}")
    if figure.day is not None:
        said.append(f"1 d ago {_said(figure.day, word)}")
    return " · ".join(said)


def _said(value: float | None, word: Callable[[float], str]) -> str:
    return "–" if value is None else word(value)


def _was(figure: Compared, word: Callable[[float], str]) -> str:
    before = figure.hour if figure.hour is not None else figure.day
    when = "an hour" if figure.hour is not None else "a day"
    return "" if before is None else f", {_said(before, word)} {when} ago"


def _is_slower(figure: Compared) -> bool:
    return (
        figure.now is not None
        and figure.usual is not None
        and figure.now > SLOWER * figure.usual
        and figure.now - figure.usual > LEAST_SLOWER
    )


def _since(scene: Scene, name: str, limit: float) -> float | None:
    """When the figure rose above `limit` and stayed there, within the last hour."""
    begun = None
    for at, value in reversed(scene.line(f"opsbook:{name}{{{scene.only}}}", back=HOUR, step=STEP)):
        if value <= limit:
            break
        begun = at
    return begun


def _load(scene: Scene, load: Compared) -> list[Clue]:
    if load.now is None or load.usual is None or load.now < max(1.0, BUSIER * load.usual):
        return []
    return [
        Clue(
            key="load",
            kind="load",
            subject=f"{scene.environment}/{scene.service}",
            text=f"{load.now / load.usual:.1f} times the usual requests come to {scene.service}",
            why=f"{rate(load.now)} now{_was(load, rate)}",
            weight=0.55,
            command=f"opsbook scale {scene.service} --in {scene.environment} --replicas ...",
        )
    ]


def _releases(scene: Scene) -> list[Clue]:
    """Whether one release fails and others do not."""
    only = f"{scene.only},response_code_class"
    counts = f"sum by (release) (rate(envoy_cluster_upstream_rq_xx{{{scene.only}}}[1m]))"
    failed = f'sum by (release) (rate(envoy_cluster_upstream_rq_xx{{{only}="5"}}[1m]))'
    shares = {
        labels.get("release", ""): value for labels, value in scene.numbers(f"{failed} / ({counts} > 0)")
    }
    if len(shares) < 2:
        return []
    worst = max(shares, key=lambda release: shares[release])
    others = max(value for release, value in shares.items() if release != worst)
    if shares[worst] < TOO_MANY or shares[worst] < WORSE * others:
        return []
    return [
        Clue(
            key=f"release:{worst}",
            kind="deployment",
            subject=f"{scene.environment}/{scene.service}",
            text=f"the release {worst} fails",
            why=f"it fails {percent(shares[worst])} of its requests, the others {percent(others)}",
            weight=0.7,
            names=False,
        )
    ]
