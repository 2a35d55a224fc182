"""Post-mortems: what they say, what people may change of it, and words that are meant to do harm."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from postmortem_house import END, START, House, Moment, action, incident, run, update

from opsbook.book import FolderFiles, load
from opsbook.book.postmortems import read_postmortem
from opsbook.errors import Conflict, Invalid, NotFound
from opsbook.response.postmortems.markdown import escaped, fenced, one_line
from opsbook.response.postmortems.parts import marked, merged
from opsbook.world.hosts.pages import FolderPages
from opsbook.world.telemetry.storage import Storage
from opsbook.world.telemetry.store import HotStore

PATH = "incidents/2025-11-21-orders-fail.md"
HOSTILE = (
    "<script>alert(1)</script>",
    "<!-- opsbook:summary 0000000000000000 -->",
    "<!-- /opsbook:summary -->",
    "x\n```bash run id=x\nrm -rf /\n```",
    "# heading\n---\ntitle: other",
    "[click](javascript:alert(1)) ![x](http://evil.example/x.png)",
    "http://evil.example www.evil.example <http://evil.example>",
    "| a | b |\n|---|---|",
    "`$(reboot)` $x^2$ **bold** _it_ ~~gone~~",
    "\"quotes\" 'and' \\ {{ 7*7 }} {% raw %}",
    "\u202eesrever \u200b\u0000\x1b[31m\ud800",
    "- [ ] promise (owner: eve, due: 2020-01-01)",
    "1. one",
    "a" * 100_000,
    "",
)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def test_what_is_written_when_it_is_over(house: House) -> None:
    """Impact in numbers, the plot, timeline, the bad release first, the failed step; one commit of two files."""
    house.measure()
    house.runs["run-3"] = run(failed="exit code 1: no such unit")
    house.desk.put(incident(runs=("run-3",), actions=(action("a1", "Add a canary"),)))
    (record,) = house.room.look()
    text = house.read(PATH)
    assert record.path == PATH
    assert "**SEV2** in production: Orders fail" in text
    assert "117 of 400 requests failed (29 %)" in text  # of 40 samples: a rate is extrapolated to the edges
    assert "| web | 400 | 117 (29 %) | 30 % | 26 ms, 400 ms | web: 40 % burned, 50 % left |" in text
    assert "| 10:00:25 | HighErrorRate fires | alerting |" in text
    assert "1. web 2.2 went live (2025-11-21 09:59:00 UTC): 60 s before, on the service that failed" in text
    assert "| run-3 | storefront | rolled back | 30.0s | restart: exit code 1: no such unit |" in text
    assert "- [ ] Add a canary (owner: ana, due: 2026-12-01) `a1`" in text
    assert "time to detect 25.0s" in text
    assert "![What was measured, with the incident as a band](2025-11-21-orders-fail.svg)" in text
    changed = house.git("show", "--name-only", "--format=%s%n%an", "HEAD").split("\n")
    assert changed == ["Write the post-mortem of inc-7", "opsbook", "", PATH, PATH.replace(".md", ".svg")]
    ((told, path, impact),) = house.desk.told
    assert (told, path, impact.measured[0].failed) == ("inc-7", PATH, pytest.approx(117, abs=0.5))
    assert house.room.look() == []
    kinds = [event.kind for event in house.journal.events(subject="inc-7")]
    assert kinds == ["postmortem.written", "postmortem.lesson_proposed"]


def test_the_page_passes_its_own_check(house: House) -> None:
    """Nothing is said of the page, its links or its promises; the book knows it."""
    house.measure()
    house.desk.put(incident(actions=(action("a1", "Add a canary"),)))
    house.room.look()
    book = load(FolderFiles(house.book_folder), today=date(2025, 11, 22))
    assert [str(one) for one in book.warnings if one.file.startswith("incidents/")] == []
    page = book.postmortem_pages[PATH]
    assert (page.head.incident, page.head.severity, page.head.services) == ("inc-7", "SEV2", ("web",))
    assert [(one.text, one.owner, one.due, one.id) for one in page.actions] == [
        ("Add a canary", "ana", "2026-12-01", "a1")
    ]


def test_the_plot_marks_the_release(house: House) -> None:
    """A picture that stands by itself: valid, without scripts, with the deployment, detection and end in words."""
    house.measure()
    house.desk.happened += [
        Moment(START - 58, "deploy of web 2.2 succeeded", "ana", "deployment.succeeded"),
        Moment(START + 300, "deploy of web 2.1 succeeded", "ana", "deployment.succeeded"),
    ]
    house.desk.put(incident(suspects=(replace(incident().suspects[0], text="</text><script>x</script>"),)))
    house.room.look()
    tree = ET.fromstring(house.read(PATH.replace(".md", ".svg")))
    words = ["".join(one.itertext()) for one in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert {"</text><script>x</script>", "detected", "mitigated", "failed requests, %"} <= set(words)
    assert ("deploy of web 2.1 succeeded" in words, "deploy of web 2.2 succeeded" in words) == (True, False)
    assert list(tree.iter("{http://www.w3.org/2000/svg}script")) == []
    assert len(list(tree.iter("{http://www.w3.org/2000/svg}polyline"))) >= 2
    assert house.room.plot("inc-7").startswith("<svg")


def test_nothing_measured_is_not_nothing_happened(house: House) -> None:
    """Without samples no figure is made up, and there is no picture."""
    house.desk.put(incident())
    house.room.look()
    text = house.read(PATH)
    assert "Nothing was measured of what was affected." in text
    assert "requests failed" not in text
    assert not (house.book_folder / PATH.replace(".md", ".svg")).exists()
    with pytest.raises(NotFound, match="no plot"):
        house.room.plot("inc-7")


def test_what_was_measured_once_stays(house: House) -> None:
    """When the samples are gone, a later writing keeps the figures and the picture."""
    house.measure()
    house.desk.put(incident())
    house.room.look()
    house.storage = Storage(HotStore())
    room = house.open()
    house.desk.put(incident(reopened=1, resolved_at=END + 90))
    room.look()
    text = house.read(PATH)
    assert "117 of 400 requests failed" in text
    assert "2025-11-21-orders-fail.svg" in text
    assert "Opened again once." in text


def test_what_people_wrote_stays(house: House) -> None:
    """Their words outside of the parts, a part that they changed, one that they took out, a page they renamed."""
    house.desk.put(incident())
    house.room.look()
    text = house.read(PATH)
    begin = text.index("<!-- opsbook:detection")
    end = text.index("<!-- /opsbook:detection -->") + len("<!-- /opsbook:detection -->\n")
    text = text[:begin] + text[end:]
    text = text.replace("> _Who noticed, and what could they not do?_", "Customers could not pay.")
    text = text.replace("It lasted 10m 0s", "It lasted far too long")
    (house.book_folder / PATH).unlink()
    renamed = "incidents/2025-11-21-the-bad-friday.md"
    (house.book_folder / renamed).write_text(text)
    house.commit("in our words")
    house.desk.happened.append(Moment(START + 90, "a note", "ben"))
    house.desk.put(incident(actions=(action("a1", "Add a canary"),)))
    (record,) = house.room.look()
    now = house.read(renamed)
    assert record.path == renamed
    assert record.kept == ("summary",)
    assert "Customers could not pay." in now
    assert "It lasted far too long" in now
    assert "opsbook:detection" not in now
    assert "| 10:01:30 | a note | ben |" in now
    assert "Add a canary" in now
    assert not (house.book_folder / PATH).exists()


def test_a_page_taken_away_stays_away(house: House) -> None:
    """Until somebody asks for it."""
    house.desk.put(incident())
    house.room.look()
    house.git("rm", "--quiet", PATH)
    house.commit("not worth a page")
    house.desk.put(incident(reopened=1))
    house.room.look()
    assert not (house.book_folder / PATH).exists()
    assert house.room.look() == []
    house.room.write("inc-7", "ana")
    assert (house.book_folder / PATH).exists()


def test_uncommitted_changes_are_not_overwritten(house: House) -> None:
    """The writing fails, says why once, and is tried again with pauses; the person's text is as it was."""
    house.desk.put(incident())
    house.room.look()
    mine = house.read(PATH) + "\nmine\n"
    (house.book_folder / PATH).write_text(mine)
    house.desk.put(incident(reopened=1))
    assert house.room.look() == []
    assert house.room.look() == []
    assert house.read(PATH) == mine
    record = house.room.record("inc-7")
    assert record is not None
    assert "uncommitted changes" in record.failed
    assert len(house.journal.events(kinds=["postmortem.failed"])) == 1
    assert house.room.listed()[0]["failed"] == record.failed
    house.commit("mine")
    house.clock.at += 3600
    (record,) = house.room.look()
    assert (record.failed, house.read(PATH).endswith("\nmine\n")) == ("", True)


