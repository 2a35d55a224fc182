"""The state folder as the server and its clients see it: lock, token, socket, and who is running.

Everything here is readable by its owner only: whoever can open the socket or read the token can deploy.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from opsbook.errors import Failed, Invalid, Locked, NotAllowed
from opsbook.world.hosts.files import atomic_write

LONGEST_SOCKET_PATH = 100  # Linux allows 107 bytes, macOS 103


@dataclass(frozen=True, slots=True)
class Running:
    """A running server, as it describes itself in ``server.json``."""

    pid: int
    started_at: float  # UTC epoch seconds
    url: str
    socket: str
    version: str
    book: str

    @classmethod
    def read(cls, state: Path) -> Running | None:
        """The server on this state folder, or None. A file left by a crash still reads; ask the socket."""
        try:
            found = json.loads((state / "server.json").read_text(encoding="utf-8"))
            return cls(**{name: found[name] for name in cls.__dataclass_fields__})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, state: Path) -> None:
        write_private(state / "server.json", json.dumps(asdict(self), indent=2) + "\n")


def prepare(state: Path) -> None:
    """Create the state folder, private to its owner.

    Raises:
        Failed: it cannot be created. NotAllowed: it belongs to somebody else.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = state.stat().st_uid
        if owner == os.geteuid():
            state.chmod(0o700)
            (state / ".gitignore").write_text(
                "*\n", encoding="ascii"
            )  # it often lies inside somebody's repository
    except OSError as error:
        raise Failed(
            f"the state folder cannot be used: {error.strerror or error}",
            where=str(state),
            hint="choose another one: export OPSBOOK_STATE=/path/to/folder",
        ) from error
    if owner != os.geteuid():
        raise NotAllowed(
            f"the state folder belongs to user {owner}, opsbook runs as user {os.geteuid()}",
            where=str(state),
            hint="run opsbook as the owner, or choose another folder: export OPSBOOK_STATE=/path/to/folder",
        )


def write_private(path: Path, text: str) -> None:
    """Replace `path` by `text` at once, mode 0600: a reader sees the old or the new, never a half."""
    atomic_write(path, text, mode=0o600)


def token(state: Path) -> str:
    """The API token of this state folder; made of 256 random bits when there is none yet.

    Raises:
        NotAllowed: others can read the file.
    """
    path = state / "token"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32) + "\n")
    if path.stat().st_mode & 0o077:
        raise NotAllowed(
            "the API token can be read by other users",
            where=str(path),
            hint=f"make it private: chmod 600 {path}, or remove it to get a new one",
        )
    value = path.read_text(encoding="utf-8").strip()
    if len(value) < 32:
        raise Invalid(
            "the API token is too short", where=str(path), hint=f"remove it to get a new one: rm {path}"
        )
    return value


def socket_path(state: Path) -> Path:
    """Where the Unix socket is: ``STATE/api.sock``, or in a short private folder when that path is too long.

    Raises:
        NotAllowed: the short folder belongs to somebody else.
    """
    path = state / "api.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(state.resolve())).hexdigest()[:12]
    folder = Path("/tmp") / f"opsbook-{os.geteuid()}-{digest}"  # noqa: S108 - checked below to be ours
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise NotAllowed(
            "the folder of the API socket is not private to this user",
            where=str(folder),
            hint="remove it, or choose a shorter state folder: export OPSBOOK_STATE=/path/to/folder",
        )
    return folder / "api.sock"


def remember_book(state: Path, book: Path) -> None:
    """Tie the state folder to one handbook, so that two handbooks side by side never share services.

    Raises:
        Invalid: the state is that of another handbook that still exists. (One that has moved is followed.)
    """
    record = state / "handbook"
    known = record.read_text(encoding="utf-8").strip() if record.exists() else ""
    if known and known != str(book) and (Path(known) / "opsbook.yaml").exists():
        raise Invalid(
            f"this state folder belongs to the handbook {known}",
            where=str(state),
            hint=f"give this one its own: export OPSBOOK_STATE={book.parent / f'.opsbook-{book.name}'}",
        )
    if known != str(book):
        write_private(record, f"{book}\n")


@contextlib.contextmanager
def only_instance(state: Path) -> Iterator[None]:
    """One server per state folder: a lock that the kernel lets go of when the process ends, however.

    Raises:
        Locked: another server has it; names its pid.
    """
    handle = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise _held(state, os.read(handle, 20).decode("ascii", "replace").strip() or "unknown") from None
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode("ascii"))
        yield
    finally:
        os.close(handle)


def _held(state: Path, holder: str) -> Locked:
    running = Running.read(state)
    at = f" at {running.url}" if running and str(running.pid) == holder else ""
    return Locked(
        f"an opsbook server is already running on this state folder: pid {holder}{at}",
        where=str(state),
        hint="use it as it is, or end it first: opsbook down",
        details={"holder": holder, "reason": "an opsbook server is running"},
    )
