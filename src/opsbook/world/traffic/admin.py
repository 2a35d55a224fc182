"""Envoy's administration over its Unix socket: what it says about itself."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from opsbook.errors import Unreachable
from opsbook.world.words import Address

# Rejections and versions of every subscription, and what is still warming.
CONFIGURATION_METRICS = (
    r"(version_text|update_rejected|update_failure|cluster_manager\.warming_clusters|workers_started"
    r"|listener_manager\.(total_listeners_(active|warming)|listener_create_(success|failure)))$"
)
ACTIVE_METRICS = r"^cluster\..*\.upstream_(rq|cx)_active$"


@dataclass(frozen=True, slots=True)
class Host:
    """An endpoint as Envoy sees it."""

    address: Address
    healthy: bool
    draining: bool
    requests: int
    connections: int


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@dataclass(frozen=True, slots=True)
class Admin:
    """The administration that listens on `path`. Threads may share it: every call connects anew."""

    path: Path
    timeout: float = 5.0

    def get(self, target: str) -> str:
        """The body of a GET.

        Raises:
            Unreachable: nobody listens, or the answer is not 200.
        """
        connection = _UnixConnection(self.path, self.timeout)
        try:
            connection.request("GET", target)
            response = connection.getresponse()
            body = response.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(
                f"the proxy's administration does not answer: {error}",
                hint="opsbook doctor",
                where=str(self.path),
            ) from error
        finally:
            connection.close()
        if response.status != 200:
            raise Unreachable(
                f"the proxy's administration answers {response.status} to {target}: {body.strip()[:200]}",
                where=str(self.path),
            )
        return body

    def configuration_metrics(self) -> dict[str, str]:
        """Versions, rejections and warming counts by metric name."""
        text = self.get(f"/stats?filter={quote(CONFIGURATION_METRICS)}")
        pairs = (line.partition(": ") for line in text.splitlines())
        return {name: value.strip().strip('"') for name, _, value in pairs}

    def server_info(self) -> dict[str, Any]:
        """Version, state (`LIVE`, ...) and command line options."""
        info: dict[str, Any] = json.loads(self.get("/server_info"))
        return info

    def warming_clusters(self) -> frozenset[str]:
        """The clusters that are known but may not be used yet."""
        dump = json.loads(self.get("/config_dump?resource=dynamic_warming_clusters"))
        return frozenset(entry["cluster"]["name"] for entry in dump.get("configs", ()))

    def listener_errors(self) -> tuple[str, ...]:
        """Envoy's reasons for the listeners whose last update it refused."""
        dump = json.loads(self.get("/config_dump?resource=dynamic_listeners"))
        return tuple(
            entry["error_state"]["details"] for entry in dump.get("configs", ()) if "error_state" in entry
        )

    def listeners(self) -> frozenset[str]:
        """The names of the listeners that take connections."""
        answer = json.loads(self.get("/listeners?format=json"))
        return frozenset(entry["name"] for entry in answer.get("listener_statuses", ()))

    def hosts(self) -> dict[str, tuple[Host, ...]]:
        """The endpoints of every cluster by its name."""
        answer = json.loads(self.get("/clusters?format=json"))
        return {
            entry["name"]: tuple(_host(each) for each in entry.get("host_statuses", ()))
            for entry in answer.get("cluster_statuses", ())
        }

    def active(self) -> dict[str, tuple[int, int]]:
        """Requests and connections under way by cluster, those of endpoints included that have left it."""
        text = self.get(f"/stats?filter={quote(ACTIVE_METRICS)}")
        found: dict[str, tuple[int, int]] = {}
        for line in text.splitlines():
            metric, _, value = line.partition(": ")
            cluster, _, kind = metric.removeprefix("cluster.").rpartition(".")
            requests, connections = found.get(cluster, (0, 0))
            is_requests = kind == "upstream_rq_active"
            found[cluster] = (int(value), connections) if is_requests else (requests, int(value))
        return found

    def prometheus(self, pattern: str) -> str:
        """The metrics ever used whose Envoy name matches `pattern`, in Prometheus' text format."""
        return self.get(f"/stats/prometheus?usedonly&filter={quote(pattern)}")


def _host(status: Mapping[str, Any]) -> Host:
    health = dict(status.get("health_status", {}))
    eds = health.pop("eds_health_status", "HEALTHY")
    at = status["address"]["socket_address"]
    gauges = {each["name"]: int(each.get("value", 0)) for each in status.get("stats", ()) if "name" in each}
    return Host(
        address=Address(at["address"], int(at["port_value"])),
        # What is left are flags such as failed_active_health_check, failed_outlier_check, pending_active_hc.
        healthy=eds == "HEALTHY" and not any(value is True for value in health.values()),
        draining=eds == "DRAINING",
        requests=gauges.get("rq_active", 0),
        connections=gauges.get("cx_active", 0),
    )