def test_two_incidents_of_one_name(house: House) -> None:
    """Each has its own page."""
    house.desk.put(incident(), incident(id="inc-8"))
    paths = sorted(record.path for record in house.room.look())
    assert paths == ["incidents/2025-11-21-orders-fail-inc-7.md", PATH] or paths == [
        "incidents/2025-11-21-orders-fail-inc-8.md",
        PATH,
    ]


def test_which_incidents_get_one(tmp_path: Path) -> None:
    """By severity and by how they ended; of merged ones never."""
    policy = "postmortems: {severities: [SEV1], self_resolved: false, lessons: false}\n"
    house = House(tmp_path, {"incidents/policy.yaml": policy})
    house.desk.put(
        incident(),
        incident(id="inc-8", severity="SEV1", self_resolved=True),
        incident(id="inc-9", severity="SEV1", state="merged", merged_into="inc-1"),
        incident(id="inc-10", severity="SEV1", state="active", resolved_at=None),
    )
    assert house.room.look() == []
    house.desk.put(incident(id="inc-1", severity="SEV1"))
    assert [one.incident for one in house.room.look()] == ["inc-1"]
    assert house.git("branch", "--list", "lesson/*") == ""
    with pytest.raises(Conflict, match="merged into inc-1"):
        house.room.write("inc-9", "ana")
    assert house.room.write("inc-7", "ana").path
    house.close()


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_words_stay_words(tmp_path: Path, words: str) -> None:
    """In titles, labels, notes, actions and reasons: no HTML, no link, no heading, no block that could run, no mark."""
    house = House(tmp_path)
    house.measure()
    house.runs["run-3"] = run(failed=words)
    alert = replace(incident().alerts[0], summary=words, labels={"alertname": words, "service": words})
    suspect = replace(incident().suspects[0], text=words, why=words)
    house.desk.happened = [Moment(START, words, words)]
    house.desk.put(
        incident(
            title=words, services=("web", words), commander=words, acknowledged_by=words, environment="production",
            alerts=(alert,), suspects=(suspect,), runs=("run-3",), updates=(update(words),),
            actions=(action("a1", words, owner=words, due=words),),
        )
    )  # fmt: skip
    (record,) = house.room.look()
    text = house.read(record.path)
    page, problems = read_postmortem(record.path, text.encode())
    assert (page.head.incident if page else "", problems) == ("inc-7", ())
    body = text.split("\n---\n", 1)[1]
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    blocks = [token.content.strip() for token in tokens if token.type == "html_block"]
    assert [one for one in blocks if not one.startswith(("<!-- opsbook:", "<!-- /opsbook:"))] == []
    assert len(blocks) == 16
    inline = [child for token in tokens for child in token.children or ()]
    links = {
        str(one.attrs.get("href") or one.attrs.get("src"))
        for one in inline
        if one.type in {"link_open", "image"}
    }
    assert links <= {record.plot}
    assert not any(one.type == "html_inline" for one in inline)
    assert {token.info for token in tokens if token.type == "fence"} <= {"diff"}
    headings = [
        tokens[number + 1].content for number, token in enumerate(tokens) if token.type == "heading_open"
    ]
    assert len(headings) == 13
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert len(text) < 60_000
    before, after = (
        house.pages.read("runbooks/storefront.md"),
        house.git("show", "lesson/inc-7:runbooks/storefront.md"),
    )
    assert before is not None
    assert [line for line in after.split("\n") if line.startswith("```")] == [
        line for line in before.split("\n") if line.startswith("```")
    ]
    house.close()


