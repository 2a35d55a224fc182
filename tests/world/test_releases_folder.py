"""The store of releases."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from opsbook.errors import Conflict, Failed, Invalid, NotFound
from opsbook.world.hosts import processes
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.hosts.git import commit_files, git, resolve
from opsbook.world.releases.folder import FolderReleases
from opsbook.world.words import Snapshot, SourceRef

AUTHOR = "Ana <ana@example.com>"


@pytest.fixture
def store(tmp_path: Path) -> FolderReleases:
    return FolderReleases(tmp_path / "releases", SystemClock())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "app.py").write_text("print(1)")
    return folder


def contents(snapshot: Snapshot) -> dict[str, str]:
    return {
        str(path.relative_to(snapshot.folder)): path.read_text()
        for path in sorted(snapshot.folder.rglob("*"))
        if path.is_file()
    }


def left(tmp_path: Path) -> list[str]:
    root = tmp_path / "releases"
    return sorted(path.name for folder in ("staging", "trees") for path in (root / folder).iterdir())


def test_a_folder_is_copied_once_and_sealed(store: FolderReleases, source: Path) -> None:
    """The snapshot is read-only, stays as it was, and the same content is never copied again."""
    taken = store.snapshot(SourceRef(path=source), "web", "1")
    assert taken.digest == store.resolve(SourceRef(path=source), "web", "1")
    assert (taken.version, taken.commit, contents(taken)) == ("1", "", {"app.py": "print(1)"})
    assert stat.S_IMODE(taken.folder.stat().st_mode) == 0o555
    assert stat.S_IMODE((taken.folder / "app.py").stat().st_mode) == 0o444
    assert store.snapshot(SourceRef(path=source), "web", "1") == taken
    assert store.snapshot(SourceRef(path=source), "other", "7").folder == taken.folder
    (source / "app.py").write_text("print(2)")
    assert contents(taken) == {"app.py": "print(1)"}


def test_a_version_never_changes_its_meaning(store: FolderReleases, source: Path, tmp_path: Path) -> None:
    """Other content under the same version is refused, with the date of the first and a way out."""
    store.snapshot(SourceRef(path=source), "web", "2.1")
    (source / "app.py").write_text("print(2)")
    for act in (store.resolve, store.snapshot):
        with pytest.raises(
            Conflict, match=r'version "2\.1" of web was taken from other content on 20'
        ) as caught:
            act(SourceRef(path=source), "web", "2.1")
        assert "choose a new version" in caught.value.hint
    assert len(left(tmp_path)) == 1
    assert contents(store.snapshot(SourceRef(path=source), "web", "2.2")) == {"app.py": "print(2)"}


def test_no_source_is_an_empty_snapshot(store: FolderReleases) -> None:
    """A service that is only a command has a release too."""
    taken = store.snapshot(SourceRef(), "redis", "7.2")
    assert list(taken.folder.iterdir()) == []
    assert store.resolve(SourceRef(), "redis", "7.2") == taken.digest
    with pytest.raises(Invalid):
        store.resolve(SourceRef(), "redis", " ")


def test_odd_versions_are_file_names(store: FolderReleases, tmp_path: Path) -> None:
    """A version with slashes and dots is kept apart and stays within the folder."""
    for version in ("feature/x", "..", "../../x", "ü 1"):
        assert store.snapshot(SourceRef(), "web", version).version == version
    assert len([path for path in (tmp_path / "releases" / "labels").rglob("*") if path.is_file()]) == 4


def test_a_build_is_part_of_the_snapshot(store: FolderReleases, source: Path) -> None:
    """Its output is told line by line, its result is sealed, and it runs once for each content and command."""
    script = "echo building; test $OPSBOOK_BUILD = 1; pwd > place; echo out >&2; date +%N > stamp"
    ref = SourceRef(path=source, build=("sh", "-ec", script))
    lines: list[str] = []
    taken = store.snapshot(ref, "web", "1", on_output=lines.append)
    assert lines == ["building", "out"]
    assert contents(taken)["place"].strip() == str(taken.folder)
    again = store.snapshot(ref, "other", "9", on_output=lines.append)
    assert (again.folder, len(lines)) == (taken.folder, 2)
    other = store.snapshot(SourceRef(path=source, build=("true",)), "web", "1")
    assert other.folder != taken.folder
    assert other.digest == taken.digest


@pytest.mark.parametrize(
    ("script", "message", "log"),
    [
        ("echo one; echo two; exit 3", "the build failed: exit code 3: two", ["one", "two"]),
        ("kill -9 $$", "the build failed: killed by SIGKILL", []),
    ],
)
def test_a_failed_build_leaves_nothing(
    store: FolderReleases, source: Path, tmp_path: Path, script: str, message: str, log: list[str]
) -> None:
    """The error has the last lines; nothing is left, and a corrected build of the same version works."""
    with pytest.raises(Failed) as caught:
        store.snapshot(SourceRef(path=source, build=("sh", "-c", script)), "web", "1")
    assert (caught.value.message, caught.value.details) == (message, {"log": log})
    assert left(tmp_path) == []
    assert store.snapshot(SourceRef(path=source), "web", "1").version == "1"


def test_a_missing_build_command_is_said(store: FolderReleases, source: Path, tmp_path: Path) -> None:
    """Command not found, and nothing left."""
    with pytest.raises(Failed, match="command not found: no-such-tool"):
        store.snapshot(SourceRef(path=source, build=("no-such-tool",)), "web", "1")
    assert left(tmp_path) == []


def test_a_listener_that_raises_ends_the_build(store: FolderReleases, source: Path, tmp_path: Path) -> None:
    """The error of who listens is raised, the build does not hang, and nothing is left."""

    def broken(line: str) -> None:
        raise ValueError(line)

    ref = SourceRef(path=source, build=(sys.executable, "-c", "for n in range(50000): print(n)"))
    with pytest.raises(ValueError, match="0"):
        store.snapshot(ref, "web", "1", on_output=broken)
    assert left(tmp_path) == []


def test_background_processes_of_a_build_end_with_it(store: FolderReleases, source: Path) -> None:
    """A build that leaves a daemon behind is over when its main process is, and the daemon is gone."""
    lines: list[str] = []
    ref = SourceRef(path=source, build=("sh", "-c", "setsid sleep 600 & echo $!"))
    store.snapshot(ref, "web", "1", on_output=lines.append)
    assert int(lines[0]) not in processes.table()


def test_two_threads_build_once(store: FolderReleases, source: Path, tmp_path: Path) -> None:
    """The second waits for the first and finds its result."""
    count = tmp_path / "count"
    ref = SourceRef(path=source, build=("sh", "-c", f"echo x >> {count}; sleep 0.2"))
    found: list[Snapshot] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(store.snapshot(ref, f"web{n}", "1")))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count.read_text() == "x\n"
    assert len({snapshot.folder for snapshot in found}) == 1
    assert len(left(tmp_path)) == 1


@pytest.mark.crash
def test_a_build_cut_short_by_kill_is_done_again(store: FolderReleases, source: Path, tmp_path: Path) -> None:
    """After kill -9 in the middle of a build, the old build is ended and the new one starts from a clean copy."""
    script = (
        "echo $$ >> "
        + str(tmp_path / "pids")
        + "; echo x >> built; test -e "
        + str(tmp_path / "go")
        + " || sleep 600"
    )
    program = (
        "import sys; from pathlib import Path\n"
        "from opsbook.world.hosts.clock import SystemClock\n"
        "from opsbook.world.releases.folder import FolderReleases\n"
        "from opsbook.world.words import SourceRef\n"
        "FolderReleases(Path(sys.argv[1]), SystemClock()).snapshot("
        "SourceRef(path=Path(sys.argv[2]), build=('sh', '-c', sys.argv[3])), 'web', '1')"
    )
    opsbook = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "releases"), str(source), script]
    )
    deadline = time.monotonic() + 20
    while not (tmp_path / "pids").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(opsbook.pid, signal.SIGKILL)
    opsbook.wait()
    first = int((tmp_path / "pids").read_text())
    assert first in processes.table()
    (tmp_path / "go").touch()
    taken = store.snapshot(SourceRef(path=source, build=("sh", "-c", script)), "web", "1")
    assert contents(taken) == {"app.py": "print(1)", "built": "x\n"}
    assert first not in processes.table()
    store.collect([taken.digest])
    assert len(left(tmp_path)) == 1


def test_collect_removes_what_nobody_keeps(store: FolderReleases, source: Path, tmp_path: Path) -> None:
    """Snapshots that are not kept go, with what crashes left; those kept stay, and what went can be taken again."""
    first = store.snapshot(SourceRef(path=source), "web", "1")
    (source / "app.py").write_text("print(2)" * 1000)
    second = store.snapshot(SourceRef(path=source), "web", "2")
    (tmp_path / "releases" / "trees" / "unsealed" / "files").mkdir(parents=True)
    (tmp_path / "releases" / "staging" / "1-1-dead").mkdir()
    assert store.collect([first.digest]) >= 8000
    assert left(tmp_path) == [first.folder.parent.name]
    assert store.snapshot(SourceRef(path=source), "web", "2") == second
    assert contents(second) == {"app.py": "print(2)" * 1000}


def test_a_full_disk_leaves_nothing(
    store: FolderReleases, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOSPC while copying is Failed with a hint, and no part of the copy stays."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("opsbook.world.releases.tree.copy_file", full)
    with pytest.raises(Failed, match="the disk is full") as caught:
        store.snapshot(SourceRef(path=source), "web", "1")
    assert "MiB free" in caught.value.hint
    assert left(tmp_path) == []


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_really_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """On a small real disk: what does not fit is refused, a build that fills it fails, both leave nothing."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        store = FolderReleases(disk / "releases", SystemClock())
        large = tmp_path / "large"
        large.mkdir()
        (large / "blob").write_bytes(b"x" * 50 * 2**20)
        with pytest.raises(Failed, match="the disk is too full"):
            store.snapshot(SourceRef(path=large), "web", "1")
        (large / "blob").write_bytes(b"x")
        ref = SourceRef(path=large, build=("sh", "-ec", "head -c 100000000 /dev/zero > filled"))
        with pytest.raises(Failed, match=r"the build failed.*No space left on device"):
            store.snapshot(ref, "web", "1")
        assert list((disk / "releases" / "trees").iterdir()) == []
        assert store.snapshot(SourceRef(path=large), "web", "1").version == "1"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# --- git -----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["path", "url"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "config", "user.name", "Ana")
    git(folder, "config", "user.email", "ana@example.com")
    commit_files(folder, {"web/app.py": "one", "README": "r"}, "First\n\nbody", AUTHOR)
    return folder, str(folder) if request.param == "path" else f"file://{folder}"


