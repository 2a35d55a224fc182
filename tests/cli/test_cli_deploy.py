"""Deploying from the command line: what is said, and with which exit code it ends."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from typing import Any

import pytest


def ndjson(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_deployment_that_serves_ends_with_0_and_what_serves(served: Any, call: Any) -> None:
    """One line a step, each with a symbol and a word; nothing on stdout, which is for data."""
    result = call(served, "deploy", "web", "--to", "staging")
    assert (result.code, result.out) == (0, "")
    lines = result.err.splitlines()
    assert re.fullmatch(r"deploy web 2\.0 → staging · canary · 2 instances · by \S+ · d-\d+", lines[0])
    assert "✔ ok        build  0.1s  build of 2.0" in lines
    assert re.fullmatch(r"✔ done  web 2\.0 serves staging with 2 instances · \d+\.\ds", lines[-1])


def test_a_deployment_that_is_taken_back_ends_with_3_and_the_whole_story(served: Any, call: Any) -> None:
    """What failed, why, the last words of what failed, what serves now, and where to look."""
    result = call(served, "deploy", "web", "--to", "staging", "--version", "bad")
    assert result.code == 3
    name = re.search(r"d-\d+", result.err)
    assert name is not None
    assert result.err.endswith(
        "error: deploy web bad → staging: rolled back\n"
        "  caused by: health: 0 of 2 instances became healthy\n"
        "\n"
        "last log lines:\n"
        "  starting up\n"
        "  panic: no database\n"
        "\n"
        "serving now: web 1.0 serves staging with 2 instances\n"
        "\n"
        f"hint: opsbook deployments show {name[0]}\n"
    )
    assert "✖ failed    shift" in result.err
    assert "done" not in result.err


def test_a_deployment_that_fails_ends_with_1(served: Any, call: Any) -> None:
    """Failed is not rolled back."""
    assert call(served, "deploy", "web", "--to", "staging", "--version", "broken").code == 1


def test_the_worst_outcome_of_several_decides(served: Any, call: Any) -> None:
    """Both are told; the error is that of the one that went wrong."""
    result = call(served, "deploy", "web", "api", "--to", "staging", "--version", "bad", "--together")
    assert result.code == 3
    assert "web: ✖ failed    shift" in result.err
    assert "api: ✖ failed    shift" in result.err
    sent = served.api.get("/api/test/bodies")[-1]
    assert (sent["services"], sent["together"]) == (["web", "api"], True)


def test_json_is_one_state_a_line_and_messages_stay_on_stderr(served: Any, call: Any) -> None:
    """Each line is a whole deployment; the last has the outcome."""
    result = call(served, "deploy", "web", "--to", "staging", "--json")
    states = ndjson(result.out)
    assert (result.code, result.err) == (0, "")
    assert [states[0]["outcome"], states[-1]["outcome"]] == [None, "succeeded"]
    assert len({state["id"] for state in states}) == 1


def test_no_wait_returns_at_once_and_says_how_to_watch(served: Any, call: Any) -> None:
    """A deployment that would take for ever."""
    result = call(served, "deploy", "web", "--to", "staging", "--version", "slow", "--no-wait")
    name = re.search(r"hint: opsbook deployments watch (d-\d+)", result.err)
    assert name is not None
    aborted = call(served, "abort", name[1], "--reason", "enough")
    watched = call(served, "deployments", "watch", name[1])
    assert (result.code, aborted.code, watched.code) == (0, 0, 3)
    assert "aborting" in aborted.err
    assert "aborted" in watched.err


def test_a_stale_plan_is_refused(served: Any, call: Any) -> None:
    """--check-index 40, when the plan is 41."""
    result = call(served, "deploy", "web", "--to", "staging", "--check-index", "40")
    assert (result.code, result.err.splitlines()[-1]) == (1, "hint: look again: opsbook plan production")


def test_a_lock_ends_with_5_and_says_who_has_it(served: Any, call: Any) -> None:
    """And how to go on."""
    result = call(served, "restart", "busy", "--in", "production")
    assert (result.code, result.err.splitlines()[0]) == (5, "error: production/busy is being deployed by ana")
    assert "hint: wait, or take it away: opsbook lock release busy --in production" in result.err


def test_a_wrong_name_ends_with_2(served: Any, call: Any) -> None:
    """The caller's words are off."""
    result = call(served, "deploy", "unknown", "--to", "staging")
    assert (result.code, result.err.splitlines()[-1]) == (2, "hint: did you mean web?")


def test_a_protected_environment_shows_the_plan_and_without_one_names_the_flag(
    served: Any, call: Any
) -> None:
    """Nothing is deployed by a pipe that nobody confirmed."""
    before = len(served.api.get("/api/deployment/deployments")["deployments"])
    result = call(served, "deploy", "web", "--to", "production")
    assert result.code == 6
    assert "1 to add, 1 to change, 1 to remove" in result.err
    assert "--yes" in result.err.splitlines()[-1]
    assert before == len(served.api.get("/api/deployment/deployments")["deployments"])


