"""Schemas and the reference page are written from the models and stay in step with them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from opsbook.book import schemas as written_schemas
from opsbook.book.reference import reference as written_reference
from opsbook.book.schema import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "handbook.md"
schemas, reference = cache(written_schemas), cache(written_reference)  # each takes a while


def parts(kind: str) -> dict[str, Any]:
    schema = schemas()[kind]
    return {kind: schema, **schema.get("$defs", {})}


def test_the_page_is_in_step() -> None:
    """docs/reference/handbook.md is what the models say; write it anew with `python -m opsbook.book.reference`."""
    assert reference() == PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_is_described(kind: str) -> None:
    """A key that nobody can look up does not exist."""
    lacking = [
        f"{name}.{key}"
        for name, part in parts(kind).items()
        for key, value in part["properties"].items()
        if not value.get("description")
    ]

    assert lacking == []


@pytest.mark.parametrize("kind", KINDS)
def test_schemas_refuse_unknown_keys(kind: str) -> None:
    """An editor marks what `check` would refuse; a schema is plain JSON."""
    assert schemas()[kind] == json.loads(json.dumps(schemas()[kind]))
    assert schemas()[kind]["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for part in parts(kind).values():
        # A pipeline may have further stages, each of which is one.
        assert part["additionalProperties"] in (False, {"$ref": "#/$defs/StageSpec"})
        assert part["description"]


def test_defaults_are_written_as_people_write_them() -> None:
    """A default of ten seconds is 10s, not 10.0."""
    defaults = {
        f"{name}.{key}": value["default"]
        for kind in KINDS
        for name, part in parts(kind).items()
        for key, value in part["properties"].items()
        if isinstance(value.get("default"), float)
    }

    assert defaults == {}
    assert schemas()["service"]["$defs"]["Run"]["properties"]["stop_grace"]["default"] == "10s"


@pytest.mark.parametrize("word", ["duration", "size", "percentage", "cores", "count or percentage"])
def test_the_page_names_the_units(word: str) -> None:
    """What is parsed from text is called by its name, not text."""
    assert f"| {word} |" in reference() or f" {word} |" in reference()
