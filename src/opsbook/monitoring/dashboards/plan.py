"""The dashboards that everything has by itself: rate, errors and duration of requests, then what may run short. Pure.

They ask for the series that opsbook scrapes, not for recorded ones, so that a window grows with the stretch of time
that is looked at and nothing between two points of a chart is left out.
"""

from __future__ import annotations

from dataclasses import replace

from opsbook.monitoring.dashboards.model import Dashboard, Panel, Query, Row

REQUESTS = "envoy_cluster_upstream_rq_xx"
TIMES = "envoy_cluster_upstream_rq_time_bucket"
LOCAL_HOST = "local"
"""What the host is called whose series have no label ``host``: the one opsbook runs on."""

_WINDOW = "[$__rate_interval]"
_ERRORS = "Answers with a status of 500 or more, of all answers. Without requests there is no line."
_CPU = "Of what it may use: its limit, or one core for each instance where none is set."


def service_dashboard(environment: str, service: str, description: str = "") -> Dashboard:
    """Of one service in one environment."""
    only = f'environment="{_quoted(environment)}",service="{_quoted(service)}"'
    return Dashboard(
        name=f"services/{environment}/{service}",
        title=f"{service} in {environment}",
        kind="service",
        description=description,
        subjects=(f"{environment}/{service}",),
        environment=environment,
        rows=(
            Row("Requests", (_rate(only), _errors(only), _duration(only))),
            Row("By release", tuple(_by_version(one, only) for one in _by_release(only))),
            Row("Saturation", _process_panels(only, "instance")),
        ),
    )


def environment_dashboard(environment: str) -> Dashboard:
    """Of all services in one environment, side by side."""
    only = f'environment="{_quoted(environment)}",service!=""'
    return Dashboard(
        name=f"environments/{environment}",
        title=environment,
        kind="environment",
        subjects=(environment,),
        environment=environment,
        rows=(
            Row("Requests", (_rate(only, "service"), _errors(only, "service"), _p95(only, "service"))),
            Row("Saturation", _process_panels(only, "service")),
        ),
    )


def host_dashboard(host: str) -> Dashboard:
    """Of one machine; `host` empty: the one opsbook runs on, whose series need no name."""
    only = f'job="host",host="{_quoted(host)}"'
    name = host or LOCAL_HOST
    used = f"(node_filesystem_size_bytes{{{only}}} - node_filesystem_free_bytes{{{only}}})"
    memory = f"node_memory_MemTotal_bytes{{{only}}} - node_memory_MemAvailable_bytes{{{only}}}"
    devices = f'{only},device!="lo"'
    return Dashboard(
        name=f"hosts/{name}",
        title=host or "This host",
        kind="host",
        subjects=(f"host/{host}" if host else "opsbook",),
        rows=(
            Row(
                "Saturation",
                (
                    Panel(
                        id="cpu",
                        title="CPU",
                        unit="ratio",
                        limit=0.8,
                        description="Share of all cores that is busy.",
                        queries=(Query(f"1 - {_sum(_idle(only))} / {_sum(_busy(only))}", "busy"),),
                    ),
                    Panel(
                        id="memory",
                        title="Memory",
                        unit="ratio",
                        limit=0.85,
                        description="Share that is not available to a new process.",
                        queries=(Query(f"({memory}) / node_memory_MemTotal_bytes{{{only}}}", "in use"),),
                    ),
                    Panel(
                        id="disk",
                        title="Disks",
                        unit="ratio",
                        limit=0.9,
                        description="Used of what used and available make together, as df counts.",
                        queries=(
                            Query(
                                f"{used} / ({used} + node_filesystem_avail_bytes{{{only}}} > 0)",
                                "{{mountpoint}}",
                            ),
                        ),
                    ),
                ),
            ),
            Row(
                "Traffic",
                (
                    Panel(
                        id="load",
                        title="Load",
                        unit="count",
                        description="Processes that run or wait for a disk, beside the number of cores.",
                        queries=(
                            Query(f"node_load1{{{only}}}", "1 minute"),
                            Query(f"node_cpu_count{{{only}}}", "cores"),
                        ),
                    ),
                    Panel(
                        id="network",
                        title="Network",
                        unit="bytes/s",
                        queries=(
                            Query(
                                _sum(f"rate(node_network_receive_bytes_total{{{devices}}}{_WINDOW})"),
                                "received",
                            ),
                            Query(
                                _sum(f"rate(node_network_transmit_bytes_total{{{devices}}}{_WINDOW})"), "sent"
                            ),
                        ),
                    ),
                    Panel(
                        id="disk-traffic",
                        title="Disk traffic",
                        unit="bytes/s",
                        queries=(
                            Query(_sum(f"rate(node_disk_read_bytes_total{{{only}}}{_WINDOW})"), "read"),
                            Query(_sum(f"rate(node_disk_written_bytes_total{{{only}}}{_WINDOW})"), "written"),
                        ),
                    ),
                ),
            ),
        ),
    )


