"""Notify, then fetch: what is told, to whom, and what is fetched."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from stand import Scene

from opsbook.deployment.model import Outcome, Phase

if TYPE_CHECKING:
    from stand import Stand

Browse = Callable[..., httpx.Client]


class Stream:
    """What came over one page's stream, as (event, data, id)."""

    def __init__(self, client: httpx.Client, *topics: str, last: str = "") -> None:
        self.got: list[tuple[str, dict[str, Any], str]] = []
        self.ended = threading.Event()
        self._client = client
        self._topics = topics
        self._headers = {"last-event-id": last} if last else {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        query = [("topics", topic) for topic in self._topics]
        name = number = ""
        try:
            with self._client.stream(
                "GET", "/live", params=query, headers=self._headers, timeout=30
            ) as answer:
                for line in answer.iter_lines():
                    field, _, value = line.partition(": ")
                    if field == "event":
                        name = value
                    elif field == "id":
                        number = value
                    elif field == "data":
                        self.got.append((name, json.loads(value), number))
                    if self._stop.is_set():
                        break
        except httpx.HTTPError:
            pass
        self.ended.set()

    def named(self, name: str) -> list[dict[str, Any]]:
        return [data for event, data, _ in self.got if event == name]

    def until(self, condition: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + 15
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}; got {self.got}"
            time.sleep(0.02)


@contextmanager
def following(client: httpx.Client, *topics: str, last: str = "") -> Iterator[Stream]:
    stream = Stream(client, *topics, last=last)
    stream._thread.start()
    stream.until(lambda: stream.got or stream.ended.is_set(), "the stream to open")
    try:
        yield stream
    finally:
        stream._stop.set()


@pytest.fixture
def scene(stand: Stand) -> Iterator[Scene]:
    """A canary under way."""
    number = 300 + len(stand.journal.events(kinds=("deployment.requested",)))
    made = Scene(stand, f"d-{number}")
    made.to(Phase.PENDING, "prepared")
    made.start()
    yield made
    made.take_back("the test is over", Outcome.ABORTED)


def test_an_event_is_told_by_topic_and_version_only(stand: Stand, browse: Browse, scene: Scene) -> None:
    """And only to pages that are about it."""
    del stand
    topic = f"deployment/{scene.name}"
    with following(browse("ana"), topic) as mine, following(browse("ben"), "service/staging/web") as other:
        scene.to(Phase.ANALYSING, "still watching")
        mine.until(lambda: mine.named("changed"), "the event")
        told = mine.named("changed")[0]
        assert {"topic", "version"} == set(told)
        assert topic == told["topic"]
        assert topic not in [data["topic"] for data in other.named("changed")]


def test_many_events_are_told_once_a_second(stand: Stand, browse: Browse, scene: Scene) -> None:
    """Thirty at once are one or two messages, and the last of them is the newest version."""
    topic = f"deployment/{scene.name}"
    with following(browse("ana"), topic) as stream:
        for number in range(30):
            scene.to(Phase.ANALYSING, f"look {number}")
        newest = stand.console.live.version((topic,))
        stream.until(
            lambda: newest <= max((d["version"] for d in stream.named("changed")), default=0), "the last"
        )
        assert len(stream.named("changed")) <= 4


def test_who_comes_back_is_told_what_was_missed(stand: Stand, browse: Browse, scene: Scene) -> None:
    """From the id they had; after another start of opsbook, to fetch everything."""
    del stand
    topic = f"deployment/{scene.name}"
    with following(browse("ana"), topic) as stream:
        last = stream.got[0][2]
    scene.to(Phase.ANALYSING, "meanwhile")
    with following(browse("ana"), topic, last=last) as stream:
        stream.until(lambda: stream.named("changed"), "what was missed")
    with following(browse("ana"), topic, last="0123abcd.7") as stream:
        stream.until(lambda: stream.named("resync") == [{}], "the word to fetch everything")


def test_points_of_a_chart_travel_as_data(stand: Stand, browse: Browse, scene: Scene) -> None:
    """Each once; what was there before is fetched."""
    del stand
    scene.looked(5)
    client = browse("ana")
    before = client.get(f"/deployments/{scene.name}/analysis").json()["points"]
    assert 5 == len(before)
    with following(client, f"deployment/{scene.name}") as stream:
        for _ in range(3):
            scene.look()
            time.sleep(0.01)
        wanted = [point["at"] for point in scene.points[5:]]

        def came() -> list[float]:
            return [point["at"] for data in stream.named("points") for point in data["points"]]

        stream.until(lambda: wanted[-1] in came(), "the points")
        assert wanted == came()[-3:]
        assert sorted(set(came())) == came()


def test_what_no_event_tells_is_seen_all_the_same(stand: Stand, browse: Browse) -> None:
    """An instance that the proxy calls unhealthy, without anything in the journal."""
    with following(browse("ana"), "now") as stream:
        stream.until(lambda: stream.named("changed"), "the server's first look")
        before = len(stream.named("changed"))
        stand.world.healthy["api-production-200"] = False
        stream.until(lambda: len(stream.named("changed")) > before, "the change")
    stand.world.healthy["api-production-200"] = True


def test_nobody_follows_what_they_may_not_see(stand: Stand, browse: Browse, scene: Scene) -> None:
    """Nor without signing in."""
    assert 401 == browse(None, accept="text/event-stream").get("/live?topics=now").status_code
    roles = stand.root / "ops" / "security" / "roles.yaml"
    kept = roles.read_text()
    roles.write_text(kept.replace("dora: [viewer]", "dora: [{role: viewer, environments: [staging]}]"))
    stand.handbook.refresh()
    try:
        with following(browse("dora"), f"deployment/{scene.name}", "now") as stream:
            scene.to(Phase.ANALYSING, "secret")
            stream.until(lambda: stream.named("changed"), "the first page's topic")
            assert ["now"] == [data["topic"] for data in stream.named("changed")]
    finally:
        roles.write_text(kept)
        stand.handbook.refresh()


def test_a_region_is_fetched_with_its_etag(stand: Stand, browse: Browse, scene: Scene) -> None:
    """The same is not sent twice; a change is seen at once, however often it was asked before."""
    del stand
    client, address = browse("ana"), f"/deployments/{scene.name}?region=live"
    first = client.get(address)
    assert "<html" not in first.text
    assert "private, no-cache" == first.headers["cache-control"]
    again = client.get(address, headers={"if-none-match": first.headers["etag"]})
    assert (304, b"") == (again.status_code, again.content)
    for number in range(5):
        scene.to(Phase.ANALYSING, f"message {number}")
        assert f"message {number}" in client.get(address).text


def test_regions_are_made_once_for_all_who_may_do_the_same(
    stand: Stand, browse: Browse, scene: Scene
) -> None:
    """And differ where people may do different things; there is no form in them."""
    del stand
    address = f"/deployments/{scene.name}?region=live"
    ana, dora = browse("ana").get(address).text, browse("dora").get(address).text
    assert "csrf_token" not in ana
    assert "disabled" in dora
    assert f'href="/deployments/{scene.name}/abort"' in ana


def test_large_pages_are_packed(stand: Stand, browse: Browse) -> None:
    """For those who can unpack, which are all browsers."""
    del stand
    client = browse("ana")
    answer = client.get("/", headers={"accept-encoding": "gzip"})
    assert "gzip" == answer.headers["content-encoding"]
    plain = client.get("/", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers


def test_files_are_kept_forever_under_a_name_that_changes_with_them(stand: Stand, browse: Browse) -> None:
    """Without signing in; under an old name there is nothing."""
    address = stand.console._shell._environment.globals["asset"]("console.css")
    answer = browse(None).get(address)
    assert 200 == answer.status_code
    assert "immutable" in answer.headers["cache-control"]
    assert "text/css; charset=utf-8" == answer.headers["content-type"]
    assert 404 == browse(None).get("/static/000000000000/console.css").status_code
    assert 404 == browse(None).get("/static/000000000000/%2e%2e%2fshell.py").status_code


def test_a_stream_ends_with_its_session(
    stand: Stand, browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is signed out is told nothing more."""
    monkeypatch.setattr("opsbook.server.console.live.BEAT_SECONDS", 0.2)
    client = browse("ana")
    with following(client, "handbook") as stream:
        identity, _ = stand.security.by_cookie(client.cookies["opsbook_session"])
        stand.security.sessions.close(identity.credential, "ana")
        stream.until(stream.ended.is_set, "the end")
