"""The diagnose blocks of the pages that firing alerts name: run at once, for they change nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opsbook.errors import OpsbookError
from opsbook.monitoring.alerting.model import Alert
from opsbook.response.diagnosis.model import Check
from opsbook.response.diagnosis.plan import lacking, pages_of, parameters, span
from opsbook.response.diagnosis.ports import Runbooks
from opsbook.response.diagnosis.scene import Scene
from opsbook.response.diagnosis.words import counted

NAME, TITLE = "runbooks", "the pages' own looks"
PAGES = 3
POLL = 0.03
OUTPUT = 12  # lines of each block
_STATES = {"ok": "ok", "failed": "failed", "unknown": "unknown", "skipped": "skipped", "started": "running"}


def look(scene: Scene) -> Check:
    runbooks = scene.site.runbooks
    if runbooks is None or not scene.run_pages:
        why = "asked without them" if runbooks is not None else "nobody runs runbooks here"
        return Check(name=NAME, title=TITLE, state="skipped", text=why)
    found = pages_of(scene.book, (*scene.own_alerts, *scene.host_alerts))
    named = {name: alert for name, alert in found.items() if scene.book.runbooks[name].of_role("diagnose")}
    if not named:
        text = "no page with diagnose blocks is named by what fires"
        return Check(name=NAME, title=TITLE, state="skipped", text=text)
    lines: list[str] = []
    runs: dict[str, str] = {}
    for name, alert in list(named.items())[:PAGES]:
        try:
            runs[name] = _start(scene, runbooks, name, alert)
        except OpsbookError as error:
            lines.append(f"{name}: not run: {error.message}")
    views = _ended(scene, runbooks, tuple(runs.values()))
    failed = 0
    for name, run in runs.items():
        view = views[run]
        if view.get("state") != "ended":
            lines.append(f"{name}: goes on: opsbook runs show {run}")
        for step in view.get("steps", ()):
            failed += step["state"] == "failed"
            lines += _step(name, step)
    text = f"{counted(len(runs), 'page')} run: {', '.join(runs)}" if runs else lines[0]
    return Check(
        name=NAME,
        title=TITLE,
        state="unknown" if not runs else "warning" if failed else "ok",
        text=f"{text}{f', {failed} failed' if failed else ''}",
        lines=tuple(lines),
        runs=tuple(runs.values()),
    )


def _start(scene: Scene, runbooks: Runbooks, name: str, alert: Alert) -> str:
    page = scene.book.runbooks[name]
    given = parameters(page, scene.environment, scene.service, alert.labels)
    if missing := lacking(page, given):
        raise OpsbookError(f"it must be told {', '.join(missing)}, which the alert does not say")
    run, _ = runbooks.run(name, given, scene.actor, alert=alert.name, incident=scene.incident, looking=True)
    return run.id


def _ended(scene: Scene, runbooks: Runbooks, names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """The runs once all have ended, or as they are when the time is up."""
    while True:
        views = {name: runbooks.view(name, output=True) for name in names}
        if scene.stop() or all(view.get("state") == "ended" for view in views.values()):
            return views
        scene.site.clock.sleep(POLL)


def _step(page: str, step: Mapping[str, Any]) -> list[str]:
    output = step.get("output") or {}
    state = _STATES.get(str(step["state"]), str(step["state"]))
    head = f"{page} · {step['step']}: {state} in {span(float(step['seconds']))}"
    if step.get("reason"):
        head = f"{head}, {step['reason']}"
    said = [] if output.get("sensitive") else str(output.get("text") or "").splitlines()
    left = f"  … {len(said) - OUTPUT} lines more" if len(said) > OUTPUT else ""
    return [head, *(f"  {line}" for line in said[:OUTPUT]), *([left] if left else [])]
