"""Probes that ask in a language of their own: HTTP, DNS, gRPC, ICMP."""

from __future__ import annotations

import time
from typing import Any

import re2

from opsbook.world.probes.streams import certificate_until
from opsbook.world.probes.words import DnsCheck, Finding, GrpcCheck, HttpCheck, IcmpCheck

_MOST = 1024 * 1024  # bytes of a body that are looked at
_SERVING = 1  # grpc.health.v1.HealthCheckResponse.ServingStatus
_STATUS = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


async def http(check: HttpCheck) -> Finding:
    """Ask, and compare status, body and time with what is wanted."""
    import httpx

    began = time.perf_counter()
    async with (
        httpx.AsyncClient(verify=check.verify, follow_redirects=check.follow, timeout=None) as client,  # noqa: S113 # whoever asks has a limit
        client.stream(
            check.method, check.url, headers=dict(check.headers), content=check.body or None
        ) as answer,
    ):
        first = time.perf_counter() - began
        until = _until(answer)
        body = b""
        if check.contains:
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) >= _MOST:
                    break
    seconds = time.perf_counter() - began
    problem = _wrong(check, answer.status_code, body, seconds)
    return Finding(
        ok=not problem,
        seconds=seconds,
        detail=problem or f"{answer.status_code} after {seconds * 1000:.0f} ms",
        phases={"answer": first},
        status=answer.status_code,
        certificate_until=until,
    )


def _wrong(check: HttpCheck, status: int, body: bytes, seconds: float) -> str:
    if not any(low <= status <= high for low, high in check.status):
        return f"it answered {status}"
    if check.contains and re2.search(check.contains, body.decode(errors="replace")) is None:
        return f"its answer ({status}) does not contain {check.contains!r}"
    if check.within is not None and seconds > check.within:
        return f"it took {seconds * 1000:.0f} ms, at most {check.within * 1000:.0f} ms are wanted"
    return ""


def _until(answer: Any) -> float | None:
    stream = answer.extensions.get("network_stream")
    connection = stream.get_extra_info("ssl_object") if stream is not None else None
    return None if connection is None else certificate_until(connection)


async def dns(check: DnsCheck) -> Finding:
    """Ask a name server."""
    import dns.asyncresolver
    import dns.exception

    resolver = dns.asyncresolver.Resolver(configure=not check.server)
    if check.server:
        resolver.nameservers, resolver.port = [check.server], check.port
    began = time.perf_counter()
    try:
        answer = await resolver.resolve(check.name, check.record, lifetime=60.0)
    except dns.exception.DNSException as error:
        detail = str(error) or type(error).__name__
        return Finding(ok=False, seconds=time.perf_counter() - began, detail=detail)
    seconds = time.perf_counter() - began
    found = sorted(record.to_text().strip('"').rstrip(".") for record in answer)
    missing = [wanted for wanted in check.expect if wanted.rstrip(".") not in found]
    detail = f"{', '.join(found)}" + (f"; not {', '.join(missing)}" if missing else "")
    return Finding(ok=not missing, seconds=seconds, detail=detail)


async def grpc(check: GrpcCheck) -> Finding:
    """Ask the health service. Its messages have one field each, so they are read and written here."""
    import grpc as library

    address = f"{check.host}:{check.port}"
    credentials = library.ssl_channel_credentials() if check.tls else None
    channel = (
        library.aio.insecure_channel(address)
        if credentials is None
        else library.aio.secure_channel(address, credentials)
    )
    began = time.perf_counter()
    async with channel:
        ask = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=lambda name: b"\x0a" + _length(name) + name if name else b"",
            response_deserializer=lambda body: body[1] if len(body) >= 2 and body[0] == 0x08 else 0,
        )
        try:
            status = await ask(check.service.encode())
        except library.aio.AioRpcError as error:
            detail = f"{error.code().name}: {error.details()}"
            return Finding(ok=False, seconds=time.perf_counter() - began, detail=detail)
    said = _STATUS.get(status, str(status))
    return Finding(ok=status == _SERVING, seconds=time.perf_counter() - began, detail=said)


def _length(text: bytes) -> bytes:
    """A length as a varint."""
    number, found = len(text), b""
    while number > 0x7F:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])


async def icmp(check: IcmpCheck) -> Finding:
    """Send echoes; one answer is enough."""
    from icmplib import ICMPLibError, SocketPermissionError, async_ping

    began = time.perf_counter()
    problem = ""
    for privileged in (False, True):
        try:
            host = await async_ping(check.host, count=check.count, interval=0.2, privileged=privileged)
        except SocketPermissionError:
            problem = "this user may send no ICMP echo: widen net.ipv4.ping_group_range, or give CAP_NET_RAW"
            continue
        except ICMPLibError as error:
            return Finding(ok=False, seconds=time.perf_counter() - began, detail=str(error))
        detail = f"{host.packets_received} of {host.packets_sent} echoes, {host.avg_rtt:g} ms"
        return Finding(ok=host.is_alive, seconds=host.avg_rtt / 1000, detail=detail)
    return Finding(ok=False, seconds=time.perf_counter() - began, detail=problem)
