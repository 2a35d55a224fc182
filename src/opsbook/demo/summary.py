"""The table at the end of the tour. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opsbook.demo.play import Play, Trial


def summary(play: Play, figures: Mapping[str, Any]) -> list[str]:
    """The lines of the table.

    Args:
        figures: the final report of the load generator.
    """
    width = max((len(scene.what) for scene in play.scenes), default=0)
    deployments = [
        f"  {scene.what.ljust(width)}  {scene.outcome}, {scene.seconds:.1f} s" for scene in play.scenes
    ]
    kinds = ", ".join(f"{kind['sent']:,} {name}" for name, kind in figures["kinds"].items())
    pages = figures["kinds"]["http"]["latency_ms"]
    rows = {
        "requests sent": f"{figures['sent']:,} ({kinds})",
        "failed": str(figures["failed"]),
        **{f"canary {trial.version}": _trial(trial) for trial in play.trials},
        "page latency": f"p50 {pages['p50']:.1f} ms, p99 {pages['p99']:.1f} ms, longest {pages['max']:.0f} ms",
        "switch to a new version": _milliseconds(play.switches),
        "roll back to the warm one": _milliseconds(
            [] if play.rollback_seconds is None else [play.rollback_seconds]
        )
        + " from the command to the last answer of the version left",
        "journal": f"chain {play.chain or 'not verified'}",
        "time": f"{play.narrator.elapsed:.0f} s",
    }
    label = max(map(len, rows))
    verdict = "Everything was as promised." if not play.broken else _broken(play.broken)
    return [
        "",
        "Deployments",
        *deployments,
        "",
        *(f"{name.ljust(label)}  {value}" for name, value in rows.items()),
        "",
        verdict,
    ]


def _trial(trial: Trial) -> str:
    hurt = f"{trial.hurt} of the {trial.answered} requests it got were {trial.how}"
    return f"{hurt}, " + ("promoted" if trial.seconds is None else f"weight 0 after {trial.seconds:.1f} s")


def _milliseconds(seconds: list[float]) -> str:
    return " and ".join(f"{one * 1000:.0f} ms" for one in seconds) or "not measured"


def _broken(count: int) -> str:
    return "One promise was broken." if count == 1 else f"{count} promises were broken."
