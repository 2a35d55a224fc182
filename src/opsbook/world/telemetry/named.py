"""The named metrics: what people, alerts and deployments ask for without PromQL. `NAMED` is the reference.

Each is computed for whatever the matchers choose: a release, a service, an environment, or (label `host`) a machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from opsbook.errors import NotFound
from opsbook.world.telemetry.arithmetic import quantile_of_buckets
from opsbook.world.telemetry.stretch import Growth, Level, Stretch

Figure: TypeAlias = tuple[float, int] | None  # a value and when it was last true (milliseconds)

REQUESTS = "envoy_cluster_upstream_rq_xx"
TIMES = "envoy_cluster_upstream_rq_time_bucket"
_ACTIVE = "envoy_cluster_upstream_rq_active"
_OURS = "process"  # not what an application says of itself under the same names, as Prometheus clients do


@dataclass(frozen=True, slots=True)
class NamedMetric:
    """One entry of the reference.

    Args:
        name: what people write.
        unit: "ratio" (0..1), "seconds", "1/s", "bytes", or "count".
        description: what it says.
        computed: from which series and how.
        compute: does it; None when there is no data.
    """

    name: str
    unit: str
    description: str
    computed: str
    compute: Callable[[Stretch], Figure]


def named_metric(name: str) -> NamedMetric:
    """The entry `name`.

    Raises:
        NotFound: there is none; the hint lists them.
    """
    if name not in NAMED:
        raise NotFound(f"there is no named metric {name!r}", hint=f"one of {', '.join(NAMED)}")
    return NAMED[name]


# --- requests ----------------------------------------------------------------------------------------------------


def is_error(growth: Growth) -> bool:
    labels = growth.labels
    return (labels.get("response_code_class") or labels.get("envoy_response_code_class")) == "5"


def _request_count(stretch: Stretch) -> Figure:
    growths = stretch.growths(REQUESTS)
    return (sum(growth.total for growth in growths), _newest(growths)) if growths else None


def _error_count(stretch: Stretch) -> Figure:
    growths = stretch.growths(REQUESTS)
    return (
        (sum(growth.total for growth in growths if is_error(growth)), _newest(growths)) if growths else None
    )


def _error_rate(stretch: Stretch) -> Figure:
    requests, errors = _request_count(stretch), _error_count(stretch)
    if requests is None or errors is None or not requests[0] > 0:
        return None
    return errors[0] / requests[0], requests[1]


def _throughput(stretch: Stretch) -> Figure:
    growths = stretch.growths(REQUESTS)
    return (sum(growth.total / growth.seconds for growth in growths), _newest(growths)) if growths else None


def _availability(stretch: Stretch) -> Figure:
    errors = _error_rate(stretch)
    if errors is not None:
        return 1 - errors[0], errors[1]
    histories = stretch.histories("up", job=_OURS)
    if not histories:
        return None
    every = np.concatenate([values for values, _ in histories])
    return float(every.mean()), max(at for _, at in histories)


def _response_time(quantile: float, stretch: Stretch) -> Figure:
    counts: dict[float, float] = {}
    growths = [growth for growth in stretch.growths(TIMES) if "le" in growth.labels]
    for growth in growths:
        bound = float(growth.labels["le"])
        counts[bound] = counts.get(bound, 0.0) + growth.total
    milliseconds = quantile_of_buckets(quantile, counts)
    return None if milliseconds is None else (milliseconds / 1000, _newest(growths))


def _sum_of(name: str, stretch: Stretch, **equal: str) -> Figure:
    levels = stretch.levels(name, **equal)
    return (sum(level.value for level in levels), _newest(levels)) if levels else None


# --- instances and hosts -----------------------------------------------------------------------------------------


def _cpu_usage(stretch: Stretch) -> Figure:
    if "host" in stretch.matchers:
        return _host_cpu_usage(stretch)
    growths = stretch.growths("process_cpu_seconds_total", alive=True, job=_OURS)
    if not growths:
        return None
    limits = {level.target: level.value for level in stretch.levels("process_cpu_limit_cores")}
    used = sum(growth.total / growth.seconds for growth in growths)
    return used / sum(limits.get(growth.target, 1.0) for growth in growths), _newest(growths)


def _host_cpu_usage(stretch: Stretch) -> Figure:
    growths = stretch.growths("node_cpu_seconds_total", alive=True)
    total = sum(growth.total for growth in growths)
    if not total > 0:
        return None
    idle = sum(growth.total for growth in growths if growth.labels.get("mode") in ("idle", "iowait"))
    return 1 - idle / total, _newest(growths)


def _memory_bytes(stretch: Stretch) -> Figure:
    if "host" in stretch.matchers:
        total, available = _host_memory(stretch)
        return None if total is None or available is None else (total[0] - available[0], total[1])
    return _sum_of("process_resident_memory_bytes", stretch, job=_OURS)


def _memory_usage(stretch: Stretch) -> Figure:
    if "host" in stretch.matchers:
        total, available = _host_memory(stretch)
        return None if total is None or available is None else (1 - available[0] / total[0], total[1])
    limits = {level.target: level.value for level in stretch.levels("process_memory_limit_bytes")}
    found = stretch.levels("process_resident_memory_bytes", job=_OURS)
    levels = [level for level in found if level.target in limits]
    ratios = [level.value / limits[level.target] for level in levels]
    return (max(ratios), _newest(levels)) if ratios else None


def _host_memory(stretch: Stretch) -> tuple[Figure, Figure]:
    return (
        _sum_of("node_memory_MemTotal_bytes", stretch),
        _sum_of("node_memory_MemAvailable_bytes", stretch),
    )


def _disk_usage(stretch: Stretch) -> Figure:
    def by_filesystem(name: str) -> dict[tuple[object, str], float]:
        levels = stretch.levels(name)
        return {(level.target, level.labels["mountpoint"]): level.value for level in levels}

    free, available = (
        by_filesystem("node_filesystem_free_bytes"),
        by_filesystem("node_filesystem_avail_bytes"),
    )
    sizes = stretch.levels("node_filesystem_size_bytes")
    ratios = []
    for size in sizes:
        key = size.target, size.labels["mountpoint"]
        used = size.value - free[key]
        if used + available[key] > 0:
            ratios.append(used / (used + available[key]))
    return (max(ratios), _newest(sizes)) if ratios else None


def _rate_of(name: str, stretch: Stretch) -> Figure:
    growths = stretch.growths(name, alive=True)
    return (sum(growth.total / growth.seconds for growth in growths), _newest(growths)) if growths else None


def _restarts(stretch: Stretch) -> Figure:
    histories = stretch.histories("process_start_time_seconds", baseline=True, job=_OURS)
    if not histories:
        return None
    changes = sum(int(np.count_nonzero(np.diff(values))) for values, _ in histories)
    return float(changes), max(at for _, at in histories)


def _instances_up(stretch: Stretch) -> Figure:
    histories = stretch.histories("up", job=_OURS)
    if not histories:
        return None
    return float(len(stretch.levels("process_count", job=_OURS))), max(at for _, at in histories)


def _newest(entries: Sequence[Growth] | Sequence[Level]) -> int:
    return max(entry.at for entry in entries)


# --- the reference -----------------------------------------------------------------------------------------------


def _response_time_entry(percent: int) -> NamedMetric:
    return NamedMetric(
        f"response_time_p{percent}",
        "seconds",
        f"{percent} % of the requests were answered faster than this",
        f"quantile {percent / 100:g} of the growth of {TIMES}, linear within a bucket",
        partial(_response_time, percent / 100),
    )


_ENTRIES = (
    NamedMetric(
        "error_rate",
        "ratio",
        "share of the requests that were answered with a status of 500 or more; none without requests",
        f"growth of {REQUESTS} of class 5, divided by the growth of all classes",
        _error_rate,
    ),
    *(_response_time_entry(percent) for percent in (50, 95, 99)),
    NamedMetric(
        "throughput",
        "1/s",
        "requests answered a second",
        f"growth of {REQUESTS} divided by the time between first and last scrape",
        _throughput,
    ),
    NamedMetric(
        "availability",
        "ratio",
        "share of the requests that did not fail; without requests, share of the time that the instances ran",
        "1 - error_rate; else the mean of up over the instances and their scrapes",
        _availability,
    ),
    NamedMetric("request_count", "count", "requests answered", f"growth of {REQUESTS}", _request_count),
    NamedMetric(
        "error_count",
        "count",
        "requests that were answered with a status of 500 or more",
        f"growth of {REQUESTS} of class 5",
        _error_count,
    ),
    NamedMetric(
        "active_requests",
        "count",
        "requests under way, streams included",
        f"sum of {_ACTIVE}",
        partial(_sum_of, _ACTIVE),
    ),
    NamedMetric(
        "cpu_usage",
        "ratio",
        "CPU used, of what the instances may use together: their limits, one core each where none is set; of a host, "
        "share of all its cores that was busy",
        "growth of process_cpu_seconds_total a second, divided by the sum of process_cpu_limit_cores; of a host, "
        "1 - growth of node_cpu_seconds_total in the modes idle and iowait, divided by that in all modes",
        _cpu_usage,
    ),
    NamedMetric(
        "memory_usage",
        "ratio",
        "resident memory of the fullest instance, of its limit; none where no limit is set; of a host, share that is "
        "not available to a new process",
        "highest process_resident_memory_bytes / process_memory_limit_bytes; of a host, 1 - "
        "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes",
        _memory_usage,
    ),
    NamedMetric(
        "memory_bytes",
        "bytes",
        "resident memory of all instances, memory that processes share counted for each; of a host, what is in use",
        "sum of process_resident_memory_bytes; of a host, node_memory_MemTotal_bytes - "
        "node_memory_MemAvailable_bytes",
        _memory_bytes,
    ),
    NamedMetric(
        "open_files",
        "count",
        "file descriptors open in all instances",
        "sum of process_open_fds",
        partial(_sum_of, "process_open_fds", job=_OURS),
    ),
    NamedMetric(
        "restarts",
        "count",
        "how often processes were started again within their instances",
        "changes of process_start_time_seconds",
        _restarts,
    ),
    NamedMetric(
        "instances_up", "count", "instances whose process runs", "sum of up of job process", _instances_up
    ),
    NamedMetric(
        "disk_usage",
        "ratio",
        "the fullest file system of a host, as df counts: used of what used and available make together",
        "highest of node_filesystem_size_bytes - free, divided by that + node_filesystem_avail_bytes",
        _disk_usage,
    ),
    NamedMetric(
        "network_received",
        "bytes/s",
        "received by all network devices of a host but the loopback",
        "growth of node_network_receive_bytes_total a second",
        partial(_rate_of, "node_network_receive_bytes_total"),
    ),
    NamedMetric(
        "network_sent",
        "bytes/s",
        "sent by all network devices of a host but the loopback",
        "growth of node_network_transmit_bytes_total a second",
        partial(_rate_of, "node_network_transmit_bytes_total"),
    ),
)

NAMED: Mapping[str, NamedMetric] = {entry.name: entry for entry in _ENTRIES}
