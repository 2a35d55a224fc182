"""Reading at a commit, and committing without touching anything else."""

import subprocess
from pathlib import Path

import pytest

from opsbook.errors import Conflict, Failed, Invalid, NotFound
from opsbook.world.hosts.git import GitFiles, attempt, commit_files, git, repository_of, resolve

AUTHOR = "Ana <ana@example.com>"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    files = {"ops/opsbook.yaml": "name: shop\n", "ops/a/ü.md": "x\n", "web/app.py": "1\n"}
    commit_files(folder, files, "First", AUTHOR)
    return folder


def test_files_are_read_at_the_commit_and_not_from_the_folder(repository: Path) -> None:
    """An edit that is not committed is not seen, and paths are relative to the subfolder."""
    (repository / "ops/opsbook.yaml").write_text("name: broken\n")
    found = GitFiles(repository, "main", "ops")
    assert found.paths() == ("a/ü.md", "opsbook.yaml")
    assert found.read("opsbook.yaml") == b"name: shop\n"
    assert found.commit == resolve(repository, "HEAD")
    assert found.where == f"{repository}/ops at {found.commit[:10]}"
    with pytest.raises(NotFound):
        found.read("missing.yaml")


def test_what_does_not_exist_is_said(repository: Path, tmp_path: Path) -> None:
    """Unknown refs and folders, and a folder that is no repository, are errors of their own."""
    with pytest.raises(NotFound, match="no such git ref: nowhere"):
        resolve(repository, "nowhere")
    with pytest.raises(Invalid):
        resolve(repository, "--all")
    with pytest.raises(NotFound, match="there is no folder nothing"):
        GitFiles(repository, "HEAD", "nothing")
    with pytest.raises(Failed, match="not a git repository"):
        resolve(tmp_path, "HEAD")


def test_the_repository_of_a_folder_is_its_top(repository: Path, tmp_path: Path) -> None:
    """A folder inside gives the top of the working tree; one outside gives nothing."""
    assert repository_of(repository / "ops/a") == repository
    assert repository_of(tmp_path) is None


def test_a_commit_has_exactly_its_files(repository: Path) -> None:
    """What others staged or edited stays as it was: staged, edited, and out of the commit."""
    (repository / "web/app.py").write_text("2\n")
    git(repository, "add", "web/app.py")
    (repository / "other").write_text("untracked")
    before = resolve(repository, "HEAD")
    after = commit_files(repository, {"ops/opsbook.yaml": "name: new\n", "ops/b.yaml": "b\n"}, "Why", AUTHOR)
    changed = git(repository, "show", "--name-only", "--format=%an %ae %s", after).decode().split("\n")
    assert changed[:1] == ["Ana ana@example.com Why"]
    assert sorted(filter(None, changed[1:])) == ["ops/b.yaml", "ops/opsbook.yaml"]
    assert git(repository, "rev-parse", f"{after}^").decode().strip() == before
    assert git(repository, "status", "--porcelain").decode() == "M  web/app.py\n?? other\n"


def test_the_same_content_makes_no_commit(repository: Path) -> None:
    """Writing what is there already returns the present commit."""
    head = resolve(repository, "HEAD")
    assert commit_files(repository, {"ops/opsbook.yaml": "name: shop\n"}, "Why", AUTHOR) == head


def test_dirty_paths_are_refused_and_untouched(repository: Path) -> None:
    """A person's uncommitted edit of the same file is neither committed nor overwritten."""
    (repository / "ops/opsbook.yaml").write_text("mine\n")
    with pytest.raises(Conflict, match=r"uncommitted changes in ops/opsbook\.yaml"):
        commit_files(repository, {"ops/opsbook.yaml": "theirs\n"}, "Why", AUTHOR)
    assert (repository / "ops/opsbook.yaml").read_text() == "mine\n"


def test_a_merge_under_way_is_refused(repository: Path) -> None:
    """In the middle of a conflicting merge nothing is committed."""
    git(repository, "checkout", "--quiet", "-b", "side")
    commit_files(repository, {"web/app.py": "side\n"}, "Side", AUTHOR)
    git(repository, "checkout", "--quiet", "main")
    commit_files(repository, {"web/app.py": "main\n"}, "Main", AUTHOR)
    attempt(repository, "-c", "user.name=a", "-c", "user.email=a@b", "merge", "side")
    with pytest.raises(Conflict, match="a merge is under way"):
        commit_files(repository, {"ops/opsbook.yaml": "new\n"}, "Why", AUTHOR)


def test_a_refusing_hook_puts_the_files_back(repository: Path) -> None:
    """When a hook refuses, the working tree and the index are as before, and its words are in the error."""
    hook = repository / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho the moon is full; exit 1\n")
    hook.chmod(0o755)
    with pytest.raises(Failed, match="the moon is full"):
        commit_files(repository, {"ops/opsbook.yaml": "new\n", "ops/new.yaml": "x\n"}, "Why", AUTHOR)
    assert subprocess.check_output(["git", "-C", str(repository), "status", "--porcelain"]) == b""
    assert (repository / "ops/opsbook.yaml").read_text() == "name: shop\n"


def test_paths_cannot_leave_the_repository(repository: Path) -> None:
    """A path with .. is refused before anything is written."""
    with pytest.raises(Invalid):
        commit_files(repository, {"../outside": "x"}, "Why", AUTHOR)
