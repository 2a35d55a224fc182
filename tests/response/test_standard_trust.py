"""The standard pages of what others must be able to trust: certificates, names, credentials, speed, regions."""

from __future__ import annotations

import http.server
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from runbook_house import House
from standard_blocks import run

from opsbook.book.drills import read_drill
from opsbook.book.runbook_pages import read_runbook
from opsbook.response.standard import standard_pages

OURS = ("slow-api", "certificate-expiry", "network-dns", "compromised-credential", "region-failover")
FIREWALL = re.compile(
    r"iptables|nft\b|ufw\b|firewall-cmd|conntrack\s+-[FD]|ip\s+(route|addr\w*)\s+(add|del|change|flush)"
)


@contextmanager
def answering(status: int) -> Iterator[str]:
    """The address of a server that answers everything so."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *words: object) -> None:  # noqa: A002 - as it is called there
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()


@pytest.mark.parametrize("name", OURS)
def test_page_and_drill_of_it_have_no_problem(name: str) -> None:
    """Each page and its drill are read without an error or a warning."""
    page = standard_pages()[name]
    _, _, problems = read_runbook(name, page.runbook.encode())
    drill, _, more = read_drill(f"runbooks/drills/{name}.md", page.drill.encode())
    assert [] == problems + more
    assert drill is not None
    assert name == drill.head.runbook


@pytest.mark.parametrize("name", OURS)
def test_no_block_edits_a_firewall_or_a_route(name: str) -> None:
    """What may lock everybody out is never done by a program."""
    runbook, _, _ = read_runbook(name, standard_pages()[name].runbook.encode())
    assert runbook is not None
    touching = [
        block.id for block in runbook.blocks if block.role != "manual" and FIREWALL.search(block.script)
    ]
    assert [] == touching


def test_a_leaked_credential_never_comes_back() -> None:
    """No step of the page has a way back: where one fails the run stops."""
    runbook, _, _ = read_runbook(
        "compromised-credential", standard_pages()["compromised-credential"].runbook.encode()
    )
    assert runbook is not None
    assert () == runbook.of_role("rollback")
    assert {"stop"} == {step.on_failure for step in runbook.steps}


def test_the_old_value_is_refused_and_destroyed() -> None:
    """A 401 is a proof, and nothing is left of the old value."""
    aside = Path(tempfile.mkdtemp(prefix="credential.", dir="/var/tmp"))
    (aside / "old").write_text("s3cret")
    with answering(401) as address:
        ok, said = run("compromised-credential", "prove", {"ASIDE": str(aside), "PROVE_URL": address})
    assert (True, "the old one is refused: 401", False) == (ok, said.strip(), aside.exists())


def test_regions_are_not_moved_while_users_get_through(tmp_path: Path) -> None:
    """An entry that answers refuses the page; an entry that fails, with the region well, does so too."""
    traffic = tmp_path / "traffic"
    traffic.write_text("#!/bin/sh\nexit 0\n")
    traffic.chmod(0o700)
    given = {"ENVIRONMENT": "west", "TO": "east", "TRAFFIC": str(traffic), "PLANNED": "false"}
    with answering(200) as address:
        served = run("region-failover", "precheck", {**given, "ENTRY": address})
    with answering(503) as address:
        well = run("region-failover", "precheck", {**given, "ENTRY": address})
        traffic.write_text('#!/bin/sh\ntest "$1" = well && exit 1\n')
        lost = run("region-failover", "precheck", {**given, "ENTRY": address})
    assert (False, "the entry answers 200: users get through") == (served[0], served[1].strip())
    assert (False, True) == (well[0], "it is not the region" in well[1])
    assert (True, "") == (lost[0], lost[1].strip())


def test_name_servers_change_in_place_and_back(tmp_path: Path) -> None:
    """The fallback goes first, the rest of the file stays, and the way back leaves the very same file."""
    before = "# ours\nsearch shop.test\nnameserver 192.0.2.1\nnameserver 192.0.2.9\noptions timeout:1\n"
    file = tmp_path / "resolv.conf"
    file.write_text(before)
    inode = file.stat().st_ino
    given = {"RESOLV_CONF": str(file), "FALLBACK": "192.0.2.9", "OPSBOOK_RUN": "run-1"}
    assert run("network-dns", "fall-back", given)[0]
    after = "nameserver 192.0.2.9\n# ours\nsearch shop.test\nnameserver 192.0.2.1\noptions timeout:1\n"
    assert (after, inode) == (file.read_text(), file.stat().st_ino)
    assert run("network-dns", "rollback-fall-back", given)[0]
    assert run("network-dns", "rollback-fall-back", given)[0], "twice is like once"
    assert (before, inode, [file]) == (file.read_text(), file.stat().st_ino, list(tmp_path.iterdir()))


def test_a_fallback_that_does_not_answer_is_refused(tmp_path: Path) -> None:
    """Where the other name server knows nothing either, nothing is begun."""
    if shutil.which("dig") is None:
        pytest.skip("dig is not installed: apt-get install bind9-dnsutils")
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 127.53.9.1\n")
    given = {"name": "db.shop.test", "resolv_conf": str(file), "fallback": "127.53.9.2"}
    house = House(tmp_path, {"network-dns": standard_pages()["network-dns"].runbook})
    try:
        assert "refused" == house.go("network-dns", given).outcome
    finally:
        house.close()
    assert "nameserver 127.53.9.1\n" == file.read_text()


@contextmanager
def tls_server(folder: Path) -> Iterator[str]:
    """The port of a TLS server that shows `folder`'s certificate."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-quiet",
               "-cert", str(folder / "chain.pem"), "-key", str(folder / "key.pem")]  # fmt: skip
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", int(port)), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < end, "the server does not listen"
                time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.communicate()


def issue(folder: Path, name: str, days: int) -> str:
    """A shell command that puts a new key and a certificate which vouches for itself into `folder`."""
    return (
        f"cd {folder} && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days {days} "
        f"-subj /CN={name} -addext subjectAltName=DNS:{name} -keyout key.pem -out chain.pem 2>/dev/null"
    )


def test_a_renewed_certificate_for_another_name_is_taken_back(tmp_path: Path) -> None:
    """It never reaches the server: the old files are there again, byte for byte, and no copy of the key is left."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: apt-get install openssl")
    subprocess.run(["sh", "-c", issue(tmp_path, "shop.test", 5)], check=True)
    before = {name: (tmp_path / name).read_bytes() for name in ("chain.pem", "key.pem")}
    hook = tmp_path / "hook"
    asked = tmp_path / "asked"
    hook.write_text(f'#!/bin/sh\nset -e\necho "$*" >>{asked}\n{issue(tmp_path, "other.test", 90)}\n')
    hook.chmod(0o700)
    house = House(tmp_path, {"certificate-expiry": standard_pages()["certificate-expiry"].runbook})
    try:
        with tls_server(tmp_path) as port:
            given = {
                "name": "shop.test", "address": "127.0.0.1", "port": port, "renew": "hook", "reload": "hook",
                "certificate": str(tmp_path / "chain.pem"), "key": str(tmp_path / "key.pem"),
                "ca": str(tmp_path / "chain.pem"), "hook": str(hook),
            }  # fmt: skip
            ended = house.go("certificate-expiry", given)
        kept = Path(house.output(ended, "keep").strip())
    finally:
        house.close()
    assert "rolled_back" == ended.outcome
    assert "renew shop.test\n" == asked.read_text()
    assert before == {name: (tmp_path / name).read_bytes() for name in before}
    assert (True, False) == (kept.name.startswith("certificate."), kept.exists())
