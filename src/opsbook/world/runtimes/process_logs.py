"""What the instances of local processes write: files, rotation, and the index that gives every byte a time.

The format, which readers (``world/telemetry/logs.py``) rely on::

    <state>/logs/ENV/SERVICE/INSTANCE.log        what the instance writes now, stdout and stderr together
    <state>/logs/ENV/SERVICE/INSTANCE.log.1      older, complete; .1 is the newest of them, .5 the oldest
    <state>/logs/ENV/SERVICE/INSTANCE.index      checkpoints of INSTANCE.log
    <state>/logs/ENV/SERVICE/INSTANCE.index.1    checkpoints of INSTANCE.log.1, and so on

A checkpoint is one line ``offset epoch_seconds`` (an integer of bytes, a blank, a decimal number with 3
places, a newline). It says: *the bytes before `offset` were written before `epoch_seconds`*, to about one
second. Offsets are relative to the file the index belongs to, and grow; times may jump with the wall clock.
So the lines between two checkpoints were written between their two times. A last line without a newline is
being written: leave it alone. A log without an index, or bytes after the last checkpoint, have the file's
mtime as their latest time.

Rotation, once INSTANCE.log exceeds ``max_bytes``: its bytes are copied to ``INSTANCE.log.new``; the older
files move up by one; INSTANCE.log is truncated to 0; ``.new`` becomes ``.1``. The processes hold
INSTANCE.log with O_APPEND, so its *inode never changes* and they go on writing at the new end. A follower
therefore sees a file that became shorter than its position: the rest of what it was reading is in
``INSTANCE.log.1`` from that position on (it appears within milliseconds: try again while it is missing),
after which INSTANCE.log is read from 0. Bytes written between the last copy and the truncation (some
microseconds) are lost, as with logrotate's copytruncate.

Files are 0640 and folders 0750. The logs of the last 20 ended instances of a service are kept.

"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from opsbook.errors import Failed
from opsbook.world.words import Clock

ROTATE_BYTES = 10 * 1024 * 1024
KEEP_FILES = 5
KEEP_ENDED = 20
CHECKPOINT_EVERY = 1.0  # seconds

_COPY_CHUNK = 1024 * 1024
_TAIL_CHUNK = 64 * 1024


def log_path(root: Path, environment: str, service: str, instance: str) -> Path:
    """Where `instance` writes, below `root` (``<state>/logs``)."""
    return root / environment / service / f"{instance}.log"


def index_path(log: Path) -> Path:
    """The index of the current `log`; that of ``.log.N`` is the same with ``.N`` appended."""
    return log.with_suffix(".index")


def append_checkpoint(log: Path, offset: int, at: float) -> None:
    """Write one line ``offset epoch_seconds``; a single append, so that readers never see half of two."""
    descriptor = os.open(index_path(log), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        os.write(descriptor, f"{offset} {at:.3f}\n".encode())
    finally:
        os.close(descriptor)


class ProcessLogs:
    """The log files of all instances, with one thread that writes checkpoints and rotates.

    Args:
        root: ``<state>/logs``.
        clock: gives the times of the checkpoints.
        max_bytes: a log larger than this is rotated.
        keep: how many rotated files are kept.
    """

    def __init__(
        self, root: Path, clock: Clock, *, max_bytes: int = ROTATE_BYTES, keep: int = KEEP_FILES
    ) -> None:
        self._root = root
        self._clock = clock
        self._max_bytes = max_bytes
        self._keep = keep
        self._sizes: dict[Path, int] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def path(self, environment: str, service: str, instance: str) -> Path:
        """Where `instance` writes."""
        return log_path(self._root, environment, service, instance)

    def find(self, instance: str) -> Path | None:
        """The log of an instance that may have been forgotten already, or None."""
        return next(iter(self._root.glob(f"*/*/{instance}.log")), None)

    def open(self, log: Path) -> int:
        """A descriptor for a process to append to; the caller closes it. The log is watched from now on.

        Raises:
            Failed: the file cannot be made (disk full, no permission).
        """
        try:
            log.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise Failed(
                f"the log cannot be opened: {error.strerror}",
                hint="free some disk space or fix the permissions, then try again",
                where=str(log),
            ) from error
        self.watch(log)
        return descriptor

    def watch(self, log: Path) -> None:
        """Write checkpoints for `log` and rotate it; finishes a rotation that a crash interrupted."""
        with self._lock:
            if log not in self._sizes:
                _finish_rotation(log, self._keep)
                # What is there already was written before now; the first look makes that a checkpoint.
                self._sizes[log] = 0

    def unwatch(self, log: Path) -> None:
        """The instance ended: one last checkpoint, then its log is left alone."""
        self._look_at(log)
        with self._lock:
            self._sizes.pop(log, None)

    def look(self) -> None:
        """Checkpoint and rotate what has grown since the last look: one `stat` per log."""
        with self._lock:
            logs = tuple(self._sizes)
        for log in logs:
            self._look_at(log)

    def _look_at(self, log: Path) -> None:
        with self._lock:
            known = self._sizes.get(log)
            if known is None:
                return
            try:
                size = log.stat().st_size
            except FileNotFoundError:
                return  # somebody removed it; the process writes into nowhere until it restarts
            if size == known:
                return
            with suppress(OSError):  # a full disk must not end the thread; the next look tries again
                append_checkpoint(log, size, self._clock.now())
                self._sizes[log] = size
                if size > self._max_bytes:
                    self._sizes[log] = rotate(log, self._keep)

    def start(self) -> None:
        """Begin to look once a second, in one daemon thread."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="opsbook-process-logs", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop looking. The processes go on writing."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._stop.wait(CHECKPOINT_EVERY):
            self.look()

    def prune(self, environment: str, service: str, alive: Collection[str], keep: int = KEEP_ENDED) -> None:
        """Remove the logs of all but the `keep` newest ended instances of a service."""
        folder = self._root / environment / service
        ended = [log for log in folder.glob("*.log") if log.stem not in alive]
        ended.sort(key=_mtime, reverse=True)
        for log in ended[keep:]:
            for path in (log, index_path(log), *_rotated(log), *_rotated(index_path(log))):
                path.unlink(missing_ok=True)


