"""Where output goes: stdout is data, stderr is messages."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from opsbook.errors import Failed, OpsbookError
from opsbook.terminal.region import Region
from opsbook.terminal.style import Style, is_terminal


class Terminal:
    """The two streams of a command, each written as it deserves.

    Args:
        environ: where ``NO_COLOR``, ``CLICOLOR_FORCE`` and ``TERM`` are looked up.
    """

    def __init__(
        self,
        out: TextIO | None = None,
        messages: TextIO | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.out = out or sys.stdout
        self.messages = messages or sys.stderr
        self._environ = os.environ if environ is None else environ
        self.style = Style.of(self.out, self._environ)
        self.message_style = Style.of(self.messages, self._environ)

    @property
    def moves(self) -> bool:
        """Whether lines on stderr may be redrawn in place."""
        return is_terminal(self.messages) and self._environ.get("TERM", "dumb") != "dumb"

    @property
    def interactive(self) -> bool:
        """Whether somebody is there to be asked."""
        return is_terminal(sys.stdin) and is_terminal(self.messages)

    def data(self, *lines: str) -> None:
        """What was asked for, on stdout."""
        self._write(self.out, lines)

    def message(self, *lines: str) -> None:
        """What a person should know meanwhile, on stderr."""
        self._write(self.messages, lines)

    def json(self, value: Any, *, indent: int | None = 2) -> None:
        """One JSON document on stdout; with ``indent=None`` one NDJSON line."""
        self.data(json.dumps(value, indent=indent, ensure_ascii=False, default=str))

    def error(self, error: OpsbookError) -> None:
        """The chain of causes, then a blank line, then the way out."""
        paint = self.message_style.paint
        lines = [f"{paint('error:', 'red', 'bold')} {error}"]
        cause = error.__cause__
        while isinstance(cause, OpsbookError):
            lines.append(f"  {paint('caused by:', 'dim')} {cause}")
            cause = cause.__cause__
        lines += [f"  {paint('caused by:', 'dim')} {text}" for text in error.details.get("causes", [])]
        log = error.details.get("log") or []
        if log:
            lines += ["", paint("last log lines:", "dim"), *(f"  {line}" for line in log)]
        if error.details.get("serving"):
            lines += ["", f"serving now: {error.details['serving']}"]
        if error.hint:
            lines += ["", f"{paint('hint:', 'cyan')} {error.hint}"]
        self.message(*lines)

    def region(self) -> Region:
        return Region(self.messages)

    def _write(self, stream: TextIO, lines: Iterable[str]) -> None:
        text = "".join(f"{line}\n" for line in lines)
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = stream.encoding or "ascii"
            stream.write(text.encode(encoding, "replace").decode(encoding))
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            raise Failed(f"the output cannot be written: {error.strerror or error}") from error
        stream.flush()
