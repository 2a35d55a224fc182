"""From a release, an immutable document, to a workload the world can start. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opsbook.deployment.model import Release
from opsbook.world.words import HealthCheck, Limits, Workload

_SECRET = re.compile(r"\{\{|\}\}|\{secret:([^{}@]+)\}")  # doubled braces are text


def release_id(
    service: str, environment: str, version: str, digest: str, config: Mapping[str, Any], secrets: Any
) -> str:
    """The name of a release: equal content, equal name. Ten hexadecimal digits of SHA-256 after the service.

    The version is part of it, because an instance is told it.
    """
    content = json.dumps(
        [environment, version, digest, config, secrets], sort_keys=True, separators=(",", ":")
    )
    return f"{service}-{hashlib.sha256(content.encode()).hexdigest()[:10]}"


def workload(release: Release) -> Workload:
    """What the runtime is handed. Secrets are still names, pinned to the version that the release was made with."""
    config = release.config
    return Workload(
        service=release.service,
        environment=release.environment,
        release=release.id,
        version=release.version,
        command=tuple(config["command"]),
        folder=Path(release.folder) if release.folder else None,
        env={name: pinned(value, release.secrets) for name, value in config.get("env", {}).items()},
        port=config.get("port"),
        health=health_check(config),
        limits=limits(config),
        user=config.get("user"),
        stop_grace=float(config.get("stop_grace", 10.0)),
    )


def pinned(value: str, secrets: Mapping[str, str]) -> str:
    """`value` with each ``{secret:NAME}`` bound to the release's version of it."""

    def pin(match: re.Match[str]) -> str:
        name = match[1]
        return f"{{secret:{name}@{secrets[name]}}}" if name in secrets else match[0]

    return _SECRET.sub(pin, value)


def health_check(config: Mapping[str, Any]) -> HealthCheck:
    health = dict(config.get("health") or {})
    timing = {
        name: float(health[name])
        for name in ("interval", "timeout", "start_period")
        if health.get(name) is not None
    }
    if health.get("unhealthy_after") is not None:
        timing["unhealthy_after"] = int(health["unhealthy_after"])
    if health.get("path"):
        return HealthCheck("http", path=str(health["path"]), **timing)  # type: ignore[arg-type]
    if health.get("command"):
        return HealthCheck("command", command=tuple(health["command"]), **timing)  # type: ignore[arg-type]
    if config.get("port"):
        return HealthCheck("tcp", **timing)  # type: ignore[arg-type]
    return HealthCheck("alive", **timing)  # type: ignore[arg-type]


def limits(config: Mapping[str, Any]) -> Limits:
    resources = config.get("resources") or {}
    return Limits(
        cpu=resources.get("cpu"), memory=resources.get("memory"), open_files=resources.get("open_files")
    )