def test_secrets_do_not_reach_the_page(house: House) -> None:
    """In the title, a note and the reason of a step; nor the picture."""
    house.measure()
    house.runs["run-3"] = run(failed="login with hunter2 refused")
    house.desk.happened.append(Moment(START + 30, "the password is hunter2", "ana"))
    suspect = replace(incident().suspects[0], text="hunter2 went live")
    house.desk.put(incident(title="hunter2 leaked", runs=("run-3",), suspects=(suspect,)))
    (record,) = house.room.look()
    for name in ("incidents", "runbooks"):
        for path in (house.book_folder / name).iterdir():
            assert "hunter2" not in path.read_text()
    assert "hunter2" not in house.git("show", "lesson/inc-7")
    assert "***" in house.read(record.path)


def test_editing_in_the_console(house: House) -> None:
    """Who was slower is told; a page that forgets its incident is refused; line ends of browsers are ours after."""
    house.desk.put(incident())
    house.room.look()
    shown = house.room.show("inc-7")
    text = shown["text"].replace("> _What should stay as it is?_", "The alert.").replace("\n", "\r\n")
    edited = house.room.edit("inc-7", text, shown["digest"], "ben")
    assert "\r" not in house.read(PATH)
    assert "The alert." in house.read(PATH)
    assert house.git("log", "-1", "--format=%an %s") == "ben Edit the post-mortem of inc-7"
    with pytest.raises(Conflict, match="meanwhile"):
        house.room.edit("inc-7", "mine", shown["digest"], "ana")
    with pytest.raises(Invalid, match="which incident"):
        house.room.edit("inc-7", "mine", edited["digest"], "ana")
    with pytest.raises(Invalid, match="too large"):
        house.room.edit("inc-7", "x" * 2_000_000, edited["digest"], "ana")
    final = house.room.finish("inc-7", "ana")
    assert (final["state"], "state: final" in house.read(PATH)) == ("final", True)
    with pytest.raises(NotFound, match="no post-mortem of inc-9"):
        house.room.show("inc-9")


