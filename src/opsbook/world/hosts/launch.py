"""The small program a process is before it becomes the service: it waits for the word, then becomes it.

Run as ``python -I -S launch.py`` with its order on standard input: fields ended by NUL, the last of them
``go``. When the order is not whole at end-of-file, whoever wrote it has died: then nothing is started. So a
process either is in the records of opsbook or never became the service. What fails is told on descriptor 3
as ``step errno``; descriptor 3 closing without a word means that the service runs.

It imports nothing of opsbook and little else, because it is run for every start of every instance.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys

REPORT = 3


def become(command: list[bytes]) -> None:
    """Execute `command`, looked up in PATH; like `os.execvp`, which imports modules another user cannot
    read.
    """
    denied: OSError | None = None
    folders = [b""] if b"/" in command[0] else os.environb.get(b"PATH", b"/usr/bin:/bin").split(b":")
    for folder in folders:
        program = os.path.join(folder, command[0])  # noqa: PTH118 - as above
        try:
            os.execv(program, command)  # noqa: S606 - there is no shell
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            # A folder that this user may not look into holds nothing that could be meant.
            denied = error if os.path.exists(program) else denied  # noqa: PTH110 - as above
    raise denied or FileNotFoundError(errno.ENOENT, "command not found")


def main() -> int:
    """Read the order, become the command; returns only when that is impossible."""
    os.set_inheritable(REPORT, False)
    order = b""
    while chunk := os.read(0, 65536):
        order += chunk
    fields = order.split(b"\0")
    if fields[-1] != b"go":
        return 0
    files, uid, gid, groups, folder, *command = fields[:-1]
    step = "stdin"
    try:
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        os.umask(0o022)
        step = "open_files"
        if files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (int(files), int(files)))
        step = "user"
        if uid:
            os.setgroups([int(group) for group in groups.split(b",")])
            os.setgid(int(gid))
            os.setuid(int(uid))
        step = "folder"
        os.chdir(folder)
        step = "command"
        # Python ignores these two for itself; a service expects them as the system has them.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        become(command)
    except OSError as error:
        os.write(REPORT, f"{step} {error.errno}".encode())
    except ValueError:  # a limit above what may be set
        os.write(REPORT, f"{step} 1".encode())
    return 127


if __name__ == "__main__":
    sys.exit(main())
