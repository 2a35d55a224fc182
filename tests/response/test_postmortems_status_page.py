"""The public status page: what is told, what never is, and how it lies in its folder."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from postmortem_house import END, START, House, incident, update

from opsbook.book import HandbookError
from opsbook.book.postmortems import StatusPageSpec
from opsbook.errors import Conflict, NotFound
from opsbook.response.postmortems.publishing import MARK
from opsbook.response.postmortems.status_files import files
from opsbook.response.postmortems.status_page import DAY, status_page
from opsbook.world.hosts.publishing import publish

SPEC = StatusPageSpec(services={"web": "Web shop"}, announce=("SEV1",), title="Shop status")
POLICY = "status_page: {to: ../public, title: Shop status, services: {web: Web shop}}\n"
TROUBLE = {
    "state": "active",
    "resolved_at": None,
    "mitigated_at": None,
    "updates": (update("We are on it."),),
}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path, {"incidents/policy.yaml": POLICY})
    yield made
    made.close()


def test_only_what_was_published_is_told() -> None:
    """No title, label, note, person, internal update or name of a service that is not published."""
    secret = incident(
        **{**TROUBLE, "updates": (update("Orders fail."), update("the vault of ana is empty", public=False))},
        title="vault dropped table customers", services=("web", "vault"), responders=("ben",),
    )  # fmt: skip
    unseen = incident(id="inc-8", state="active", resolved_at=None, services=("web",))
    hidden = incident(id="inc-9", state="active", resolved_at=None, severity="SEV1", services=("vault",))
    page = status_page([secret, unseen, hidden], SPEC, "shop", END)
    written = "".join(files(page).values())
    for word in ("vault", "customers", "ana", "ben", "HighErrorRate", "production", "2.2", "inc-8", "inc-9"):
        assert re.search(rf"\b{re.escape(word)}\b", written) is None
    assert [one.heading for one in page.open] == ["Problem with Web shop"]
    assert "Orders fail." in written
    assert page.sentence == "Problem with Web shop: partial outage"


def test_what_is_announced_by_itself() -> None:
    """An incident of an announced severity is there before anybody has written a word, and says no more than that."""
    page = status_page([incident(**{**TROUBLE, "severity": "SEV1", "updates": ()})], SPEC, "shop", END)
    assert [one.word for one in page.open] == ["major outage"]
    assert "We know of it and are working on it." in files(page)["index.html"]


def test_hostile_updates_stay_words() -> None:
    """An update is text: no HTML, no script; the feed stays XML and the page has no way to run anything."""
    words = "<script>alert(1)</script> ]]> \x00\x1b\u202e &amp; \ud800 {{ 7*7 }}"
    made = files(status_page([incident(**{**TROUBLE, "updates": (update(words),)})], SPEC, "shop", END))
    html = made["index.html"]
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "{{ 7*7 }}" in html
    assert "default-src 'none'" in html
    assert "\u202e" not in html
    feed = ET.fromstring(made["feed.xml"])
    assert "<script>alert(1)</script>" in "".join(feed.itertext())
    json.loads(made["status.json"])
    "".join(made.values()).encode()  # nothing in it that is no UTF-8


def test_ninety_days() -> None:
    """Each day is as bad as its worst incident; overlapping ones count once; what is older is left out."""
    told = (update("x"),)
    page = status_page(
        [
            incident(started_at=END - 2 * DAY, resolved_at=END - 2 * DAY + 3600, updates=told),
            incident(id="inc-2", started_at=END - 2 * DAY, resolved_at=END - 2 * DAY + 1800, updates=told),
            incident(
                id="inc-3", severity="SEV4", updates=told, started_at=END - 5 * DAY, resolved_at=END - 5 * DAY + 60
            ),
            incident(id="inc-4", started_at=END - 200 * DAY, resolved_at=END - 199 * DAY, updates=told),
        ],
        SPEC, "shop", END,
    )  # fmt: skip
    (component,) = page.components
    assert (component.word, page.sentence, len(component.days)) == ("working", "Everything works", 90)
    assert {one.date: (one.word, one.seconds) for one in component.days if one.tone != "ok"} == {
        "2025-11-16": ("minor problem", 60.0),
        "2025-11-19": ("partial outage", 3600.0),
    }
    assert component.share == pytest.approx(1 - 3600 / (89 * DAY + 10 * 3600 + 600))
    assert [one.id for one in page.past] == ["inc-2", "inc-7", "inc-3"] or [one.id for one in page.past] == [
        "inc-7",
        "inc-2",
        "inc-3",
    ]


def test_mitigated_is_not_working_yet() -> None:
    """Nor is it an outage any more."""
    page = status_page([incident(**{**TROUBLE, "state": "mitigated"})], SPEC, "shop", END)
    assert (page.sentence, page.components[0].word) == (
        "A problem was mended, and is being watched",
        "working",
    )


SPANS = st.tuples(st.floats(-100, 1), st.floats(0, 5), st.sampled_from(["SEV1", "SEV3"]), st.booleans())


@given(st.lists(SPANS, max_size=8))
def test_shares_are_shares(spans: list[tuple[float, float, str, bool]]) -> None:
    """Whatever overlaps, lies ahead or never ended: a day has 24 hours, a share is between 0 and 1."""
    every = [
        incident(
            id=f"inc-{number}", severity=severity, started_at=END + begin * DAY, updates=(update("x"),),
            state="active" if live else "resolved", resolved_at=None if live else END + (begin + length) * DAY,
        )
        for number, (begin, length, severity, live) in enumerate(spans)
    ]  # fmt: skip
    (component,) = status_page(every, SPEC, "shop", END).components
    assert 0 <= component.share <= 1
    assert all(0 <= one.seconds <= DAY for one in component.days)


def test_it_is_written_at_every_change(house: House) -> None:
    """And told once in the journal; when nothing is new, it is written again after ten minutes only."""
    public = house.folder / "public"
    house.room.look()
    assert "Everything works" in (public / "index.html").read_text()
    house.desk.put(incident(**TROUBLE))
    house.room.look()
    assert "partial outage" in (public / "index.html").read_text()
    house.open().look()
    told = house.journal.events(kinds=["status_page.published"])
    assert [(one.data["status"], one.data["open"]) for one in told] == [("ok", []), ("critical", ["inc-7"])]
    (public / "index.html").write_text(f"<!-- {MARK} -->")
    house.clock.at += 30
    house.room.look()
    assert (public / "index.html").read_text() == f"<!-- {MARK} -->"
    house.clock.at += 600
    house.room.look()
    assert "partial outage" in (public / "index.html").read_text()
    assert len(house.journal.events(kinds=["status_page.published"])) == 2


def test_what_is_not_ours_is_left_alone(house: House) -> None:
    """A folder with another index.html is refused, said once; post-mortems go on."""
    public = house.folder / "public"
    public.mkdir()
    (public / "index.html").write_text("the shop")
    house.desk.put(incident())
    assert [one.incident for one in house.room.look()] == ["inc-7"]
    house.room.look()
    assert (public / "index.html").read_text() == "the shop"
    assert [line for line in house.log if "did not write" in line] == house.log[:1]
    assert "did not write" in house.room.publishing.to_json()["problem"]
    with pytest.raises(Conflict, match="another index"):
        house.room.publishing.build()


def test_staging_is_no_outage(house: House) -> None:
    """What fails where no customers are is not on the page, unless the policy says that they are there."""
    policy = house.book_folder / "incidents/policy.yaml"
    staging = "environment: staging\nentry: {port: 8081}\nservices: {web: {}}\n"
    (house.book_folder / "environments/staging.yaml").write_text(staging)
    house.desk.put(incident(**{**TROUBLE, "environment": "staging"}))
    assert house.room.publishing.page().open == ()
    house.desk.put(incident(**{**TROUBLE, "environment": ""}))
    assert len(house.room.publishing.page().open) == 1
    house.desk.put(incident(**{**TROUBLE, "environment": "staging"}))
    policy.write_text(POLICY.replace("}\n", ", environments: [staging]}\n"))
    assert len(house.room.publishing.page().open) == 1
    policy.write_text(POLICY.replace("}\n", ", environments: [stagin]}\n"))
    with pytest.raises(HandbookError, match='did you mean "staging"'):
        house.book()


def test_secrets_are_not_published(house: House) -> None:
    """Not even when somebody writes one into an update."""
    house.desk.put(incident(**{**TROUBLE, "updates": (update("we changed hunter2"),)}))
    house.room.look()
    written = (house.folder / "public" / "index.html").read_text()
    assert ("hunter2" in written, "we changed ***" in written) == (False, True)


def test_without_a_policy(tmp_path: Path) -> None:
    """Nothing is published, and asking says what to write."""
    house = House(tmp_path)
    assert house.room.look() == []
    with pytest.raises(NotFound, match="has no status page") as raised:
        house.room.publishing.page()
    assert "incidents/policy.yaml" in raised.value.hint
    house.close()


def test_publishing_into_a_folder(tmp_path: Path) -> None:
    """It is made, files are readable by a web server, and our own are replaced."""
    folder = tmp_path / "a" / "b"
    publish(folder, {"index.html": f"{MARK} 1"}, MARK)
    publish(folder, {"index.html": f"{MARK} 2"}, MARK)
    assert (folder / "index.html").read_text() == f"{MARK} 2"
    assert (folder / "index.html").stat().st_mode & 0o777 == 0o644
    assert [one.name for one in folder.iterdir()] == ["index.html"]


def test_started_before_it_was_noticed() -> None:
    """The page says when users began to notice, not when we did."""
    page = status_page([incident(**TROUBLE)], SPEC, "shop", END)
    assert page.to_json()["incidents"][0]["started_at"] == "2025-11-21T10:00:00Z"
    assert page.open[0].started_at == START
