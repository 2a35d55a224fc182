"""The command line as such: speed, help, errors, completion, and finding handbook and server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

import opsbook
from opsbook.cli.main import COMMANDS, cli
from opsbook.cli.reference import reference

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
HEAVY = {
    "asyncio",
    "cryptography",
    "dbos",
    "fastapi",
    "numpy",
    "psutil",
    "pydantic",
    "rich",
    "sqlalchemy",
    "uvicorn",
}


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    context = click.Context(group)
    found: list[tuple[str, ...]] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += every_command(command, (*path, name))
    return found


def imported_by(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    return set(ended.stdout.split())


def test_the_version(call: Any) -> None:
    """One line on stdout."""
    assert call(None, "--version").out == f"opsbook {opsbook.__version__}\n"


def test_the_version_and_help_import_nothing_heavy() -> None:
    """That is what keeps them fast: no framework, no database, no event loop."""
    for arguments in (["--version"], ["--help"], ["deploy", "--help"]):
        loaded = imported_by(
            "import contextlib, io\nfrom opsbook.cli.main import run\n"
            f"with contextlib.redirect_stdout(io.StringIO()): run({arguments})"
        )
        assert HEAVY & loaded == set(), arguments


def test_a_command_imports_only_itself() -> None:
    """`status` does not load `deploy`."""
    loaded = imported_by("from opsbook.cli.main import cli\ncli.get_command(None, 'status')")
    assert [f"opsbook.deployment.cli.{name}" in loaded for name in ("status", "deploy")] == [True, False]


@pytest.mark.parametrize("path", every_command(cli), ids=" ".join)
def test_help_of_every_command_has_an_example_before_the_usage(call: Any, path: tuple[str, ...]) -> None:
    """Examples first: that is what people look for."""
    if path == ("demo",):
        pytest.skip("the tour has its own help")
    text = call(None, *path, "--help").out
    assert f"  opsbook {' '.join(path[:1])}" in text
    assert 0 < text.index("Examples:") < text.index("Usage:")


def test_the_reference_is_in_step_with_the_commands() -> None:
    """`python -m opsbook.cli.reference` writes it."""
    assert REFERENCE.read_text() == reference(cli)


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["deplyo"], "there is no command 'deplyo'; did you mean `opsbook deploy`?", "opsbook --help"),
        (
            ["lock", "stauts"],
            "there is no command 'stauts'; did you mean `opsbook lock status`?",
            "opsbook lock --help",
        ),
        (["deploy"], "missing argument 'SERVICE...'", "opsbook deploy --help"),
        (
            ["scale", "web", "--in", "x", "--replicas", "-1"],
            "invalid value for '--replicas'",
            "opsbook scale --help",
        ),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_was_meant(
    call: Any, arguments: list[str], message: str, hint: str
) -> None:
    """In the shape of every other error."""
    result = call(None, *arguments)
    lines = result.err.splitlines()
    assert result.code == 2
    assert lines[0].startswith(f"error: {message}")
    assert lines[-1] == f"hint: {hint}"


def test_without_a_server_the_way_to_start_one_is_named(place: Any, call: Any) -> None:
    """Exit 1: the server should be there."""
    result = call(place, "status")
    assert result.code == 1
    assert result.err == f"error: no opsbook server for {place.book}\n\nhint: opsbook up --detach\n"


def test_a_server_that_was_killed_is_told_from_one_that_never_was(place: Any, call: Any) -> None:
    """Its description is still there, its socket is dead."""
    place.serve()
    place.end(9)
    result = call(place, "status")
    assert result.code == 1
    assert "does not answer" in result.err
    assert result.err.endswith("hint: opsbook up --detach\n")


def test_without_a_handbook_the_way_to_make_one_is_named(call: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Exit 2."""
    monkeypatch.chdir(tmp_path)
    result = call(None, "check")
    assert (result.code, result.err.splitlines()[-1]) == (2, "hint: make one: opsbook init")


@pytest.mark.parametrize("inside", [".", "ops", "ops/services"])
def test_the_handbook_is_found_from_here_upwards(
    place: Any, call: Any, monkeypatch: Any, inside: str
) -> None:
    """From the project, from the handbook, and from below."""
    monkeypatch.chdir(place.folder / inside)
    assert json.loads(call(None, "check", "--json").out)["where"] == str(place.book)


def test_a_named_handbook_must_be_one(call: Any, tmp_path: Path) -> None:
    """Its folder, or the folder around it."""
    result = call(None, "--book", str(tmp_path), "check")
    assert (result.code, "it has no opsbook.yaml" in result.err) == (2, True)


