"""The last good book stays until there is a better one."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsbook.book import BookKeeper, FolderFiles, HandbookError

COVER = "name: shop\n"
SERVICE = "service: {name}\nrun: {{command: [serve, {word}]}}\n"
ENVIRONMENT = "environment: local\nentry: {port: 8080}\nservices:\n  web: {replicas: 1}\n  api: {}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, text in {
        "opsbook.yaml": COVER,
        "services/web.yaml": SERVICE.format(name="web", word="a"),
        "services/api.yaml": SERVICE.format(name="api", word="a"),
        "environments/local.yaml": ENVIRONMENT,
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_a_broken_edit_never_replaces_the_last_good_book(folder: Path) -> None:
    """While a file is broken the book stays, and the problems say why; once mended the change is told."""
    keeper = BookKeeper(lambda: FolderFiles(folder))
    good = keeper.current()

    (folder / "services" / "web.yaml").write_text("service: web\nrun: {command: ser")
    assert keeper.refresh() is None
    assert good is keeper.current()
    assert [p.where for p in keeper.problems if p.severity == "error"] == ["services/web.yaml:2"]

    (folder / "services" / "web.yaml").write_text(SERVICE.format(name="web", word="b"))
    change = keeper.refresh()
    assert change is not None
    assert (("web",), (("local", "web"),), good) == (change.services, change.placements, change.before)
    assert keeper.current().effective("local", "web").command == ("serve", "b")


def test_what_changes_nothing_is_no_change(folder: Path) -> None:
    """The same files, or only another comment, are no change."""
    keeper = BookKeeper(lambda: FolderFiles(folder))
    assert keeper.refresh() is not None
    assert keeper.refresh() is None

    (folder / "opsbook.yaml").write_text(COVER + "# a comment\n")
    assert keeper.refresh() is None


def test_a_change_of_the_environment_names_its_services(folder: Path) -> None:
    """Replicas of one service concern that one; a service that goes is named too."""
    keeper = BookKeeper(lambda: FolderFiles(folder))
    keeper.refresh()

    (folder / "environments" / "local.yaml").write_text(ENVIRONMENT.replace("replicas: 1", "replicas: 2"))
    scaled = keeper.refresh()
    (folder / "environments" / "local.yaml").write_text(ENVIRONMENT.replace("  api: {}\n", ""))
    gone = keeper.refresh()

    assert scaled is not None
    assert gone is not None
    assert (scaled.services, gone.services) == (("web",), ("api", "web"))


def test_without_any_good_book_it_says_why(folder: Path) -> None:
    """Asking for a book that was never good raises all its problems."""
    (folder / "opsbook.yaml").write_text("nam: shop\n")
    keeper = BookKeeper(lambda: FolderFiles(folder))

    with pytest.raises(HandbookError) as raised:
        keeper.current()
    assert {"name", "nam"} == {problem.path for problem in raised.value.problems}

    (folder / "opsbook.yaml").write_text(COVER)
    assert keeper.current().name == "shop"


def test_a_folder_that_vanishes_leaves_the_book(folder: Path) -> None:
    """When the place itself is gone, what was read last stays and the problem is told."""
    places = [folder, folder / "gone", folder]
    keeper = BookKeeper(lambda: FolderFiles(places.pop(0)))
    keeper.refresh()

    assert keeper.refresh() is None
    assert keeper.current().name == "shop"
    assert "no handbook folder" in keeper.problems[0].message
    assert keeper.refresh() is None
    assert tuple(problem for problem in keeper.problems if problem.severity == "error") == ()
