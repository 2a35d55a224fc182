"""What the machine says of itself."""

from __future__ import annotations

import time

from opsbook.world.telemetry.host_usage import host_usage


def test_what_every_machine_tells() -> None:
    """Each series is there once, with sound values, from one look."""
    found = host_usage()
    keys = [tuple(sorted(labels.items())) for labels, _ in found]
    assert len(keys) == len(set(keys))
    values = {labels["__name__"]: value for labels, value in found}
    expected = {
        "node_cpu_seconds_total", "node_cpu_count", "node_load1", "node_load5", "node_load15",
        "node_memory_MemTotal_bytes", "node_memory_MemAvailable_bytes", "node_memory_SwapTotal_bytes",
        "node_memory_SwapFree_bytes", "node_filesystem_size_bytes", "node_filesystem_avail_bytes",
        "node_filesystem_files_free", "node_filefd_allocated", "node_filefd_maximum", "node_boot_time_seconds",
        "node_uptime_seconds", "node_procs_running", "node_forks_total",
    }  # fmt: skip
    assert expected <= values.keys()
    assert 0 < values["node_filefd_allocated"] < values["node_filefd_maximum"]
    assert 0 < values["node_memory_MemAvailable_bytes"] < values["node_memory_MemTotal_bytes"]
    assert 0 <= values["node_uptime_seconds"] < time.time()
    mounts = [
        labels["mountpoint"] for labels, _ in found if labels["__name__"] == "node_filesystem_size_bytes"
    ]
    assert "/" in mounts
