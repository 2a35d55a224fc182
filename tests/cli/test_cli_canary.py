"""A canary in the terminal: the live tree, the lines of a log, the plot, and the rules afterwards."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from typing import Any

import pytest

from opsbook.deployment.cli import canary, words
from opsbook.deployment.cli.chart import chart, crossing
from opsbook.terminal import Style, width

PLAIN = Style(colour=False)


def under_way(**changes: Any) -> dict[str, Any]:
    """A canary at 10 %."""
    members = [
        {"instance": f"web-production-d{of}-{number}", "version": version, "role": role, "healthy": True,
         "state": "running"}
        for of, version, role in ((91, "2.1", "canary"), (90, "2.0", "stable")) for number in (1, 2, 3)
    ]  # fmt: skip
    return {
        "id": "d-91", "kind": "deploy", "service": "web", "environment": "production", "version": "2.1",
        "strategy": "canary", "strategy_type": "canary", "step": 0, "steps_total": 3, "hold_seconds": 1800.0,
        "replicas": 3, "phase": "analysing", "outcome": None, "requested_by": "ana", "finished_at": None,
        "weights": {"2.1": 10, "2.0": 90}, "members": members, "gates": [], "waiting_for": "",
        "analysis": {"verdict": "inconclusive", "reason": "12 of 50 requests to judge by", "rules": []},
        "steps": [
            {"name": "prepare release", "status": "ok", "seconds": 0.3, "detail": ""},
            {"name": "start instances", "status": "ok", "seconds": 4.1, "detail": ""},
            {"name": "analyse", "status": "running", "seconds": 252.0, "detail": "watching"},
        ],
        **changes,
    }  # fmt: skip


POINTS = [
    {"at": 100.0, "step": 0, "canary": {"requests": 1204, "errors": 2, "rate": 0.00166},
     "stable": {"requests": 10911, "errors": 11, "rate": 0.00101}, "difference": 0.0007, "lower": -0.01,
     "upper": 0.02, "verdict": "inconclusive"},
]  # fmt: skip


def test_the_headline_says_how_long_of_how_long_and_the_evidence() -> None:
    """Two lines, always: what follows does not jump when there is nothing to say yet."""
    assert canary.headline(under_way(), POINTS, PLAIN) == [
        "◌ analyse 10 % · undecided · 4:12 of 30:00 at this weight · step 1 of 3",
        "  errors 0.2 % of 1,204 against 0.1 % of 10,911",
    ]
    assert canary.headline(under_way(), [], PLAIN)[1] == "  12 of 50 requests to judge by"
    assert len(canary.headline(under_way(phase="starting", steps=[]), [], PLAIN)) == 2


def test_a_script_is_told_that_people_must_act() -> None:
    """Only where nothing else goes on, and with the command that the others need."""
    gates = [{"name": "approvals", "status": "waiting", "detail": "1 more approval of ben"}]
    waits = under_way(phase="gated", gates=gates)
    needed = words.needs_people([waits])
    assert needed is not None
    assert 6 == needed.exit_code
    assert "d-91 waits: 1 more approval of ben" == needed.message
    assert "opsbook approve d-91" in needed.hint
    assert words.needs_people([waits, under_way(id="d-92")]) is None
    frozen = [{"name": "freeze", "status": "waiting", "detail": "until monday"}]
    assert words.needs_people([under_way(phase="gated", gates=frozen)]) is None


@pytest.mark.parametrize(
    ("verdict", "first"),
    [("pass", "keeps its rules"), ("fail", "fails its rules"), ("no_data", "no data"),
     ("error", "cannot be judged")],
)  # fmt: skip
def test_each_verdict_has_its_own_word(verdict: str, first: str) -> None:
    """And where it is bad or unknown, the judge's reason stands in place of the counts."""
    lines = canary.headline(under_way(analysis={"verdict": verdict, "reason": "because"}), POINTS, PLAIN)
    assert lines[0].split(" · ")[1] == first
    assert (lines[1] == "  because") == (verdict != "pass")


def test_the_tree_has_a_branch_a_side_and_what_is_waited_for() -> None:
    """Shares, health and instances; only the first instance with its whole name."""
    gate = {"name": "approval", "status": "waiting", "detail": "by team-shop (ben, carla)", "until": None}
    lines = canary.tree(
        under_way(gates=[gate], waiting_for="a person (opsbook approve d-91)"), PLAIN, columns=100
    )
    assert lines == [
        "├─ 2.1  canary   10 %  3/3 healthy  web-production-d91-1 ✔  -2 ✔  -3 ✔",
        "├─ 2.0  stable   90 %  3/3 healthy  web-production-d90-1 ✔  -2 ✔  -3 ✔",
        "├─ gate approval ◷ waiting  by team-shop (ben, carla)",
        "└─ waits for a person (opsbook approve d-91)",
    ]


