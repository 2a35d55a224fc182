"""A real Prometheus that is given samples by remote write."""

from __future__ import annotations

import http.client
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cramjam
import numpy as np

from opsbook.promql.series import Floats, Integers, Labels


@contextmanager
def prometheus(folder: Path) -> Iterator[int]:
    """It runs; its port."""
    (folder / "prometheus.yml").write_text("global: {scrape_interval: 1h}\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    command = [
        "prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-remote-write-receiver",
        "--enable-feature=promql-at-modifier,promql-negative-offset",
        "--log.level=error",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _ready(port)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _ready(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/-/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            assert time.monotonic() < deadline, "prometheus did not start"
        time.sleep(0.05)


def write(port: int, series: Iterable[tuple[Labels, Integers, Floats]]) -> None:
    """Remote write: series with times (ms) within an hour, and values bit for bit."""
    body = b"".join(_timeseries(labels, times, values) for labels, times, values in series)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    connection.request("POST", "/api/v1/write", bytes(cramjam.snappy.compress_raw(body)), headers)
    response = connection.getresponse()
    assert response.status < 300, response.read()


def _timeseries(labels: Labels, times: Integers, values: Floats) -> bytes:
    """Every sample has 18 bytes: a time has 41 bits until 2039."""
    body = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, text.encode()))
        for name, text in sorted(labels.items())
    )
    samples = np.empty((times.size, 18), np.uint8)
    samples[:, 0], samples[:, 1], samples[:, 2] = 0x12, 16, 0x09
    samples[:, 3:11] = np.ascontiguousarray(values).view(np.uint8).reshape(-1, 8)
    samples[:, 11] = 0x10
    for index in range(6):
        samples[:, 12 + index] = ((times >> (7 * index)) & 0x7F) | (0x80 if index < 5 else 0)
    return _field(1, body + samples.tobytes())


def _field(number: int, content: bytes) -> bytes:
    length, size = b"", len(content)
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content
