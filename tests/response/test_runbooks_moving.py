"""A whole folder of foreign pages: names that say something, links that lead on, pictures, and doing it twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbook.book import FolderFiles, load
from opsbook.book.runbook_pages import read_runbook
from opsbook.cli.main import cli
from opsbook.response.runbooks.moving import Foreign, Moved, moved, named

WIKI = PurePosixPath("/wiki/ops")


def take(
    pages: Mapping[str, str], existing: Mapping[str, str] | None = None, pictures: tuple[str, ...] = ()
) -> dict[str, Moved]:
    """What becomes of each page of a wiki, by its place there."""
    here = existing or {}
    found = moved(
        [Foreign(WIKI / path, text.encode()) for path, text in pages.items()],
        lambda name: here[name].encode() if name in here else None,
        lambda path: str(path.relative_to(WIKI)) in pictures if path.is_relative_to(WIKI) else False,
    )
    return dict(zip(pages, found, strict=True))


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["KubeAPIDown.md"], ["kube-api-down"]),
        (["PostgreSQL.md", "Disk full!.md"], ["postgresql", "disk-full"]),
        (["storage/index.md", "README.md"], ["storage", "ops"]),
        (["a/restart.md", "b/restart.md", "c/b/restart.md"], ["restart", "b-restart", "c-b-restart"]),
        (["backend.html.md", "1.md", "日本.md"], ["backend", "page-1", "page"]),
        (["x.md", "X.md", "x.markdown.md"], ["x", "ops-x", "wiki-ops-x"]),
        ([f"{'long' * 30}.md"], [("long" * 30)[:50]]),
    ],
    ids=["an alert", "words", "its folder", "several", "odd ones", "case", "long"],
)
def test_names(paths: list[str], names: list[str]) -> None:
    """Of the file; of the folder where that says more; of both where there are several."""
    assert names == list(named([WIKI / path for path in paths], lambda name: False).values())


def test_links_lead_on() -> None:
    """To the page's name here, with the place in it; also to a folder's page; not inside of code."""
    text = "[a](../db/Slow.md#why) [b](../db/) [c](Slow.md) `[d](../db/Slow.md)` [e](https://x.org/a.md) [f](#g)\n"
    found = take(
        {"web/5xx.md": text + "```\n[h](../db/Slow.md)\n```\n", "db/Slow.md": "x\n", "db/README.md": "y\n"}
    )
    page = found["web/5xx.md"].page
    assert page.text == (
        "[a](slow.md#why) [b](db.md) [c](Slow.md) `[d](../db/Slow.md)` [e](https://x.org/a.md) [f](#g)\n"
        "```\n[h](../db/Slow.md)\n```\n"
    )
    assert ["1 link leads to what was not taken over: Slow.md"] == [
        note.text for note in page.notes if "leads" in note.text
    ]


def test_pictures_come_along() -> None:
    """Those that are there and are pictures; under a name of their page, that a link can hold."""
    text = '![one](img/a%20b.png "why") ![two](gone.png) ![three](../../../etc/shadow) [four](secret.pem)\n'
    found = take({"web/5xx.md": text}, pictures=("web/img/a b.png", "web/secret.pem"))["web/5xx.md"]
    assert ((WIKI / "web/img/a b.png", "images/page-5xx-a-b.png"),) == found.pictures
    assert '![one](images/page-5xx-a-b.png "why") ![two](gone.png)' in found.page.text
    assert "[four](secret.pem)" in found.page.text


def test_doing_it_twice_changes_nothing() -> None:
    """What is there and the same stays; a page that somebody has written meanwhile is never overwritten."""
    wiki = {"DiskFull.md": "# Full\nsee [x](other.md)\n", "other.md": "# Other\n"}
    first = take(wiki)
    here = {one.page.name: one.page.text for one in first.values()}
    assert [True, True] == [one.is_there for one in take(wiki, here).values()]
    mine = {**here, "other": "# Mine\n"}
    again = take(wiki, mine)
    assert ("ops-other", False) == (again["other.md"].page.name, again["other.md"].is_there)
    assert ("disk-full", True) == (again["DiskFull.md"].page.name, again["DiskFull.md"].is_there)
    assert "ops-other" == take(wiki, {"other": "# Mine\n"})["other.md"].page.name
    assert "[x](ops-other.md)" in take(wiki, {"other": "# Mine\n"})["DiskFull.md"].page.text


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["", "a/", "b/", "a/b/"]), st.sampled_from(["x", "a-x", "index", "b", "X"])),
        max_size=8, unique=True,
    ),
    st.sets(st.sampled_from(["x", "a-x", "b-x", "a", "b", "ops-x", "x-2", "a-b-x"])),
)  # fmt: skip
def test_no_page_is_ever_written_over(paths: list[tuple[str, str]], mine: set[str]) -> None:
    """Whatever is called how on both sides, before and after a first import, and each page has a name of its own."""
    wiki = {f"{folder}{stem}.md": f"{folder}{stem} [l](x.md)\n" for folder, stem in paths}
    here = dict.fromkeys(sorted(mine), "mine")
    for _ in range(2):
        found = take(wiki, here).values()
        written = [one.page.name for one in found if not one.is_there]
        assert not set(written) & set(here)
        names = [one.page.name for one in found]
        assert len(names) == len(set(names))
        here |= {one.page.name: one.page.text for one in found if not one.is_there}
        here |= {"x": "mine"}


def test_a_page_that_is_named_like_an_alert() -> None:
    """A person decides whether it is its page."""
    found = take({"KubeAPIDown.md": "# Down\n", "notes.md": "# Notes\n"})
    assert "alerts: [KubeAPIDown]" in found["KubeAPIDown.md"].page.notes[0].text
    assert () == found["notes.md"].page.notes


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [
                    "```bash run", "```", "[a](", "b.md)", "[a](b.md)", "`", "~~~", "> ```sh check", "\x85", "\u2028",
                    "\r", "\x0c", "![p](p.png)", "- ```bash run",
                ]
            ),
            st.text(max_size=10),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_whatever_it_is_nothing_runs(lines: list[str]) -> None:
    """Leading links on makes nothing run, and never fails."""
    text = "\n".join(lines).encode("utf-8", "replace").decode()
    found = take({"a.md": text, "b.md": "b"}, pictures=("p.png",))["a.md"]
    page, _, _ = read_runbook("a", found.page.text.encode("utf-8", "surrogatepass"))
    assert page is not None
    assert () == page.blocks


def test_as_a_command(tmp_path: Path) -> None:
    """The folder is taken over with its pictures, and the handbook then has no complaint."""
    wiki = tmp_path / "wiki"
    (wiki / "img").mkdir(parents=True)
    (wiki / "img" / "plot.png").write_bytes(b"\x89PNG")
    (wiki / "NodeDown.md").write_text(
        "# Down\n\n![plot](img/plot.png) [index](README.md)\n\n```sh run\nreboot\n```\n"
    )
    (wiki / "README.md").write_text("# All\n\n[down](NodeDown.md)\n")
    (tmp_path / "outside.png").write_bytes(b"secret")
    (wiki / "img" / "link.png").symlink_to(tmp_path / "outside.png")
    (wiki / "more.md").write_text("# More\n\n![x](img/link.png) ![y](../outside.png)\n")
    ops = tmp_path / "ops"
    ops.mkdir()
    (ops / "opsbook.yaml").write_text("name: shop\n")

    def run(*words: str) -> Any:
        return CliRunner().invoke(cli, ["--book", str(ops), "runbooks", "import", str(wiki), *words])

    dry = run("--dry-run")
    assert (0, False) == (dry.exit_code, (ops / "runbooks").exists())
    assert "3 pages, 3 of them new; 2 with something to decide; nothing written" in dry.stderr
    assert 0 == run().exit_code
    assert b"\x89PNG" == (ops / "runbooks" / "images" / "node-down-plot.png").read_bytes()
    assert ["node-down-plot.png"] == [path.name for path in (ops / "runbooks" / "images").iterdir()]
    book = load(FolderFiles(ops))
    assert {"node-down", "wiki", "more"} == set(book.runbooks)
    assert not any(page.executable for page in book.runbooks.values())
    assert ["runbooks/more.md"] * 2 == [
        one.file for one in book.warnings if "leads to no file" in one.message
    ]
    again = run()
    assert "3 pages, 0 of them new" in again.stderr
    assert "there already, and the same" in again.stdout
