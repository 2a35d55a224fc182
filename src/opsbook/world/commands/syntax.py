"""Whether shells can read scripts at all: asked of the shells themselves, which run nothing of it."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from opsbook.errors import OpsbookError
from opsbook.world.commands.words import Shell
from opsbook.world.hosts.commands import run

_SECONDS = 20.0
_LINE = re.compile(r"(?:bash|sh|stdin|dash)?:?\s*(?:line )?(\d+):\s*(.*)")


@dataclass(frozen=True, slots=True)
class Fault:
    """One finding. `line` counts from 1 within the script."""

    line: int
    message: str
    serious: bool = True


def faults(scripts: Mapping[str, tuple[Shell, str]], *, style: bool = True) -> dict[str, tuple[Fault, ...]]:
    """What is wrong with each script; those without a fault are left out.

    Args:
        style: ask shellcheck too, where it is installed.
    """
    found: dict[str, tuple[Fault, ...]] = {}
    for shell in ("bash", "sh"):
        chosen = {name: text for name, (kind, text) in scripts.items() if kind == shell}
        if not chosen or shutil.which(shell) is None:
            continue
        # All in one go: a shell that has nothing to complain of has read them all.
        if not _ask(shell, "\n".join(f"{{ :\n{text}\n}}" for text in chosen.values())):
            continue
        found |= {name: told for name, text in chosen.items() if (told := _ask(shell, text))}
    checker = _shellcheck() if style else None
    if checker is not None:
        for name, (kind, text) in scripts.items():
            if name not in found and (told := _shellchecked(checker, kind, text)):
                found[name] = told
    return found


def _ask(shell: str, text: str) -> tuple[Fault, ...]:
    ended = run(
        [shell, "-n"],
        feed=text.encode("utf-8", "surrogatepass"),
        timeout=_SECONDS,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    )
    lines = ended.errors.decode("utf-8", "replace").splitlines()
    matches = [match for line in lines if (match := _LINE.search(line)) and not match[2].startswith("`")]
    told = tuple(Fault(int(match[1]), match[2]) for match in matches[:1])
    return told or ((Fault(1, "it does not parse"),) if ended.code else ())


def _shellcheck() -> str | None:
    beside = Path(sys.executable).parent / "shellcheck"
    return str(beside) if beside.is_file() else shutil.which("shellcheck")


def _shellchecked(checker: str, shell: str, text: str) -> tuple[Fault, ...]:
    command: Sequence[str] = (
        checker,
        "--format=json1",
        "--severity=warning",
        f"--shell={shell}",
        "--exclude=SC2154",
        "-",
    )
    try:
        ended = run(command, feed=text.encode("utf-8", "surrogatepass"), timeout=_SECONDS)
        comments = json.loads(ended.output or b"{}").get("comments", [])
    except (OpsbookError, ValueError):
        return ()
    return tuple(
        Fault(int(one["line"]), f"{one['message']} (SC{one['code']})", serious=one["level"] == "error")
        for one in comments
    )
