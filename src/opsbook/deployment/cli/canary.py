"""A canary under way as a live tree: where it stands, which side has which requests, what is waited for. Pure.

It is read from what the API says of a deployment; what an older server does not say is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opsbook.deployment.cli import words
from opsbook.deployment.cli.words import Deployment
from opsbook.terminal import Style, clock, count, duration, share, table, width

# What a verdict of the analysis is called, and its symbol of `opsbook.terminal.SYMBOLS`.
VERDICTS = {
    "pass": ("ok", "keeps its rules"),
    "fail": ("failed", "fails its rules"),
    "inconclusive": ("running", "undecided"),
    "no_data": ("waiting", "no data"),
    "error": ("warning", "cannot be judged"),
}
GATES = {"open": "ok", "waiting": "waiting", "refused": "failed"}
HEADLINES = 2


def is_canary(deployment: Deployment) -> bool:
    """Whether it has steps to be watched at; a first deployment and a roll back have none."""
    return deployment.get("strategy_type") == "canary" and int(deployment.get("steps_total") or 1) > 1


def verdict(deployment: Deployment) -> str:
    """The analysis' verdict now; empty when nothing is judged."""
    return str((deployment.get("analysis") or {}).get("verdict") or "")


def percent(deployment: Deployment, role: str, version: str) -> int | None:
    """The share of the requests of one side; None when it is not told."""
    weights: Mapping[str, int] = deployment.get("weights") or {}
    return weights.get(f"{version} {role}", weights.get(version))


def headline(deployment: Deployment, points: Sequence[Mapping[str, Any]], style: Style) -> list[str]:
    """What is going on and for how long already, then the evidence: always two lines."""
    step = (deployment.get("steps") or [{}])[-1]
    state = str(step.get("status") or "running")
    state = state if state in {"ok", "failed", "running", "waiting"} else "running"
    if deployment.get("phase") != "analysing":
        name = style.paint(str(step.get("name") or words.state_of(deployment)[1]), "bold")
        return [f"{style.symbol(state)} {name}  {step.get('detail') or ''}".rstrip(), ""]
    judged = verdict(deployment)
    symbol, word = VERDICTS.get(judged, ("running", ""))
    weight = percent(deployment, "canary", str(deployment.get("version")))
    parts = [
        style.paint("analyse" if weight is None else f"analyse {weight} %", "bold"),
        style.paint(word, {"ok": "green", "failed": "red"}.get(symbol, "yellow")) if word else "",
        _held(deployment, float(step.get("seconds") or 0)),
        f"step {int(deployment.get('step') or 0) + 1} of {deployment.get('steps_total')}",
    ]
    return [
        f"{style.symbol('failed' if judged == 'fail' else 'running')} {' · '.join(p for p in parts if p)}",
        f"  {evidence(deployment, points)}".rstrip(),
    ]


def _held(deployment: Deployment, seconds: float) -> str:
    """``4:12 of 30:00 at this weight``; beyond its hold, a step waits for a verdict."""
    wanted = float(deployment.get("hold_seconds") or 0)
    return f"{clock(seconds)}{f' of {clock(wanted)}' if wanted else ''} at this weight"


def evidence(deployment: Deployment, points: Sequence[Mapping[str, Any]]) -> str:
    """``errors 0.2 % of 1,204 against 0.1 % of 10,911``; the judge's own reason where that says more."""
    reason = str((deployment.get("analysis") or {}).get("reason") or "")
    if not points or verdict(deployment) in {"fail", "error", "no_data"}:
        return reason
    last = points[-1]
    canary, stable = _errors(last.get("canary")), _errors(last.get("stable"))
    if not canary:
        return reason
    return f"errors {canary}" + (f" against {stable}" if stable else "")


def _errors(side: Mapping[str, Any] | None) -> str:
    if not side or side.get("rate") is None:
        return ""
    return f"{share(float(side['rate']))} of {int(side.get('requests') or 0):,}"


def tree(deployment: Deployment, style: Style, columns: int) -> list[str]:
    """A branch a side, one a gate that is not open, and one for what is waited for."""
    sides = _sides(deployment)
    rows = table(
        [[style.paint(v, "bold"), *texts] for v, *texts in (_side(deployment, *s, style) for s in sides)]
    )
    branches = [
        f"{row}  {_members(members, style, columns - width(row) - 5)}"
        for row, (_, _, members) in zip(rows, sides, strict=True)
    ]
    branches += gates(deployment, style)
    if waiting := str(deployment.get("waiting_for") or ""):
        branches.append(f"{style.paint('waits for', 'dim')} {waiting}")
    tee, corner = ("├─", "└─") if style.unicode else ("|-", "`-")
    return [
        f"{style.paint(corner if number == len(branches) else tee, 'dim')} {branch}"
        for number, branch in enumerate(branches, start=1)
    ]


def gates(deployment: Deployment, style: Style) -> list[str]:
    """``gate approval ◷ waiting  by team-shop (ben, carla)``; those that are open need no line."""
    lines = []
    for gate in deployment.get("gates") or []:
        status = str(gate.get("status"))
        if status != "open":
            until = f" until {gate['until']}" if gate.get("until") else ""
            detail = f"  {gate.get('detail') or ''}{until}".rstrip()
            lines.append(
                f"gate {gate.get('name')} {style.state(GATES.get(status, 'warning'), status)}{detail}"
            )
    return lines


_Members = list[Mapping[str, Any]]


def _sides(deployment: Deployment) -> list[tuple[str, str, _Members]]:
    """Version, role and instances, in the order in which the API tells them."""
    sides: dict[tuple[str, str], _Members] = {}
    for member in deployment.get("members") or []:
        key = (str(member.get("version") or "?"), str(member.get("role") or ""))
        sides.setdefault(key, []).append(member)
    return [(version, role, members) for (version, role), members in sides.items()]


