"""Probes against real servers: each kind well, ill, silent, and gone."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from opsbook.world.probes.prober import Prober, Schedule
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

HERE = "127.0.0.1"
Look = Callable[..., Finding]


@pytest.fixture
def look() -> Iterator[Look]:
    prober = Prober(lambda name, finding: None)
    yield lambda check, timeout=5.0: prober.look(Schedule(check, 60.0, timeout))
    prober.close()


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/fine")
            self.end_headers()
            return
        if self.path == "/slow":
            time.sleep(0.3)
        self.send_response(503 if self.path == "/ill" else 200)
        self.end_headers()
        self.wfile.write(b"all is well, says " + self.headers.get("X-Who", "nobody").encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[str]:
    server = ThreadingHTTPServer((HERE, 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{HERE}:{server.server_port}"
    server.shutdown()
    server.server_close()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind((HERE, 0))
        return int(taken.getsockname()[1])


@pytest.mark.parametrize(
    ("path", "more", "ok", "word"),
    [
        ("/fine", {}, True, "200"),
        ("/ill", {}, False, "it answered 503"),
        ("/ill", {"status": ((500, 599),)}, True, "503"),
        ("/moved", {}, True, "200"),
        ("/moved", {"follow": False}, False, "it answered 302"),
        ("/fine", {"contains": "is w.ll"}, True, "200"),
        ("/fine", {"contains": "trouble"}, False, "does not contain 'trouble'"),
        ("/fine", {"contains": "says ana", "headers": {"X-Who": "ana"}}, True, "200"),
        ("/slow", {"within": 0.1}, False, "at most 100 ms are wanted"),
    ],
)
def test_http(look: Look, web: str, path: str, more: dict[str, Any], ok: bool, word: str) -> None:
    """Status, body, redirects and time."""
    found = look(HttpCheck(url=web + path, **more))
    assert ok is found.ok
    assert word in found.detail


def test_who_does_not_listen_or_hangs_is_told_with_its_reason(look: Look) -> None:
    """Refused at once; silent until the timeout."""
    refused = look(HttpCheck(url=f"http://{HERE}:{free_port()}/"))
    assert not refused.ok
    assert refused.detail
    with socket.create_server((HERE, 0)) as silent:
        port = silent.getsockname()[1]
        hung = look(TcpCheck(host=HERE, port=port, expect="hello"), 0.3)
    assert (False, "no answer within 0.3 s") == (hung.ok, hung.detail)


def test_tcp_says_and_hears(look: Look) -> None:
    """As with Redis: PING is answered by PONG."""

    def answer(server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                if connection.recv(100):
                    connection.sendall(b"+PONG\r\n")

    with socket.create_server((HERE, 0)) as server:
        threading.Thread(target=answer, args=(server,), daemon=True).start()
        port = server.getsockname()[1]
        assert look(TcpCheck(host=HERE, port=port)).ok
        assert look(TcpCheck(host=HERE, port=port, send="PING\r\n", expect=r"\+PONG")).ok
        other = look(TcpCheck(host=HERE, port=port, send="PING\r\n", expect="HELLO"))
    assert "it answered '+PONG" in other.detail


def certificate(folder: Path, name: str, days: float) -> ssl.SSLContext:
    """A server's context with a self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=400))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / f"{name}{days}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@pytest.mark.parametrize(
    ("days", "check", "ok", "word"),
    [
        (30, {"verify": False, "days": 14}, True, "is valid for"),
        (3, {"verify": False, "days": 14}, False, "wanted are 14"),
        (-3, {"verify": False}, False, "wanted are 0"),
        (30, {}, False, "self-signed"),
    ],
)
def test_tls(look: Look, tmp_path: Path, days: float, check: dict[str, Any], ok: bool, word: str) -> None:
    """How long a certificate is valid is told even where nobody vouches for it."""
    server = ThreadingHTTPServer((HERE, 0), Answers)
    server.socket = certificate(tmp_path, "shop.example", days).wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found = look(TlsCheck(host=HERE, port=server.server_port, name="shop.example", **check))
    server.shutdown()
    server.server_close()
    assert ok is found.ok, found.detail
    assert word in found.detail
    assert found.certificate_until is not None
    assert abs(found.certificate_until - time.time() - days * 86_400) < 60


