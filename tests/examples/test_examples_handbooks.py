"""The handbooks of the examples are sound: `opsbook check` has nothing against them."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsbook.book import FolderFiles, load

EXAMPLES = Path(__file__).parents[2] / "examples"
HANDBOOKS = sorted(
    str(file.parent.parent.relative_to(EXAMPLES)) for file in EXAMPLES.rglob("ops/opsbook.yaml")
)


def test_every_example_has_a_handbook() -> None:
    """So that no test below passes because it found nothing."""
    assert HANDBOOKS == ["foreign/flask", "foreign/node", "foreign/redis", "foreign/static", "hello", "shop"]


@pytest.mark.parametrize("handbook", HANDBOOKS)
def test_a_handbook_has_no_errors(handbook: str) -> None:
    """It loads, and every service of every environment has a source that is there."""
    book = load(FolderFiles(EXAMPLES / handbook / "ops"))
    for service in book.services.values():
        if service.source is not None and service.source.path is not None:
            assert (EXAMPLES / handbook / "ops" / service.source.path).is_dir()
    assert all(environment.services for environment in book.environments.values())


@pytest.mark.parametrize("handbook", [name for name in HANDBOOKS if name != "shop"])
def test_a_short_handbook_needs_no_advice(handbook: str) -> None:
    """Fifteen lines are enough to be told nothing."""
    assert load(FolderFiles(EXAMPLES / handbook / "ops")).warnings == ()


def test_the_shop_lacks_only_what_its_size_calls_for() -> None:
    """A second ledger is for those who run a real shop."""
    warnings = [warning.message for warning in load(FolderFiles(EXAMPLES / "shop" / "ops")).warnings]
    assert ["one instance of ledger"] == [message.split(":")[0] for message in warnings]