def test_a_commit_is_taken_with_its_facts(store: FolderReleases, repository: tuple[Path, str]) -> None:
    """Only the subfolder at the commit, with executable bits and links, and who made it, when and why."""
    folder, url = repository
    (folder / "web" / "run").write_text("#!/bin/sh\n")
    (folder / "web" / "run").chmod(0o755)
    (folder / "web" / "link").symlink_to("app.py")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "Second")
    (folder / "web" / "app.py").write_text("not committed")
    head = resolve(folder, "HEAD")
    ref = SourceRef(git=url, subfolder="web")
    assert store.resolve(ref, "web", "main") == head
    taken = store.snapshot(ref, "web", "main")
    assert contents(taken) == {"app.py": "one", "run": "#!/bin/sh\n", "link": "one"}
    assert os.access(taken.folder / "run", os.X_OK)
    assert (taken.commit, taken.author, taken.message) == (head, AUTHOR, "Second")
    assert taken.committed_at is not None
    assert abs(taken.committed_at - time.time()) < 3600
    assert store.snapshot(ref, "web", "main") == taken


def test_versions_are_tags_branches_and_commits(store: FolderReleases, repository: tuple[Path, str]) -> None:
    """Tags are found with and without v, annotated ones too; a branch moves, a tag must not."""
    folder, url = repository
    first = resolve(folder, "HEAD")
    git(folder, "tag", "v1.0")
    git(folder, "tag", "-a", "2.0", "-m", "two")
    ref = SourceRef(git=url)
    for version in ("1.0", "v1.0", "2.0", "main", first, first[:8]):
        assert store.resolve(ref, "web", version) == first
    store.snapshot(ref, "web", "main")
    store.snapshot(ref, "web", "1.0")
    second = commit_files(folder, {"web/app.py": "two"}, "Second", AUTHOR)
    assert store.resolve(ref, "web", "main") == second
    assert contents(store.snapshot(ref, "web", "main"))["web/app.py"] == "two"
    git(folder, "tag", "--force", "v1.0")
    for act in (store.resolve, store.snapshot):
        with pytest.raises(Conflict, match=f"commit {first[:10]}"):
            act(ref, "web", "1.0")
    assert contents(store.snapshot(ref, "web", first[:9]))["web/app.py"] == "one"