def rotate(log: Path, keep: int = KEEP_FILES, *, copied: Callable[[], None] = lambda: None) -> int:
    """Copy `log` aside and truncate it, with its index. `copied` is called before the truncation, for tests.

    Returns:
        The new size of `log`.
    """
    new = Path(f"{log}.new")
    with log.open("r+b", buffering=0) as source, new.open("wb", buffering=0) as target:
        _copy_rest(source.fileno(), target.fileno())
        _shift(log, keep)
        copied()
        _copy_rest(source.fileno(), target.fileno())  # what came meanwhile: as late as possible
        os.ftruncate(source.fileno(), 0)
    new.chmod(0o640)
    new.replace(f"{log}.1")
    index = index_path(log)
    with suppress(FileNotFoundError):
        index.replace(f"{index}.1")
    return 0


def _copy_rest(source: int, target: int) -> None:
    while chunk := os.read(source, _COPY_CHUNK):
        view = memoryview(chunk)
        while view:
            view = view[os.write(target, view) :]


def _shift(log: Path, keep: int) -> None:
    for base in (log, index_path(log)):
        for number in range(keep, 0, -1):
            older = Path(f"{base}.{number}")
            if number == keep:
                older.unlink(missing_ok=True)
            else:
                with suppress(FileNotFoundError):
                    older.replace(f"{base}.{number + 1}")


def _finish_rotation(log: Path, keep: int) -> None:
    """After a crash: ``.new`` goes when the truncation had not happened, else it becomes ``.1``."""
    new = Path(f"{log}.new")
    if not new.exists():
        return
    if log.exists() and _begins_alike(log, new):
        new.unlink()
        return
    if Path(f"{log}.1").exists():
        _shift(log, keep)
    new.replace(f"{log}.1")
    index = index_path(log)
    with suppress(FileNotFoundError):
        index.replace(f"{index}.1")


def _begins_alike(log: Path, new: Path) -> bool:
    with log.open("rb") as first, new.open("rb") as second:
        begin = second.read(4096)
        return first.read(len(begin)) == begin


def _rotated(path: Path) -> list[Path]:
    return list(path.parent.glob(f"{path.name}.*"))


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def tail(log: Path, lines: int) -> tuple[str, ...]:
    """The last `lines` lines of `log`, reaching into ``.log.1`` when the current file has fewer."""
    found: list[str] = []
    for path in (log, Path(f"{log}.1")):
        if len(found) < lines:
            found = [*_last_lines(path, lines - len(found)), *found]
    return tuple(found)


def _last_lines(path: Path, lines: int) -> list[str]:
    try:
        with path.open("rb") as file:
            position = file.seek(0, os.SEEK_END)
            data = b""
            while position > 0 and data.count(b"\n") <= lines and len(data) < 4 * 1024 * 1024:
                step = min(_TAIL_CHUNK, position)
                position -= step
                file.seek(position)
                data = file.read(step) + data
    except FileNotFoundError:
        return []
    return [line.rstrip("\r") for line in data.decode("utf-8", "replace").split("\n") if line][-lines:]
