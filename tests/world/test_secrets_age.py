"""Secrets in age files and environment variables."""

import stat
from pathlib import Path

import pyrage
import pytest

from opsbook.errors import Failed, Invalid, NotFound
from opsbook.world.secrets.age import AgeSecrets


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ops" / "security" / "secrets"


def made(folder: Path, **environ: str) -> AgeSecrets:
    return AgeSecrets(folder, folder.parents[2] / "state", environ=environ)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_set_can_be_read_and_is_encrypted(folder: Path) -> None:
    """A value survives the round trip, is not in the file, and only its owner may read the keys."""
    secrets = made(folder)
    path = secrets.set("database-url", "postgres://u:hunter2@db/x")
    assert made(folder).get("database-url") == "postgres://u:hunter2@db/x"
    assert path == folder / "database-url.age"
    assert b"hunter2" not in path.read_bytes()
    secrets.version("database-url")
    keys = folder.parents[2] / "state" / "keys"
    assert [mode(keys), mode(keys / "age.key"), mode(keys / "version.key")] == [0o700, 0o600, 0o600]
    assert secrets.names() == ("database-url",)


def test_an_environment_variable_is_the_other_way(folder: Path) -> None:
    """Without a file the variable is taken; with one the file wins."""
    secrets = made(folder, OPSBOOK_SECRET_API_KEY="from-variable\n")
    assert secrets.get("api-key") == "from-variable"
    secrets.set("api-key", "from-file")
    assert secrets.get("api-key") == "from-file"


@pytest.mark.parametrize(
    ("stored", "value"), [("x\n", "x"), ("x\r\n", "x"), ("x\n\n", "x\n"), ("x ", "x "), ("", "")]
)
def test_one_trailing_newline_is_no_part_of_the_value(folder: Path, stored: str, value: str) -> None:
    """Exactly one newline at the end is taken off, nothing else."""
    secrets = made(folder)
    secrets.set("name", stored)
    assert secrets.get("name") == value


def test_an_unknown_secret_says_where_it_was_looked_for(folder: Path) -> None:
    """The error names the file and the variable, and the command that sets it."""
    with pytest.raises(NotFound) as caught:
        made(folder).get("slack")
    assert str(folder / "slack.age") in caught.value.message
    assert "$OPSBOOK_SECRET_SLACK" in caught.value.message
    assert caught.value.hint == "opsbook secrets set slack"


@pytest.mark.parametrize("name", ["../etc/passwd", "", ".hidden", "a/b", "a b"])
def test_names_cannot_be_paths(folder: Path, name: str) -> None:
    """A name that leaves the folder is refused."""
    with pytest.raises(Invalid):
        made(folder).get(name)
    with pytest.raises(Invalid):
        made(folder).set(name, "x")


def test_the_version_changes_with_the_value_and_tells_nothing(folder: Path, tmp_path: Path) -> None:
    """Same value, same version; another value, another; and another key gives another version."""
    secrets = made(folder)
    secrets.set("a", "one")
    first = secrets.version("a")
    secrets.set("b", "one")
    assert (secrets.version("b"), made(folder).version("a")) == (first, first)
    secrets.set("a", "two")
    assert secrets.version("a") != first
    assert (len(first), int(first, 16) >= 0) == (12, True)
    elsewhere = AgeSecrets(folder, tmp_path / "elsewhere", environ={"OPSBOOK_SECRET_C": "one"})
    assert elsewhere.version("c") != first


def test_pinned_values_outlive_a_change(folder: Path) -> None:
    """After rotating a secret the earlier release still gets its value, and rotation back needs no pin."""
    secrets = made(folder, OPSBOOK_SECRET_B="bee")
    secrets.set("a", "old")
    pinned = secrets.pin(["a", "b", "a"])
    secrets.set("a", "new")
    again = made(folder)
    assert again.get("a", pinned["a"]) == "old"
    assert again.get("b", pinned["b"]) == "bee"
    assert again.get("a") == "new"
    assert again.get("a", again.version("a")) == "new"
    kept = folder.parents[2] / "state" / "secrets" / "a" / f"{pinned['a']}.age"
    assert b"old" not in kept.read_bytes()
    assert mode(kept) == 0o600
    with pytest.raises(NotFound):
        again.get("a", "0123456789ab")
    with pytest.raises(Invalid):
        again.get("a", "../../keys/age")


def test_values_are_masked_longest_first_and_line_by_line(folder: Path) -> None:
    """No part of a longer value is left, and a private key is masked though logs have it in lines."""
    secrets = made(folder)
    secrets.set("short", "pass")
    secrets.set("long", "password")
    secrets.set("key", "-----BEGIN KEY-----\nabcdefghijkl\n}\n")
    assert secrets.mask("password pass {} abcdefghijkl") == "*** *** {} ***"


def test_masking_knows_values_of_an_earlier_run(folder: Path) -> None:
    """A new opsbook masks what running services were given by the last one, pinned values included."""
    secrets = made(folder)
    secrets.set("a", "the-old-one")
    secrets.pin(["a"])
    secrets.set("a", "the-new-one")
    later = made(folder, OPSBOOK_SECRET_B="the-variable")
    assert later.mask("the-old-one the-new-one the-variable plain") == "*** *** *** plain"


def test_secrets_go_to_the_recipients(folder: Path) -> None:
    """With a recipients file everybody in it can read, and we only when we are in it."""
    other = pyrage.x25519.Identity.generate()
    folder.mkdir(parents=True)
    (folder / "recipients.txt").write_text(f"# ana\n{other.to_public()}\n\n")
    secrets = made(folder)
    path = secrets.set("a", "value")
    assert pyrage.decrypt(path.read_bytes(), [other]) == b"value"
    with pytest.raises(Failed, match="no identity"):
        secrets.get("a")
    assert made(folder, OPSBOOK_AGE_IDENTITY=str(other)).get("a") == "value"
    stranger = str(pyrage.x25519.Identity.generate())
    with pytest.raises(Failed, match="cannot be decrypted") as caught:
        made(folder, OPSBOOK_AGE_IDENTITY=stranger).get("a")
    assert "recipients" in caught.value.hint


def test_a_broken_recipient_is_named_with_its_line(folder: Path) -> None:
    """The line that is no key is in the error, and nothing is written."""
    folder.mkdir(parents=True)
    (folder / "recipients.txt").write_text("# hello\nage1nonsense\n")
    with pytest.raises(Invalid) as caught:
        made(folder).set("a", "value")
    assert caught.value.where == f"{folder}/recipients.txt:2"
    assert made(folder).names() == ()


def test_an_identity_that_others_may_read_is_refused(folder: Path, tmp_path: Path) -> None:
    """A key file with wide permissions is an error with the command that narrows them."""
    key = tmp_path / "my.key"
    key.write_text(str(pyrage.x25519.Identity.generate()))
    key.chmod(0o644)
    secrets = made(folder, OPSBOOK_AGE_IDENTITY=str(key))
    with pytest.raises(Failed) as caught:
        secrets.set("a", "value")
    assert caught.value.hint == f"chmod 600 {key}"


def test_binary_values_are_refused_without_showing_them(folder: Path) -> None:
    """The error about bytes that are no text does not carry the bytes."""
    secrets = made(folder)
    secrets.set("a", "x")
    key = pyrage.x25519.Identity.from_str((folder.parents[2] / "state/keys/age.key").read_text().split()[-1])
    (folder / "a.age").write_bytes(pyrage.encrypt(b"\xff\xfe", [key.to_public()]))
    with pytest.raises(Failed, match="not UTF-8") as caught:
        secrets.get("a")
    assert caught.value.__context__ is None
