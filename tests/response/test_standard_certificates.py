"""The page of certificates with certbot, nginx and HAProxy: real programs, and an authority that really issues."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from runbook_house import House
from standard_authority import (
    NAME,
    Authority,
    Machine,
    authority,
    certbot_folder,
    certificate,
    command,
    controls,
    free_port,
    haproxy,
    machine,
    nginx,
    program,
    shown,
    until,
)
from standard_blocks import run

from opsbook.response.runbooks.model import Run
from opsbook.response.standard import standard_pages

PAGE = "certificate-expiry"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Authority]:
    with authority() as found:
        yield found


@pytest.fixture(scope="module")
def issued(issuer: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certbot_folder(tmp_path_factory.mktemp("certbot"), issuer)


@pytest.fixture
def ours(tmp_path: Path, issued: Path, issuer: Authority, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = machine(tmp_path, issued, issuer)
    monkeypatch.setenv("PATH", f"{made.programs}:{os.environ['PATH']}")
    return made


class Patient(House):
    """certbot takes some seconds, and more on a machine that has much to do."""

    def ended(self, name: str) -> Run:
        return self.until(name, lambda run: run.ended, seconds=120)


@contextmanager
def house(folder: Path) -> Iterator[House]:
    found = Patient(folder, {PAGE: standard_pages()[PAGE].runbook})
    try:
        yield found
    finally:
        found.close()


def given(made: Machine, issuer: Authority, **more: str) -> dict[str, str]:
    """The parameters of the page for that machine."""
    usual = {
        "name": NAME, "address": "127.0.0.1", "port": str(made.port), "ca": str(issuer.roots),
        "certificate": str(made.live / "fullchain.pem"), "key": str(made.live / "privkey.pem"),
        "certbot_dir": str(made.certbot),
    }  # fmt: skip
    return usual | more


def copies(chain: bytes) -> list[Path]:
    """What the page keeps of it while it works."""
    found = []
    for file in Path("/var/tmp").glob("certificate.*/certificate.pem"):
        with suppress(OSError):  # another run's
            found += [file] if file.read_bytes() == chain else []
    return found


def test_certbot_renews_and_nginx_reads_it(ours: Machine, issuer: Authority) -> None:
    """At once and not after certbot's own pause; a second run finds nothing to do."""
    old = (ours.live / "fullchain.pem").read_bytes()
    with nginx(ours, ours.live / "fullchain.pem", ours.live / "privkey.pem"), house(ours.folder) as there:
        before = shown(ours.port)
        ended = there.go(PAGE, given(ours, issuer))
        assert "succeeded" == ended.outcome, there.output(ended, "renew")
        after = shown(ours.port)
        again = there.go(PAGE, given(ours, issuer))
    assert before != after
    assert (ours.live / "fullchain.pem").read_text().startswith(after)
    assert "../../archive/shop.test/fullchain2.pem" == ours.versions()["fullchain.pem"]
    assert ("refused", 1) == (again.outcome, ours.asked())
    assert "--no-random-sleep-on-renew" in (ours.folder / "asked").read_text()
    assert [] == copies(old)


def test_what_was_renewed_and_never_read_is_only_read(ours: Machine, issued: Path, issuer: Authority) -> None:
    """The commonest of the three reasons: nobody is asked for another, and the check tells it apart."""
    with nginx(ours, ours.live / "fullchain.pem", ours.live / "privkey.pem"), house(ours.folder) as there:
        for file in (ours.certbot / "archive" / NAME).iterdir():
            shutil.copy(issued / "archive" / NAME / file.name, file)
        params = given(ours, issuer)
        unread = run(PAGE, "check-reload", {name.upper(): value for name, value in params.items()})
        ended = there.go(PAGE, params)
        after = shown(ours.port)
    assert (False, "succeeded", 0) == (unread[0], ended.outcome, ours.asked())
    assert (ours.live / "fullchain.pem").read_text().startswith(after)


def test_a_renewal_that_nginx_cannot_use_leaves_certbot_as_it_was(ours: Machine, issuer: Authority) -> None:
    """The links lead to the old version, all four, no file of certbot is written, and it renews again afterwards."""
    with nginx(ours, ours.live / "fullchain.pem", ours.live / "privkey.pem"), house(ours.folder) as there:
        before = shown(ours.port), ours.versions()
        old = (ours.live / "fullchain.pem").read_bytes()
        wrong = given(ours, issuer, ca=str(issuer.trust))  # nobody vouches for what is issued
        ended = there.go(PAGE, wrong)
        assert "rolled_back" == ended.outcome
        assert before == (shown(ours.port), ours.versions())
        assert old == (ours.live / "fullchain.pem").read_bytes()
        archive = ours.certbot / "archive" / NAME
        assert old != (archive / "fullchain2.pem").read_bytes()
        assert (archive / "fullchain2.pem").read_bytes().startswith((archive / "cert2.pem").read_bytes())
        ended = there.go(PAGE, given(ours, issuer))
    assert "succeeded" == ended.outcome, there.output(ended, "renew")


def test_a_broken_configuration_is_found_before_anything_is_issued(ours: Machine, issuer: Authority) -> None:
    """Issuers count what they issue: where the server could not read it, nobody is asked."""
    with nginx(ours, ours.live / "fullchain.pem", ours.live / "privkey.pem") as configuration:
        configuration.write_text(configuration.read_text().replace("server_name", "server_nam"))
        with house(ours.folder) as there:
            ended = there.go(PAGE, given(ours, issuer))
    assert ("refused", 0) == (ended.outcome, ours.asked())


