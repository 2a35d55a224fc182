"""Broken handbooks, each a text file that bundles its files, with the exact messages beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from opsbook.book import HandbookError, TextFiles, load, load_or_problems

BROKEN = Path(__file__).parent / "broken"
CASES = sorted(path.stem for path in BROKEN.glob("*.txt"))
WITHOUT_COVER = {"no-cover", "cover-in-subfolder"}


def bundle(name: str) -> TextFiles:
    """The files of a case; those without an opsbook.yaml of their own get the smallest one."""
    content = (BROKEN / f"{name}.txt").read_bytes()
    parts = re.split(rb"^=== (.+)\n", content, flags=re.MULTILINE)[1:]
    files = {path.decode(): text for path, text in zip(parts[::2], parts[1::2], strict=True)}
    if name not in WITHOUT_COVER:
        files.setdefault("opsbook.yaml", b"name: shop\n")
    return TextFiles(files)


def errors(name: str) -> str:
    _, problems = load_or_problems(bundle(name))
    return "".join(f"{problem}\n" for problem in problems if problem.severity == "error")


@pytest.mark.parametrize("name", CASES)
def test_says_exactly_what_is_wrong(name: str) -> None:
    """Each broken handbook gives its expected messages, and nothing else."""
    expected = (BROKEN / f"{name}.expected").read_text()

    assert expected == errors(name)


@pytest.mark.parametrize("name", CASES)
def test_load_raises_all_problems(name: str) -> None:
    """`load` carries every problem, maps to exit code 2, and never blames pydantic."""
    with pytest.raises(HandbookError) as raised:
        load(bundle(name))

    assert errors(name) == "".join(f"{problem}\n" for problem in raised.value.problems)
    assert raised.value.exit_code == 2
    assert "pydantic" not in errors(name).lower()
    assert "input should" not in errors(name).lower()


def test_there_are_enough_cases() -> None:
    """Every case has its expected messages and none is forgotten."""
    assert sorted(path.stem for path in BROKEN.glob("*.expected")) == CASES
    assert len(CASES) >= 45
