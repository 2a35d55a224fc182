"""The shop's ledger: a TCP service that takes a line and answers a line.

    PING x      -> PONG x
    SELL amount -> OK total
    VERSION     -> VERSION v

It adds up in memory: what it shows is how TCP connections outlive a deployment, not how to keep books.
When it stops, it answers what has arrived, says BYE and closes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
from pathlib import Path

VERSION = os.environ.get("OPSBOOK_VERSION") or Path(__file__).with_name("version.txt").read_text().strip()


class Ledger:
    def __init__(self) -> None:
        self.total = 0
        self.stopping = asyncio.Event()
        self.connections: set[asyncio.Task[None]] = set()

    async def serve(self, port: int) -> None:
        listener = await asyncio.start_server(self._accept, "127.0.0.1", port, backlog=512)
        await self.stopping.wait()
        listener.close()
        while self.connections:
            await asyncio.wait(self.connections)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self.connections.add(task)
        try:
            while line := await self._line(reader):
                writer.write(self._answer(line.decode(errors="replace").split()).encode() + b"\n")
                await writer.drain()
            if self.stopping.is_set():
                writer.write(b"BYE\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # the client left in the middle, or sent a line without an end
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()  # else the last bytes would be lost at the end of the process
            self.connections.discard(task)

    async def _line(self, reader: asyncio.StreamReader) -> bytes:
        reading = asyncio.ensure_future(reader.readline())
        stopping = asyncio.ensure_future(self.stopping.wait())
        await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not reading.done():
            await asyncio.wait({reading}, timeout=0.05)  # what is on its way already is still answered
        if not reading.done():
            reading.cancel()
            return b""
        return reading.result()

    def _answer(self, words: list[str]) -> str:
        match words:
            case ["PING", *rest]:
                return " ".join(["PONG", *rest])
            case ["SELL", amount] if amount.isdigit():
                self.total += int(amount)
                return f"OK {self.total}"
            case ["VERSION"]:
                return f"VERSION {VERSION}"
            case _:
                return "ERROR expected PING, SELL amount or VERSION"


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "8002")))
    port = parser.parse_args().port
    ledger = Ledger()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ledger.stopping.set)
    print(f"ledger {VERSION} listens on {port}", flush=True)
    await ledger.serve(port)


if __name__ == "__main__":
    asyncio.run(main())
