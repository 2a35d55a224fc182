"""Listeners (LDS) and their routes (RDS) in Envoy's words. Pure.

An HTTP listener's own document holds nothing that a deployment changes, so Envoy never replaces it and no
connection is cut; all that changes is in its route configuration. A TCP listener has no such second document:
its split is part of its filter chain, which Envoy swaps in place for new connections while the old ones go
on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opsbook.world.traffic.clusters import seconds, socket_address
from opsbook.world.traffic.selection import Selected, destination, selections, shares
from opsbook.world.words import TRIAL_HEADER, Listener, Route

Json = dict[str, Any]

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
PREVIOUS_HOSTS = "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
CLOSE_AT_ONCE = "type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config"

PREVIOUS_PRIORITIES = (
    "type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
)

# No byte of the request has left Envoy in these cases, so trying again is safe for any method.
RETRY_ANY = "connect-failure,refused-stream,reset-before-request"
# A safe method may be tried again although an instance that died may have seen it (RFC 9110, 9.2.2).
RETRY_SAFE = f"{RETRY_ANY},reset"
SAFE_METHODS = "GET|HEAD|OPTIONS"
RETRIES = 3
# First, the fallback, first: what may have killed an instance of the first comes to the fallback once only, so that
# one request which kills whatever it meets does not take both releases with it.
RETRIES_SAFE_WITH_FALLBACK = 2


def stat_name(name: str) -> str:
    """`name` as one segment of a metric's name, where a dot would begin the next.

    The prefix tells our listeners from Envoy's own administration.
    """
    return "entry/" + name.replace(".", "_").replace(":", "_")


def listener(listener_: Listener, routes_file: str) -> Json:
    """The `Listener`; `routes_file` is the absolute path of its route configuration (HTTP only)."""
    filter_ = _http_filter(listener_, routes_file) if listener_.kind == "http" else _tcp_filter(listener_)
    return {
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": listener_.name,
        "stat_prefix": stat_name(listener_.name),
        "address": socket_address(listener_.address),
        "filter_chains": [{"filters": [filter_]}],
    }


def route_configuration(listener_: Listener, generation: int, probe_host: str) -> Json:
    """The `RouteConfiguration`: a virtual host per host, one for any, and the probe that tells `generation`.

    The routes for any host follow those of a host that is named, so that naming a host only adds.
    """
    any_host = [route for route in listener_.routes if _host(route) == "*"]
    hosts = sorted({_host(route) for route in listener_.routes} - {"*"})
    virtual_hosts = [
        _virtual_host(host, [r for r in listener_.routes if _host(r) == host], any_host) for host in hosts
    ]
    probe = {
        "name": "opsbook-probe",
        "domains": [probe_host],
        "routes": [{"match": {"prefix": "/"}, **_answer(200, str(generation))}],
    }
    return {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": listener_.name,
        "ignore_port_in_host_matching": True,
        # It is for us to choose by, and who learns its value could send requests to a release on trial.
        "request_headers_to_remove": [TRIAL_HEADER],
        "virtual_hosts": [probe, *virtual_hosts, _virtual_host("*", any_host, [])],
    }


def _host(route: Route) -> str:
    return (route.host or "*").lower()


def _virtual_host(host: str, own: list[Route], fallback: list[Route]) -> Json:
    routes = [
        entry for group in (own, fallback) for route in _longest_first(group) for entry in _entries(route)
    ]
    routes.append({"match": {"prefix": "/"}, **_answer(404, "not found\n")})
    return {"name": host, "domains": [host], "routes": routes}


def _longest_first(routes: list[Route]) -> list[Route]:
    return sorted(routes, key=lambda route: len(route.prefix.rstrip("/")), reverse=True)


def _entries(route: Route) -> Iterator[Json]:
    """Envoy's routes for `route`: per way to match it, one for safe methods and one for others."""
    safe = {"name": ":method", "string_match": {"safe_regex": {"regex": SAFE_METHODS}}}
    retries_safe = RETRIES_SAFE_WITH_FALLBACK if route.split.fallback else RETRIES
    for prefix, rewrite in _matches(route):
        for selected in selections(route):
            match = selected.narrowed(prefix)
            if selected.destination is None:
                yield {"match": match, **_answer(503, f"no release of {route.service} is serving\n")}
                continue
            yield {
                "match": {**match, "headers": [safe, *match.get("headers", ())]},
                "route": {**rewrite, **_action(route, selected, RETRY_SAFE, retries_safe)},
                **selected.route,
            }
            yield {
                "match": match,
                "route": {**rewrite, **_action(route, selected, RETRY_ANY, RETRIES)},
                **selected.route,
            }


