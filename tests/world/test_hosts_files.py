"""Files that are whole or not there."""

import errno
import os
import stat
from pathlib import Path

import pytest

from opsbook.errors import Failed, NotFound
from opsbook.world.hosts import files


def test_atomic_write_replaces_the_whole_file(tmp_path: Path) -> None:
    """After a write the file has the new content and mode, and no temporary file is left."""
    path = tmp_path / "record.json"
    files.atomic_write(path, "old and longer", mode=0o600)
    files.atomic_write(path, b"new", mode=0o640)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC in the middle of a write becomes Failed with a hint, and the old content stays."""
    path = tmp_path / "record.json"
    path.write_text("old")
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 3:
            return real(descriptor, data[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(Failed) as caught:
        files.atomic_write(path, "123456")
    assert caught.value.message == "the disk is full"
    assert "MiB free" in caught.value.hint
    assert path.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_private_folder_narrows_what_was_open(tmp_path: Path) -> None:
    """A folder that others could enter is closed."""
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o755)
    files.private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_read_private_refuses_what_others_may_read(tmp_path: Path) -> None:
    """A key that others may read is refused with the command that closes it."""
    path = tmp_path / "age.key"
    path.write_text("secret")
    path.chmod(0o644)
    with pytest.raises(Failed) as caught:
        files.read_private(path)
    assert caught.value.hint == f"chmod 600 {path}"
    with pytest.raises(NotFound):
        files.read_private(tmp_path / "missing")


def test_require_space_refuses_beforehand(tmp_path: Path) -> None:
    """More than the disk has is refused, a byte is not."""
    files.require_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(Failed, match="too full"):
        files.require_space(tmp_path, 2**62)


def test_remove_tree_removes_read_only_folders(tmp_path: Path) -> None:
    """A sealed release can be removed, and a link in it is not followed."""
    outside = tmp_path / "outside"
    outside.write_text("stays")
    inner = tmp_path / "tree" / "inner"
    inner.mkdir(parents=True)
    (inner / "file").write_text("x")
    (inner / "link").symlink_to(outside)
    inner.chmod(0o555)
    (tmp_path / "tree").chmod(0o555)
    files.remove_tree(tmp_path / "tree")
    files.remove_tree(tmp_path / "tree")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside"]
