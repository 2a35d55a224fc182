"""Runs probes: each in a task of its own, so that one which hangs delays no other."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from opsbook.world.probes import questions, streams
from opsbook.world.probes.words import (
    Check,
    DnsCheck,
    Finding,
    GrpcCheck,
    HttpCheck,
    IcmpCheck,
    SshCheck,
    TcpCheck,
    TlsCheck,
)

Found = Callable[[str, Finding], None]


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is looked at, and how often."""

    check: Check
    every: float  # seconds
    timeout: float  # seconds


class Prober:
    """One thread with a loop of its own.

    Args:
        found: told of each look, in a worker thread: by the probe's name, what was found.
    """

    def __init__(self, found: Found) -> None:
        self._found = found
        self._loop = asyncio.new_event_loop()
        self._tasks: dict[str, tuple[Schedule, asyncio.Task[None]]] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, name="opsbook-probes", daemon=True)
        self._thread.start()

    def schedule(self, wanted: Mapping[str, Schedule]) -> None:
        """From now on these, and no others; those that stay as they are keep their rhythm."""
        self._call(self._exchange(dict(wanted))).result(timeout=10.0)

    def look(self, schedule: Schedule) -> Finding:
        """Look once, now, and wait for it."""
        finding: Finding = self._call(_look(schedule)).result()
        return finding

    def close(self) -> None:
        """End all of it; what is under way is given up."""
        if self._thread.is_alive():
            self._call(self._exchange({})).result(timeout=10.0)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5.0)
            self._loop.close()

    def _call(self, coroutine: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _exchange(self, wanted: dict[str, Schedule]) -> None:
        leaving = [name for name, (schedule, _) in self._tasks.items() if wanted.get(name) != schedule]
        ended = [self._tasks.pop(name)[1] for name in leaving]
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
        for name, schedule in wanted.items():
            if name not in self._tasks:
                self._tasks[name] = (schedule, self._loop.create_task(self._keep_looking(name, schedule)))

    async def _keep_looking(self, name: str, schedule: Schedule) -> None:
        # Spread over the interval, by the name, so that a hundred probes do not all look at once.
        share = zlib.crc32(name.encode()) / 2**32
        await asyncio.sleep(share * min(schedule.every, 1.0 if schedule.every <= 10 else 5.0))
        while True:
            began = time.monotonic()
            finding = await _look(schedule)
            await asyncio.to_thread(self._found, name, finding)
            await asyncio.sleep(max(0.0, began + schedule.every - time.monotonic()))


async def _look(schedule: Schedule) -> Finding:
    """Whatever goes wrong is what was found."""
    began = time.perf_counter()
    try:
        return await asyncio.wait_for(_asked(schedule.check), schedule.timeout)
    except TimeoutError:
        detail = f"no answer within {schedule.timeout:g} s"
    except Exception as error:
        detail = _said(error)
    return Finding(ok=False, seconds=time.perf_counter() - began, detail=detail)


def _said(error: Exception) -> str:
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and len(causes) < 5:
        causes.append(cause)  # type: ignore[arg-type]
    for one in causes:
        if isinstance(one, socket.gaierror):
            return f"its name is not known: {one.strerror}"
        if isinstance(one, OSError) and not isinstance(one, ssl.SSLError) and (one.errno or 0) > 0:
            return os.strerror(one.errno or 0)  # asyncio's own words hide it
    told = next((str(one) for one in causes if str(one)), "")
    return told[:300] or type(error).__name__


async def _asked(check: Check) -> Finding:
    match check:
        case HttpCheck():
            return await questions.http(check)
        case DnsCheck():
            return await questions.dns(check)
        case GrpcCheck():
            return await questions.grpc(check)
        case IcmpCheck():
            return await questions.icmp(check)
        case TcpCheck():
            return await streams.tcp(check)
        case TlsCheck():
            return await streams.tls(check)
        case SshCheck():
            return await streams.ssh(check)
