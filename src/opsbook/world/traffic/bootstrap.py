"""The part of Envoy's configuration that is fixed for the life of its process. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Json = dict[str, Any]

RESPONSE_TIME_BUCKETS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)  # milliseconds
MAX_CONNECTIONS = 50_000
_MONITORS = "type.googleapis.com/envoy.extensions.resource_monitors"
CONNECTION_LIMIT = f"{_MONITORS}.downstream_connections.v3.DownstreamConnectionsConfig"

# The metrics that are of use to an operator; all else is left out of what is published.
_CLUSTER_METRICS = (
    r"upstream_rq_(?:[0-9]+|[0-9]xx|total|time|active|pending_active|pending_overflow|timeout|rx_reset|tx_reset"
    r"|retry|retry_success|retry_overflow|maintenance_mode)"
    r"|upstream_cx_(?:total|active|connect_fail|connect_timeout|overflow|none_healthy|rx_bytes_total|tx_bytes_total"
    r"|length_ms|destroy_remote_with_active_rq)"
    r"|membership_(?:total|healthy|degraded|excluded)"
    r"|outlier_detection\.ejections_active|outlier_detection\.ejections_enforced_total"
)
_HTTP_METRICS = (
    r"downstream_rq_(?:[0-9]xx|total|active|time)|downstream_cx_(?:total|active|rx_bytes_total|tx_bytes_total)"
    r"|no_route|rs_too_large"
)
_TCP_METRICS = r"downstream_cx_(?:total|rx_bytes_total|tx_bytes_total|no_route)"
PUBLISHED = (
    rf"^(?:cluster\.[^/.]+/[^/]+/[^/]+\.(?:{_CLUSTER_METRICS})"
    rf"|http\.entry/[^.]+\.(?:{_HTTP_METRICS})|tcp\.entry/[^.]+\.(?:{_TCP_METRICS})"
    r"|listener\.entry/[^.]+\.downstream_cx_(?:total|active|overflow|overload_reject)"
    r"|server\.(?:live|uptime|memory_allocated|total_connections|concurrency))$"
)


def bootstrap(*, admin_socket: Path, clusters_file: Path, listeners_file: Path) -> Json:
    """Envoy's bootstrap: where to listen for its administration and which files hold the rest."""
    return {
        "node": {"id": "opsbook", "cluster": "opsbook"},
        "admin": {"address": {"pipe": {"path": str(admin_socket), "mode": 0o600}}},
        "dynamic_resources": {"cds_config": _source(clusters_file), "lds_config": _source(listeners_file)},
        "stats_config": {
            "use_all_default_tags": False,
            "stats_tags": STATS_TAGS,
            "histogram_bucket_settings": [
                {"match": {"suffix": "_rq_time"}, "buckets": list(RESPONSE_TIME_BUCKETS)},
            ],
            # Doubles of every response counter, told apart by a header that nobody here sends.
            "stats_matcher": {
                "exclusion_list": {
                    "patterns": [{"safe_regex": {"regex": r"^cluster\..*\.(?:internal|external|canary)\..*"}}]
                }
            },
        },
        "stats_flush_interval": "1s",  # histograms are merged then; analysis looks once a second
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": CONNECTION_LIMIT,
                        "max_active_downstream_connections": MAX_CONNECTIONS,
                    },
                }
            ]
        },
    }


def _source(path: Path) -> Json:
    # No `watched_directory`: each takes another inotify instance, and we only ever rename files into place.
    return {
        "path_config_source": {"path": str(path)},
        "resource_api_version": "V3",
        "initial_fetch_timeout": "5s",
    }


# Group 1 leaves the metric's name, group 2 is the label's value.
STATS_TAGS: list[Json] = [
    {"tag_name": "environment", "regex": r"^cluster\.(([^/.]+)/)[^/]+/"},
    {"tag_name": "service", "regex": r"^cluster\.[^/.]+/(([^/]+)/)"},
    {
        "tag_name": "release",
        "regex": r"^cluster\.[^/.]+/[^/]+/(([^/]+?)\.)(?:upstream_|membership_|outlier_detection\.|"
        r"health_check\.|circuit_breakers\.|lb_|update_|version|assignment_|max_host|http[12]\.|bind_|init_|default\.)",
    },
    {"tag_name": "listener", "regex": r"^(?:http|tcp|listener)\.(entry/([^.]+)\.)"},
    {"tag_name": "response_code", "regex": r"_rq(_([0-9]{3}))$"},
    {"tag_name": "response_code_class", "regex": r"_rq_(([0-9]))xx$"},
]
