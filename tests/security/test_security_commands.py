"""The commands of people, roles and gates against a real server, as two people at two machines use them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from opsbook.cli.main import run
from opsbook.deployment.cli.freeze import moment
from opsbook.errors import Invalid

FILES = {
    "opsbook.yaml": "name: shop\nowner: alice\n"
    "contacts: {alice: {email: a@x.example}, ben: {email: b@x.example}, carol: {email: c@x.example}}\n",
    "services/job.yaml": 'service: job\nrun: {command: ["sleep", "1000"]}\nsource: {path: ../job}\n',
    "environments/production.yaml": "environment: production\nentry: {port: 18999}\n"
    "protect: {approvals: 1, approvers: [alice, carol]}\nservices: {job: {}}\n",
    "deployment/checklist.md": "## Pre-Deployment\n- [ ] Customers know\n",
    "security/roles.yaml": "roles: {alice: [admin], ben: [operator], carol: [approver]}\n",
}


@dataclass
class Site:
    """A handbook with a server of its own."""

    folder: Path
    tokens: dict[str, str]

    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OPSBOOK_")}
        state, book = str(self.folder / "state"), str(self.folder / "ops")
        return {**kept, "OPSBOOK_STATE": state, "OPSBOOK_BOOK": book, "NO_COLOR": "1"}

    def opsbook(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "opsbook", *arguments]
        subprocess.run(command, env=self.environ(), check=True, capture_output=True, timeout=100)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Started once for all tests of this module."""
    with tempfile.TemporaryDirectory(prefix="gates-") as folder:
        made = Site(Path(folder), {})
        for name, text in FILES.items():
            file = made.folder / "ops" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (made.folder / "job").mkdir()
        (made.folder / "job" / "readme").write_text("sleeps")
        made.opsbook("up", "--detach", "--port", "0")
        try:
            yield made
        finally:
            made.opsbook("down", "--services")
            for path in made.folder.rglob("*"):  # snapshots are read-only
                if path.is_dir() and not path.is_symlink():
                    path.chmod(0o700)


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def say(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """``say("ben", "deploy", ...)``: a command with ben's token; with nobody's as the local operator."""

    def saying(who: str, *arguments: str) -> Said:
        for name, value in site.environ().items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("OPSBOOK_TOKEN", raising=False)
        if who:
            monkeypatch.setenv("OPSBOOK_TOKEN", site.tokens.get(who, who))
        capsys.readouterr()
        code = run(list(arguments))
        return Said(code, *capsys.readouterr())

    for person in ("alice", "ben", "carol"):
        if person not in site.tokens:
            site.tokens[person] = saying("", "tokens", "create", "--for", person).out.strip()
    return saying


def test_a_token_says_who_one_is(say: Callable[..., Said]) -> None:
    """Also over the socket; a wrong one is refused and not passed over."""
    assert "the local operator" in say("", "whoami").out
    assert json.loads(say("ben", "whoami", "--json").out)["name"] == "ben"
    assert "operator  everywhere" in say("ben", "whoami").out
    wrong = say("ops_wrong", "whoami")
    assert (4, "") == (wrong.code, wrong.out)


def test_tokens_are_made_listed_and_revoked(say: Callable[..., Said]) -> None:
    """The secret alone is on stdout, so that it can be piped; the list never has it."""
    made = say("", "tokens", "create", "--for", "ben", "--name", "ci", "--role", "viewer", "--expires", "1h")
    secret = made.out.strip()
    assert secret.startswith("ops_")
    assert secret not in made.err
    listed = say("alice", "tokens", "list", "--json")
    assert secret not in listed.out
    (token,) = [one for one in json.loads(listed.out)["tokens"] if one["name"] == "ci"]
    assert ("ben", "viewer") == (token["person"], token["role"])
    assert 4 == say(secret, "restart", "job", "--in", "production").code
    assert 4 == say("carol", "tokens", "revoke", token["id"]).code
    assert 0 == say("ben", "tokens", "revoke", token["id"]).code
    assert 4 == say(secret, "whoami").code
    assert "revoked" in say("ben", "tokens").out


def test_a_person_the_handbook_does_not_know_gets_no_token(say: Callable[..., Said]) -> None:
    """Exit 2: the words are off."""
    refused = say("", "tokens", "create", "--for", "mallory")
    assert (2, True) == (refused.code, "there are: alice, ben, carol" in refused.err)


def test_a_login_link_is_an_address_of_this_server(say: Callable[..., Said]) -> None:
    """For oneself, or by who looks after tokens for somebody else."""
    assert say("", "login-link", "--for", "alice").out.startswith("http://127.0.0.1:")
    assert "/sign-in/" in say("ben", "login-link").out
    assert 4 == say("ben", "login-link", "--for", "alice").code


def test_two_people_bring_a_version_to_production(site: Site, say: Callable[..., Said]) -> None:
    """One asks, another signs and approves; who asked, and who is nobody known, is refused."""
    asked = say(
        "ben", "deploy", "job", "--to", "production", "--version", "1.0", "--yes", "--no-wait", "--json"
    )
    name = json.loads(asked.out)["deployments"][0]["id"]
    _until(lambda: json.loads(say("ben", "deployments", "show", name, "--json").out)["phase"] == "gated")
    for who in ("ben", ""):
        refused = say(who, "approve", name, "--yes")
        assert 4 == refused.code
        assert "1 more approval of alice, carol" in refused.err
    assert 4 == say("ben", "checklist", "sign", name, "pre-customers-know").code
    assert "to be signed" in say("ben", "checklist", "show", name).out
    assert 0 == say("carol", "checklist", "sign", name, "pre-customers", "--note", "told them").code
    assert "told them" in say("ben", "checklist", "show", name).out
    approved = say("carol", "approve", name, "--yes", "--comment", "read it")
    assert 0 == approved.code
    assert "approved by carol" in approved.err
    assert 0 == say("ben", "deployments", "watch", name).code
    journal = say("", "journal", "show", "--json").out
    assert "read it" in journal
    assert not any(secret in journal for secret in site.tokens.values())


def test_a_freeze_refuses_with_its_reason_and_its_end(say: Callable[..., Said]) -> None:
    """Exit 1 for who deploys, exit 4 for an operator who would lift it."""
    added = say(
        "carol", "freeze", "add", "sale", "--environment", "production", "--until", "2h", "--reason", "Sale"
    )
    assert 0 == added.code
    assert "sale" in say("ben", "freeze").out
    refused = say("ben", "deploy", "job", "--to", "production", "--version", "1.1", "--yes")
    assert 1 == refused.code
    assert "frozen by sale until" in refused.err
    assert 4 == say("ben", "freeze", "lift", "sale").code
    assert 0 == say("carol", "freeze", "lift", "sale").code
    assert 2 == say("carol", "freeze", "lift", "sale").code


def test_nothing_is_held_and_that_is_said(say: Callable[..., Said]) -> None:
    """And releasing what is not held is exit 2."""
    assert "nothing is held" in say("ben", "hold").err
    assert 2 == say("ben", "hold", "release", "job", "--in", "production").code
    assert 2 == say("ben", "promote", "job", "--to", "production").code  # it has no environment before it


def test_times_are_read_as_people_write_them() -> None:
    """A moment with its offset, or a duration from now; anything else says what was expected."""
    assert 1_800_000_000.0 + 7200 == moment("2h", 1_800_000_000.0)
    assert 1_800_000_000.0 == moment("2027-01-15T08:00:00+00:00", 0.0)
    with pytest.raises(Invalid, match="expected a time or a duration"):
        moment("tomorrow", 0.0)


def _until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
