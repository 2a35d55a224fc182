"""Pages through the real outbox and real channels: a responder's mail server is down."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "monitoring"))

from alerting_house import House, Receiver, until
from escalation_house import Incidents

from opsbook.book import TextFiles, load
from opsbook.monitoring.alerting.model import Alert, GroupMessage, Notification, Words
from opsbook.response.escalation import plan
from opsbook.response.escalation.links import Links
from opsbook.response.escalation.model import Page, Subject
from opsbook.response.escalation.room import Escalations

COVER = """\
contacts:
  ana: {{channel: mail{fallback}}}
  ben: {{channel: phone}}
channels:
  mail: {{email: ana@example.com, smtp: {{host: 127.0.0.1, port: {port}, security: none, from: ops@example.com}}}}
  phone: {{webhook: "{url}"}}
"""

POLICY = b"escalations: [{name: usual, steps: [{page: ana}, {page: ben}]}]"


@pytest.fixture
def phone() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def paging(tmp_path: Path, phone: Receiver, closed_port: int) -> Iterator[Callable[[str], Escalations]]:
    ended: list[Callable[[], object]] = []

    def build(fallback: str) -> Escalations:
        cover = COVER.format(fallback=fallback, port=closed_port, url=phone.url)
        house = House(tmp_path, cover)
        alerting = house.alerting
        files = {"opsbook.yaml": f"name: shop\n{cover}".encode(), "incidents/policy.yaml": POLICY}
        book = load(TextFiles(files))
        # As the server does it.
        room = Escalations(
            lambda: book,
            house.journal,
            on_call=lambda name: None,
            incidents=Incidents(),
            send=lambda channel, page: alerting.send(notification(page)),
            failing=lambda channel: alerting.delivery.state(channel).failures > 0,
            links=Links(b"k" * 32, time.time),
            now=time.time,
            address=lambda: "https://ops.example.com",
        )
        ended.extend((room.close, house.close))
        room.start()
        return room

    yield build
    for end in ended:
        end()


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def notification(page: Page) -> Notification:
    alert = Alert(dict(page.labels) | {"alertname": page.title}, starts_at=page.at)
    group = GroupMessage(key=f"incident:{page.incident}", labels=page.labels, firing=(alert,))
    words = Words(page.title, page.text, page.link)
    return Notification(id=page.id, channel=page.channel, groups=(group,), at=page.at, words=words)


def test_the_next_channel(paging: Callable[[str], Escalations], phone: Receiver) -> None:
    """Mail cannot be sent: the same person's telephone gets the page, with its link, within seconds."""
    room = paging(", fallback: [phone]")
    room.begin(Subject("inc-1", "web is down", "SEV1", environment="production"))
    (got,) = phone.wait(1)
    said = got.body["opsbook"]["page"]
    assert said["title"] == "SEV1 production: web is down"
    assert said["url"].startswith("https://ops.example.com/answer/")
    assert ["mail", "phone"] == [page.channel for page in room.get("inc-1").pages]
    assert {"ana"} == {page.person for page in room.get("inc-1").pages}


def test_the_next_person(
    paging: Callable[[str], Escalations], phone: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No channel of theirs takes anything: the next step is paged soon, not after five minutes."""
    monkeypatch.setattr(plan, "UNREACHED", 0.5)
    room = paging("")
    room.begin(Subject("inc-1", "web is down"))
    (got,) = phone.wait(1)
    assert "web is down" in got.body["opsbook"]["page"]["title"]
    until(lambda: len(room.get("inc-1").pages) == 2)
    assert ["ana", "ben"] == [page.person for page in room.get("inc-1").pages]
