"""Benches of the control plane, its deployments and its responders, run shortly: they work, and nothing is lost.

How fast this machine is right now is no question of a test, so a missed target of speed does not fail it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
LONGEST = 240.0  # seconds; half a minute where the machine has nothing else to do
FIGURES = {
    "canary": ["to weight 0, slowest", "requests failed"],
    "control_plane": ["opsbook --version", "check of", "services planned", "resident", "of a core"],
    "deploy": ["API: deployment beyond it", "command line: deployment beyond it"],
    "escalation": ["incident to page, median", "incidents at once"],
    "postmortems": ["written: impact", "a handbook of", "the status page of"],
    "respond": ["beyond it, worst", "pages with their diagnosis"],
    "rollback": ["API: to serving again", "command line: to serving again", "requests failed"],
    "runbooks": ["a local step in whole", "check of"],
    "schedules": ["three layers resolved", "who is on call now"],
    "switch": [
        "http: failed",
        "stream: failed",
        "websocket: failed",
        "lines: failed",
        "restarting web alone",
    ],
}


@contextmanager
def running(name: str) -> Iterator[subprocess.Popen[str]]:
    """The bench, in a short run; at the end of the block it has ended."""
    # Without a cluster: the peer is not what is tested here.
    environment: Mapping[str, str] = {k: v for k, v in os.environ.items() if k != "KUBECONFIG"}
    bench = subprocess.Popen(
        [sys.executable, str(BENCH / f"{name}.py"), "--quick"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield bench
    finally:
        if bench.poll() is None:
            bench.send_signal(signal.SIGINT)  # it then ends what it has started
            bench.communicate()


@pytest.mark.timeout(LONGEST + 60)
def test_each_bench_prints_its_figures_beside_their_targets() -> None:
    """Short runs end by themselves, print each figure with its target and verdict, and lose no request."""
    with ExitStack() as all_at_once:  # they mostly wait, so together they take little longer than one
        benches = {name: all_at_once.enter_context(running(name)) for name in FIGURES}
        outputs = {name: bench.communicate(timeout=LONGEST) for name, bench in benches.items()}

    for name, (output, errors) in outputs.items():
        assert "" == errors, name
        judged = [line for line in output.splitlines() if " target " in line]
        verdicts = {line.split()[0] for line in judged}
        assert verdicts <= {"ok", "missed"}, output
        assert (1 if "missed" in verdicts else 0) == benches[name].returncode, output
        missing = [figure for figure in FIGURES[name] if not any(figure in line for line in judged)]
        assert [] == missing, output
        lost = [line for line in judged if "failed" in line and line.split()[0] != "ok"]
        assert [] == lost, output
