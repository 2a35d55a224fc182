"""Post-mortems as the book reads them, and the handbook's files as opsbook writes and proposes them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from postmortem_house import PAGE, House, incident, run

from opsbook.book import HandbookError, TextFiles, load
from opsbook.book.postmortems import read_postmortem
from opsbook.book.runbook_pages import read_runbook
from opsbook.errors import Conflict, Failed, Invalid
from opsbook.response.postmortems.lesson import proposal
from opsbook.world.hosts.pages import FolderPages, difference

COVER = "name: shop\ncontacts: {ana: {email: ana@example.com}}\n"
FILE = "incidents/2025-10-01-orders.md"
TODAY = date(2025, 11, 21)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def warnings(text: str, *, today: date | None = TODAY) -> list[str]:
    book = load(TextFiles.of({"opsbook.yaml": COVER, FILE: text}), today=today)
    return [str(one) for one in book.warnings if one.file == FILE]


def test_promises_that_nobody_keeps() -> None:
    """Overdue, of nobody, of somebody unknown, without a date or with one that is none: each with its line."""
    said = warnings(
        "---\nincident: inc-1\nstate: final\n---\n# Orders\n## Action items\n"
        "- [ ] late (owner: ana, due: 2025-11-20)\n- [ ] whose (due: 2025-12-01)\n"
        "- [ ] strange (owner: anna, due: 2025-12-01)\n- [ ] when (owner: ana)\n- [ ] what (owner: ana, due: soon)\n"
        "- [x] done\n- no task\n## Else\n- [ ] not a promise\n"
    )
    assert [one.split(" (hint")[0] for one in said] == [
        f'{FILE}:7: the action "late" was due on 2025-11-20',
        f'{FILE}:8: the action "whose" has no owner',
        f'{FILE}:9: no contact is called "anna"',
        f'{FILE}:10: the action "when" has no date',
        f"{FILE}:11: due: expected a date such as 2026-12-01, got soon",
    ]
    assert 'did you mean "ana"?' in said[2]


def test_a_draft_grows_old() -> None:
    """After two weeks the check says so; without a date of today it does not."""
    text = "---\nincident: inc-1\n---\n# Orders\n"
    assert warnings(text) == [
        f"{FILE}:1: the post-mortem is a draft since 2025-10-01 (hint: complete it, then write state: final)"
    ]
    assert warnings(text, today=date(2025, 10, 15)) == []
    assert warnings(text, today=None) == []


@pytest.mark.parametrize(
    "text",
    [
        "---\nincident: [1\n---\n",
        "---\nincident: inc-1\nseverity: SEV9\nwhat: ever\nstate: final\n---\n",
        "---\nnever closed",
        "\x00\x01",
        "---\n- a list\n---\n",
        "",
    ],
)
def test_a_broken_page_never_breaks_the_book(text: str) -> None:
    """What is wrong in one is a warning."""
    book = load(TextFiles.of({"opsbook.yaml": COVER, FILE: text}))
    assert all(one.severity == "warning" for one in book.warnings)
    load(TextFiles({"opsbook.yaml": COVER.encode(), FILE: b"\xff\xfe"}))


def test_one_wrong_key_does_not_lose_the_others() -> None:
    """The incident is known although its severity is none."""
    page, problems = read_postmortem(FILE, b"---\nincident: inc-1\nseverity: SEV9\n---\n")
    assert (page.head.incident if page else None, len(problems)) == ("inc-1", 1)


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    """Without an exception."""
    for prefix in ("", "---\n", "---\nincident: inc-1\n---\n## Actions\n- [ ] "):
        read_postmortem(FILE, (prefix + text).encode("utf-8", "surrogatepass"))


def test_the_policy_is_checked() -> None:
    """Services that are published exist; severities are ours; unknown keys are refused."""
    for policy, said in (
        ("status_page: {services: {shop: Shop}}\n", 'no service is called "shop"'),
        ("status_page: {announce: [SEV9]}\n", "SEV9"),
        ("status_page: {url: 'javascript:alert(1)'}\n", "status_page.url"),
        ("postmortems: {severity: [SEV1]}\n", "severities"),
    ):
        with pytest.raises(HandbookError, match=said):
            load(TextFiles.of({"opsbook.yaml": COVER, "incidents/policy.yaml": policy}))


def test_a_lesson_is_prose_only() -> None:
    """The alert is named, the step that failed has a note above it, what runs is what ran; the page is sound."""
    page, _, _ = read_runbook("storefront", PAGE.encode())
    assert page is not None
    found = proposal(
        incident(), [run(failed="exit code 1")], {"storefront": page}, "incidents/x.md", "2025-11-21"
    )
    assert found is not None
    after, _, problems = read_runbook("storefront", found.text.encode())
    assert after is not None
    assert [one for one in problems if one.severity == "error"] == []
    assert [(one.id, one.digest) for one in after.blocks] == [(one.id, one.digest) for one in page.blocks]
    assert after.head.alerts == ("WebDown", "HighErrorRate")
    assert "> **[inc-7](../incidents/x.md):** this failed (exit code 1). Is it still right?" in found.text
    assert found.text.endswith("Step restart failed, the run ended as rolled back.\n")
    again = proposal(
        incident(), [run(failed="exit code 1")], {"storefront": after}, "incidents/x.md", "2025-11-21"
    )
    assert again is None
    other = proposal(incident(id="inc-8"), [run()], {"storefront": after}, "incidents/y.md", "2025-11-22")
    assert other is not None
    assert other.text.count("## Seen in incidents") == 1
    assert other.text.index("[inc-8]") < other.text.index("2025-11-21, [inc-7]")


def test_an_alert_without_a_page_gets_one() -> None:
    """Of prose only, named after the alert; it passes the check."""
    found = proposal(incident(runbook="", alerts=(_alert(),)), [], {}, "incidents/x.md", "2025-11-21")
    assert found is not None
    assert (found.file, found.new) == ("runbooks/high-error-rate.md", True)
    files = {"opsbook.yaml": COVER, found.file: found.text, "incidents/x.md": ""}
    book = load(TextFiles.of(files), today=TODAY)
    assert [str(one) for one in book.warnings if one.file == found.file] == []
    assert not book.runbook("high-error-rate").executable
    assert proposal(incident(runbook="", alerts=()), [], {}, "incidents/x.md", "2025-11-21") is None


def test_a_page_that_names_the_alert_is_its_page() -> None:
    """The lesson goes there; where several name it and none was run nobody knows to which, and no page is made."""
    text = "---\ntitle: Errors\nalerts: [HighErrorRate]\n---\nLook at the logs.\n"
    pages = {}
    for name in ("errors", "more-errors"):
        page, _, _ = read_runbook(name, text.encode())
        assert page is not None
        pages[name] = page
    found = proposal(
        incident(runbook="", alerts=(_alert(),)),
        [],
        {"errors": pages["errors"]},
        "incidents/x.md",
        "2025-11-21",
    )
    assert found is not None
    assert (found.runbook, found.new) == ("errors", False)
    assert found.text.endswith("The page was not run.\n")
    assert (
        proposal(incident(runbook="", alerts=(_alert(),)), [], pages, "incidents/x.md", "2025-11-21") is None
    )


def _alert() -> object:
    from dataclasses import replace

    return replace(incident().alerts[0], runbook="")


def test_a_lesson_on_a_branch(house: House) -> None:
    """On top of what is there, without touching the working tree; it merges; what somebody added is not lost."""
    house.desk.put(incident())
    (house.book_folder / "mine.txt").write_text("not committed")
    house.room.look()
    assert house.git("status", "--porcelain") == "?? mine.txt"
    assert house.git("diff", "--name-only", "HEAD~1", "lesson/inc-7").split() == ["runbooks/storefront.md"]
    lesson = house.room.lesson("inc-7", "ana")
    assert lesson is not None
    assert (lesson.problem, house.git("log", "--format=%s", "-1", "lesson/inc-7~1")) == (
        "",
        "Write the post-mortem of inc-7",
    )
    house.git("switch", "--quiet", "lesson/inc-7")
    (house.book_folder / "runbooks/storefront.md").write_text(
        house.read("runbooks/storefront.md") + "\nBetter.\n"
    )
    house.git("commit", "--quiet", "-m", "better", "runbooks/storefront.md")
    house.git("switch", "--quiet", "main")
    theirs = house.git("rev-parse", "lesson/inc-7")
    lesson = house.room.lesson("inc-7", "ana")
    assert lesson is not None
    assert "somebody has worked on the branch" in lesson.problem
    assert house.git("rev-parse", "lesson/inc-7") == theirs
    house.git("merge", "--quiet", "-m", "take it", "lesson/inc-7")
    assert house.book().runbook("storefront").executable
    shown = house.room.show("inc-7")
    assert shown["record"]["lesson"]["patch"]


def test_without_git(tmp_path: Path) -> None:
    """The page is a file, the lesson a patch that applies, readable by its owner only."""
    house = House(tmp_path, git=False)
    house.desk.put(incident())
    (record,) = house.room.look()
    assert (record.commit, (house.book_folder / record.path).exists()) == ("", True)
    assert record.lesson is not None
    patch = Path(record.lesson.place)
    assert (patch.read_text(), patch.stat().st_mode & 0o777) == (record.lesson.patch, 0o600)
    subprocess.run(("git", "apply", str(patch)), cwd=house.book_folder, check=True, capture_output=True)
    assert "[inc-7]" in house.read("runbooks/storefront.md")
    house.close()


def test_line_ends_stay(house: House) -> None:
    """Of a page and of a runbook that were written elsewhere: the change is what changed."""
    page = house.book_folder / "runbooks/storefront.md"
    page.write_bytes(PAGE.replace("\n", "\r\n").encode())
    house.commit("from elsewhere")
    house.desk.put(incident())
    (record,) = house.room.look()
    assert record.lesson is not None
    assert len([line for line in record.lesson.patch.split("\n") if line.startswith("-")]) == 2
    written = house.book_folder / record.path
    written.write_bytes(written.read_bytes().replace(b"\n", b"\r\n"))
    house.commit("line ends")
    house.desk.put(incident(reopened=1))
    house.room.look()
    assert "Opened again once." in written.read_text()
    assert written.read_bytes().count(b"\r\n") == written.read_bytes().count(b"\n")
    assert len(house.git("show", "--format=", "HEAD").split("\n")) < 30


def test_pages_stay_in_the_handbook(tmp_path: Path) -> None:
    """Neither a path nor a link leads out of its folder."""
    folder = tmp_path / "ops"
    (folder / "incidents").mkdir(parents=True)
    (tmp_path / "outside.md").write_text("x")
    (folder / "incidents" / "link.md").symlink_to(tmp_path / "outside.md")
    (folder / "out").symlink_to(tmp_path)
    pages = FolderPages(folder, tmp_path / "patches")
    for path in ("../outside.md", "/etc/passwd", "a\0b"):
        with pytest.raises(Invalid):
            pages.write({path: "y"}, "x", "ana")
    for path in ("incidents/link.md", "out/outside.md"):
        with pytest.raises(Conflict):
            pages.write({path: "y"}, "x", "ana")
    assert (tmp_path / "outside.md").read_text() == "x"
    (folder / "incidents" / "bytes.md").write_bytes(b"\xff")
    with pytest.raises(Failed):
        pages.read("incidents/bytes.md")
    assert pages.read("incidents/none.md") is None


def test_who_wrote_it_is_a_name(house: House) -> None:
    """Whatever an actor is called, the commit has one author and one line."""
    house.pages.write({"incidents/a.md": "x\n"}, "Write", "eve <root@evil>\nX: y")
    assert (
        house.git("log", "-1", "--format=%an|%ae|%s") == "eve root@evilX: y|eve-root-evilX--y@opsbook|Write"
    )


def test_a_difference_applies() -> None:
    """Also where a file has no line end at its end, or is new."""
    assert difference("a", None, "x\n") == "--- /dev/null\n+++ b/a\n@@ -0,0 +1 @@\n+x\n"
    assert "\\ No newline at end of file\n" in difference("a", "x", "y\n")
    assert difference("a", "x\n", "x\n") == ""
