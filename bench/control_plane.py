"""What opsbook itself costs: `python bench/control_plane.py [--quick]`.

Checking a handbook of 500 services in three environments, `opsbook --version`, planning 1,000 services through the
API, and what an opsbook that watches 20 instances needs while nothing happens.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from harness import Bench, House, quick

from opsbook.demo.stage import free_ports

HELLO = Path(__file__).parents[1] / "examples" / "hello" / "hello" / "app.py"

SERVICE = """service: {name}
owner: team-shop
description: Number {number} of many
run:
  command: ["python", "app.py", "--port", "{{port}}"]
  port: http
  env: {{BEFORE: "{{url:{before}}}", LEVEL: info}}
source: {{path: ../{source}}}
health: {{path: /healthz, interval: 1s}}
resources: {{memory: 256Mi, open_files: 4096}}
{depends}route: {{path: /{name}}}
"""
OPSBOOK = """name: many
owner: team-shop
contacts:
  alice: {name: Alice, email: alice@example.com, timezone: Europe/Berlin}
  team-shop: {members: [alice]}
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured; the targets are for the whole."""

    checked: int = 500
    planned: int = 1000
    instances: int = 20
    idle_seconds: float = 30.0
    rounds: int = 9


def write_handbook(folder: Path, services: int, *, environments: int, replicas: int) -> None:
    """A handbook in `folder/ops`, and beside it the source of each service."""
    book = folder / "ops"
    (book / "services").mkdir(parents=True)
    (book / "environments").mkdir()
    (book / "opsbook.yaml").write_text(OPSBOOK)
    hello = HELLO.read_bytes()
    names = [f"s{number}" for number in range(services)]
    for number, name in enumerate(names):
        source = folder / f"source-{name}"
        source.mkdir()
        (source / "app.py").write_bytes(hello)
        before = names[max(0, number - 1)]
        depends = f"depends_on: [{before}]\n" if number % 10 else ""  # chains of ten
        text = SERVICE.format(name=name, number=number, before=before, source=source.name, depends=depends)
        (book / "services" / f"{name}.yaml").write_text(text)
    for name, port in zip(("local", "staging", "production"), free_ports(environments), strict=False):
        lines = [f"environment: {name}", "runtime: process", f"entry: {{port: {port}}}", "services:"]
        lines += [f'  {service}: {{version: "1.0", replicas: {replicas}}}' for service in names]
        (book / "environments" / f"{name}.yaml").write_text("\n".join(lines) + "\n")


@contextmanager
def house(services: int, *, environments: int = 1, replicas: int = 1) -> Iterator[House]:
    """A folder with a handbook of so many services; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="opsbook-bench-", dir="/tmp", ignore_cleanup_errors=True) as name:
        write_handbook(Path(name), services, environments=environments, replicas=replicas)
        yield House(Path(name), free_ports(1)[0])


def seconds_of(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def median_of(act: Callable[[], object], rounds: int) -> float:
    act()  # the first one writes bytecode and fills the caches of the system
    return statistics.median(seconds_of(act) for _ in range(rounds))


def starting(bench: Bench, size: Size) -> None:
    """The shortest command, as it is installed."""
    opsbook = str(Path(sys.executable).with_name("opsbook"))

    def run(*command: str) -> Callable[[], object]:
        return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    version = median_of(run(opsbook, "--version"), size.rounds * 2)
    bench.figure("opsbook --version, median", version * 1000, "ms", 150)
    bench.fact("Python alone, median", median_of(run(sys.executable, "-c", ""), size.rounds * 2) * 1000, "ms")


def checking(bench: Bench, size: Size) -> None:
    with house(size.checked, environments=3) as many:
        seconds = median_of(lambda: many.type("check"), size.rounds)
    bench.figure(f"check of {size.checked} services in 3 environments, median", seconds, "s", 1.0)


def planning(bench: Bench, size: Size) -> None:
    with house(size.planned) as many, many.up():
        asked: list[float] = []
        for _ in range(size.rounds):
            asked.append(seconds_of(lambda: plan(many, size.planned)))
        bench.figure(f"{size.planned:,} services planned, the first time", asked[0], "s", 1.0)
        bench.figure(f"{size.planned:,} services planned, median", statistics.median(asked), "s", 1.0)
        bench.fact("the same at the command line", many.type("plan", "local").seconds, "s")


def plan(many: House, services: int) -> None:
    plans = many.api.get("/api/deployment/plan", {"environment": "local"})["plans"]
    if plans[0]["summary"]["add"] != services:
        sys.exit(f"not what was asked for: {plans[0]['summary']}")


def idling(bench: Bench, size: Size) -> None:
    with house(size.instances // 2, replicas=2) as many, many.up():
        services = sorted(path.stem for path in (many.folder / "ops" / "services").iterdir())
        many.type("deploy", *services, "--to", "local")
        placed = many.api.get("/api/status")["environments"]["local"]["services"].values()
        healthy = sum(service["healthy"] for service in placed)
        if healthy != size.instances:
            sys.exit(f"{healthy} of {size.instances} instances are healthy")
        time.sleep(2)  # what the deployment left to do is no idling
        opsbook, envoy = psutil.Process(many.server.pid), proxy_of(many)
        before, began = [cpu(opsbook), cpu(envoy)], time.monotonic()
        time.sleep(size.idle_seconds)
        took = time.monotonic() - began
        used = [after - b for after, b in zip([cpu(opsbook), cpu(envoy)], before, strict=True)]
        memory = [process.memory_info().rss / 1e6 for process in (opsbook, envoy)]
    what = f"idle with {size.instances} instances"
    bench.figure(f"{what}: resident", memory[0], "MB", 150)
    bench.figure(f"{what}: of a core", used[0] / took * 100, "%", 2.0)
    bench.fact("its proxy: resident", memory[1], "MB")
    bench.fact("its proxy: of a core", used[1] / took * 100, "%")


def proxy_of(many: House) -> psutil.Process:
    """The Envoy of `many`, told from others by the folder its command line names."""
    for process in psutil.process_iter(["name", "cmdline"]):
        words = " ".join(process.info["cmdline"] or ())
        if "envoy" in process.info["name"] and str(many.folder) in words:
            return process
    sys.exit("there is no proxy")


def cpu(process: psutil.Process) -> float:
    """Seconds of a core that it has used itself."""
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> int:
    """Print all figures."""
    short = Size(checked=50, planned=50, instances=4, idle_seconds=1.0, rounds=1)
    size = short if quick(__doc__) else Size()
    bench = Bench("control plane")
    for measure in (starting, checking, planning, idling):
        measure(bench, size)
    return bench.end()


if __name__ == "__main__":
    sys.exit(main())
