"""Source folders as lists of entries with one digest."""

import os
import socket
from pathlib import Path

import pytest

from opsbook.errors import Invalid, NotFound
from opsbook.world.releases import tree
from opsbook.world.releases.tree import Digests, Entry


def fill(root: Path) -> Path:
    (root / "shop").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "app.py").write_text("print(1)")
    (root / "shop" / "run").write_text("#!/bin/sh\n")
    (root / "shop" / "run").chmod(0o755)
    (root / "shop" / "link").symlink_to("../app.py")
    return root


def digest(root: Path) -> str:
    return Digests().tree(root, tree.entries(root))


def test_entries_are_sorted_and_say_what_they_are(tmp_path: Path) -> None:
    """Files, executables, links and empty folders are told apart."""
    assert tree.entries(fill(tmp_path)) == (
        Entry("app.py", "file", size=8),
        Entry("empty", "folder"),
        Entry("shop/link", "link", target="../app.py"),
        Entry("shop/run", "executable", size=10),
    )


def test_a_copy_has_the_same_digest(tmp_path: Path) -> None:
    """Times and owners are no content."""
    source, target = fill(tmp_path / "source"), tmp_path / "target"
    target.mkdir()
    tree.copy(source, tree.entries(source), target)
    os.utime(target / "app.py", (1, 1))
    assert digest(target) == digest(source)
    assert tree.entries(target) == tree.entries(source)


@pytest.mark.parametrize("change", ["content", "name", "executable", "target", "folder", "moved"])
def test_every_change_changes_the_digest(tmp_path: Path, change: str) -> None:
    """Content, names, the executable bit, link targets and empty folders all count."""
    before = digest(fill(tmp_path))
    if change == "content":
        (tmp_path / "app.py").write_text("print(2)")
    elif change == "name":
        (tmp_path / "app.py").rename(tmp_path / "main.py")
    elif change == "executable":
        (tmp_path / "app.py").chmod(0o755)
    elif change == "target":
        (tmp_path / "shop" / "link").unlink()
        (tmp_path / "shop" / "link").symlink_to("run")
    elif change == "folder":
        (tmp_path / "empty").rmdir()
    else:
        (tmp_path / "shop" / "app.py").symlink_to("../app.py")
    assert digest(tmp_path) != before


def test_what_is_no_content_is_left_out(tmp_path: Path) -> None:
    """Version control, caches, our own state, virtual environments, sockets and ignored files do not count."""
    fill(tmp_path)
    before = tree.entries(tmp_path)
    for name in (".git", "__pycache__", "shop/__pycache__", ".opsbook", "logs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("x")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("")
    (tmp_path / ".venv" / "python").symlink_to("/usr/bin/python3")
    (tmp_path / "keep.log").write_text("x")
    (tmp_path / "a.log").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    folder = Path.cwd()
    os.chdir(tmp_path)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("socket")
    finally:
        os.chdir(folder)
    (tmp_path / ".opsbookignore").write_text("*.log\n!keep.log\n/logs/\n")
    names = {entry.path for entry in tree.entries(tmp_path)} - {entry.path for entry in before}
    assert names == {".opsbookignore", "keep.log"}


def test_dependencies_are_content(tmp_path: Path) -> None:
    """node_modules belongs to the release."""
    (tmp_path / "node_modules" / "x").mkdir(parents=True)
    (tmp_path / "node_modules" / "x" / "index.js").write_text("1")
    assert [entry.path for entry in tree.entries(tmp_path)] == ["node_modules/x/index.js"]


@pytest.mark.parametrize("target", ["/etc/passwd", "..", "../outside", "shop/../../x"])
def test_links_that_lead_outside_are_refused(tmp_path: Path, target: str) -> None:
    """Such a link would lead to other files tomorrow; the error says which one and where to."""
    fill(tmp_path)
    (tmp_path / "bad").symlink_to(target)
    with pytest.raises(Invalid, match="the link bad leads outside") as caught:
        tree.entries(tmp_path)
    assert target in caught.value.message


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    """The error names the folder."""
    with pytest.raises(NotFound, match="does not exist"):
        tree.entries(tmp_path / "missing")


def test_remembered_hashes_notice_changes(tmp_path: Path) -> None:
    """A file that was settled and is written again, with its old times and size, is hashed again."""
    file = tmp_path / "a"
    file.write_text("one")
    os.utime(file, (1, 1))
    digests = Digests()
    first = digests.tree(tmp_path, tree.entries(tmp_path))
    file.write_text("two")
    os.utime(file, (1, 1))
    assert digests.tree(tmp_path, tree.entries(tmp_path)) != first
