"""Programs that were never made for opsbook start from their short handbooks' commands."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("handbook", "service", "program", "expected"),
    [
        ("foreign/flask", "flask", "", "Flask version 1\n"),
        ("foreign/node", "node", "node", "Node version 1\n"),
        ("foreign/static", "static", "", "<!doctype html><title>Static</title><p>Static version 1\n"),
    ],
)
def test_a_web_program_answers(
    programs: Any, handbook: str, service: str, program: str, expected: str
) -> None:
    """Flask under gunicorn, Node, and the web server that Python brings."""
    if program and shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    assert programs.start(handbook, service).get("/") == expected


def test_redis_answers(programs: Any) -> None:
    """A TCP service without a source of its own."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    redis = programs.start("foreign/redis", "redis")
    with socket.create_connection(("127.0.0.1", redis.port), timeout=10) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(100) == b"+PONG\r\n"


@pytest.mark.parametrize(
    "handbook", ["hello", "foreign/flask", "foreign/node", "foreign/static", "foreign/redis"]
)
def test_a_handbook_of_one_service_is_short(handbook: str) -> None:
    """Under 20 lines, all files together; hello has 15."""
    lines = sum(len(file.read_text().splitlines()) for file in (EXAMPLES / handbook / "ops").rglob("*.yaml"))
    assert lines < 20
    if handbook == "hello":
        assert lines == 15
