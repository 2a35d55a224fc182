"""The words of logs: one record, whether an instance wrote it or a program sent it, and who takes what is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One thing that a program said.

    Args:
        at_ms: when, in milliseconds since the epoch.
        service, environment, instance, release: who; empty where it is not known.
        level: ``trace``, ``debug``, ``info``, ``warning``, ``error`` or ``critical``; empty where it is not known.
        text: the message itself.
        fields: everything else that was said with it.
        trace_id, span_id: lower-case hex, 32 and 16 digits; empty outside of a trace.
    """

    at_ms: int
    service: str = ""
    environment: str = ""
    instance: str = ""
    release: str = ""
    level: str = ""
    text: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    trace_id: str = ""
    span_id: str = ""


class LogSink(Protocol):
    """Who keeps records that are sent."""

    def write(self, records: Sequence[LogRecord]) -> int:
        """Keep them, in any order of time; returns how many were kept.

        Raises:
            Failed: none could be kept (the disk is full); the sender tries again later.
        """