def test_what_is_promised_is_tracked(house: House) -> None:
    """From pages and incidents, each once; done where either says so; overdue first."""
    house.desk.put(
        incident(actions=(action("a1", "Add a canary", due="2025-11-22"), action("a2", "Tell support")))
    )
    house.room.look()
    text = house.read(PATH).replace("- [ ] Tell support", "- [x] Tell support")
    (house.book_folder / PATH).write_text(text + "\n- [ ] Buy a cake (owner: ben, due: 2025-11-30)\n")
    house.commit("promises")
    house.clock.at += 3 * 86_400
    found = house.room.actions()
    assert [(one.text, one.owner, one.done, one.overdue) for one in found] == [
        ("Add a canary", "ana", False, True),
        ("Buy a cake", "ben", False, False),
        ("Tell support", "ana", True, False),
    ]
    assert [one.text for one in house.room.actions(owner="ben", open_only=True)] == ["Buy a cake"]
    house.desk.put(incident(actions=(action("a1", "Add a canary", due="2025-11-22", done=END),)))
    assert not any(one.overdue for one in house.room.actions())


def test_a_crash_before_the_incident_knew(house: House) -> None:
    """The next look tells it; the page is not written twice."""
    house.desk.put(incident())
    house.room.look()
    commit = house.git("rev-parse", "HEAD")
    house.desk.told.clear()
    house.open().look()
    assert [one[:2] for one in house.desk.told] == [("inc-7", PATH)]
    house.journal.state.delete("postmortems/record/inc-7")
    (record,) = house.open().look()
    assert (record.path, house.git("rev-parse", "HEAD")) == (PATH, commit)


