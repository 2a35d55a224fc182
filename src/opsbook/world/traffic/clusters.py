"""A backend in Envoy's words: the cluster (CDS) and its endpoints (EDS). Pure."""

from __future__ import annotations

from typing import Any

from opsbook.world.words import Address, Backend, HealthCheck

Json = dict[str, Any]

AGGREGATE = "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig"
HTTP_OPTIONS = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
# Shorter than the keep-alive of the servers people run (gunicorn 2 s, uvicorn and Node 5 s): were it longer,
# Envoy would now and then send a request on a connection that the server is closing in the same moment.
IDLE_UPSTREAM_SECONDS = 1.0
UNHEALTHY_INTERVAL_SECONDS = 0.1  # how often an endpoint that is not yet, or no longer, healthy is asked
# By default a backend of which a third is down passes requests on to its fallback; ours does when all of it is down.
# Envoy multiplies it by the number of endpoints in 32 bits.
OVERPROVISIONING_PERCENT = 100_000
ACTIVELY_CHECKED = frozenset({"http", "tcp"})


def seconds(value: float) -> str:
    """A duration in protobuf's JSON spelling, e.g. ``1.500s``."""
    return f"{value:.3f}s"


def socket_address(address: Address) -> Json:
    """An Envoy `core.Address`."""
    host = "127.0.0.1" if address.host == "localhost" else address.host
    return {"socket_address": {"address": host, "port_value": address.port}}


def cluster(backend: Backend, endpoints_file: str) -> Json:
    """The `Cluster` of `backend`, which reads its endpoints from `endpoints_file` (an absolute path)."""
    document: Json = {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": backend.name,
        "type": "EDS",
        "eds_cluster_config": {
            "eds_config": {
                "path_config_source": {"path": endpoints_file},
                "resource_api_version": "V3",
                "initial_fetch_timeout": "2s",
            }
        },
        "connect_timeout": seconds(backend.connect_timeout),
        "lb_policy": "LEAST_REQUEST",
        "common_lb_config": COMMON_BALANCING,
        # An endpoint that is taken off the list is gone at once, not only when it fails its next check.
        "ignore_health_on_host_removal": True,
        "circuit_breakers": {"thresholds": [_limits(backend)]},
    }
    if backend.protocol != "tcp":
        document["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _http_options(backend)
        }
    if backend.health.kind in ACTIVELY_CHECKED:
        document["health_checks"] = [health_check(backend.health, http2=backend.protocol == "grpc")]
    if backend.outlier_ejection:
        document["outlier_detection"] = OUTLIER_DETECTION
    return document


def aggregate_name(primary: str, fallback: str) -> str:
    """The name of the cluster of `primary` with `fallback`; no backend can have it, as none may hold a ``|``."""
    return f"{primary}|{fallback}"


def aggregate(primary: Backend, fallback: Backend) -> Json:
    """The cluster that sends to `primary`, or to `fallback` when nothing of it is healthy.

    It has no endpoints of its own: connections, limits on them, health and ejection are those of the two. Of its own
    it has how many retries there may be, and the responses as the client got them, which it therefore counts as
    those of `primary`: that is the release the requests were meant for.
    """
    return {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": aggregate_name(primary.name, fallback.name),
        "alt_stat_name": primary.name,
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": {"@type": AGGREGATE, "clusters": [primary.name, fallback.name]},
        },
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": seconds(primary.connect_timeout),
        "common_lb_config": COMMON_BALANCING,
        "circuit_breakers": {"thresholds": [_limits(primary)]},
    }


def load_assignment(backend: Backend) -> Json:
    """The `ClusterLoadAssignment`; a draining endpoint stays listed, so that its requests are counted.

    Nothing but the address and the one flag is said of an endpoint: were e.g. its hostname to change, Envoy would
    take it for another one and begin to count its requests at 0.
    """
    endpoints = [
        {
            "endpoint": {"address": socket_address(endpoint.address)},
            "health_status": "DRAINING" if endpoint.draining else "HEALTHY",
        }
        for endpoint in backend.endpoints
    ]
    return {
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": backend.name,
        "endpoints": [{"lb_endpoints": endpoints}] if endpoints else [],
        "policy": {"overprovisioning_factor": OVERPROVISIONING_PERCENT},
    }


def health_check(health: HealthCheck, *, http2: bool) -> Json:
    """Envoy's active check. An endpoint is in after one good answer and out after `unhealthy_after` bad ones.

    Without `no_traffic_interval` Envoy would look at an endpoint that gets no requests yet, as those of every
    new release, only once a minute.
    """
    document: Json = {
        "timeout": seconds(health.timeout),
        "interval": seconds(health.interval),
        "no_traffic_interval": seconds(health.interval),
        "no_traffic_healthy_interval": seconds(health.interval),
        "unhealthy_interval": seconds(min(health.interval, UNHEALTHY_INTERVAL_SECONDS)),
        "unhealthy_edge_interval": seconds(min(health.interval, UNHEALTHY_INTERVAL_SECONDS)),
        "unhealthy_threshold": health.unhealthy_after,
        "healthy_threshold": 1,
        "interval_jitter_percent": 10,
    }
    if health.kind == "http":
        document["http_health_check"] = {
            "path": health.path,
            "host": "localhost",  # the default is the cluster's name, which is no valid Host
            "expected_statuses": [{"start": 200, "end": 400}],
            "codec_client_type": "HTTP2" if http2 else "HTTP1",
        }
    else:
        document["tcp_health_check"] = {}
    return document


COMMON_BALANCING: Json = {
    # Panic mode sends requests to endpoints known to be down if too few are up; a clean 503 is better.
    "healthy_panic_threshold": {"value": 0.0},
    # By default workers learn of health up to a second late: of a new endpoint that has become healthy,
    # when the old one drains already, that would be an outage.
    "update_merge_window": "0s",
}

# An endpoint that answers with 5xx or resets is left out for a while, but never more than half of a release:
# a fault that all endpoints share is the release's, and a release of one endpoint must not be ejected to
# nothing.
OUTLIER_DETECTION: Json = {
    # An instance that cannot be connected to is the health check's business: it is back with its first good check,
    # while an ejection would leave a restarted instance out for seconds.
    "split_external_local_origin_errors": True,
    "enforcing_consecutive_local_origin_failure": 0,
    "enforcing_local_origin_success_rate": 0,
    "consecutive_5xx": 20,  # high: an error that one path always gives says little about the instance
    "consecutive_gateway_failure": 5,
    "enforcing_consecutive_gateway_failure": 100,
    "enforcing_success_rate": 0,
    "interval": "1s",
    "base_ejection_time": "5s",
    "max_ejection_time": "60s",
    "max_ejection_percent": 50,
    # Else an instance whose health page is fine while its pages are not would be back after its next check.
    "successful_active_health_check_uneject_host": False,
}


def _limits(backend: Backend) -> Json:
    return {
        "max_connections": backend.max_connections,
        "max_pending_requests": backend.max_requests,
        "max_requests": backend.max_requests,
        # The default of 3 would turn the crash of a busy instance into errors; each request has its own
        # limit.
        "max_retries": backend.max_requests,
    }


def _http_options(backend: Backend) -> Json:
    if backend.protocol == "grpc":
        explicit: Json = {"http2_protocol_options": {"max_concurrent_streams": 1000}}
        return {"@type": HTTP_OPTIONS, "explicit_http_config": explicit}
    return {
        "@type": HTTP_OPTIONS,
        "explicit_http_config": {"http_protocol_options": {}},
        "common_http_protocol_options": {"idle_timeout": seconds(IDLE_UPSTREAM_SECONDS)},
    }
