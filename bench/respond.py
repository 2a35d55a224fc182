"""Alert firing to page sent, with the diagnosis attached: `python bench/respond.py [--quick]`.

The whole server: the alert comes in, alerting decides, the incident opens, the service is looked at in every way that
changes nothing (a page's diagnose block is run, too), and the escalation pages a person's webhook. What is held
against the target is the time from the alert's request to the page at the webhook, less the diagnosis' own time.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from harness import Bench, House, milliseconds, quick

from opsbook.demo.stage import free_ports

TARGET = 1.0  # seconds beyond the diagnosis' own
PATIENCE = 30.0
ALERT = "BenchFails"
NAMED = re.compile(r"\bsleeper-\d+\b")
PAGE = f"""\
---
title: What the bench breaks
alerts: [{ALERT}]
params: {{service: {{type: service}}, environment: {{type: environment}}}}
---
## Diagnose
```bash diagnose
echo "$SERVICE in $ENVIRONMENT"; uptime || true
```
"""


class Phone:
    """A webhook that remembers which page came when."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[float, Mapping[str, Any]]] = {}
        self.came = threading.Condition()
        phone = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                at = time.time()
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()
                phone._heard(body, at)

            def log_message(self, *args: Any) -> None:
                del args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def _heard(self, body: Mapping[str, Any], at: float) -> None:
        page = body.get("opsbook", {}).get("page")
        services = set(NAMED.findall(json.dumps(body))) if page is not None else set()
        with self.came:
            for service in services:
                self.pages.setdefault(service, (at, body))
            self.came.notify_all()

    def wait(self, service: str) -> tuple[float, Mapping[str, Any]]:
        """When the page about a service came, and what it says; ends the bench when none does."""
        with self.came:
            if not self.came.wait_for(lambda: service in self.pages, timeout=PATIENCE):
                sys.exit(f"no page about {service} came within {PATIENCE:.0f} s")
            return self.pages[service]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def write_book(folder: Path, services: list[str], webhook: str, entry: int) -> None:
    """A handbook of workers that only sleep, with one person to page."""
    files = {
        "opsbook.yaml": "name: bench\nowner: ana\ncontacts: {ana: {email: ana@example.com, channel: phone}}\n"
        f'channels: {{phone: {{webhook: "{webhook}"}}}}\n',
        "environments/local.yaml": f"environment: local\nentry: {{port: {entry}}}\n"
        f"services: {{{', '.join(f'{name}: {{}}' for name in services)}}}\n",
        "incidents/policy.yaml": "escalations:\n- {name: usual, steps: [{page: ana}]}\n"
        "severities: {SEV2: {escalation: usual}}\n",
        "runbooks/bench-fails.md": PAGE,
        **{
            f"services/{name}.yaml": f"service: {name}\nrun: {{command: [sleep, '100000']}}\n"
            for name in services
        },
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def one(house: House, phone: Phone, service: str) -> tuple[float, float, bool]:
    """Seconds from the alert to the page, the diagnosis' own, and whether the page has it."""
    labels = {"alertname": ALERT, "severity": "critical", "service": service, "environment": "local"}
    alert = {"labels": labels, "annotations": {"summary": f"{service} fails"}}
    began = time.time()
    house.api.post("/alertmanager/api/v2/alerts", [alert])  # type: ignore[arg-type]
    at, body = phone.wait(service)
    found = house.api.get("/api/response/diagnoses", {"environment": "local", "service": service})[
        "diagnoses"
    ]
    if not found:
        sys.exit(f"{service} was paged about without a diagnosis")
    made = found[0]
    attached = bool(made["incident"]) and made["next"]["command"] in json.dumps(body, ensure_ascii=False)
    return at - began, float(made["seconds"]), attached


def main() -> int:
    """Print the figures; 1 when the target is missed."""
    short = quick(__doc__ or "")
    bench = Bench("alert to page")
    services = [f"sleeper-{number}" for number in range(3 if short else 20)]
    folder = Path(tempfile.mkdtemp(prefix="opsbook-bench-respond-", dir="/tmp"))
    phone = Phone()
    entry, api = free_ports(2)
    write_book(folder / "ops", services, phone.url, entry)
    house = House(folder, api)
    try:
        with house.up():
            house.type("deploy", *services, "--to", "local")
            found = []
            for service in services:
                found.append(one(house, phone, service))
                time.sleep(0.2)  # each by itself: a storm is another bench
    finally:
        phone.close()
        shutil.rmtree(folder, ignore_errors=True)
    beyond = [whole - own for whole, own, _ in found]
    bench.fact("alert to page, median", milliseconds([whole for whole, _, _ in found], 0.5), "ms")
    bench.fact("the diagnosis' own time, median", milliseconds([own for _, own, _ in found], 0.5), "ms")
    bench.fact("beyond it, median", statistics.median(beyond) * 1000, "ms")
    bench.figure("beyond it, worst", max(beyond), "s", TARGET)
    bench.figure(
        "pages with their diagnosis", sum(has for _, _, has in found), "pages", len(found), at="least"
    )
    return bench.end()


if __name__ == "__main__":
    sys.exit(main())