def test_unknown_versions_have_near_ones(store: FolderReleases, repository: tuple[Path, str]) -> None:
    """The hint names what was probably meant; a folder that is not there is named too."""
    folder, url = repository
    git(folder, "tag", "v1.10")
    with pytest.raises(NotFound, match=r"no tag, branch or commit 'v1\.1'") as caught:
        store.resolve(SourceRef(git=url), "web", "v1.1")
    assert caught.value.hint == "did you mean v1.10?"
    with pytest.raises(NotFound):
        store.resolve(SourceRef(git=url), "web", "0123456789")
    with pytest.raises(NotFound, match="there is no folder nothing"):
        store.snapshot(SourceRef(git=url, subfolder="nothing"), "web", "main")


def test_a_repository_that_does_not_answer_is_said_without_its_password(store: FolderReleases) -> None:
    """What git says is in the error, the password of the URL is not; an option is no URL."""
    with pytest.raises(Failed) as caught:
        store.resolve(SourceRef(git="http://ana:hunter2@127.0.0.1:1/x.git"), "web", "main")
    assert "hunter2" not in str(caught.value.to_json())
    with pytest.raises(Invalid):
        store.resolve(SourceRef(git="--upload-pack=touch /tmp/x"), "web", "main")
    with pytest.raises(Failed):
        store.resolve(SourceRef(git="ext::sh -c date"), "web", "main")


def test_submodules_are_refused(store: FolderReleases, repository: tuple[Path, str]) -> None:
    """A submodule would silently be an empty folder, so it is an error that names it."""
    folder, url = repository
    head = resolve(folder, "HEAD")
    git(folder, "update-index", "--add", "--cacheinfo", f"160000,{head},vendor")
    git(folder, "commit", "--quiet", "-m", "Add a submodule")
    with pytest.raises(Failed, match="submodules cannot be part of a release yet: vendor"):
        store.snapshot(SourceRef(git=url), "web", "main")
