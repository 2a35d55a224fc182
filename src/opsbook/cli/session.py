"""Finding the handbook, the state folder and the server of one call."""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path

from opsbook.cli.client import Address, Client
from opsbook.errors import Invalid, NotAllowed, OpsbookError, Unreachable
from opsbook.terminal import Terminal


class CommandSession:
    """See `opsbook.terminal.Session`; nothing is looked up before it is asked for.

    Args:
        book: ``--book``, or empty to search from the current folder upwards.
        server: ``--server``, or empty for the server of this handbook on this machine.
        token: ``--token``: says who one is; without it one is the local operator.
    """

    def __init__(self, *, book: str = "", server: str = "", token: str = "") -> None:
        self._book = book
        self._server = server
        self._own_token = token
        self.terminal = Terminal()
        self._client = Client(self._find)

    @property
    def remote(self) -> bool:
        return bool(self._server)

    @cached_property
    def book(self) -> Path:
        if self._book:
            return _named(Path(self._book))
        here = Path.cwd()
        for folder in (here, *here.parents):
            found = _handbook_in(folder)
            if found is not None:
                return found
        raise Invalid(
            "there is no handbook here or in a folder above", where=str(here), hint="make one: opsbook init"
        )

    @cached_property
    def state(self) -> Path:
        named = os.environ.get("OPSBOOK_STATE")
        return Path(named).absolute() if named else self.book.parent / ".opsbook"

    @property
    def api(self) -> Client:
        self._find()  # whoever asks for the server is told at once when there is none
        return self._client

    def _find(self) -> Address:
        if self._server:
            return Address(url=self._server, token=self._own_token or self._token())
        try:
            running = json.loads((self.state / "server.json").read_text(encoding="utf-8"))
            return Address(socket=str(running["socket"]), token=self._own_token)
        except PermissionError:
            raise NotAllowed(
                "the state folder belongs to another user",
                where=str(self.state),
                hint="use --server URL with a token: export OPSBOOK_TOKEN=...",
            ) from None
        except (OSError, ValueError, KeyError):
            raise Unreachable(
                f"no opsbook server for {self._subject()}", hint="opsbook up --detach"
            ) from None

    def _subject(self) -> Path:
        try:
            return self.book
        except OpsbookError:
            return self.state

    def _token(self) -> str:
        try:
            return (self.state / "token").read_text(encoding="utf-8").strip()
        except (OSError, OpsbookError):  # no handbook here: then the server will say that it wants a token
            return ""


def _named(folder: Path) -> Path:
    found = _handbook_in(folder.absolute())
    if found is None:
        reason = "it has no opsbook.yaml" if folder.is_dir() else "there is no such folder"
        raise Invalid(f"not a handbook: {reason}", where=str(folder), hint=f"make one: opsbook init {folder}")
    return found


def _handbook_in(folder: Path) -> Path | None:
    for candidate in (folder / "ops", folder):
        if (candidate / "opsbook.yaml").is_file():
            return candidate
    return None