def test_in_a_narrow_window_those_in_trouble_come_first() -> None:
    """The rest are counted."""
    view = under_way()
    view["members"][2] |= {"healthy": False, "state": "backoff"}
    assert canary.tree(view, PLAIN, columns=60)[0].endswith("2/3 healthy  -1 ✔  -2 ✔  -3 ✖ backoff")
    lines = canary.tree(view, PLAIN, columns=58)
    assert lines[0] == "├─ 2.1  canary   10 %  2/3 healthy  -3 ✖ backoff  -1 ✔  +1"
    assert max(width(line) for line in lines) <= 58


def test_a_version_that_stands_on_two_sides_is_told_apart_by_its_role() -> None:
    """A change of configuration only, and a baseline."""
    weights = {"2.0 canary": 10, "2.0 baseline": 10, "2.0": 80}
    found = [canary.percent({"weights": weights}, role, "2.0") for role in ("canary", "baseline", "stable")]
    assert found == [10, 10, 80]


def test_what_an_older_server_does_not_say_is_left_out() -> None:
    """No key of the canary's is there."""
    bare = {"id": "d-1", "version": "2.1", "phase": "analysing", "strategy_type": "canary", "steps_total": 2}
    assert (canary.tree(bare, PLAIN, 80), canary.verdict(bare), canary.rules({}, PLAIN)) == ([], "", [])
    assert canary.headline(bare, [], PLAIN) == ["◌ analyse · 0:00 at this weight · step 1 of 2", ""]


def test_steps_that_are_over_stand_on_one_line() -> None:
    """The latest are kept."""
    assert canary.ended(under_way(), PLAIN, 80) == "✔ prepare release 0.3s  ✔ start instances 4.1s"
    assert canary.ended(under_way(), PLAIN, 40) == "…  ✔ start instances 4.1s"


def test_rules_tell_values_in_their_units() -> None:
    """And what has no value has a dash."""
    rules = [
        {"name": "error_rate against stable", "verdict": "fail", "value": 0.05, "threshold": 0.001, "samples": 812,
         "detail": "errors 5.0 %"},
        {"name": "response_time_p95 ≤ 0.25", "verdict": "no_data", "value": None, "threshold": 0.25, "samples": 0,
         "detail": ""},
    ]  # fmt: skip
    assert canary.rules({"rules": rules}, PLAIN) == [
        "RULE                       VERDICT    VALUE  THRESHOLD  SAMPLES  WHY",
        "error_rate against stable  ✖ fail     5.0 %      0.1 %      812  errors 5.0 %",
        "response_time_p95 ≤ 0.25   ◷ no data      -     250 ms        0",
    ]


def test_the_chart_shows_the_last_step_only_and_where_it_crossed() -> None:
    """Each step is judged by itself."""
    points = [
        {"at": float(at), "step": step, "difference": 0.01, "lower": lower, "upper": 0.02, "verdict": "inconclusive"}
        for at, step, lower in ((0, 0, 0.005), (50, 1, -0.01), (51, 1, 0.0), (57, 1, 0.001))
    ]  # fmt: skip
    lines = chart(points, columns=70, rows=10, style=PLAIN)
    assert crossing(points[1:]) == 57.0
    assert lines[0] == " canary − stable, errors   ✖ crossed its bounds at 0:07"
    assert (len(lines), lines[-1].split()[1], lines[-1].split()[-1]) == (10, "0:00", "0:15")
    slow = [{**points[-1], "lower": -0.01, "verdict": "fail"}]  # for its response times, say
    assert chart(slow, columns=70, rows=10, style=PLAIN)[0] == " canary − stable, errors   ✖ failed at 0:00"
    assert "nothing measured yet" in "\n".join(chart(points, columns=70, rows=10, style=PLAIN, step=2))


class Screen:
    """As much of a terminal as opsbook uses: what it was sent, as it looks."""

    def __init__(self) -> None:
        self.lines = [""]
        self.row = self.column = 0

    def feed(self, text: str) -> Screen:
        for part in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|[^\x1b]", text):
            if part.startswith("\x1b"):
                self._control(part)
            elif part == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif part == "\r":
                self.column = 0
            else:
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + part + line[self.column + 1 :]
                self.column += 1
        return self

    def _control(self, part: str) -> None:
        if part.endswith("A"):
            self.row = max(0, self.row - int(part[2:-1]))
        elif part.endswith("K"):
            self.lines[self.row] = self.lines[self.row][: self.column]
        elif part.endswith("J"):
            self.lines[self.row + 1 :] = []
            self.lines[self.row] = self.lines[self.row][: self.column]