def _matches(route: Route) -> Iterator[tuple[Json, Json]]:
    prefix = route.prefix.rstrip("/")
    if not prefix:
        yield {"prefix": "/"}, {}
    elif route.strip_prefix:
        # Two matches, as rewriting "/api" to "/" in one would make "//users" of "/api/users".
        yield {"prefix": f"{prefix}/"}, {"prefix_rewrite": "/"}
        yield {"path": prefix}, {"prefix_rewrite": "/"}
    else:
        yield {"path_separated_prefix": prefix}, {}


def _action(route: Route, selected: Selected, retry_on: str, retries: int) -> Json:
    policy: Json = {
        "retry_on": retry_on,
        "num_retries": retries,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {"@type": PREVIOUS_HOSTS},
            }
        ],
        # The dead instance has the fewest requests, so it is the likeliest to be picked again: 5 would often not do.
        "host_selection_retry_max_attempts": 30,
        "retry_back_off": {"base_interval": "0.010s", "max_interval": "0.250s"},
    }
    if route.split.fallback:
        # To the fallback at once: when all of a release dies, health checks take a moment to notice.
        policy["retry_priority"] = {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {"@type": PREVIOUS_PRIORITIES, "update_frequency": 1},
        }
    return {
        **(selected.destination or {}),
        **selected.action,
        "timeout": seconds(route.timeout or 0.0),
        "idle_timeout": seconds(route.idle_timeout),
        "retry_policy": policy,
    }


def _answer(status: int, body: str) -> Json:
    return {
        "direct_response": {"status": status, "body": {"inline_string": body}},
        "response_headers_to_add": [
            {
                "header": {"key": "content-type", "value": "text/plain; charset=utf-8"},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
    }


def _http_filter(listener_: Listener, routes_file: str) -> Json:
    manager: Json = {
        "@type": HCM,
        "stat_prefix": stat_name(listener_.name),
        "codec_type": "AUTO",
        "rds": {
            "route_config_name": listener_.name,
            "config_source": {
                "path_config_source": {"path": routes_file},
                "resource_api_version": "V3",
                "initial_fetch_timeout": "2s",
            },
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": ROUTER, "suppress_envoy_headers": True},
            }
        ],
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "use_remote_address": True,
        "internal_address_config": {"unix_sockets": False},  # nobody may steer retries by x-envoy-* headers
        "always_set_request_id_in_response": True,
        "server_header_transformation": "PASS_THROUGH",
        "normalize_path": True,
        "max_request_headers_kb": 64,
        "request_headers_timeout": "30s",
        "stream_idle_timeout": "300s",  # a route's own idle_timeout comes before it
        "common_http_protocol_options": {"idle_timeout": "600s"},
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "localhost"},
        "http2_protocol_options": {
            "max_concurrent_streams": 1000,
            "initial_stream_window_size": 1048576,
            "initial_connection_window_size": 4194304,
        },
    }
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}


def _tcp_filter(listener_: Listener) -> Json:
    if not shares(listener_.split):
        return {"name": "envoy.filters.network.direct_response", "typed_config": {"@type": CLOSE_AT_ONCE}}
    proxy: Json = {
        "@type": TCP_PROXY,
        "stat_prefix": stat_name(listener_.name),
        "idle_timeout": "0s",
        "max_connect_attempts": 3,
        **destination(listener_.split),
    }
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}
