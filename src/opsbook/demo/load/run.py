"""What all connections of a run share: the figures, the pace, the end."""

from __future__ import annotations

import asyncio
import time

from opsbook.demo.load.options import Options
from opsbook.demo.load.pace import Pace
from opsbook.demo.load.tally import Tally

_AFTER_A_FAILURE = 0.02  # seconds to wait, so that a dead server is not hammered by a spinning loop


class Run:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.tally = Tally(time.time())
        self.pace = Pace(options.rate, time.monotonic())
        self.stopping = asyncio.Event()

    async def pause(self, until: float) -> bool:
        """Sleep until the monotonic time `until`; False when the run ends."""
        seconds = until - time.monotonic()
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self.stopping.wait()
            except TimeoutError:
                return True
        return not self.stopping.is_set()

    async def failed(self, kind: str, number: int, cause: str) -> None:
        """Count a failure of connection `number`, and wait a moment before it tries again."""
        self.tally.failed(kind, connection=number, cause=cause, at=time.time())
        await self.pause(time.monotonic() + _AFTER_A_FAILURE)
