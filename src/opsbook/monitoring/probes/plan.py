"""What a look means, and which alerts there are of probes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from opsbook.book.probes import PROBES, ProbeSpec
from opsbook.book.templates import fill
from opsbook.monitoring.probes.model import ProbeState
from opsbook.monitoring.rules.model import AlertingRule, RuleGroup
from opsbook.promql.series import Labels
from opsbook.world.probes.words import (
    Check,
    DnsCheck,
    Finding,
    GrpcCheck,
    HttpCheck,
    IcmpCheck,
    SshCheck,
    TcpCheck,
    TlsCheck,
)

_DAY = 86_400.0


def seen(state: ProbeState, finding: Finding, spec: ProbeSpec, at: float) -> ProbeState:
    """The state after one more look. The first look decides at once when it is well."""
    failures = 0 if finding.ok else state.failures + 1
    successes = state.successes + 1 if finding.ok else 0
    up = state.up
    if finding.ok and (up is None or successes >= spec.successes):
        up = True
    elif not finding.ok and failures >= spec.failures:
        up = False
    return replace(
        state,
        up=up,
        since=at if up is not state.up else state.since,
        failures=failures,
        successes=successes,
        looked_at=at,
        detail=finding.detail,
        seconds=finding.seconds,
        certificate_until=finding.certificate_until,
    )


def labels_of(spec: ProbeSpec, target: str) -> Labels:
    """The labels of all series of a probe."""
    known = {
        "probe": spec.name,
        "kind": spec.kind,
        "target": target,
        "environment": spec.environment or "",
        "service": spec.service or "",
    }
    return {**spec.labels, **{name: value for name, value in known.items() if value}}


def series_of(
    spec: ProbeSpec, target: str, finding: Finding, state: ProbeState
) -> Iterator[tuple[Labels, float]]:
    """What one look adds to the store."""
    labels = labels_of(spec, target)

    def named(name: str, **more: str) -> Labels:
        return {"__name__": name, **labels, **more}

    yield named("probe_success"), float(finding.ok)
    if state.up is not None:
        yield named("probe_up"), float(state.up)
    yield named("probe_duration_seconds"), finding.seconds
    for phase, seconds in finding.phases.items():
        yield named("probe_phase_seconds", phase=phase), seconds
    if finding.status is not None:
        yield named("probe_http_status_code"), float(finding.status)
    if finding.certificate_until is not None:
        yield named("probe_ssl_earliest_cert_expiry"), finding.certificate_until


def groups_of(probes: Sequence[ProbeSpec]) -> tuple[RuleGroup, ...]:
    """An alert for each probe that is down."""
    rules = tuple(_rule(spec) for spec in probes)
    return (RuleGroup(name="probes", source=PROBES, rules=rules),) if rules else ()


def _rule(spec: ProbeSpec) -> AlertingRule:
    what = f"{spec.description} ({{{{ $labels.target }}}})" if spec.description else "{{ $labels.target }}"
    annotations = {
        "summary": f"{spec.name} is down: {what} failed {spec.failures} looks in a row",
        **({"runbook": spec.runbook} if spec.runbook else {}),
    }
    return AlertingRule(
        alert="ProbeDown",
        expr=f'probe_up{{probe="{spec.name}"}} == 0',
        labels={"severity": spec.severity, "probe": spec.name},
        annotations=annotations,
    )


def check_of(spec: ProbeSpec, secret: Callable[[str], str]) -> Check:
    """What the world is to look at, with secrets filled in. Raises what `secret` raises."""

    def filled(text: str) -> str:
        return fill(text, lambda placeholder: secret(placeholder.name))

    if (http := spec.http) is not None:
        return HttpCheck(
            url=filled(http.url),
            method=http.method,
            headers={name: filled(value) for name, value in http.headers.items()},
            body=http.body,
            status=http.status,
            contains=http.contains or "",
            follow=http.redirects,
            verify=http.verify,
            within=http.max_time,
        )
    if (tcp := spec.tcp) is not None:
        return TcpCheck(host=tcp.host, port=tcp.port, send=tcp.send, expect=tcp.expect or "")
    if (dns := spec.dns) is not None:
        return DnsCheck(
            name=dns.name, record=dns.record, expect=dns.expect, server=dns.server or "", port=dns.port
        )
    if (tls := spec.tls) is not None:
        return TlsCheck(
            host=tls.host, port=tls.port, name=tls.name or "", days=tls.expires_in / _DAY, verify=tls.verify
        )
    if (icmp := spec.icmp) is not None:
        return IcmpCheck(host=icmp.host, count=icmp.count)
    if (grpc := spec.grpc) is not None:
        return GrpcCheck(host=grpc.host, port=grpc.port, service=grpc.service, tls=grpc.tls)
    assert spec.ssh is not None
    return SshCheck(host=spec.ssh.host, port=spec.ssh.port, fingerprint=spec.ssh.fingerprint or "")
