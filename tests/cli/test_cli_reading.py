"""Commands that read: status, plan, deployments, locks, logs, journal."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def test_status_shows_the_worst_first_and_what_can_be_done(served: Any, call: Any) -> None:
    """Tables without borders on stdout, the next steps on stderr."""
    result = call(served, "status")
    lines = result.out.splitlines()
    assert result.code == 0
    assert lines[0] == "production · http://127.0.0.1:8080"
    assert [line.split()[0] for line in lines[1:5]] == ["SERVICE", "web", "api", "worker"]
    assert "⚠ degraded" in lines[2]
    assert "1/2" in lines[2]
    assert lines[5] == "  ⚠ web-3 is backoff: exit code 1"
    assert result.err == "next: opsbook logs web --in production · opsbook deploy worker --to production\n"


def test_status_of_one_environment(served: Any, call: Any) -> None:
    """And of one that is not there: exit 2."""
    assert "production" not in call(served, "status", "staging").out
    assert call(served, "status", "nowhere").code == 2


def test_plan_shows_signs_with_words_deletions_last_and_the_command_that_applies_it(
    served: Any, call: Any
) -> None:
    """Exactly this plan, by its index."""
    result = call(served, "plan", "production")
    assert result.out == (
        "production\n"
        "  + add     worker  1.0 · 1 instance\n"
        "  ~ change  web     1.0 → 2.0 · canary\n"
        "      env.LEVEL: info → debug\n"
        "  - remove  old     1.0 is not in the handbook any more\n"
        "\n"
        "1 to add, 1 to change, 1 to remove\n"
        "apply: opsbook deploy worker web --to production --check-index 41\n"
    )


def test_plan_exit_code_tells_scripts_whether_something_differs(served: Any, call: Any) -> None:
    """0 no change, 2 changes; without the flag 0."""
    codes = [call(served, "plan", *arguments).code for arguments in (
        ["production"], ["production", "--exit-code"], ["staging", "--exit-code"],
    )]  # fmt: skip
    assert codes == [0, 2, 0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"], ["plan"], ["deployments", "list"], ["lock", "status"], ["journal", "verify"], ["doctor"], ["check"],
        ["secrets", "list"],
    ],
)  # fmt: skip
def test_every_command_that_reads_speaks_json(served: Any, call: Any, arguments: list[str]) -> None:
    """stdout is one document, whatever there is to say on stderr."""
    assert isinstance(json.loads(call(served, *arguments, "--json").out), dict)


def test_deployments_lists_and_shows_evidence(served: Any, call: Any) -> None:
    """Newest first; each transition with what was seen."""
    call(served, "deploy", "web", "--to", "staging")
    call(served, "deploy", "api", "--to", "staging", "--version", "bad")
    listed = call(served, "deployments").out.splitlines()
    assert listed[0].split() == ["ID", "WHAT", "WHERE", "STATE", "TOOK", "WHEN", "BY"]
    assert "deploy api bad" in listed[1]
    assert "✖ rolled back" in listed[1]
    shown = call(served, "deployments", "show", listed[1].split()[0]).out
    assert "reason: health: 0 of 2 instances became healthy" in shown
    assert "    healthy: 0" in shown
    assert "  panic: no database" in shown
    assert "serving now: web 1.0" not in shown
    assert "serving now: api 1.0 serves staging with 2 instances" in shown


def test_a_deployment_that_is_not_there_ends_with_2(served: Any, call: Any) -> None:
    """With the way to find the right one."""
    result = call(served, "deployments", "show", "d-999")
    assert (result.code, result.err.splitlines()[-1]) == (2, "hint: opsbook deployments list")


def test_locks_say_holder_reason_and_until_when(served: Any, call: Any) -> None:
    """And can be taken away."""
    shown = call(served, "lock").out.splitlines()[1]
    assert shown.startswith("production/web  ana     deploy d-1  5s     in ")
    assert call(served, "lock", "release", "web", "--in", "production").code == 0
    assert served.api.get("/api/test/bodies")[-1] == {"released": "production/web"}


def test_logs_are_read_filtered_and_limited_by_the_server(served: Any, call: Any) -> None:
    """Time, instance, text."""
    result = call(served, "logs", "web", "--in", "production", "--grep", "t", "--since", "10m", "-n", "5")
    assert [line.split()[-2:] for line in result.out.splitlines()] == [["web-1", "two"], ["web-1", "three"]]
    assert served.api.get("/api/test/bodies")[-1] == {"grep": "t", "since": "10m", "limit": 5}


@pytest.mark.parametrize("arguments", [["--since", "soon"], ["--grep", "("]])
def test_a_mistyped_filter_of_logs_ends_with_2(served: Any, call: Any, arguments: list[str]) -> None:
    """Before anything is asked."""
    assert call(served, "logs", "web", "--in", "production", *arguments).code == 2


def test_following_logs_ends_with_ctrl_c_and_0(served: Any) -> None:
    """That is how it is meant to end; NDJSON for programs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "opsbook", "logs", "web", "--in", "production", "-f", "--json"],
        env=served.environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    texts = [json.loads(process.stdout.readline())["text"] for _ in range(3)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert texts == ["line 0", "line 1", "line 2"]
    assert process.returncode == 0


def test_a_reader_that_has_had_enough_gets_no_traceback(served: Any) -> None:
    """`opsbook logs -f | head -1`."""
    ended = subprocess.run(
        ["sh", "-c", '"$0" -m opsbook logs web --in production -f | head -1', sys.executable],
        env=served.environ(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (len(ended.stdout.splitlines()), ended.stderr) == (1, "")


def test_the_journal_is_shown_oldest_first_and_by_subject(served: Any, call: Any) -> None:
    """The last entries of one service."""
    call(served, "deploy", "web", "--to", "staging")
    call(served, "deploy", "api", "--to", "staging")
    rows = call(served, "journal", "show", "--in", "staging/api", "-n", "2", "--json").out.splitlines()
    events = [json.loads(row) for row in rows]
    assert [{"staging/api"}, "deployment.succeeded"] == [{e["subject"] for e in events}, events[-1]["kind"]]
    assert "deployment.succeeded" in call(served, "journal").out.splitlines()[-1]


def test_the_journal_is_followed_as_ndjson(served: Any, call: Any) -> None:
    """Entries as they come."""
    process = subprocess.Popen(
        [sys.executable, "-m", "opsbook", "journal", "follow", "--in", "staging", "--json"],
        env=served.environ(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    # It follows from the moment it is connected, which only what it prints can tell.
    waiting = subprocess.Popen(
        [sys.executable, "-c", "import sys; print(sys.stdin.readline())"],
        stdin=process.stdout, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    served.until(
        lambda: call(served, "restart", "web", "--in", "staging").code == 0 and waiting.poll() is not None,
        "an entry to be printed",
    )
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    assert json.loads(waiting.communicate()[0])["subject"] == "staging/web"


def test_the_journal_verifies_and_exports_with_and_without_a_server(
    place: Any, call: Any, tmp_path: Path
) -> None:
    """What was exported verifies alone; a changed line is found, with exit 1."""
    place.serve()
    call(place, "deploy", "web", "--to", "staging")
    online = [call(place, "journal", "verify"), call(place, "journal", "export")]
    place.end()
    offline = [call(place, "journal", "verify"), call(place, "journal", "export")]
    assert [result.code for result in online + offline] == [0, 0, 0, 0]
    assert online[0].out == offline[0].out
    assert online[1].out.splitlines()[:-1] == offline[1].out.splitlines()[:-1]
    file = tmp_path / "journal.ndjson"
    file.write_text(online[1].out)
    assert call(place, "journal", "verify", str(file)).code == 0
    file.write_text(online[1].out.replace("staging/web", "staging/wob", 1))
    broken = call(place, "journal", "verify", str(file))
    assert (broken.code, "✖ broken" in broken.out) == (1, True)


def test_a_group_without_a_command_takes_the_options_of_the_one_that_it_stands_for(
    served: Any, call: Any
) -> None:
    """`opsbook lock --json` is `opsbook lock status --json`; a word that is no command is still none."""
    bare, named = (json.loads(call(served, *words, "--json").out) for words in (["lock"], ["lock", "status"]))
    assert [one["subject"] for one in bare["locks"]] == [one["subject"] for one in named["locks"]]
    assert "there is no command 'stat'" in call(served, "lock", "stat").err
    assert "Without COMMAND it is status" in call(served, "lock", "--help").out
