"""Probes that need no more than a connection: TCP, TLS, SSH."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Any

import re2
from cryptography import x509

from opsbook.world.probes.words import Finding, SshCheck, TcpCheck, TlsCheck

_MOST = 64 * 1024  # bytes of an answer that are looked at
_DAY = 86_400.0


async def tcp(check: TcpCheck) -> Finding:
    """Connect; say and hear what the check wants."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection(check.host, check.port)
    connected = time.perf_counter() - began
    try:
        if check.send:
            writer.write(check.send.encode())
            await writer.drain()
        detail, ok = "connected", True
        if check.expect:
            heard = await _until(reader, check.expect)
            ok = re2.search(check.expect, heard) is not None
            detail = "it answered as expected" if ok else f"it answered {heard[:80]!r}"
    finally:
        writer.transport.abort()  # a peer that is slow to say goodbye is not waited for
    return Finding(ok=ok, seconds=time.perf_counter() - began, detail=detail, phases={"connect": connected})


async def _until(reader: asyncio.StreamReader, expected: str) -> str:
    heard = b""
    while len(heard) < _MOST:
        piece = await reader.read(4096)
        heard += piece
        if not piece or re2.search(expected, heard.decode(errors="replace")):
            break
    return heard.decode(errors="replace")


async def tls(check: TlsCheck) -> Finding:
    """Shake hands; the certificate must be valid, for the name, and long enough."""
    began = time.perf_counter()
    name = check.name or check.host
    problem = ""
    try:
        until = await _certificate(check, name, verify=check.verify)
    except ssl.SSLCertVerificationError as error:
        problem = error.verify_message or str(error)
        until = await _certificate(check, name, verify=False)  # when it ends is worth knowing all the same
    seconds = time.perf_counter() - began
    left = (until - time.time()) / _DAY
    if not problem and left < check.days:
        problem = f"the certificate ends in {left:.1f} days, wanted are {check.days:g}"
    detail = problem or f"the certificate of {name} is valid for {left:.0f} days yet"
    return Finding(
        ok=not problem, seconds=seconds, detail=detail, phases={"tls": seconds}, certificate_until=until
    )


async def _certificate(check: TlsCheck, name: str, *, verify: bool) -> float:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection(check.host, check.port, ssl=context, server_hostname=name)
    try:
        return certificate_until(writer.get_extra_info("ssl_object"))
    finally:
        writer.transport.abort()  # a peer that is slow to say goodbye is not waited for


def certificate_until(connection: Any) -> float:
    """When the certificate that a TLS connection was opened with ends, epoch seconds."""
    encoded = connection.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(encoded).not_valid_after_utc.timestamp()


async def ssh(check: SshCheck) -> Finding:
    """Exchange keys, and compare the server's with the one that is expected."""
    import asyncssh

    began = time.perf_counter()
    key = await asyncssh.get_server_host_key(check.host, check.port)
    seconds = time.perf_counter() - began
    found = key.get_fingerprint() if key is not None else ""
    ok = bool(found) and check.fingerprint in ("", found)
    detail = f"its key is {found}" if ok else f"its key is {found or 'unknown'}, expected {check.fingerprint}"
    return Finding(ok=ok, seconds=seconds, detail=detail)
