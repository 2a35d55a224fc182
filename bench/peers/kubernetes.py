"""The peer Kubernetes: the shop's storefront and API as Deployments of two replicas, behind Services.

The sources come from ConfigMaps, so that nothing has to be built; any image with Python 3 will do. Each container is
checked every second, as opsbook checks it. The cluster must have its node ports on this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

IMAGE_VARIABLE = "BENCH_PYTHON_IMAGE"
NAMESPACE = "opsbook-bench"
PORT, REPLICAS = 8000, 2
LONGEST = 120.0  # seconds


class NotMeasuredError(Exception):
    """The peer is not here, or does not work here; says why."""


class Cluster:
    """The storefront on the cluster, at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def restart(self) -> None:
        """As one would type it: ask, and wait until it is done."""
        _kubectl("rollout", "restart", "deployment/web")
        _kubectl("rollout", "status", "deployment/web", f"--timeout={LONGEST:.0f}s")


@contextmanager
def deployed(shop: Path) -> Iterator[Cluster]:
    """The shop in `shop` runs on the cluster of KUBECONFIG; it is gone afterwards.

    Raises:
        NotMeasuredError: there is no cluster, or the shop does not come to answer there.
    """
    if not os.environ.get("KUBECONFIG"):
        raise NotMeasuredError("no KUBECONFIG")
    if shutil.which("kubectl") is None:
        raise NotMeasuredError("kubectl is not installed")
    try:
        _apply(_kind("v1", "Namespace", NAMESPACE))
        for service, environment in (
            ("api", {}),
            ("web", {"API_URL": "http://$(API_SERVICE_HOST):$(API_SERVICE_PORT)"}),
        ):
            for manifest in manifests(service, shop / service, environment):
                _apply(manifest)
            _kubectl("rollout", "status", f"deployment/{service}", f"--timeout={LONGEST:.0f}s")
        port = _kubectl("get", "service", "web", "-o", "jsonpath={.spec.ports[0].nodePort}")
        cluster = Cluster(f"http://127.0.0.1:{port}")
        _check(cluster.url)
        yield cluster
    finally:
        subprocess.run(
            ["kubectl", "delete", "namespace", NAMESPACE, "--ignore-not-found", f"--timeout={LONGEST:.0f}s"],
            capture_output=True,
            check=False,
        )


def manifests(service: str, source: Path, environment: dict[str, str]) -> list[dict[str, Any]]:
    """All that makes `service`: its files, its address, its replicas."""
    labels = {"app": service}
    container = {
        "name": service,
        "image": os.environ.get(IMAGE_VARIABLE, "python:3.11-slim"),
        "imagePullPolicy": "IfNotPresent",
        # The app listens on loopback, where opsbook's proxy is; here others must reach it.
        "command": ["python3", "-c", EVERYWHERE, "--port", str(PORT)],
        "workingDir": "/app",
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "volumeMounts": [{"name": "source", "mountPath": "/app"}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1},
    }
    pod = {"containers": [container], "volumes": [{"name": "source", "configMap": {"name": service}}]}
    files = {path.name: path.read_text() for path in source.iterdir() if path.is_file()}
    return [
        _kind("v1", "ConfigMap", service, data=files),
        _kind(
            "v1",
            "Service",
            service,
            spec={"type": "NodePort", "selector": labels, "ports": [{"port": PORT}]},
        ),
        _kind(
            "apps/v1",
            "Deployment",
            service,
            spec={
                "replicas": REPLICAS,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        ),
    ]


EVERYWHERE = """
import runpy, socket, sys
bind = socket.socket.bind
socket.socket.bind = lambda self, at: bind(self, ("0.0.0.0", at[1]) if at[0] == "127.0.0.1" else at)
sys.path.insert(0, "/app")
sys.argv[0] = "app.py"
runpy.run_path("/app/app.py", run_name="__main__")
"""


def _kind(version: str, kind: str, name: str, **body: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **body}


def _apply(manifest: dict[str, Any]) -> None:
    _kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def _kubectl(*words: str, stdin: str = "") -> str:
    ended = subprocess.run(
        ["kubectl", "--namespace", NAMESPACE, *words],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise NotMeasuredError(f"kubectl {words[0]}: {ended.stderr.strip().splitlines()[-1]}")
    return ended.stdout


def _check(url: str) -> None:
    try:
        urllib.request.urlopen(url, timeout=10).close()
    except (urllib.error.URLError, OSError) as error:
        raise NotMeasuredError(f"its node port does not answer at {url}: {error}") from None
