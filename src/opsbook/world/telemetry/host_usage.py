"""What this machine uses, under the names of the Prometheus node exporter, which people and dashboards know."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import psutil

Measured: TypeAlias = tuple[dict[str, str], float]

_VIRTUAL_DISKS = ("loop", "ram", "zram", "dm-")
_PROC = Path("/proc")
_SYSTEM_FILES = ("/proc", "/sys", "/dev", "/run", "/snap")


def host_usage() -> list[Measured]:
    """CPU, memory, load, file systems, disks and network as counters and gauges; about two milliseconds."""
    return [*_cpu(), *_memory(), *_system(), *_pressure(), *_filesystems(), *_disks(), *_network()]


def _measured(name: str, value: float, **labels: str) -> Measured:
    return {"__name__": name, **labels}, float(value)


def _cpu() -> Iterator[Measured]:
    for mode, seconds in psutil.cpu_times()._asdict().items():
        if mode not in ("guest", "guest_nice"):  # these are within user and nice
            yield _measured("node_cpu_seconds_total", seconds, mode=mode)
    yield _measured("node_cpu_count", os.cpu_count() or 1)
    counted = psutil.cpu_stats()
    yield _measured("node_context_switches_total", counted.ctx_switches)
    yield _measured("node_intr_total", counted.interrupts)
    booted, now = psutil.boot_time(), time.time()
    yield _measured("node_boot_time_seconds", booted)
    yield _measured("node_time_seconds", now)
    yield _measured("node_uptime_seconds", now - booted)
    for minutes, load in zip(("1", "5", "15"), os.getloadavg(), strict=True):
        yield _measured(f"node_load{minutes}", load)


def _memory() -> Iterator[Measured]:
    memory = psutil.virtual_memory()
    yield _measured("node_memory_MemTotal_bytes", memory.total)
    yield _measured("node_memory_MemAvailable_bytes", memory.available)
    yield _measured("node_memory_MemFree_bytes", memory.free)
    for name in ("Buffers", "Cached", "Active", "Inactive"):  # not on every system
        if (value := getattr(memory, name.lower(), None)) is not None:
            yield _measured(f"node_memory_{name}_bytes", value)
    swap = psutil.swap_memory()
    yield _measured("node_memory_SwapTotal_bytes", swap.total)
    yield _measured("node_memory_SwapFree_bytes", swap.free)
    yield _measured("node_vmstat_pswpin_bytes_total", swap.sin)
    yield _measured("node_vmstat_pswpout_bytes_total", swap.sout)


def _system() -> Iterator[Measured]:
    """File descriptors of the whole system, processes, and those that were ended for want of memory (Linux)."""
    with suppress(OSError, ValueError):
        allocated, _, most = _PROC.joinpath("sys/fs/file-nr").read_text().split()
        yield _measured("node_filefd_allocated", int(allocated))
        yield _measured("node_filefd_maximum", int(most))
    with suppress(OSError, ValueError):
        for line in _PROC.joinpath("stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "processes":
                yield _measured("node_forks_total", int(value))
            elif name in ("procs_running", "procs_blocked"):
                yield _measured(f"node_{name}", int(value))
    with suppress(OSError, ValueError):
        for line in _PROC.joinpath("vmstat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                yield _measured("node_vmstat_oom_kill", int(value))


def _pressure() -> Iterator[Measured]:
    """How long work had to wait for a resource: all of it ("stalled"), or some (Linux, where it is told)."""
    for resource in ("cpu", "memory", "io"):
        with suppress(OSError, ValueError, IndexError):
            for line in _PROC.joinpath("pressure", resource).read_text().splitlines():
                words = {"some": "waiting", "full": "stalled"}
                kind, total = words[line.split()[0]], line.rpartition("total=")[2]
                if (resource, kind) != ("cpu", "stalled"):  # has no meaning for a whole system
                    yield _measured(f"node_pressure_{resource}_{kind}_seconds_total", int(total) / 1e6)


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
            yield _measured("node_disk_reads_completed_total", counted.read_count, device=device)
            yield _measured("node_disk_writes_completed_total", counted.write_count, device=device)
            yield _measured("node_disk_read_time_seconds_total", counted.read_time / 1000, device=device)
            yield _measured("node_disk_write_time_seconds_total", counted.write_time / 1000, device=device)
            if (busy := getattr(counted, "busy_time", None)) is not None:
                yield _measured("node_disk_io_time_seconds_total", busy / 1000, device=device)


def _network() -> Iterator[Measured]:
    links = psutil.net_if_stats()
    for device, counted in psutil.net_io_counters(pernic=True).items():
        if device != "lo":
            if (link := links.get(device)) is not None:
                yield _measured("node_network_up", link.isup, device=device)
                if link.speed:
                    yield _measured("node_network_speed_bytes", link.speed * 125_000, device=device)
            yield _measured("node_network_receive_bytes_total", counted.bytes_recv, device=device)
            yield _measured("node_network_transmit_bytes_total", counted.bytes_sent, device=device)
            yield _measured("node_network_receive_packets_total", counted.packets_recv, device=device)
            yield _measured("node_network_transmit_packets_total", counted.packets_sent, device=device)
            yield _measured("node_network_receive_drop_total", counted.dropin, device=device)
            yield _measured("node_network_transmit_drop_total", counted.dropout, device=device)
            yield _measured("node_network_receive_errs_total", counted.errin, device=device)
            yield _measured("node_network_transmit_errs_total", counted.errout, device=device)
