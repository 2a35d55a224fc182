"""The first minutes of a newcomer, with nothing canned: the commands that opsbook itself proposes, in order."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest


def opsbook(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPSBOOK_")}
    return subprocess.run(
        [sys.executable, "-m", "opsbook", *arguments],
        cwd=folder, env=kept, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip


@pytest.fixture
def shop() -> Iterator[Path]:
    """What ``opsbook init shop`` makes, at a free port, ended with all that runs in it."""
    with tempfile.TemporaryDirectory(prefix="first-") as folder:
        place = Path(folder) / "shop"
        made = opsbook(Path(folder), "init", "shop")
        assert made.returncode == 0, made.stderr
        assert "opsbook up --detach && opsbook deploy hello --to local" in made.stderr
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = place / "ops" / "environments" / "local.yaml"
        environment.write_text(re.sub(r"port: \d+", f"port: {port}", environment.read_text()))
        yield place
        opsbook(place, "down", "--services")


def test_init_up_deploy_status_logs_down(shop: Path) -> None:
    """Each ends with 0, the service answers through its entry, and outlives opsbook."""
    up = opsbook(shop, "up", "--detach", "--port", "0")
    assert up.returncode == 0, up.stderr
    deploy = opsbook(shop, "deploy", "hello", "--to", "local")
    assert deploy.returncode == 0, deploy.stderr
    service = json.loads(opsbook(shop, "status", "--json").stdout)["environments"]["local"]["services"][
        "hello"
    ]
    assert (1, 1) == (service["healthy"], service["replicas"])
    assert "ello" in urllib.request.urlopen(service["url"], timeout=10).read().decode()
    assert "listening" in opsbook(shop, "logs", "hello", "--in", "local").stdout
    assert opsbook(shop, "plan", "--exit-code").returncode == 0
    assert opsbook(shop, "down").returncode == 0
    assert "ello" in urllib.request.urlopen(service["url"], timeout=10).read().decode()
    again = opsbook(shop, "up", "--detach", "--port", "0")
    assert again.returncode == 0, again.stderr
    assert "✔ ok" in opsbook(shop, "status").stdout
    ended = opsbook(shop, "down", "--services")
    assert ended.returncode == 0, ended.stderr
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(service["url"], timeout=10)
    assert opsbook(shop, "journal", "verify").returncode == 0