def probe_dashboard(probe: str, environment: str = "") -> Dashboard:
    """Of something that is looked at from outside."""
    only = f'probe="{_quoted(probe)}"'
    return Dashboard(
        name=f"probes/{probe}",
        title=probe,
        kind="probe",
        subjects=(f"probe/{probe}",),
        environment=environment,
        rows=(
            Row(
                "Looks",
                (
                    Panel(
                        id="success",
                        title="Well",
                        unit="ratio",
                        description="Share of the looks that found it well.",
                        queries=(Query(f"avg_over_time(probe_success{{{only}}}[$__rate_interval])", "well"),),
                    ),
                    Panel(
                        id="duration",
                        title="Duration",
                        unit="seconds",
                        description="What a look took, and the longest between two points.",
                        queries=(
                            Query(
                                f"avg_over_time(probe_duration_seconds{{{only}}}[$__rate_interval])", "mean"
                            ),
                            Query(
                                f"max_over_time(probe_duration_seconds{{{only}}}[$__rate_interval])",
                                "longest",
                            ),
                        ),
                    ),
                    Panel(
                        id="phases",
                        title="Phases",
                        unit="seconds",
                        description="What a look spent its time with.",
                        queries=(
                            Query(
                                f"avg_over_time(probe_phase_seconds{{{only}}}[$__rate_interval])", "{{phase}}"
                            ),
                        ),
                    ),
                ),
            ),
        ),
    )


# --- requests


def _rate(only: str, by: str = "") -> Panel:
    return Panel(
        id=f"rate{_of(by)}",
        title="Rate",
        unit="1/s",
        description="Requests that were answered in a second.",
        queries=(Query(_sum(f"rate({REQUESTS}{{{only}}}{_WINDOW})", by), _legend(by, "requests")),),
    )


def _errors(only: str, by: str = "") -> Panel:
    every = _sum(f"rate({REQUESTS}{{{only}}}{_WINDOW})", by)
    failed = _sum(f'rate({REQUESTS}{{{only},response_code_class="5"}}{_WINDOW})', by)
    # What never failed has no series of failures, and yet a number of them: none.
    expression = f"({failed} or {every} * 0) / ({every} > 0)"
    return Panel(
        id=f"errors{_of(by)}",
        title="Errors",
        unit="ratio",
        limit=0.01,
        description=_ERRORS,
        queries=(Query(expression, _legend(by, "errors")),),
    )


def _by_release(only: str) -> tuple[Panel, ...]:
    return _rate(only, "release"), _errors(only, "release"), _p95(only, "release")


def _by_version(panel: Panel, only: str) -> Panel:
    """Its lines called by their versions, which the proxy does not know, but the processes do."""
    versions = f'max by (release, version) (process_start_time_seconds{{job="process",{only}}} * 0 + 1)'
    queries = tuple(
        Query(
            f"({one.expression}) * on (release) group_left (version) {versions} or on (release) ({one.expression})",
            "{{version}}",
        )
        for one in panel.queries
    )
    return replace(panel, queries=queries)


def _duration(only: str) -> Panel:
    return Panel(
        id="duration",
        title="Duration",
        unit="seconds",
        limit=0.5,
        description="50, 95 and 99 % of the requests were answered faster than this.",
        queries=tuple(Query(_quantile(only, q), f"p{q * 100:.0f}") for q in (0.5, 0.95, 0.99)),
    )


def _p95(only: str, by: str) -> Panel:
    return Panel(
        id=f"p95{_of(by)}",
        title="Duration p95",
        unit="seconds",
        limit=0.5,
        description="95 % of the requests were answered faster than this.",
        queries=(Query(_quantile(only, 0.95, by), _legend(by, "p95")),),
    )


def _quantile(only: str, quantile: float, by: str = "") -> str:
    labels = f"{by}, le" if by else "le"
    grown = f"sum by ({labels}) (rate({TIMES}{{{only}}}{_WINDOW}))"
    return f"histogram_quantile({quantile:g}, {grown}) / 1000"


# --- instances


def _process_panels(only: str, by: str) -> tuple[Panel, ...]:
    only = f'job="process",{only}'
    labels = f"by ({by})" if by == "instance" else f"by ({by}, environment)"
    cpu = f"sum {labels} (rate(process_cpu_seconds_total{{{only}}}{_WINDOW}))"
    allowed = f"process_cpu_limit_cores{{{only}}} or process_start_time_seconds{{{only}}} * 0 + 1"
    legend = f"{{{{{by}}}}}"
    return (
        Panel(
            id="cpu",
            title="CPU",
            unit="ratio",
            limit=0.8,
            description=_CPU,
            queries=(Query(f"{cpu} / sum {labels} ({allowed})", legend),),
        ),
        Panel(
            id="memory",
            title="Memory",
            unit="bytes",
            description="Resident memory; what processes share is counted for each.",
            queries=(Query(f"sum {labels} (process_resident_memory_bytes{{{only}}})", legend),),
        ),
        Panel(
            id="restarts",
            title="Restarts",
            unit="count",
            description="How often processes were started again since the point before.",
            queries=(
                Query(f"sum {labels} (changes(process_start_time_seconds{{{only}}}{_WINDOW}))", legend),
            ),
        ),
    )


# --- hosts


def _idle(only: str) -> str:
    return f'rate(node_cpu_seconds_total{{{only},mode=~"idle|iowait"}}{_WINDOW})'


def _busy(only: str) -> str:
    return f"rate(node_cpu_seconds_total{{{only}}}{_WINDOW})"


# --- words


def _sum(expression: str, by: str = "") -> str:
    return f"sum by ({by}) ({expression})" if by else f"sum({expression})"


def _of(by: str) -> str:
    return f"-by-{by}" if by else ""


def _legend(by: str, word: str) -> str:
    return f"{{{{{by}}}}}" if by else word


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