def test_yes_needs_nobody(served: Any, call: Any) -> None:
    """For scripts that know what they do."""
    assert call(served, "deploy", "web", "--to", "production", "--yes").code == 0


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        (["rollback", "web", "--to", "1.0"], {"kind": "rollbacks", "to": "1.0"}),
        (["rollback", "web", "--yes"], {"kind": "rollbacks", "to": None}),
        (["scale", "web", "--replicas", "4"], {"kind": "scalings", "replicas": 4}),
        (["restart", "web"], {"kind": "restarts"}),
    ],
)
def test_other_changes_wait_and_report_alike(
    served: Any, call: Any, arguments: list[str], sent: dict[str, Any]
) -> None:
    """The same lines, the same exit codes."""
    result = call(served, *arguments, "--in", "staging")
    assert (result.code, "✔ done" in result.err) == (0, True)
    assert {"service": "web", "environment": "staging", **sent} == served.api.get("/api/test/bodies")[-1]


def test_ctrl_c_detaches_ends_with_130_and_says_how_to_come_back(served: Any) -> None:
    """The deployment goes on."""
    process = subprocess.Popen(
        [sys.executable, "-m", "opsbook", "deploy", "web", "--to", "staging", "--version", "slow"],
        env=served.environ(), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    seen = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[1]
    name = re.search(r"d-\d+", seen)
    assert name is not None
    assert process.returncode == 130
    assert f"come back: opsbook deployments watch {name[0]}" in rest
    assert served.api.get(f"/api/deployment/deployments/{name[0]}")["outcome"] is None
    served.api.post(f"/api/deployment/deployments/{name[0]}/abort", {"reason": "the test is over"})


def test_the_server_may_go_and_come_back_while_one_waits(place: Any) -> None:
    """An upgrade of opsbook is no failure of a deployment: waiting says so and goes on."""
    place.serve()
    process = subprocess.Popen(
        [sys.executable, "-m", "opsbook", "deploy", "web", "--to", "staging", "--version", "slow"],
        env=place.environ(), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    process.stderr.readline()
    place.end(signal.SIGTERM)
    while "server to come back" not in (line := process.stderr.readline()):
        assert line
    place.serve()  # its deployments are canned: the new server knows none, which ends the waiting with its answer
    rest = process.communicate(timeout=60)[1]
    assert "there is no deployment d-1" in rest
    assert process.returncode == 2


def in_terminal(place: Any, *arguments: str, answer: str = "", **environ: str) -> tuple[int, str]:
    """Exit code and all that a terminal was sent; `answer` is typed when a question is asked."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "opsbook", *arguments],
        env=place.environ(**environ), stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
    )  # fmt: skip
    os.close(follower)
    seen, deadline = b"", time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([leader], [], [], 0.1)[0]:
            continue
        try:
            chunk = os.read(leader, 4096)
        except OSError:  # the other side is closed: the process has ended
            break
        seen += chunk
        if answer and b"[y/N]" in seen:
            os.write(leader, answer.encode())
            answer = ""
    os.close(leader)
    return process.wait(timeout=30), seen.decode()


def test_at_a_terminal_steps_are_redrawn_in_place_and_coloured(served: Any) -> None:
    """The cursor goes up by as many lines as were drawn, and each line is cleared as it is overwritten."""
    code, seen = in_terminal(served, "deploy", "web", "--to", "staging")
    assert code == 0
    ups = [int(number) for number in re.findall(r"\x1b\[(\d+)A", seen)]
    assert ups == sorted(ups)
    assert "\x1b[32m✔\x1b[0m build" in seen
    assert seen.rstrip().splitlines()[-1].startswith("\x1b[32m✔\x1b[0m \x1b[32mdone\x1b[0m")


def test_a_dumb_terminal_gets_plain_lines(served: Any) -> None:
    """No cursor movement, no colour."""
    code, seen = in_terminal(served, "deploy", "web", "--to", "staging", TERM="dumb")
    assert (code, "\x1b" in seen) == (0, False)


def test_no_color_takes_the_colours_and_leaves_the_symbols(served: Any) -> None:
    """Redrawn, but plain."""
    _, seen = in_terminal(served, "deploy", "web", "--to", "staging", NO_COLOR="1")
    assert ("✔ build" in seen, "\x1b[32m" in seen) == (True, False)


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1)])
def test_a_protected_environment_asks_with_the_plan_and_deploys_exactly_that(
    served: Any, answer: str, code: int
) -> None:
    """What was agreed to is what is sent: the plan's index."""
    ended, seen = in_terminal(served, "deploy", "web", "--to", "production", answer=answer)
    assert ended == code
    assert "1 to add, 1 to change, 1 to remove" in seen
    if code == 0:
        assert served.api.get("/api/test/bodies")[-1]["check_index"] == 41