def watched(place: Any, version: str, columns: int, rows: int = 40) -> tuple[int, str]:
    """Exit code and all that a terminal of this size was sent, by a deployment that is waited for."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environ = {k: v for k, v in place.environ(NO_COLOR="1").items() if k not in {"COLUMNS", "LINES"}}
    process = subprocess.Popen(
        [sys.executable, "-m", "opsbook", "deploy", "web", "--to", "staging", "--version", version],
        env=environ, stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
    )  # fmt: skip
    os.close(follower)
    seen = b""
    while True:
        try:
            chunk = os.read(leader, 65536)
        except OSError:  # the other side is closed: the process has ended
            break
        if not chunk:
            break
        seen += chunk
    os.close(leader)
    return process.wait(timeout=30), seen.decode()


@pytest.mark.parametrize("columns", [60, 120])
def test_a_canary_is_a_live_tree_with_its_plot(served: Any, columns: int) -> None:
    """Sides with shares and health, the difference in its bounds; no line is wider than the window."""
    code, seen = watched(served, "judged", columns)
    assert code == 0
    for part in ("├─ judged  canary   10 %  1/1 healthy", "├─ 1.0     stable   90 %  0/1 healthy",
                 "waits for 26 s more",
                 "canary − stable, errors", "◌ analyse 10 % · undecided · 0:04 of 0:30 at this"):  # fmt: skip
        assert part in seen
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", seen).replace("\r", "")
    region = plain.split("✔ done")[0]
    assert max(width(line) for line in region.splitlines()) < columns
    picture = Screen().feed(seen).lines
    assert picture[0].startswith("deploy web judged → staging")
    assert sum("canary − stable" in line for line in picture) == 1
    assert picture[-2].startswith("✔ done")


def test_a_canary_that_is_worse_ends_with_the_crossing_and_3(served: Any) -> None:
    """The plot stays on the screen: it shows why."""
    code, seen = watched(served, "worse", 100)
    picture = "\n".join(Screen().feed(seen).lines)
    assert code == 3
    assert "✖ crossed its bounds at 0:00" in picture
    assert "error: deploy web worse → staging: rolled back" in picture


def test_a_low_window_has_no_room_for_the_plot(served: Any) -> None:
    """The tree comes first, and its title stays."""
    code, seen = watched(served, "judged", 80, rows=9)
    assert (code, "canary − stable" in seen, "├─ judged" in seen) == (0, False, True)


def test_a_log_has_a_line_when_the_verdict_changes(served: Any, call: Any) -> None:
    """Once each, without a plot."""
    result = call(served, "deploy", "web", "--to", "staging", "--version", "judged")
    assert result.code == 0
    assert result.err.count("  verdict at 10 %  undecided  ") == 1
    assert "✔ ok        verdict at 10 %  keeps its rules  errors 0%" in result.err
    assert "│" not in result.err


def test_json_has_a_state_for_each_verdict(served: Any, call: Any) -> None:
    """With weights and members in each."""
    result = call(served, "deploy", "web", "--to", "staging", "--version", "judged", "--json")
    states = [json.loads(line) for line in result.out.splitlines()]
    verdicts = [(state.get("analysis") or {}).get("verdict") for state in states]
    assert verdicts[-1] == "pass"
    assert "inconclusive" in verdicts
    assert {"judged": 10, "1.0": 90} in [state.get("weights") for state in states]


def test_show_prints_the_rules_and_on_request_the_plot(served: Any, call: Any) -> None:
    """Afterwards, too: it is evidence."""
    called = call(served, "deploy", "web", "--to", "staging", "--version", "worse")
    name = re.search(r"d-\d+", called.err)
    assert name is not None
    plain = call(served, "deployments", "show", name[0])
    drawn = call(served, "deployments", "show", name[0], "--plot")
    assert "error_rate against stable  ✖ fail    50 %        0 %      180  errors 50%" in plain.out
    assert "180 requests to the canary at its last step, 90 errors" in plain.out
    assert ("canary − stable" in plain.out, "canary − stable" in drawn.out) == (False, True)


def test_judge_tells_what_was_and_what_would_have_been(served: Any, call: Any) -> None:
    """Below each other; where nothing was kept it says so, and as JSON it is the server's answer."""
    called = call(served, "deploy", "web", "--to", "staging", "--version", "worse")
    name = re.search(r"d-\d+", called.err)
    assert name is not None
    judged = call(served, "deployments", "judge", name[0], "--strategy", "strict")
    assert [line.split() for line in judged.out.splitlines()[1:]] == [
        ["was", "canary", "✖", "rolled", "back", "after", "9.0s", "errors", "50%"],
        ["would", "strict", "✖", "taken", "back", "after", "3.0s", "80", "requests", "·", "errors", "50%"],
    ]
    other = call(served, "deployments", "judge", "d-999")
    assert "nothing was kept of what was measured" in other.out
    assert (
        "strict"
        == json.loads(call(served, "deployments", "judge", name[0], "--strategy", "strict", "--json").out)[
            "strategy"
        ]
    )
