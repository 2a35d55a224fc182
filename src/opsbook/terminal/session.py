"""What every command is handed: where the handbook is, the server's API, and the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from opsbook.terminal.terminal import Terminal


class Api(Protocol):
    """The server, wherever it is. Every method raises what the server says, as the kind it says."""

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """The JSON body. Query values of None are left out, lists are repeated."""

    def post(self, path: str, body: Mapping[str, Any]) -> Any: ...

    def delete(self, path: str) -> Any: ...

    def lines(self, path: str, query: Mapping[str, Any] | None = None) -> Iterator[str]:
        """The lines of a streamed body, as they come."""

    def events(
        self,
        *,
        after: int | None = None,
        kinds: str | None = None,
        subject: str | None = None,
        wanted: Callable[[dict[str, Any]], bool] | None = None,
        gap: float = 0.0,
    ) -> Iterator[dict[str, Any] | None]:
        """Journal events as they come, and None once a second in between, so that nobody waits in vain.

        Connects again by itself, after the last event, when the server has gone and come back; never ends.

        Args:
            after: the journal id after which to begin; None: with what comes next.
            kinds, subject: which events, as the API takes them.
            wanted: which of these; None: all.
            gap: seconds between two of them at least. What comes meanwhile is told by the last of it alone: for
                who asks the server anew at each event, and should not keep it from its work.
        """


class Session(Protocol):
    """One call of the command line."""

    terminal: Terminal

    @property
    def book(self) -> Path:
        """The handbook's folder. Raises Invalid when there is none."""

    @property
    def state(self) -> Path:
        """The folder of what opsbook remembers of it; may not exist yet."""

    @property
    def api(self) -> Api:
        """The server. Raises Unreachable, with the command that starts it, when there is none."""

    @property
    def remote(self) -> bool:
        """Whether a server elsewhere was named, so that files of this machine say nothing about it."""
