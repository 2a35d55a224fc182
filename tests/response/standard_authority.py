"""An authority of its own for certificates, and certbot, nginx and HAProxy as a page finds them on a machine."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NAME = "shop.test"


def program(name: str) -> str:
    """Where it is; skips where it is not."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install {name}")
    return found


def until(holds: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait for something, with an end."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def certificate(days: int, *, made_for: int = 90) -> tuple[bytes, bytes]:
    """A certificate that vouches for itself and ends in `days`, of so many that it was made for; and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    end = dt.datetime.now(dt.UTC) + dt.timedelta(days=days, minutes=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - dt.timedelta(days=made_for))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    form, open_ = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return made.public_bytes(pem), key.private_bytes(pem, form, open_)


def shown(port: int) -> str:
    """The certificate that a client is shown there."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=5)


def command(folder: Path, name: str, text: str) -> None:
    """A program of that name in `folder`."""
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


@dataclass(frozen=True, slots=True)
class Authority:
    """An ACME server that believes everybody; `roots` is the file with those who vouch for what it issues."""

    directory: str
    roots: Path
    trust: Path


@contextmanager
def authority() -> Iterator[Authority]:
    """Pebble, the authority by which ACME clients are tested; skips where it is not."""
    pebble = program("pebble")
    folder = Path(tempfile.mkdtemp(prefix="acme-", dir="/tmp"))
    listen, manage = free_port(), free_port()
    subprocess.run(
        [program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    settings = {
        "listenAddress": f"127.0.0.1:{listen}",
        "managementListenAddress": f"127.0.0.1:{manage}",
        "certificate": str(folder / "cert.pem"),
        "privateKey": str(folder / "key.pem"),
        "httpPort": free_port(),
        "tlsPort": free_port(),
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
    }
    (folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
    believing = {"PEBBLE_VA_ALWAYS_VALID": "1", "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [pebble, "-config", str(folder / "pebble.json")],
            env={**os.environ, **believing}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        until(lambda: listens(listen) and listens(manage), (folder / "log").read_text())
        context = ssl.create_default_context(cafile=str(folder / "cert.pem"))
        with urllib.request.urlopen(f"https://localhost:{manage}/roots/0", context=context) as answer:
            (folder / "roots.pem").write_bytes(answer.read())
        yield Authority(f"https://localhost:{listen}/dir", folder / "roots.pem", folder / "cert.pem")
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine with certbot, of which `programs` comes first on the path."""

    folder: Path
    programs: Path
    port: int

    @property
    def certbot(self) -> Path:
        return self.folder / "letsencrypt"

    @property
    def live(self) -> Path:
        return self.certbot / "live" / NAME

    def versions(self) -> dict[str, str]:
        """Where certbot's links lead."""
        return {link.name: str(link.readlink()) for link in sorted(self.live.glob("*.pem"))}

    def age(self, days: int = 5, *, made_for: int = 90) -> None:
        """Put a certificate that ends in `days` in the place of what certbot has."""
        chain, key = certificate(days, made_for=made_for)
        for name, content in {"fullchain": chain, "cert": chain, "privkey": key}.items():
            (self.live / f"{name}.pem").write_bytes(content)

    def asked(self) -> int:
        """How often certbot was asked for a certificate."""
        file = self.folder / "asked"
        return len(file.read_text().splitlines()) if file.exists() else 0


def certbot_folder(folder: Path, issuer: Authority) -> Path:
    """The folder of a certbot that has got one certificate."""
    own = f"--config-dir {folder}/letsencrypt --work-dir {folder}/work --logs-dir {folder}/logs"
    subprocess.run(
        [program("certbot"), "certonly", *own.split(), "--non-interactive", "--agree-tos",
         "--register-unsafely-without-email", "--server", issuer.directory, "--webroot", "--webroot-path", str(folder),
         "--domain", NAME],
        env={**os.environ, "REQUESTS_CA_BUNDLE": str(issuer.trust), "PYTHONPATH": ""}, check=True, capture_output=True,
    )  # fmt: skip
    return folder / "letsencrypt"


def machine(folder: Path, issued: Path, issuer: Authority) -> Machine:
    """A machine on which certbot has one certificate of ninety days, which ends in five; `issued`: its folder."""
    made = Machine(folder, folder / "programs", free_port())
    made.programs.mkdir()
    shutil.copytree(issued, made.certbot, symlinks=True)
    settings = made.certbot / "renewal" / f"{NAME}.conf"
    settings.write_text(settings.read_text().replace(str(issued), str(made.certbot)))
    made.age()
    # What the page gives comes last and wins.
    command(
        made.programs,
        "certbot",
        f'echo "$*" >>{folder}/asked\nexport REQUESTS_CA_BUNDLE={issuer.trust}\n'
        f'exec {program("certbot")} --work-dir {folder}/work --logs-dir {folder}/logs "$@"',
    )
    return made


def controls(made: Machine, server: str, pid_file: Path, reload: str) -> None:
    """`systemctl` and `service` for one server: this system may run without either."""
    running = f'kill -0 "$(cat {pid_file})"'
    command(
        made.programs,
        "service",
        f'case "$*" in "{server} status") {running} ;; "{server} reload") {reload} ;; *) exit 4 ;; esac',
    )
    command(
        made.programs,
        "systemctl",
        f'case "$*" in "is-active {server}") {running} ;; "reload {server}") {reload} ;; *) exit 4 ;; esac',
    )


@contextmanager
def nginx(made: Machine, chain: Path, key: Path) -> Iterator[Path]:
    """nginx with that certificate; gives its configuration."""
    real = program("nginx")
    at = made.folder / "nginx"
    at.mkdir()
    temporary = "".join(
        f"  {kind}_temp_path {at}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = at / "nginx.conf"
    configuration.write_text(
        f"pid {at}/pid;\nerror_log {at}/log;\ndaemon off;\nworker_processes 1;\nevents {{}}\nhttp {{\n{temporary}"
        f"  access_log off;\n  server {{\n    listen 127.0.0.1:{made.port} ssl;\n    server_name {NAME};\n"
        f"    ssl_certificate {chain};\n    ssl_certificate_key {key};\n    return 204;\n  }}\n}}\n"
    )
    command(made.programs, "nginx", f'exec {real} -c {configuration} -e {at}/log "$@"')
    controls(made, "nginx", at / "pid", f"{made.programs}/nginx -s reload")
    process = subprocess.Popen([str(made.programs / "nginx")], stderr=subprocess.DEVNULL)
    try:
        until(lambda: listens(made.port), "nginx does not listen")
        yield configuration
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def haproxy(made: Machine, both: Path) -> Iterator[Path]:
    """HAProxy, which reads chain and key from one file; gives its configuration."""
    real = program("haproxy")
    at = made.folder / "haproxy"
    at.mkdir()
    configuration = at / "haproxy.cfg"
    configuration.write_text(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n"
        f"frontend shop\n  bind 127.0.0.1:{made.port} ssl crt {both}\n  http-request return status 204\n"
    )
    command(
        made.programs,
        "haproxy",
        f'[ "$1 $2 $3" = "-c -f /etc/haproxy/haproxy.cfg" ] || exit 9\nexec {real} -c -f {configuration}',
    )
    controls(made, "haproxy", at / "pid", f'{real} -c -q -f {configuration} && kill -USR2 "$(cat {at}/pid)"')
    process = subprocess.Popen(
        [real, "-W", "-f", str(configuration), "-p", str(at / "pid")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: listens(made.port), "HAProxy does not listen")
        yield configuration
    finally:
        process.terminate()
        process.wait(20)
