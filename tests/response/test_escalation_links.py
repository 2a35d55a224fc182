"""Signed links: whose they are, and what does not pass for one."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbook.errors import Failed, NotAllowed
from opsbook.response.escalation.links import PATH, VALID, Links
from opsbook.world.hosts.keys import random_key

KEY = b"k" * 32


def links(key: bytes = KEY, at: float = 1000.0) -> Links:
    return Links(key, lambda: at)


def token(incident: str = "inc-7", person: str = "ana") -> str:
    return links().make(incident, person).removeprefix(PATH)


def test_it_says_whose_it_is() -> None:
    """For a day."""
    found = links().read(token())
    assert ("inc-7", "ana", 1000 + VALID) == (found.incident, found.person, found.until)
    links(at=999 + VALID).read(token())
    with pytest.raises(NotAllowed, match="too old"):
        links(at=1000 + VALID).read(token())


@settings(deadline=None)
@given(st.text(max_size=80))
def test_what_is_none(text: str) -> None:
    """Whatever is sent, it is refused and nothing else happens."""
    with pytest.raises(NotAllowed, match="none of ours"):
        links().read(text)


@settings(deadline=None)
@given(st.integers(0, 200), st.characters(codec="ascii"))
def test_one_letter_is_enough(place: int, letter: str) -> None:
    """Changed anywhere it is none any more: for another person, another incident, a later time."""
    made = token()
    place %= len(made)
    changed = made[:place] + letter + made[place + 1 :]
    if changed != made:
        with pytest.raises(NotAllowed):
            links().read(changed)


def test_another_key_another_link() -> None:
    """A key that was made anew makes old links void; a short one is none."""
    with pytest.raises(NotAllowed):
        links(b"x" * 32).read(token())
    with pytest.raises(ValueError, match="32 bytes"):
        links(b"short")


def test_the_key_lies_in_a_private_file(tmp_path: Path) -> None:
    """Made once, read ever after; refused when others can read it or it is something else."""
    path = tmp_path / "keys" / "links.key"
    made = random_key(path)
    assert (32, made) == (len(made), random_key(path))
    assert (0o600, 0o700) == (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode))
    assert [path] == list(path.parent.iterdir())
    path.chmod(0o640)
    with pytest.raises(Failed, match="others can read"):
        random_key(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(Failed, match="32 bytes"):
        random_key(path)