def test_a_server_that_does_not_run_is_not_renewed_for(ours: Machine, issuer: Authority) -> None:
    """Nothing listens, or what listens is not the server that the page was told of."""
    with nginx(ours, ours.live / "fullchain.pem", ours.live / "privkey.pem"), house(ours.folder) as there:
        controls(ours, "apache2", ours.folder / "nginx" / "pid", "true")
        command(ours.programs, "apachectl", "true")
        ours.programs.joinpath("service").write_text("#!/bin/sh\nexit 3\n")
        ours.programs.joinpath("systemctl").write_text("#!/bin/sh\nexit 3\n")
        other = there.go(PAGE, given(ours, issuer, reload="apache2"))
    with house(ours.folder / "programs") as there:
        gone = there.go(PAGE, given(ours, issuer))
    assert ("refused", "refused", 0) == (other.outcome, gone.outcome, ours.asked())


def go_haproxy(made: Machine, issuer: Authority, both: Path, **more: str) -> Run:
    with haproxy(made, both), house(made.folder) as there:
        usual = given(made, issuer, certificate=str(both), key=str(both), reload="haproxy", **more)
        ended = there.go(PAGE, usual)
        until(lambda: both.read_text().startswith(shown(made.port)), "HAProxy shows another one")
        return ended


def test_haproxy_gets_chain_and_key_in_its_one_file(ours: Machine, issuer: Authority) -> None:
    """certbot does not know of the copy: the page writes it, and its mode stays."""
    both = ours.folder / "shop.pem"
    both.write_bytes((ours.live / "fullchain.pem").read_bytes() + (ours.live / "privkey.pem").read_bytes())
    both.chmod(0o640)
    assert "succeeded" == go_haproxy(ours, issuer, both).outcome
    new = (ours.live / "fullchain.pem").read_text() + (ours.live / "privkey.pem").read_text()
    assert (new, 0o640, 1) == (both.read_text(), both.stat().st_mode & 0o777, ours.asked())


def test_a_copy_that_was_forgotten_is_written_without_a_renewal(
    ours: Machine, issued: Path, issuer: Authority
) -> None:
    """What certbot has is good: nobody is asked for another."""
    for file in (ours.certbot / "archive" / NAME).iterdir():
        shutil.copy(issued / "archive" / NAME / file.name, file)
    both = ours.folder / "shop.pem"
    chain, key = certificate(5)
    both.write_bytes(chain + key)
    assert ("succeeded", 0) == (go_haproxy(ours, issuer, both).outcome, ours.asked())
    assert both.read_text().startswith((ours.live / "fullchain.pem").read_text())


def test_a_certificate_that_certbot_does_not_know_stays(ours: Machine, issuer: Authority) -> None:
    """It fails with what certbot says, and HAProxy's file is as it was."""
    both = ours.folder / "shop.pem"
    chain, key = certificate(5)
    both.write_bytes(chain + key)
    assert "rolled_back" == go_haproxy(ours, issuer, both, lineage="other.test").outcome
    assert chain + key == both.read_bytes()


def test_certificates_of_fewer_days_than_are_asked_for_are_not_renewed_for_ever(tmp_path: Path) -> None:
    """Each renewal would be followed by another, until the issuer refuses."""
    chain, key = certificate(5, made_for=6)
    (tmp_path / "chain.pem").write_bytes(chain)
    (tmp_path / "key.pem").write_bytes(key)
    command(tmp_path, "certbot", "exit 0")
    at = {"CERTIFICATE": str(tmp_path / "chain.pem"), "KEY": str(tmp_path / "key.pem")}
    here = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CA": str(tmp_path / "chain.pem"), "NAME": NAME}
    ok, said = run(PAGE, "precheck-2", {**here, **at})
    assert (False, "it was made for 6 days: `days` must be fewer") == (ok, said.splitlines()[-1])
    assert run(PAGE, "precheck-2", {**here, **at, "DAYS": "5"})[0]


def test_half_a_copy_of_a_key_does_not_stay(tmp_path: Path) -> None:
    """Where the copy cannot be made nothing of it is left."""
    chain, _ = certificate(5)
    (tmp_path / "chain.pem").write_bytes(chain)
    at = {"CERTIFICATE": str(tmp_path / "chain.pem"), "KEY": str(tmp_path / "gone.pem")}
    ok, _ = run(PAGE, "keep", {"NAME": NAME, **at})
    assert (False, []) == (ok, copies(chain))


def test_a_server_of_the_new_internet_is_asked_too(tmp_path: Path) -> None:
    """An IPv6 address has colons of its own."""
    port = free_port()
    chain, key = certificate(5)
    (tmp_path / "both.pem").write_bytes(chain + key)
    process = subprocess.Popen(
        [program("openssl"), "s_server", "-accept", f"[::1]:{port}", "-cert", str(tmp_path / "both.pem"), "-quiet"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    given = {"NAME": NAME, "ADDRESS": "::1", "PORT": str(port)}
    try:
        if not socket.has_dualstack_ipv6():
            pytest.skip("there is no IPv6 here")
        until(lambda: run(PAGE, "precheck", given)[0], "the server does not listen")
        ok, said = run(PAGE, "precheck", {**given, "DAYS": "3"})
    finally:
        process.kill()
        process.communicate()
    assert (False, f"what [::1]:{port} shows for {NAME} is valid for more than 3 days") == (ok, said.strip())
    ok, said = run(PAGE, "precheck", given)
    assert (False, True) == (ok, "look first whether the server runs" in said)
