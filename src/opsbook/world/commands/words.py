"""What a script is, how it ended, and who runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

Shell = Literal["bash", "sh"]
HEAD_BYTES = TAIL_BYTES = 16 * 1024
KILL_AFTER = 5.0  # seconds between SIGTERM and SIGKILL


@dataclass(frozen=True, slots=True)
class Script:
    """A text for a shell. Nothing is ever put into it: `variables` are the environment it finds.

    Args:
        timeout: seconds, after which all of it is ended.
        token: stands in the environment of every process of it, so that they are found again.
    """

    shell: Shell
    text: str
    variables: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 300.0
    token: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a script ended. `code` is None when it was killed or never began.

    Args:
        output: what it wrote, stdout and stderr as they came, secrets taken out; head and tail when it was more.
        dropped: bytes between the two.
        problem: why it did not even begin, or was not heard of any more.
    """

    code: int | None
    output: str = ""
    dropped: int = 0
    timed_out: bool = False
    cancelled: bool = False
    seconds: float = 0.0
    problem: str = ""

    @property
    def ok(self) -> bool:
        return self.code == 0 and not (self.timed_out or self.cancelled or self.problem)

    @property
    def reason(self) -> str:
        """Why it is not ok, in words; empty when it is."""
        if self.problem:
            return self.problem
        if self.cancelled:
            return "cancelled"
        if self.timed_out:
            return f"did not end within its timeout, after {self.seconds:.1f} s"
        if self.code:
            return f"killed by signal {-self.code}" if self.code < 0 else f"exit code {self.code}"
        return "" if self.code == 0 else "it never ended"


class Runner(Protocol):
    """Runs scripts somewhere."""

    def run(self, script: Script, heard: Callable[[bytes], None], cancelled: Callable[[], bool]) -> Outcome:
        """Run it to its end; afterwards nothing of its process group is left.

        Args:
            heard: gets what it writes, as it comes, unmasked: whoever keeps it masks it (`masking.py`).
            cancelled: asked a few times a second; True ends it.
        """


class Kept:
    """The beginning and the end of a flood."""

    def __init__(self, head: int = HEAD_BYTES, tail: int = TAIL_BYTES) -> None:
        self._most_head, self._most_tail = head, tail
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    def add(self, chunk: bytes) -> None:
        self.total += len(chunk)
        room = self._most_head - len(self._head)
        self._head += chunk[:room] if room > 0 else b""
        self._tail += chunk[max(room, 0) :]
        if len(self._tail) > 2 * self._most_tail:
            del self._tail[: -self._most_tail]

    @property
    def dropped(self) -> int:
        return self.total - len(self._head) - min(len(self._tail), self._most_tail)

    def text(self) -> str:
        """Both, with a line between them that says how much is missing."""
        tail = bytes(self._tail[-self._most_tail :])
        gap = f"\n… {self.dropped} bytes left out …\n".encode() if self.dropped else b""
        return (
            (bytes(self._head) + gap + tail)
            .decode("utf-8", "replace")
            .replace("\0", "\N{REPLACEMENT CHARACTER}")
        )
