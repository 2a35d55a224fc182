"""The alerts that every service and host has without a word in the handbook.

The limits are those of common operations guides: 95 % of requests within 500 ms, at most 0.1 % of errors over a long
time, 99.9 % available, CPU below 80 %, memory below 85 %, disks below 90 %. An alert wakes people, so a limit that a
short burst passes is held against a longer time, and ratios of few requests say nothing.

In an expression ``{limit}`` is the threshold, ``{only}`` the matchers of the scope.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_SERVICE = "{{ $labels.service }} in {{ $labels.environment }}"
_INSTANCE = "{{ $labels.instance }} of {{ $labels.service }} in {{ $labels.environment }}"
_TARGET = "{{ or $labels.target $labels.instance }}"
_HOST = "{{ if $labels.host }}{{ $labels.host }}{{ else }}this host{{ end }}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultAlert:
    """One entry of the set.

    Args:
        name: by which it is overridden, disabled, and found in docs/alerts.md.
        expression: with ``{limit}`` and ``{only}``.
        limit: ratios 0..1, times seconds; None: there is nothing to choose.
        for_: seconds that it must hold.
        severity: critical wakes people, warning waits for the day, info is for the record.
        summary: a template.
        labels_of: "service" or "host": which scope it can be limited to.
        runbook: the page of runbooks/ that it names where the handbook has it.
    """

    name: str
    expression: str
    limit: float | None = None
    for_: float
    severity: str
    summary: str
    runbook: str
    keep_firing_for: float = 0.0
    group: str = "services"
    labels: Mapping[str, str] = field(default_factory=dict)


_ENOUGH = " and opsbook:request_count{{{only}}} >= 20"  # of the last minute: ratios of fewer say nothing
_AN_HOUR = (
    " and on (service, environment) sum by (service, environment) "
    "(increase(envoy_cluster_upstream_rq_xx{{{only}}}[1h])) >= 1000"
)

DEFAULTS = (
    DefaultAlert(
        name="HighErrorRate",
        expression="opsbook:error_rate{{{only}}} > {limit} and opsbook:error_count{{{only}}} >= 3" + _ENOUGH,
        limit=0.01,
        for_=60,
        severity="critical",
        summary=f"{_SERVICE} fails {{{{ $value | humanizePercentage }}}} of its requests",
        runbook="high-error-rate",
    ),
    DefaultAlert(
        name="HighResponseTime",
        expression="opsbook:response_time_p95{{{only}}} > {limit}" + _ENOUGH,
        limit=0.5,
        for_=300,
        severity="warning",
        summary=f"95 % of the requests to {_SERVICE} take up to {{{{ $value | humanizeDuration }}}}",
        runbook="high-response-time",
    ),
    DefaultAlert(
        name="LowAvailability",
        expression="1 - sum by (service, environment) (increase(envoy_cluster_upstream_rq_xx"
        '{{{only},response_code_class="5"}}[1h])) / sum by (service, environment) '
        "(increase(envoy_cluster_upstream_rq_xx{{{only}}}[1h])) < {limit}" + _AN_HOUR,
        limit=0.999,
        for_=300,
        severity="warning",
        summary=f"{_SERVICE} answered {{{{ $value | humanizePercentage }}}} of the last hour's requests",
        runbook="low-availability",
    ),
    DefaultAlert(
        name="HighCpuUsage",
        expression="opsbook:cpu_usage{{{only}}} > {limit}",
        limit=0.8,
        for_=300,
        severity="warning",
        summary=f"{_SERVICE} uses {{{{ $value | humanizePercentage }}}} of its CPU",
        runbook="high-cpu-usage",
    ),
    DefaultAlert(
        name="HighMemoryUsage",
        expression="opsbook:memory_usage{{{only}}} > {limit}",
        limit=0.85,
        for_=300,
        severity="warning",
        summary=f"an instance of {_SERVICE} uses {{{{ $value | humanizePercentage }}}} of its memory limit",
        runbook="high-memory-usage",
    ),
    DefaultAlert(
        name="ServiceDown",
        expression="opsbook:instances_up{{{only}}} == 0",
        for_=10,
        severity="critical",
        summary=f"no instance of {_SERVICE} runs",
        runbook="service-down",
    ),
    DefaultAlert(
        name="InstanceDown",
        expression='up{{job="process",{only}}} == 0',
        for_=60,
        severity="warning",
        summary=f"{_INSTANCE} does not run",
        runbook="instance-down",
    ),
    DefaultAlert(
        name="CrashLoop",
        expression='sum by (service, environment) (changes(process_start_time_seconds{{job="process",{only}}}[10m]))'
        " >= {limit}",
        limit=3,
        for_=0,
        keep_firing_for=300,
        severity="critical",
        summary=f"{_SERVICE} was started again {{{{ $value }}}} times in ten minutes",
        runbook="crash-loop",
    ),
    DefaultAlert(
        name="MetricsUnreachable",
        expression='up{{job="metrics",{only}}} == 0',
        for_=120,
        severity="warning",
        summary=f"the metrics of {_INSTANCE} cannot be read",
        runbook="metrics-unreachable",
    ),
    DefaultAlert(
        name="MetricsMissing",
        expression='group by (service, environment) (last_over_time(up{{job="metrics",{only}}}[15m])) unless '
        'group by (service, environment) (up{{job="metrics",{only}}}) and on (service, environment) '
        "opsbook:instances_up{{{only}}} > 0",
        for_=120,
        severity="warning",
        summary=f"{_SERVICE} runs, and nothing is measured of what it exports any more",
        runbook="metrics-missing",
    ),
    DefaultAlert(
        name="TooManySeries",
        expression="opsbook_scrape_series_refused{{{only}}} > 0",
        for_=60,
        severity="warning",
        summary="{{ if $labels.service }}"
        + _INSTANCE
        + "{{ else }}a target{{ end }} exports more series than are kept",
        runbook="too-many-series",
    ),
    DefaultAlert(
        name="ProxyDown",
        expression='up{{job="envoy"}} == 0',
        for_=10,
        severity="critical",
        summary="the proxy does not answer: nothing may be reachable",
        runbook="proxy-down",
        group="hosts",
    ),
    DefaultAlert(
        name="HostHighCpuUsage",
        expression='opsbook:cpu_usage{{service=""}} > {limit}',
        limit=0.8,
        for_=600,
        severity="warning",
        summary=f"{_HOST} uses {{{{ $value | humanizePercentage }}}} of its CPU",
        runbook="high-cpu-usage",
        group="hosts",
    ),
    DefaultAlert(
        name="HostHighMemoryUsage",
        expression='opsbook:memory_usage{{service=""}} > {limit}',
        limit=0.85,
        for_=300,
        severity="warning",
        summary=f"{_HOST} uses {{{{ $value | humanizePercentage }}}} of its memory",
        runbook="high-memory-usage",
        group="hosts",
    ),
    DefaultAlert(
        name="DiskFull",
        expression="(node_filesystem_size_bytes - node_filesystem_free_bytes) / (node_filesystem_size_bytes - "
        "node_filesystem_free_bytes + node_filesystem_avail_bytes > 0) > {limit}",
        limit=0.9,
        for_=60,
        severity="critical",
        summary=f"{{{{ $labels.mountpoint }}}} of {_HOST} is {{{{ $value | humanizePercentage }}}} full",
        runbook="disk-full",
        group="hosts",
    ),
    DefaultAlert(
        name="DiskFullSoon",
        expression="predict_linear(node_filesystem_avail_bytes[1h], 4 * 3600) < 0 and "
        "node_filesystem_avail_bytes / node_filesystem_size_bytes < {limit}",
        limit=0.25,
        for_=1800,
        severity="warning",
        summary=f"{{{{ $labels.mountpoint }}}} of {_HOST} is full within four hours if this goes on",
        runbook="disk-full",
        group="hosts",
    ),
    DefaultAlert(
        name="HostMetricsMissing",
        expression='absent(up{{job="host"}}) or up{{job="host"}} == 0',
        for_=60,
        severity="warning",
        summary=f"nothing is measured of {_HOST}",
        runbook="metrics-missing",
        group="hosts",
    ),
    DefaultAlert(
        name="CertificateExpiring",
        expression="probe_ssl_earliest_cert_expiry{{{only}}} - time() < {limit} and "
        "probe_ssl_earliest_cert_expiry{{{only}}} - time() > 0",
        limit=14 * 86400.0,
        for_=300,
        severity="warning",
        summary=f"the certificate of {_TARGET} expires in {{{{ $value | humanizeDuration }}}}",
        runbook="certificate-expiring",
        group="certificates",
    ),
    DefaultAlert(
        name="CertificateExpired",
        expression="probe_ssl_earliest_cert_expiry{{{only}}} - time() <= 0",
        for_=0,
        severity="critical",
        summary=f"the certificate of {_TARGET} has expired",
        runbook="certificate-expiring",
        group="certificates",
    ),
)
