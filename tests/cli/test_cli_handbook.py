"""Commands about the handbook itself, all of which work without a server."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from opsbook.cli import findings


@pytest.fixture
def project(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which `opsbook init` has been called."""
    monkeypatch.chdir(tmp_path)
    assert call(None, "init", "shop").code == 0
    monkeypatch.chdir(tmp_path / "shop")
    return tmp_path / "shop"


def test_init_makes_a_handbook_that_passes_the_check(call: Any, project: Path) -> None:
    """And prints the files it made, and what to do next."""
    assert (project / "ops" / "opsbook.yaml").exists()
    assert call(None, "check").code == 0


def test_init_says_what_to_do_next(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that can be pasted."""
    monkeypatch.chdir(tmp_path)
    result = call(None, "init", "shop")
    assert "shop/ops/opsbook.yaml" in result.out.splitlines()
    assert result.err.splitlines()[-1] == (
        "next: cd shop && opsbook up --detach && opsbook deploy hello --to local"
    )


def test_init_recognises_a_project_and_says_why(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Flask application with gunicorn."""
    (tmp_path / "app.py").write_text("from flask import Flask\napp = Flask(__name__)\n")
    (tmp_path / "requirements.txt").write_text("flask\ngunicorn\n")
    monkeypatch.chdir(tmp_path)
    result = call(None, "init", "--name", "shop")
    assert result.code == 0
    assert "✔ found shop: " in result.err
    assert "gunicorn" in (tmp_path / "ops" / "services" / "shop.yaml").read_text()
    assert call(None, "check").code == 0


def test_init_changes_nothing_that_is_there(call: Any, project: Path) -> None:
    """A second time is refused; a file in the way too."""
    again = call(None, "init")
    (project / "ops" / "opsbook.yaml").unlink()
    half = call(None, "init")
    assert (again.code, half.code) == (2, 1)
    assert "there is a handbook already" in again.err
    assert "there already" in half.err
    assert not (project / "ops" / "opsbook.yaml").exists()


def test_init_brings_the_standard_runbooks_without_a_warning(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They belong to who answers for the handbook, and `check` has nothing against them that it had not before."""
    monkeypatch.chdir(tmp_path)
    assert call(None, "init", "bare").code == 0
    made = call(None, "init", "shop", "--with-runbooks")
    assert made.code == 0
    assert "shop/ops/runbooks/drills/disk-full.md" in made.out.splitlines()
    assert "rules to copy into monitoring/alerts.yaml" in made.err
    monkeypatch.chdir(tmp_path / "bare")
    before = [line for line in call(None, "check").out.splitlines() if "no runbooks yet" not in line]
    monkeypatch.chdir(tmp_path / "shop")
    checked = call(None, "check")
    assert (0, []) == (checked.code, [line for line in checked.out.splitlines() if line not in before])
    assert len(list((tmp_path / "shop/ops/runbooks").glob("*.md"))) >= 15
    (tmp_path / "shop/ops/opsbook.yaml").write_text(
        "name: shop\nowner: ops\ncontacts: {ops: {email: ops@example.com}}\n"
    )
    assert (0, "") == (call(None, "check").code, call(None, "check").out)


def test_init_adds_the_runbooks_that_a_handbook_lacks(call: Any, project: Path) -> None:
    """A page that is there stays as it is, with its drill or without; a second time there is nothing to do."""
    runbooks = project / "ops" / "runbooks"
    runbooks.mkdir()
    (runbooks / "disk-full.md").write_text("# Our own\n")
    cover = project / "ops" / "opsbook.yaml"
    cover.write_text("name: shop\nowner: ops\ncontacts: {ops: {email: ops@example.com}}\n")
    added = call(None, "init", "--with-runbooks")
    assert added.code == 0
    assert "kept as they are: disk-full\n" in added.err
    assert (runbooks / "disk-full.md").read_text() == "# Our own\n"
    assert not (runbooks / "drills" / "disk-full.md").exists()
    assert "name: shop\n" in cover.read_text()
    before = {path: path.stat().st_mtime_ns for path in runbooks.rglob("*.md")}
    again = call(None, "init", "--with-runbooks")
    assert (0, "") == (again.code, again.out)
    assert before == {path: path.stat().st_mtime_ns for path in runbooks.rglob("*.md")}
    assert call(None, "check").code == 0


def test_check_prints_place_and_way_out_and_ends_with_2(call: Any, project: Path) -> None:
    """`file:line:` first, as editors want it."""
    service = project / "ops" / "services" / "hello.yaml"
    service.write_text(service.read_text().replace("description:", "descripton:"))
    result = call(None, "check")
    line = next(
        n for n, text in enumerate(service.read_text().splitlines(), 1) if text.startswith("descripton")
    )
    assert result.code == 2
    assert result.out.startswith(f"services/hello.yaml:{line}: ✖ error: descripton: ")
    assert "description" in result.out.splitlines()[1]
    assert result.err.startswith("✖ cannot be used · 1 error")


def test_warnings_end_with_0_unless_strict(call: Any, project: Path) -> None:
    """A handbook with a warning can be used."""
    cover = project / "ops" / "opsbook.yaml"
    cover.write_text("name: shop\nowner: me\ncontacts: {me: {}}\n")
    assert [call(None, "check").code, call(None, "check", "--strict").code] == [0, 2]
    found = json.loads(call(None, "check", "--strict", "--json").out)
    assert (found["ok"], found["errors"]) == (False, [])
    assert found["warnings"]


def test_schemas_are_listed_printed_and_written(call: Any, tmp_path: Path) -> None:
    """One file a kind."""
    kinds = call(None, "schema").out.split()
    assert "service" in kinds
    assert json.loads(call(None, "schema", "service").out)["type"] == "object"
    written = call(None, "schema", "--write", str(tmp_path / "schemas")).out.split()
    assert sorted(path.name for path in (tmp_path / "schemas").iterdir()) == sorted(
        Path(w).name for w in written
    )
    assert len(written) == len(kinds)
    missing = call(None, "schema", "servce")
    assert (missing.code, missing.err.splitlines()[-1]) == (2, "hint: did you mean service?")


def test_diff_shows_what_differs_between_environments(call: Any, project: Path) -> None:
    """Service by service, field by field."""
    local = (project / "ops" / "environments" / "local.yaml").read_text()
    other = local.replace("environment: local", "environment: staging").replace("replicas: 1", "replicas: 3")
    port = next(word for word in local.replace("}", " ").split() if word.isdigit() and len(word) == 4)
    (project / "ops" / "environments" / "staging.yaml").write_text(other.replace(port, "8099"))
    result = call(None, "diff", "local", "staging")
    assert result.out.splitlines()[0].split() == ["SERVICE", "FIELD", "LOCAL", "STAGING"]
    assert ["hello", "replicas", "1", "3"] in [line.split() for line in result.out.splitlines()]
    assert call(None, "diff", "local", "local").out == ""
    assert call(None, "diff", "local", "nowhere").code == 2


def test_secrets_are_missing_then_set_and_never_shown(place: Any, call: Any) -> None:
    """From a pipe; the file is encrypted, the key private."""
    (place.book / "services" / "web.yaml").write_text('run: {env: {DB: "{secret:db}"}}\n')
    before = place.opsbook("secrets", "list")
    done = place.opsbook("secrets", "set", "db", feed="correct horse\n")
    after = place.opsbook("secrets", "list", "--json")
    assert [before.code, done.code, after.code] == [1, 0, 0]
    assert "db      ✖ missing  web" in before.out
    assert json.loads(after.out)["secrets"] == [{"name": "db", "stored": "file", "used_by": ["web"]}]
    written = (place.book / "security" / "secrets" / "db.age").read_bytes()
    assert b"correct horse" not in written + (done.out + done.err + after.out).encode()
    assert stat.S_IMODE((place.state / "keys" / "age.key").stat().st_mode) == 0o600


def test_an_empty_secret_is_refused(place: Any) -> None:
    """A pipe that broke is no password."""
    assert place.opsbook("secrets", "set", "db", feed="").code == 2


def test_doctor_gives_one_fix_for_each_finding(place: Any, call: Any) -> None:
    """The real machine; a server that does not run is a warning with its command."""
    (place.book / "services" / "web.yaml").unlink()
    found = json.loads(call(place, "doctor", "--json").out)["findings"]
    by_name = {finding["check"]: finding for finding in found}
    assert (by_name["proxy"]["state"], by_name["server"]["fix"]) == ("ok", "opsbook up --detach")
    assert [finding for finding in found if bool(finding["fix"]) == (finding["state"] == "ok")] == []


def test_doctor_finds_what_a_killed_server_left(place: Any, call: Any) -> None:
    """Services may run unattended: the fix takes them over."""
    place.serve()
    place.end(9)
    found = {one["check"]: one for one in json.loads(call(place, "doctor", "--json").out)["findings"]}
    assert (found["leftovers"]["state"], found["leftovers"]["fix"]) == ("warning", "opsbook up --detach")
    assert found["server"]["state"] == "failed"


def test_doctor_finds_an_open_state_folder(tmp_path: Path) -> None:
    """Whoever can read the token can deploy."""
    (tmp_path / "token").write_text("x")
    tmp_path.chmod(0o700)
    (tmp_path / "token").chmod(0o640)
    found = findings.state_folder(tmp_path)
    assert ("failed", f"chmod go-rwx {tmp_path / 'token'}") == (found.state, found.fix)


def test_doctor_finds_a_clock_before_the_installation() -> None:
    """A board without a battery."""
    assert findings.clock(now=lambda: 0.0).state == "failed"


def test_doctor_finds_few_file_watches(tmp_path: Path) -> None:
    """Envoy needs one."""
    (tmp_path / "max_user_instances").write_text("8\n")
    assert "sysctl" in findings.inotify(tmp_path).fix


def test_doctor_speaks_without_a_handbook_too(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before `init` it examines the machine."""
    monkeypatch.chdir(tmp_path)
    result = call(None, "doctor")
    assert (result.code, "fix: make one: opsbook init" in result.out) == (1, True)
