"""The parts of the tour: the stage, typed commands, the summary. The tour itself is in test_demo_tour.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsbook.book import FolderFiles, load
from opsbook.demo.commands import Commands
from opsbook.demo.narration import Narrator
from opsbook.demo.play import Play, Scene, Trial
from opsbook.demo.stage import Stage
from opsbook.demo.summary import summary
from opsbook.errors import Failed


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A stage, removed after the test if the test has not done so."""
    built = Stage()
    yield built
    if built.folder.exists():
        built.remove()


def test_the_stage_is_a_sound_handbook_on_ports_of_its_own(stage: Stage) -> None:
    """Two tours at once must not disturb each other."""
    book = load(FolderFiles(stage.folder / "ops"))
    assert stage.entry_port == book.environments["local"].entry.port
    assert len({stage.entry_port, stage.api_port, 8080, 7373}) == 4


def test_only_its_user_can_look_at_the_stage(stage: Stage) -> None:
    """The state in it commands services."""
    assert stage.folder.stat().st_mode & 0o777 == 0o700


def test_a_version_changes_the_source_and_brings_or_heals_a_fault(stage: Stage) -> None:
    """As a developer would."""
    stage.write_version("web", "2.1", fault="gift")
    fault = stage.folder / "web" / "fault.txt"
    assert ((stage.folder / "web" / "version.txt").read_text(), fault.read_text()) == ("2.1\n", "gift\n")
    stage.write_version("web", "3.0")
    assert not fault.exists()


def test_the_stage_is_removed_with_its_read_only_snapshots(stage: Stage) -> None:
    """Releases are sealed: nobody may write to their folders."""
    sealed = stage.folder / "sealed" / "deeper"
    sealed.mkdir(parents=True)
    (sealed / "file").write_text("x")
    (sealed / "file").chmod(0o400)
    sealed.chmod(0o500)
    sealed.parent.chmod(0o500)
    stage.remove()
    assert not stage.folder.exists()


def test_a_typed_command_shows_its_output_as_it_comes(tmp_path: Path) -> None:
    """And its exit code is told."""
    shown: list[str] = []
    ended = Commands(tmp_path, shown.append).run("--version")
    assert ended.code == 0
    assert ended.output.startswith("opsbook ")
    assert shown == ended.output.splitlines()


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """There is no handbook in an empty folder."""
    with pytest.raises(Failed, match="opsbook status local ended with"):
        Commands(tmp_path, print).read("status", "local")


def test_the_settings_of_the_shell_do_not_reach_the_tour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user with a server of their own must not have the tour deploy to it."""
    monkeypatch.setenv("OPSBOOK_SERVER", "http://127.0.0.1:1")
    monkeypatch.setenv("OPSBOOK_BOOK", str(tmp_path / "elsewhere"))
    ended = Commands(tmp_path, lambda line: None).run("status")
    assert "elsewhere" not in ended.output
    assert "127.0.0.1:1" not in ended.output


FIGURES = {
    "sent": 12_345,
    "failed": 0,
    "failures": [],
    "kinds": {
        "http": {"sent": 12_000, "latency_ms": {"p50": 2.04, "p99": 9.96, "max": 41.2}},
        "stream": {"sent": 345, "latency_ms": {"p50": 1900.0, "p99": 1900.0, "max": 1900.0}},
    },
}


def test_the_summary(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent, what failed, how long it took, in one table."""
    narrator = Narrator()
    monkeypatch.setattr(Narrator, "elapsed", 61.4)
    play = Play(stage, narrator, rate=1, connections=1)
    play.scenes = [
        Scene("blue-green to web 2.0", "succeeded", 2.34),
        Scene("web 2.1", "refused (failed)", 10.0),
    ]
    play.switches, play.rollback_seconds, play.chain = [0.0123, 0.02], 0.18, "verified"
    play.trials = [
        Trial("4.0", 230, 0, "slow or errors", None),
        Trial("4.1", 60, 12, "errors", 3.14),
    ]
    assert summary(play, FIGURES) == [
        "",
        "Deployments",
        "  blue-green to web 2.0  succeeded, 2.3 s",
        "  web 2.1                refused (failed), 10.0 s",
        "",
        "requests sent              12,345 (12,000 http, 345 stream)",
        "failed                     0",
        "canary 4.0                 0 of the 230 requests it got were slow or errors, promoted",
        "canary 4.1                 12 of the 60 requests it got were errors, weight 0 after 3.1 s",
        "page latency               p50 2.0 ms, p99 10.0 ms, longest 41 ms",
        "switch to a new version    12 ms and 20 ms",
        "roll back to the warm one  180 ms from the command to the last answer of the version left",
        "journal                    chain verified",
        "time                       61 s",
        "",
        "Everything was as promised.",
    ]


def test_a_broken_promise_is_told_and_counted(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """The tour's exit code depends on it."""
    play = Play(stage, Narrator(), rate=1, connections=1)
    play.promise("the sun rises", True)
    play.promise("pigs fly", False, "they do not")
    assert play.broken == 1
    assert capsys.readouterr().out.splitlines() == [
        "   ✔ ok the sun rises",
        "   ✖ failed pigs fly: they do not",
    ]


def test_colours_only_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in a pipe, not with NO_COLOR."""
    assert not sys.stdout.isatty()
    assert Narrator().paint("x", "red") == "x"
    monkeypatch.setenv("CLICOLOR_FORCE", "1")
    assert Narrator().paint("x", "red") == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert Narrator().paint("x", "red") == "x"
