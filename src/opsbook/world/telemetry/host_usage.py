"""What this machine uses, under the names of the Prometheus node exporter, which people and dashboards know."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TypeAlias

import psutil

Measured: TypeAlias = tuple[dict[str, str], float]

_VIRTUAL_DISKS = ("loop", "ram", "zram", "dm-")
_SYSTEM_FILES = ("/proc", "/sys", "/dev", "/run", "/snap")


def host_usage() -> list[Measured]:
    """CPU, memory, load, file systems, disks and network as counters and gauges; about a millisecond."""
    return [*_cpu(), *_memory(), *_filesystems(), *_disks(), *_network()]


def _measured(name: str, value: float, **labels: str) -> Measured:
    return {"__name__": name, **labels}, float(value)


def _cpu() -> Iterator[Measured]:
    for mode, seconds in psutil.cpu_times()._asdict().items():
        if mode not in ("guest", "guest_nice"):  # these are within user and nice
            yield _measured("node_cpu_seconds_total", seconds, mode=mode)
    yield _measured("node_cpu_count", os.cpu_count() or 1)
    yield _measured("node_boot_time_seconds", psutil.boot_time())
    for minutes, load in zip(("1", "5", "15"), os.getloadavg(), strict=True):
        yield _measured(f"node_load{minutes}", load)


def _memory() -> Iterator[Measured]:
    memory = psutil.virtual_memory()
    yield _measured("node_memory_MemTotal_bytes", memory.total)
    yield _measured("node_memory_MemAvailable_bytes", memory.available)
    swap = psutil.swap_memory()
    yield _measured("node_memory_SwapTotal_bytes", swap.total)
    yield _measured("node_memory_SwapFree_bytes", swap.free)


def _filesystems() -> Iterator[Measured]:
    """Those with a device behind them, and ``/`` in any case (in a container it has none); each device once."""
    seen = set()
    partitions = {"/": ""} | {found.mountpoint: found.device for found in psutil.disk_partitions(all=False)}
    for mountpoint, device in sorted(partitions.items()):
        if mountpoint.startswith(_SYSTEM_FILES):
            continue
        with suppress(OSError):  # unmounted just now, or not for us to see
            number = os.stat(mountpoint).st_dev  # noqa: PTH116
            if number in seen:
                continue
            seen.add(number)
            found = os.statvfs(mountpoint)
            labels = {"mountpoint": mountpoint, "device": device}
            yield _measured("node_filesystem_size_bytes", found.f_blocks * found.f_frsize, **labels)
            yield _measured("node_filesystem_free_bytes", found.f_bfree * found.f_frsize, **labels)
            yield _measured("node_filesystem_avail_bytes", found.f_bavail * found.f_frsize, **labels)
            yield _measured("node_filesystem_files", found.f_files, **labels)
            yield _measured("node_filesystem_files_free", found.f_ffree, **labels)


def _disks() -> Iterator[Measured]:
    for device, counted in (psutil.disk_io_counters(perdisk=True) or {}).items():
        if not device.startswith(_VIRTUAL_DISKS):
            yield _measured("node_disk_read_bytes_total", counted.read_bytes, device=device)
            yield _measured("node_disk_written_bytes_total", counted.write_bytes, device=device)
            yield _measured("node_disk_io_time_seconds_total", counted.busy_time / 1000, device=device)


def _network() -> Iterator[Measured]:
    for device, counted in psutil.net_io_counters(pernic=True).items():
        if device != "lo":
            yield _measured("node_network_receive_bytes_total", counted.bytes_recv, device=device)
            yield _measured("node_network_transmit_bytes_total", counted.bytes_sent, device=device)
            yield _measured("node_network_receive_errs_total", counted.errin, device=device)
            yield _measured("node_network_transmit_errs_total", counted.errout, device=device)
