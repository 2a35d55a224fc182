"""A handbook with a page and a drill of its own that needs nothing but Python, and what is left of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from opsbook.world.hosts import processes

COVER = "name: shop\nowner: ana\ncontacts: {ana: {email: ana@example.com}}\n"
PAGE = """\
---
title: The switch is on
owner: ana
alerts: [SwitchOn]
reviewed: 2026-11-21
params: {switch: {max_length: 500}}
---
## Steps
```bash run id=off risk=write on-failure=stop idempotent
rm -f -- "$SWITCH"
```
```bash check for=off
test ! -e "$SWITCH"
```
"""
DRILL = """\
---
runbook: switch
alert: SwitchOn
fault: somebody has left the switch on
params: {switch: "{dir:room}/switch"}
detect_within: 60s
fix_within: 60s
---
```yaml handbook file=monitoring/targets.yaml
targets:
  - name: room
    addresses: ["127.0.0.1:{port:room}"]
    interval: 1s
    timeout: 1s
```
```yaml handbook file=monitoring/alerts.yaml
alerts:
  - name: SwitchOn
    condition: room_switch > 0
    for: 1s
    runbook: switch
```
```bash setup
cat >"$DIR_ROOM/exporter.py" <<'PY'
import http.server
import os
import sys


class Room(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = b"room_switch %d\\n" % os.path.exists(sys.argv[2])
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *words):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Room).serve_forever()
PY
printf %s "$DRILL_DIR" >OUTSIDE/folder
setsid python3 "$DIR_ROOM/exporter.py" "$PORT_ROOM" "$DIR_ROOM/switch" >/dev/null 2>&1 &
```
```bash inject
touch "$DIR_ROOM/switch" OUTSIDE/broken
```
```bash verify
test ! -e "$DIR_ROOM/switch"
```
```bash undo
rm -f OUTSIDE/broken
echo undone >>OUTSIDE/undone
```
"""


class House:
    """The handbook in a folder, and whatever a drill does outside its scratch place beside it."""

    def __init__(self, folder: Path, page: str = PAGE) -> None:
        self.folder = folder
        drills = folder / "ops" / "runbooks" / "drills"
        drills.mkdir(parents=True)
        (folder / "ops" / "opsbook.yaml").write_text(COVER)
        (drills.parent / "switch.md").write_text(page)
        (drills / "switch.md").write_text(DRILL.replace("OUTSIDE", str(folder)))

    def begin(self) -> subprocess.Popen[str]:
        """`opsbook runbooks test switch`, in a session of its own like that of a terminal."""
        words = ["--book", str(self.folder / "ops"), "runbooks", "test", "switch", "--no-record", "--json"]
        return subprocess.Popen(
            [sys.executable, "-m", "opsbook", *words],
            env={name: value for name, value in os.environ.items() if not name.startswith("OPSBOOK_")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    def place(self) -> Path:
        """The scratch place of the drill."""
        return Path((self.folder / "folder").read_text())

    @property
    def broken(self) -> bool:
        return (self.folder / "broken").exists()

    @property
    def undone(self) -> int:
        """How often the fault was undone."""
        file = self.folder / "undone"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def inhabitants(self) -> list[int]:
        """The processes that belong to the scratch place."""
        name = os.fsencode(self.place)
        return [
            pid
            for pid in processes.table()
            if any(name in value for value in processes.environment(pid).values())
        ]


def until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for something, with an end."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.05)