@pytest.fixture
def name_server() -> Iterator[int]:
    """Knows one name."""
    import dns.flags
    import dns.message
    import dns.rcode
    import dns.rrset

    answers = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    answers.bind((HERE, 0))

    def serve() -> None:
        while True:
            try:
                asked, who = answers.recvfrom(4096)
            except OSError:
                return
            query = dns.message.from_wire(asked)
            reply = dns.message.make_response(query)
            name = query.question[0].name
            if name.to_text() == "db.example.":
                reply.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "10.0.0.7"))
            else:
                reply.set_rcode(dns.rcode.NXDOMAIN)
            answers.sendto(reply.to_wire(), who)

    threading.Thread(target=serve, daemon=True).start()
    yield answers.getsockname()[1]
    answers.close()


def test_dns(look: Look, name_server: int) -> None:
    """The expected answer, another one, and a name that is not known."""
    server: dict[str, Any] = {"server": HERE, "port": name_server}
    assert look(DnsCheck(name="db.example", expect=("10.0.0.7",), **server)).ok
    other = look(DnsCheck(name="db.example", expect=("10.0.0.8",), **server))
    assert (False, "10.0.0.7; not 10.0.0.8") == (other.ok, other.detail)
    assert not look(DnsCheck(name="nobody.example", **server)).ok


def test_grpc_health(look: Look) -> None:
    """Serving, not serving, and no such service, of a real gRPC server."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    def check(request: bytes, context: Any) -> bytes:
        name = request[2:].decode()
        if name not in ("", "orders", "payments"):
            context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return b"\x08" + (b"\x02" if name == "payments" else b"\x01")

    handler = grpc.method_handlers_generic_handler(
        "grpc.health.v1.Health",
        {"Check": grpc.unary_unary_rpc_method_handler(check)},
    )
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port(f"{HERE}:0")
    server.start()
    found = {
        name: look(GrpcCheck(host=HERE, port=port, service=name)) for name in ("", "orders", "payments", "x")
    }
    server.stop(None)
    assert [True, True, False, False] == [one.ok for one in found.values()]
    assert "NOT_SERVING" == found["payments"].detail
    assert "NOT_FOUND" in found["x"].detail


def test_ssh_compares_the_servers_key(look: Look) -> None:
    """A real SSH server is known by its key."""
    import asyncssh

    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    key = asyncssh.generate_private_key("ssh-ed25519")

    async def listen() -> Any:
        return await asyncssh.listen(HERE, 0, server_host_keys=[key])

    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
    port = server.get_port()
    mine = key.get_fingerprint()
    assert look(SshCheck(host=HERE, port=port, fingerprint=mine)).ok
    other = look(SshCheck(host=HERE, port=port, fingerprint="SHA256:other"))
    assert (False, True) == (other.ok, mine in other.detail)
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)


def test_icmp_answers_or_says_what_it_lacks(look: Look) -> None:
    """Where this user may send no echo, the finding says what would let them."""
    found = look(IcmpCheck(host=HERE, count=1))
    assert found.ok or "ping_group_range" in found.detail


def test_one_that_hangs_delays_no_other() -> None:
    """While one waits for its timeout, the other is looked at again and again."""
    seen: list[tuple[str, bool]] = []
    prober = Prober(lambda name, finding: seen.append((name, finding.ok)))
    with socket.create_server((HERE, 0)) as silent, socket.create_server((HERE, 0)) as well:
        hangs: Check = TcpCheck(host=HERE, port=silent.getsockname()[1], expect="never")
        fine: Check = TcpCheck(host=HERE, port=well.getsockname()[1])
        prober.schedule({"hangs": Schedule(hangs, 0.1, 30.0), "fine": Schedule(fine, 0.05, 5.0)})
        deadline = time.monotonic() + 20
        while len(seen) < 5 and time.monotonic() < deadline:
            time.sleep(0.02)
        prober.close()
    assert {("fine", True)} == set(seen)
    assert len(seen) >= 5