def test_a_server_elsewhere_is_spoken_to_by_url_and_token(served: Any) -> None:
    """The same commands from afar; without the token exit 4."""
    url = json.loads((served.state / "server.json").read_text())["url"]
    token = (served.state / "token").read_text().strip()
    here = {"OPSBOOK_STATE": "/nowhere", "OPSBOOK_SERVER": url}
    good = served.opsbook("status", "--json", **here, OPSBOOK_TOKEN=token)
    bad = served.opsbook("status", **here, OPSBOOK_TOKEN="wrong")
    assert (good.code, next(iter(json.loads(good.out)["environments"]))) == (0, "production")
    assert (bad.code, bad.err.splitlines()[0]) == (4, "error: this is no valid token here")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(call: Any, shell: str) -> None:
    """They call opsbook itself."""
    assert "_OPSBOOK_COMPLETE" in call(None, "completion", shell).out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("opsbook depl", {"deploy", "deployments"}),
        ("opsbook deploy w", {"web"}),
        ("opsbook deploy web --to ", {"production", "staging"}),
        ("opsbook logs web --in s", {"staging"}),
        ("opsbook status p", {"production"}),
    ],
)
def test_completion_knows_names_without_a_server(place: Any, words: str, expected: set[str]) -> None:
    """From the file names of the handbook."""
    count = len(words.split(" ")) - 1
    completing = {"_OPSBOOK_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(count)}
    result = place.opsbook(**completing)
    assert expected == {line.partition(",")[2] for line in result.out.split()}


def test_symbols_become_letters_where_they_cannot_be_written(served: Any) -> None:
    """A latin terminal gets no traceback."""
    result = served.opsbook("status", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (result.code, "W degraded" in result.out) == (0, True)


def test_colours_can_be_forced_and_forbidden(served: Any) -> None:
    """Pipes are plain unless CLICOLOR_FORCE; NO_COLOR wins."""
    plain, forced = served.opsbook("status"), served.opsbook("status", CLICOLOR_FORCE="1")
    forbidden = served.opsbook("status", CLICOLOR_FORCE="1", NO_COLOR="1")
    assert ["\x1b[" in result.out for result in (plain, forced, forbidden)] == [False, True, False]


def test_down_ends_the_server_and_twice_is_no_error(place: Any, call: Any) -> None:
    """Services go on; the second time there is nothing to end."""
    place.serve()
    first, second = call(place, "down"), call(place, "down")
    assert [first.code, second.code] == [0, 0]
    assert "services go on running" in first.err
    assert "nothing to end" in second.err
    assert (place.state / "stopped").read_text() == "loops"


def test_down_with_services_needs_the_server(place: Any, call: Any) -> None:
    """Nobody else can end them; with it, they end first."""
    without = call(place, "down", "--services")
    place.serve()
    with_it = call(place, "down", "--services")
    assert [without.code, with_it.code] == [1, 0]
    assert "opsbook up --detach && opsbook down --services" in without.err
    assert (place.state / "stopped").read_text() == "services"


def test_up_is_refused_while_one_runs(place: Any, call: Any, monkeypatch: Any) -> None:
    """Exit 5, with the pid of the one that runs; detached it is what was wanted."""
    place.serve()
    monkeypatch.chdir(place.folder)
    foreground, detached = call(place, "up"), call(place, "up", "--detach")
    assert [foreground.code, detached.code] == [5, 0]
    assert f"pid {place.process.pid}" in foreground.err
    assert "already" in detached.err


def test_every_command_of_the_tree_is_lazy_and_there() -> None:
    """The table names what exists."""
    context = click.Context(cli)
    assert [name for name in COMMANDS if cli.get_command(context, name) is None] == []


def test_the_actor_is_the_user_of_the_shell(served: Any) -> None:
    """Which the journal writes down."""
    result = served.opsbook("restart", "web", "--in", "staging", "--json", LOGNAME="ana")
    assert json.loads(result.out.splitlines()[0])["requested_by"] == "ana"


def test_python_m_opsbook_is_opsbook() -> None:
    """The same program."""
    ended = subprocess.run(
        [sys.executable, "-m", "opsbook", "--version"],
        capture_output=True, text=True, timeout=60, check=True, env={**os.environ},
    )  # fmt: skip
    assert ended.stdout == f"opsbook {opsbook.__version__}\n"