def _side(
    deployment: Deployment, version: str, role: str, members: _Members, style: Style
) -> tuple[str, str, str, str]:
    weight = percent(deployment, role, version)
    called = role if is_canary(deployment) else {"canary": "new", "stable": "old"}.get(role, role)
    healthy = sum(1 for member in members if member.get("healthy"))
    colour = "green" if healthy == len(members) else "yellow"
    return (
        version,
        called,
        "" if weight is None else f"{weight:>3} %",
        style.paint(f"{healthy}/{len(members)} healthy", colour),
    )


def _members(members: _Members, style: Style, room: int) -> str:
    """``web-production-d91-1 ✔  -2 ✔  -3 ✔``; those in trouble first where not all fit."""
    stem = str(members[0].get("instance")).rpartition("-")[0]

    def told(member: Mapping[str, Any], *, whole: bool) -> str:
        name = str(member.get("instance"))
        short = name.removeprefix(stem) if stem and name.startswith(f"{stem}-") else name
        return f"{name if whole else short} {_health(member, style)}"

    for first_whole in (True, False):
        texts = [told(m, whole=first_whole and n == 0) for n, m in enumerate(members)]
        if sum(width(text) + 2 for text in texts) - 2 <= room:
            return "  ".join(texts)
    shown: list[str] = []
    left = room - len(f"+{len(members)}")
    for member in sorted(members, key=lambda member: _health_state(member) == "ok"):
        text = told(member, whole=False)
        if width(text) + 2 > left:
            break
        shown.append(text)
        left -= width(text) + 2
    return "  ".join([*shown, f"+{len(members) - len(shown)}"]) if room > 0 else ""


def _health(member: Mapping[str, Any], style: Style) -> str:
    state = _health_state(member)
    return style.symbol(state) if state == "ok" else style.state(state, _health_word(member))


def _health_state(member: Mapping[str, Any]) -> str:
    state = member.get("state")
    if state in {"draining", "stopping"}:
        return "paused"
    if member.get("healthy"):
        return "ok"
    return "failed" if state in {"failed", "backoff", "stopped", "missing"} else "running"


def _health_word(member: Mapping[str, Any]) -> str:
    state = str(member.get("state") or "")
    return "unhealthy" if state == "running" else state


def ended(deployment: Deployment, style: Style, columns: int) -> str:
    """The steps that are over, on one line; the earliest are left out where there is no room."""
    texts = [
        f"{style.symbol('ok' if step.get('status') == 'ok' else 'failed')} {step['name']}"
        f" {style.paint(duration(float(step.get('seconds') or 0)), 'dim')}"
        for step in (deployment.get("steps") or [])[:-1]
    ]
    kept: list[str] = []
    room = columns - 3
    for text in reversed(texts):
        if width(text) + 2 > room:
            return "  ".join(["…" if style.unicode else "...", *kept])
        room -= width(text) + 2
        kept.insert(0, text)
    return "  ".join(kept)


def verdict_line(deployment: Deployment, style: Style) -> str:
    """The verdict as a line that stands alone in a log."""
    symbol, word = VERDICTS.get(verdict(deployment), ("warning", verdict(deployment)))
    weight = percent(deployment, "canary", str(deployment.get("version")))
    at = "" if weight is None else f" at {weight} %"
    reason = str((deployment.get("analysis") or {}).get("reason") or "")
    return f"{style.symbol(symbol)} {symbol:<8}  verdict{at}  {word}" + (f"  {reason}" if reason else "")


def traffic_line(deployment: Deployment, style: Style) -> str:
    """Who has which share of the requests, as a line that stands alone in a log; empty while it is not split."""
    weights: Mapping[str, int] = deployment.get("weights") or {}
    shares = [f"{version} {weight} %" for version, weight in weights.items() if weight]
    return f"{style.symbol('running')} running   traffic  {' · '.join(shares)}" if len(shares) > 1 else ""


def rules(analysis: Mapping[str, Any], style: Style) -> list[str]:
    """What each rule said last: value, threshold, samples, and why."""
    found = analysis.get("rules") or []
    if not found:
        return []
    heading = [style.paint(w, "dim") for w in ("RULE", "VERDICT", "VALUE", "THRESHOLD", "SAMPLES", "WHY")]
    rows = []
    for rule in found:
        name = str(rule.get("name"))
        said = str(rule.get("verdict"))
        samples = rule.get("samples")
        rows.append(
            [
                name,
                style.state(VERDICTS.get(said, ("warning", ""))[0], said.replace("_", " ")),
                measured(name, rule.get("value")),
                measured(name, rule.get("threshold")),
                "-" if samples is None else f"{int(samples):,}",
                str(rule.get("detail") or ""),
            ]
        )
    return table([heading, *rows], right=(2, 3, 4))


def measured(rule: str, value: float | None) -> str:
    """A value in the unit of the rule's metric, with which its name begins."""
    if value is None:
        return "-"
    metric = rule.split(maxsplit=1)[0]
    if metric in {"error_rate", "availability", "cpu_usage", "memory_usage"}:
        return share(value)
    if metric.startswith("response_time"):
        return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
    return f"{value:,.6g}"


def summary(points: Sequence[Mapping[str, Any]]) -> str:
    """What the judgement rests on: ``1,204 requests to the canary, 12 errors``."""
    canary = (points[-1].get("canary") or {}) if points else {}
    if not canary:
        return ""
    requests, errors = int(canary.get("requests") or 0), int(canary.get("errors") or 0)
    return f"{count(requests, 'request')} to the canary at its last step, {count(errors, 'error')}"