class Dying(FolderPages):
    """Writes, or proposes, and is killed before anybody knows of it."""

    def __init__(self, folder: Path, patches: Path, place: str) -> None:
        super().__init__(folder, patches)
        self.place = place

    def write(self, files: Mapping[str, str], message: str, actor: str) -> str:
        commit = super().write(files, message, actor)
        return self._die("write") or commit

    def propose(self, name: str, files: Mapping[str, str], message: str, actor: str) -> tuple[str, str]:
        made = super().propose(name, files, message, actor)
        return made if not self._die("propose") else ("", "")

    def _die(self, place: str) -> str:
        if place == self.place:
            raise KeyboardInterrupt
        return ""


@pytest.mark.parametrize("place", ["propose", "write"])
def test_a_crash_while_it_is_written(house: House, place: str) -> None:
    """After the branch, or after the commit, and before the journal knows: the next start makes it whole, once."""
    house.measure()
    house.desk.put(incident())
    house.pages = Dying(house.book_folder, house.folder / "patches", place)
    with pytest.raises(KeyboardInterrupt):
        house.open().look()
    house.pages = FolderPages(house.book_folder, house.folder / "patches")
    (record,) = house.open().look()
    assert (record.path, record.failed) == (PATH, "")
    assert record.lesson is not None
    assert (record.lesson.problem, record.lesson.commit) == ("", house.git("rev-parse", "lesson/inc-7"))
    assert house.open().look() == []
    assert len(house.git("log", "--format=%s", "--", PATH).split("\n")) <= 2
    assert len(house.journal.events(kinds=["postmortem.written"])) == 1


def test_it_follows_incidents_by_itself(house: House) -> None:
    """Once started, a change is enough; after the end nothing is written."""
    import time

    house.room.start()
    house.desk.put(incident())
    deadline = time.monotonic() + 20
    while not house.desk.told:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    house.room.close()
    assert (house.book_folder / PATH).exists()


def test_parts_are_found_by_their_marks() -> None:
    """An end that is missing, the same part twice, a mark in the text: nothing of it is ever lost."""
    page = f"a\n{marked('impact', 'old')}\nb\n"
    assert merged(page, {"impact": "new"}).text == f"a\n{marked('impact', 'new')}\nb\n"
    broken = page.replace("<!-- /opsbook:impact -->", "")
    assert merged(broken, {"impact": "new"}).text == broken
    twice = page + marked("impact", "old")
    assert merged(twice, {"impact": "new"}).text.count("old") == 1
    trimmed = page.replace("old", "old   ")
    assert merged(trimmed, {"impact": "new"}).updated == ("impact",)
    assert merged("", {"impact": "new"}).gone == ("impact",)


LINES = st.lists(
    st.sampled_from(["mine", "", "<!-- x -->", "<!-- /opsbook:impact -->", "| a |", "# h"]), max_size=6
)


@given(LINES, LINES, LINES, st.booleans())
def test_nothing_of_a_person_is_lost(
    before: list[str], after: list[str], within: list[str], changes: bool
) -> None:
    """Whatever they wrote around a part, or into it, is there after any number of writings."""
    part = marked("impact", "old")
    if changes:
        part = part.replace("old", "\n".join(["old", "theirs", *within]))
    page = "\n".join([*before, part, *after])
    once = merged(page, {"impact": "new"})
    twice = merged(once.text, {"impact": "newer"})
    lines = twice.text.split("\n")
    assert lines[: len(before)] == before
    assert not after or lines[-len(after) :] == after
    assert ("theirs" in lines) is changes
    assert ("newer" in lines) is not changes


def test_escaping() -> None:
    """Words that need none are left readable."""
    assert escaped("error_rate of web-1 (12.5 %)") == "error_rate of web-1 (12.5 %)"
    assert escaped("a | b <c> *d* _e_") == "a \\| b &lt;c&gt; \\*d\\* \\_e\\_"
    assert escaped("1. one") == "1\\. one"
    assert escaped("- one") == "\\- one"
    assert one_line("a\n\u2028\x00b") == "a b"
    assert fenced("a\n````\nb", "diff").startswith("`````diff\n")
