"""Targets that opsbook does not run: over TLS, with tokens, at intervals of their own; and opsbook itself."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from opsbook.promql.series import Matcher
from opsbook.world.telemetry.engine import EmbeddedTelemetry
from opsbook.world.telemetry.recording import TargetStatus
from opsbook.world.words import Address, Target, Tls

BODY = b"".join(b'a{number="%d"} %d\n' % (number, number) for number in range(5000))  # several TLS records


class Clock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        raise AssertionError


def certificate(folder: Path, *names: str) -> Path:
    """A PEM file with a key and a certificate that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "exporter")])
    now = dt.datetime.now(dt.UTC)
    alternatives: list[x509.GeneralName] = [x509.DNSName(each) for each in names]
    alternatives.append(x509.IPAddress(ipaddress.ip_address("127.0.0.9")))
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "server.pem"
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


@contextmanager
def exporter(pem: Path | None, seen: list[dict[str, str]], wait: float = 0.0) -> Iterator[Address]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            seen.append({**dict(self.headers.items()), "path": self.path})
            threading.Event().wait(wait)
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that refuses our certificate is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    if pem is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Address("127.0.0.1", server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def telemetry() -> Iterator[EmbeddedTelemetry]:
    telemetry = EmbeddedTelemetry(Clock())
    telemetry.interval(1)
    yield telemetry
    telemetry.close()


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def scraped(telemetry: EmbeddedTelemetry, target: Target) -> TargetStatus:
    telemetry.targets([target])
    until(lambda: any(status.at for status in telemetry.status()))
    return telemetry.status()[0]


LABELS = {"job": "exporter", "instance": "db.example.com:9187"}


def test_over_tls_with_a_token(tmp_path: Path, telemetry: EmbeddedTelemetry) -> None:
    """The server is checked by the name it was given, asked with the headers, and its long answer read whole."""
    pem, seen = certificate(tmp_path, "db.example.com"), list[dict[str, str]]()
    basic = "Basic " + base64.b64encode(b"scraper:secret").decode()
    with exporter(pem, seen) as address:
        target = Target(
            "metrics",
            LABELS,
            address,
            "/probe?module=a",
            name="db.example.com",
            tls=Tls(ca=pem),
            headers={"Authorization": basic, "X-Tenant": "shop"},
        )
        status = scraped(telemetry, target)
        assert ("", True, 5000) == (status.problem, status.up, status.samples)
        until(lambda: len(seen) > 2)
    assert (basic, "shop", "/probe?module=a", f"db.example.com:{address.port}") == (
        seen[0]["Authorization"], seen[0]["X-Tenant"], seen[0]["path"], seen[0]["Host"]
    )  # fmt: skip
    assert f"https://db.example.com:{address.port}/probe?module=a" == target.url
    assert "secret" not in repr(target)
    assert basic not in repr(target)
    series = telemetry.store.select(
        (Matcher("__name__", "=", "up"), Matcher("job", "=", "exporter")), 0, 2**60
    )
    assert "db.example.com:9187" == series[0].series[0]["instance"]


@pytest.mark.parametrize(
    ("tls", "name", "problem"),
    [
        ("none", "db.example.com", "its certificate is refused: self-signed certificate"),
        ("ca", "other.example.com", "its certificate is refused: Hostname mismatch"),
        ("missing", "db.example.com", "the certificates cannot be read: No such file"),
        ("empty", "db.example.com", "the certificates cannot be read: "),
        ("insecure", "other.example.com", ""),
    ],
)
def test_who_vouches(tls: str, name: str, problem: str, tmp_path: Path, telemetry: EmbeddedTelemetry) -> None:
    """A server that nobody vouches for is not asked; with insecure anybody is."""
    pem = certificate(tmp_path, "db.example.com")
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    checks = {
        "none": Tls(),
        "ca": Tls(ca=pem),
        "missing": Tls(ca=tmp_path / "nothing.pem"),
        "empty": Tls(ca=empty),
        "insecure": Tls(insecure=True),
    }
    seen: list[dict[str, str]] = []
    with exporter(pem, seen) as address:
        target = Target(
            "metrics", LABELS, address, name=name, tls=checks[tls], headers={"Authorization": "x"}
        )
        status = scraped(telemetry, target)
        assert problem in status.problem
        assert (not problem) is status.up
        assert (not problem) is bool(seen)


def test_tls_with_who_does_not_speak_it(telemetry: EmbeddedTelemetry) -> None:
    """A plain server is named as what it is."""
    with exporter(None, []) as address:
        status = scraped(telemetry, Target("metrics", LABELS, address, tls=Tls(insecure=True)))
        assert "TLS: " in status.problem


def test_intervals_and_timeouts_of_their_own(telemetry: EmbeddedTelemetry) -> None:
    """A target is asked at its own interval, more or less often than the others, and given up at its own timeout."""
    often, seldom, slow = list[dict[str, str]](), list[dict[str, str]](), list[dict[str, str]]()
    telemetry.interval(15)
    with exporter(None, often) as one, exporter(None, seldom) as two, exporter(None, slow, 5.0) as three:
        telemetry.targets(
            [
                Target("metrics", {"job": "often", "instance": "a"}, one, interval=1.0),
                Target("metrics", {"job": "seldom", "instance": "a"}, two, interval=60.0),
                Target("metrics", {"job": "slow", "instance": "a"}, three, interval=60.0, timeout=0.2),
            ]
        )
        until(lambda: len(often) >= 3)
        assert 1 == len(seldom)
        told = {status.target.labels["job"]: status.problem for status in telemetry.status()}
        assert {"often": "", "seldom": "", "slow": "no answer within 0.2 s"} == told
        telemetry.interval(1)
        count = len(often)
        until(lambda: len(often) >= count + 2)
        assert 1 == len(seldom)


def test_what_stands_in_the_way_is_said(telemetry: EmbeddedTelemetry) -> None:
    """A target that cannot be asked at all is down, and says why."""
    status = scraped(telemetry, Target("metrics", LABELS, problem="there is no secret exporter"))
    assert (False, "there is no secret exporter") == (status.up, status.problem)


def test_opsbook_itself(telemetry: EmbeddedTelemetry) -> None:
    """opsbook's own metrics are samples like all others."""
    status = scraped(telemetry, Target("opsbook", {}))
    assert ("", True) == (status.problem, status.up)
    found = telemetry.store.select(
        (Matcher("__name__", "=", "process_resident_memory_bytes"), Matcher("job", "=", "opsbook")), 0, 2**60
    )
    assert 1 == len(found[0].series)
