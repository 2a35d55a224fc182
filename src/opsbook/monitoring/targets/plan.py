"""From what the handbook and files say to targets, and the alerts of those that do not answer. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlencode

from opsbook.book.rule_files import prometheus_duration
from opsbook.book.targets import OWN_JOBS, TARGETS, Access, TargetSpec
from opsbook.book.templates import fill
from opsbook.errors import OpsbookError
from opsbook.monitoring.rules.model import AlertingRule, RuleGroup
from opsbook.world.telemetry.target_files import Listed
from opsbook.world.words import Address, Target, Tls

SHORTEST, LONGEST = 1.0, 120.0  # seconds between two scrapes
DOWN_FOR = 120.0  # seconds

Secret = Callable[[str], str]
Resolve = Callable[[str], str | None]


def headers_of(access: Access, secret: Secret) -> dict[str, str]:
    """What is sent with a request, secrets filled in. Raises what `secret` raises."""

    def filled(text: str) -> str:
        return fill(text, lambda placeholder: secret(placeholder.name)).strip()

    headers = {name: filled(value) for name, value in access.headers.items()}
    if access.token is not None:
        headers["Authorization"] = f"Bearer {filled(access.token)}"
    elif access.user is not None and access.password is not None:
        pair = f"{filled(access.user)}:{filled(access.password)}"
        headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    return headers


def tls_of(access: Access, folder: Path) -> Tls:
    """Who must vouch for the server. folder: the handbook's."""
    return Tls(ca=None if access.ca is None else folder / access.ca, insecure=access.insecure)


def targets_of(
    spec: TargetSpec, listed: Sequence[Listed], *, folder: Path, secret: Secret, resolve: Resolve
) -> list[Target]:
    """The targets of one entry.

    Args:
        listed: what its files say.
        folder: the handbook's.
        secret: the value of a secret.
        resolve: the address of a name; None: not known yet, and the target waits for it.
    """
    problem, headers = "", dict[str, str]()
    try:
        headers = headers_of(spec, secret)
    except OpsbookError as error:
        problem = str(error)
    plain = [Listed(address, (), "") for address in spec.addresses]
    found = []
    for each in (*plain, *listed):
        target = _target(spec, each, headers, problem, folder)
        if target.problem:
            found.append(target)
            continue
        host, _, port = each.address.rpartition(":")
        host = host.strip("[]")
        try:
            numeric = resolve(host)
        except OpsbookError as error:
            found.append(replace(target, problem=error.message))
            continue
        if numeric is not None:
            found.append(replace(target, address=Address(numeric, int(port)), name=host))
    return found


def _target(
    spec: TargetSpec, listed: Listed, headers: Mapping[str, str], problem: str, folder: Path
) -> Target:
    """Without its address. Labels that begin with two underscores say how to scrape, as in Prometheus."""
    said = dict(listed.labels)
    labels = {name: value for name, value in said.items() if not name.startswith("__")}
    scheme = said.get("__scheme__", spec.scheme)
    if scheme not in ("http", "https"):
        problem = problem or f"__scheme__ is {scheme}, expected http or https"
    job = labels.get("job", spec.name)
    if job in OWN_JOBS:
        problem, job = problem or f"job is {job}, which opsbook uses itself", spec.name
    interval = min(LONGEST, max(SHORTEST, _seconds(said, "__scrape_interval__", spec.interval)))
    return Target(
        "metrics",
        {"instance": listed.address, **spec.labels, **labels, "job": job},
        path=_path(said, spec.path),
        tls=tls_of(spec, folder) if scheme == "https" else None,
        headers=headers,
        interval=interval,
        timeout=min(interval, _seconds(said, "__scrape_timeout__", spec.timeout)),
        problem=problem,
    )


def _path(said: Mapping[str, str], path: str) -> str:
    path = quote(said["__metrics_path__"], safe="/%:=&?,~+-._") if "__metrics_path__" in said else path
    parameters = [(name[8:], value) for name, value in sorted(said.items()) if name.startswith("__param_")]
    if parameters:
        path += ("&" if "?" in path else "?") + urlencode(parameters)
    return path if path.startswith("/") else f"/{path}"


def _seconds(said: Mapping[str, str], label: str, usual: float) -> float:
    return prometheus_duration(said.get(label, "")) or usual


def unique(targets: Sequence[Target]) -> tuple[list[Target], list[str]]:
    """Each set of labels once, and what is left out, in words."""
    kept, left = dict[tuple[tuple[str, str], ...], Target](), list[str]()
    for target in targets:
        key = tuple(sorted(target.labels.items()))
        if key in kept:
            left.append(
                f"{target.labels['job']} {target.labels['instance']} is there twice with the same labels"
            )
        else:
            kept[key] = target
    return list(kept.values()), left


def groups_of(specs: Sequence[TargetSpec]) -> tuple[RuleGroup, ...]:
    """An alert for every target that does not answer."""
    rules = tuple(_rule(spec) for spec in specs if spec.alert)
    return (RuleGroup(name="targets", source=TARGETS, rules=rules),) if rules else ()


def _rule(spec: TargetSpec) -> AlertingRule:
    return AlertingRule(
        alert="TargetDown",
        expr=f'up{{job="{spec.name}"}} == 0',
        for_=max(DOWN_FOR, 2.5 * spec.interval),
        labels={"severity": spec.severity, "job": spec.name},  # which tells the rules apart
        annotations={"summary": "{{ $labels.job }} {{ $labels.instance }} does not answer"},
    )
