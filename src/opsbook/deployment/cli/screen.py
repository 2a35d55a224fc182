"""Deployments under way, redrawn in place on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opsbook.deployment.cli import canary, words
from opsbook.deployment.cli.chart import chart
from opsbook.errors import Unreachable
from opsbook.terminal import Terminal, duration

Deployments = Sequence[Mapping[str, Any]]
Read = Callable[[str], Mapping[str, Any]]

READ_SECONDS = 1.0  # the points are many; they are asked for at most this often
PLOT_ROWS = 11  # the title, the axis, and nine to draw in
LEAST_PLOT_ROWS = 7


class Screen:
    """All of it, in place. What has once been drawn keeps its height, so nothing jumps.

    Args:
        read: gives the points of a deployment's analysis.
    """

    def __init__(self, terminal: Terminal, read: Read) -> None:
        self._region = terminal.region()
        self._style = terminal.message_style
        self._read = read
        self._known: dict[str, tuple[float, Mapping[str, Any]]] = {}
        self._read_last: set[str] = set()
        self._tallest: dict[str, int] = {}

    def show(self, deployments: Deployments, away: float | None) -> None:
        """The deployments as they are now; `away`: seconds since the server answered last, None when it does."""
        columns, rows = self._region.size
        over = all(words.finished(deployment) for deployment in deployments)
        blocks = [self._block(deployment, len(deployments), columns) for deployment in deployments]
        notes = []
        if away is not None:
            notes = [f"{self._style.state('waiting')} for the opsbook server to come back · {duration(away)}"]
        room = rows - sum(len(block) for block in blocks) - 1
        lines = []
        for deployment, block in zip(deployments, blocks, strict=True):
            lines += [*block, *self._plot(deployment, columns, room // self._plots(deployments))]
        if over:
            self._region.end(lines)
        else:
            self._region.draw(lines + notes)

    def _block(self, deployment: Mapping[str, Any], together: int, columns: int) -> list[str]:
        """Everything of one deployment but its plot."""
        if words.finished(deployment) and together > 1:
            return [words.result(deployment, self._style)]
        title = self._style.paint(words.title(deployment), "bold")
        if canary.is_canary(deployment) and not words.finished(deployment):
            points = self._analysis(deployment).get("points") or []
            return [
                title,
                *canary.headline(deployment, points, self._style),
                *self._steady(f"{deployment['id']} tree", canary.tree(deployment, self._style, columns)),
                canary.ended(deployment, self._style, columns),
            ]
        lines = [title, *words.steps(deployment, self._style)]
        if not deployment.get("steps"):
            lines.append(self._style.state(*words.state_of(deployment)))
        if not words.finished(deployment) and len(deployment.get("weights") or {}) > 1:
            lines += canary.tree({**deployment, "waiting_for": ""}, self._style, columns)
        return lines

    def _plots(self, deployments: Deployments) -> int:
        return max(1, sum(1 for deployment in deployments if self._judged(deployment)))

    def _plot(self, deployment: Mapping[str, Any], columns: int, room: int) -> list[str]:
        if not self._judged(deployment) or room < LEAST_PLOT_ROWS:
            return []
        points = self._analysis(deployment).get("points") or []
        step = int(deployment.get("step") or 0) if deployment.get("phase") == "analysing" else None
        return chart(points, columns=columns, rows=min(room, PLOT_ROWS), style=self._style, step=step)

    def _judged(self, deployment: Mapping[str, Any]) -> bool:
        """Whether there is something to draw."""
        return canary.is_canary(deployment) and (
            bool(canary.verdict(deployment)) or bool(self._analysis(deployment).get("points"))
        )

    def _analysis(self, deployment: Mapping[str, Any]) -> Mapping[str, Any]:
        name = str(deployment["id"])
        asked, known = self._known.get(name, (float("-inf"), {}))
        now = time.monotonic()
        # The last points are asked for once more, whenever they were asked for last: they show why it ended.
        last = words.finished(deployment) and name not in self._read_last
        if now - asked >= READ_SECONDS or last:
            try:
                known = self._read(name)
            except Unreachable:
                pass  # the deployment's own state says that the server is away
            self._known[name] = (now, known)
            if last:
                self._read_last.add(name)
        return known

    def _steady(self, name: str, lines: list[str]) -> list[str]:
        self._tallest[name] = max(self._tallest.get(name, 0), len(lines))
        return lines + [""] * (self._tallest[name] - len(lines))
