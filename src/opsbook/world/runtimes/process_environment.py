"""What a process is given: its command and its environment, with the placeholders filled in.

A process gets what the workload says, what opsbook knows (``PORT``, ``OPSBOOK_*``) and very little of
opsbook's own
environment: the shell of an operator is full of things that no service should see.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from opsbook.errors import Invalid
from opsbook.world.hosts.users import User
from opsbook.world.words import Secrets, Workload

INSTANCE = "OPSBOOK_INSTANCE"
RUNTIME = "OPSBOOK_RUNTIME"
_INHERITED = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
_PLACEHOLDER = re.compile(
    r"\{\{|\}\}|\{port\}|\{secret:(?P<name>[A-Za-z0-9_.-]+)(?:@(?P<version>[0-9a-f]+))?\}"
)


class PinnedSecrets(Secrets, Protocol):
    """Secrets of which an earlier value can be had by its version."""

    def get(self, name: str, version: str | None = None) -> str:
        """The value now, or the one that had `version`. Raises NotFound naming where it was looked for."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The folders of one instance: where it works, what outlives it, and the release it was made from."""

    work: Path
    data: Path
    release: Path | None


def fill(text: str, port: int | None, secret: Callable[[str, str | None], str]) -> str:
    """`text` with ``{port}`` and ``{secret:NAME}`` (or ``NAME@VERSION``) filled in; ``{{`` means a brace.

    Raises:
        Invalid: ``{port}`` of a workload without a port.
    """

    def value(match: re.Match[str]) -> str:
        found = match.group()
        if found in ("{{", "}}"):
            return found[0]
        if found == "{port}":
            if port is None:
                message = "{port} is used, but the service has no port"
                raise Invalid(message, hint="add `port: http` (or tcp) to `run`, or take {port} out")
            return str(port)
        return secret(match["name"], match["version"])

    return _PLACEHOLDER.sub(value, text)


def filled_command(command: tuple[str, ...], port: int | None) -> tuple[str, ...]:
    """The command to execute.

    Raises:
        Invalid: it is empty, or holds a secret, which everybody on the machine could read in the process list.
    """

    def refuse(name: str, version: str | None) -> str:
        message = f"the command holds {{secret:{name}}}: every user could read it in the process list"
        raise Invalid(message, hint=f"put it into the environment, NAME: '{{secret:{name}}}'")

    if not command:
        raise Invalid("the command is empty", hint='write it as a list: command: ["python", "app.py"]')
    return tuple(fill(word, port, refuse) for word in command)


def basic_environment(inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The little of our own environment that others may see: where programs and the home are, language, time zone."""
    values = {name: inherited[name] for name in _INHERITED if name in inherited}
    values |= {name: value for name, value in inherited.items() if name.startswith("LC_")}
    # Last, so that `python` is found where the system has none, and is the system's where it has one.
    values["PATH"] = f"{values.get('PATH', '/usr/local/bin:/usr/bin:/bin')}:{Path(sys.executable).parent}"
    return values


def environment(
    workload: Workload,
    *,
    instance: str,
    token: str,
    port: int | None,
    surroundings: Surroundings,
    secrets: PinnedSecrets,
    user: User | None,
    inherited: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """The whole environment of the process.

    Raises:
        NotFound: a secret is unknown.
    """
    values = basic_environment(inherited)
    if user is not None:
        values |= {"HOME": user.home, "USER": user.name, "LOGNAME": user.name}
    values |= {
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPSBOOK_SERVICE": workload.service,
        "OPSBOOK_ENVIRONMENT": workload.environment,
        "OPSBOOK_RELEASE": workload.release,
        "OPSBOOK_VERSION": workload.version,
        "OPSBOOK_DATA_DIR": str(surroundings.data),
    }
    if surroundings.release is not None:
        values["OPSBOOK_RELEASE_DIR"] = str(surroundings.release)
    if port is not None:
        values["PORT"] = str(port)
    for name, text in workload.env.items():
        values[name] = fill(text, port, secrets.get)
    # These two are how processes are found again; a workload cannot change them.
    return {**values, INSTANCE: instance, RUNTIME: token}
