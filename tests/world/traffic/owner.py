"""An opsbook that dies while it applies: ``owner.py STATE TABLE.json N`` is killed before its Nth file is in place."""

import os
import signal
import sys
from pathlib import Path

from pydantic import TypeAdapter

from opsbook.world.hosts.clock import SystemClock
from opsbook.world.traffic import files
from opsbook.world.traffic.envoy import EnvoyTraffic
from opsbook.world.words import RouteTable

state, table, fatal = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
count = 0
write = files.write


def write_or_die(path: Path, text: str) -> None:
    global count  # noqa: PLW0603
    count += 1
    if count == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, text)


traffic = EnvoyTraffic(state, SystemClock(), concurrency=2)
traffic.ensure()
files.write = write_or_die
traffic.confirm(traffic.apply(TypeAdapter(RouteTable).validate_json(table.read_text())))
