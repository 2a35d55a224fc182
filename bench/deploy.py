"""How long a deployment takes, less what the app itself needs to start: `python bench/deploy.py [--quick]`.

A blue-green of two replicas, asked for by the API and typed at the command line. What the app needs is measured
beside each of them: the same two processes started by hand, until both answer their health check.
"""

from __future__ import annotations

import http.client
import os
import statistics
import subprocess
import sys
import time

from harness import Bench, Shop, quick, running_shop

from opsbook.demo.stage import free_ports

REPLICAS = 2
LOOK_EVERY = 0.005  # seconds
LONGEST_START = 20.0


def start_by_hand(shop: Shop) -> float:
    """Seconds until all replicas of the storefront answer, started at once and by nobody but us."""
    ports = free_ports(REPLICAS)
    began = time.perf_counter()
    started = [
        subprocess.Popen(
            ["python", "app.py", "--port", str(port)],
            cwd=shop.folder / "web",
            env={**os.environ, "API_URL": f"{shop.stage.url}/api"},
            stdout=subprocess.DEVNULL,
        )
        for port in ports
    ]
    try:
        while not all(healthy(port) for port in ports):
            if time.perf_counter() - began > LONGEST_START:
                sys.exit("the app does not start by hand")
            time.sleep(LOOK_EVERY)
        return time.perf_counter() - began
    finally:
        for process in started:
            process.kill()
            process.wait()


def healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def by_api(shop: Shop, version: str) -> float:
    began = time.perf_counter()
    shop.ask("deployments", services=["web"], environment="local", version=version)
    return time.perf_counter() - began


def by_command_line(shop: Shop, version: str) -> float:
    return shop.type("deploy", "web", "--to", "local", "--version", version).seconds


def main() -> int:
    """Print all figures."""
    rounds = 1 if quick(__doc__) else 10
    bench = Bench("deploy")
    with running_shop("api", "web") as shop:
        start_by_hand(shop)  # the first one reads the files from the disk
        for number, (what, deploy) in enumerate((("API", by_api), ("command line", by_command_line)), 1):
            walls, starts = [], []
            for turn in range(rounds):
                version = shop.new_version("web", f"{number}.{turn + 1}")
                starts.append(start_by_hand(shop))
                walls.append(deploy(shop, version))
            beyond = [wall - start for wall, start in zip(walls, starts, strict=True)]
            bench.fact(f"{what}: wall time, median of {rounds}", statistics.median(walls), "s")
            bench.fact(f"{what}: the app's own start-up, median", statistics.median(starts), "s")
            bench.figure(f"{what}: deployment beyond it, median", statistics.median(beyond), "s", 1.0)
            bench.fact(f"{what}: the slowest", max(beyond), "s")
    return bench.end()


if __name__ == "__main__":
    sys.exit(main())
