"""What monitoring needs of the world beyond its plain words, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from opsbook.world.telemetry.recording import TargetStatus
from opsbook.world.words import LogLine, Logs, Telemetry


class WatchedTelemetry(Telemetry, Protocol):
    """Telemetry that also tells of itself."""

    def status(self) -> Sequence[TargetStatus]:
        """How the scrapes of every target go."""

    def own_metrics(self) -> str:
        """opsbook's own metrics as Prometheus text."""


class TailedLogs(Logs, Protocol):
    """Logs that can be followed from some lines back, without losing or repeating one in between."""

    def follow(
        self,
        *,
        environment: str,
        service: str,
        grep: str | None = None,
        stop: Callable[[], bool] = lambda: False,
        tail: int = 0,
        since: float | None = None,
    ) -> Iterator[LogLine]:
        """The last `tail` lines, not older than `since`, then lines as they come."""


class Figure(BaseModel):
    """A named metric as the API tells it. Ratios are 0..1, times seconds, sizes bytes."""

    model_config = ConfigDict(frozen=True)

    value: float
    unit: str
    at: float  # epoch seconds of the newest sample it rests on
