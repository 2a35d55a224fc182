"""The named metrics as recorded series: ``opsbook:error_rate{service, environment}``, or ``{host}`` for machines.

Each is one expression over all services or hosts at once, so that two hundred services cost little more than one. The
figures are those of `opsbook.world.telemetry.named` over the last minute; where they differ: a rate is extrapolated to
the edges of the minute as PromQL does, and `availability` without requests is of the last scrape.
"""

from __future__ import annotations

from opsbook.book.conditions import recorded_name
from opsbook.monitoring.rules.model import RecordingRule, RuleGroup

SOURCE = "opsbook:named"

_REQUESTS = "envoy_cluster_upstream_rq_xx"
_TIMES = "envoy_cluster_upstream_rq_time_bucket"
_BY = "by (service, environment)"
_OF = 'service!="",environment!=""'  # what belongs to no service has no named metrics


def _of_requests(function: str) -> str:
    return f"sum {_BY} ({function}({_REQUESTS}{{{_OF}}}[1m]))"


def _of_errors(function: str) -> str:
    """A service that never failed has no series of its failures, and yet a number of them: none."""
    failed = f'sum {_BY} ({function}({_REQUESTS}{{{_OF},response_code_class="5"}}[1m]))'
    return f"({failed} or {_of_requests(function)} * 0)"


def _response_time(quantile: float) -> str:
    grown = f"sum by (service, environment, le) (rate({_TIMES}{{{_OF}}}[1m]))"
    return f"(histogram_quantile({quantile:g}, {grown}) >= 0) / 1000"


def _sum(metric: str) -> str:
    return f'sum {_BY} ({metric}{{job="process"}})'


_PROCESS_CPU = (
    'sum by (service, environment) (rate(process_cpu_seconds_total{job="process"}[1m])) / '
    'sum by (service, environment) (process_cpu_limit_cores{job="process"} or '
    'process_start_time_seconds{job="process"} * 0 + 1)'
)
_PROCESS_MEMORY = (
    'max by (service, environment) (process_resident_memory_bytes{job="process"} / '
    'process_memory_limit_bytes{job="process"})'
)
_HOST = "by (host, instance)"
_IDLE = 'node_cpu_seconds_total{mode=~"idle|iowait"}[1m]'
_HOST_CPU = f"1 - sum {_HOST} (rate({_IDLE})) / sum {_HOST} (rate(node_cpu_seconds_total[1m]))"
_MEMORY, _AVAILABLE = (
    f"sum {_HOST} (node_memory_MemTotal_bytes)",
    f"sum {_HOST} (node_memory_MemAvailable_bytes)",
)
_USED = "(node_filesystem_size_bytes - node_filesystem_free_bytes)"
_DISK = f"max {_HOST} ({_USED} / ({_USED} + node_filesystem_avail_bytes > 0))"

_SERVICES: tuple[tuple[str, str], ...] = (
    ("throughput", _of_requests("rate")),
    ("request_count", _of_requests("increase")),
    ("error_count", _of_errors("increase")),
    ("error_rate", f"{_of_errors('rate')} / ({_of_requests('rate')} > 0)"),
    (
        "availability",
        f'1 - {recorded_name("error_rate")} or avg {_BY} (up{{job="process"}})',
    ),
    ("response_time_p50", _response_time(0.5)),
    ("response_time_p95", _response_time(0.95)),
    ("response_time_p99", _response_time(0.99)),
    ("active_requests", f"sum {_BY} (envoy_cluster_upstream_rq_active{{{_OF}}})"),
    ("instances_up", f'sum {_BY} (up{{job="process"}})'),
    ("cpu_usage", _PROCESS_CPU),
    ("memory_usage", _PROCESS_MEMORY),
    ("memory_bytes", _sum("process_resident_memory_bytes")),
    ("open_files", _sum("process_open_fds")),
    ("restarts", f'sum {_BY} (changes(process_start_time_seconds{{job="process"}}[1m]))'),
)
_HOSTS: tuple[tuple[str, str], ...] = (
    ("cpu_usage", _HOST_CPU),
    ("memory_usage", f"1 - {_AVAILABLE} / {_MEMORY}"),
    ("memory_bytes", f"{_MEMORY} - {_AVAILABLE}"),
    ("disk_usage", _DISK),
    ("network_received", f'sum {_HOST} (rate(node_network_receive_bytes_total{{device!="lo"}}[1m]))'),
    ("network_sent", f'sum {_HOST} (rate(node_network_transmit_bytes_total{{device!="lo"}}[1m]))'),
)


_AT_ONCE = frozenset(
    {"throughput", "request_count", "error_count", "error_rate", "availability", "response_time_p95",
     "active_requests", "instances_up"}
)  # fmt: skip
_USAGE_SECONDS = 15.0  # the rest changes slowly, and much of what it costs is for many instances


def named_groups() -> tuple[RuleGroup, ...]:
    """The groups that record the named metrics; they run before all others.

    What services and hosts both have is one rule: Prometheus wants a name and its labels recorded by one rule only.
    """
    expressions: dict[str, str] = {}
    for metric, expression in (*_SERVICES, *_HOSTS):
        known = expressions.get(metric)
        expressions[metric] = expression if known is None else f"{known} or {expression}"
    requests, usage = (
        tuple(
            RecordingRule(record=recorded_name(metric), expr=expression, where=SOURCE)
            for metric, expression in expressions.items()
            if (metric in _AT_ONCE) is at_once
        )
        for at_once in (True, False)
    )
    return (
        RuleGroup(name="requests", rules=requests, source=SOURCE),
        RuleGroup(name="usage", rules=usage, source=SOURCE, interval=_USAGE_SECONDS),
    )
