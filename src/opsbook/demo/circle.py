"""The act that closes the circle: alert, incident, page, way back, post-mortem; two words of it are typed by people."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from opsbook.demo.play import LATE, Play, Scene
from opsbook.errors import Failed

_LONGEST = 40.0
_SHOWN = 12  # lines of the page and of the post-mortem


def late_errors(play: Play) -> None:
    """A version that is well for a while, is deployed, and then fails: what opsbook and people do about it."""
    play.narrator.step(
        f"web {LATE} is well when it is deployed, and fails eight seconds later",
        "The alert opens an incident with its diagnosis, pages who is on call, and takes the release back",
    )
    phone = play.answer_phone()
    play.stage.write_version("web", LATE, fault="late")
    began = time.monotonic()
    ended = play.type("deploy", "web", "--to", "local", "--version", LATE)
    play.promise("it is deployed like any other", ended.code == 0)
    page = phone.wait(1, seconds=_LONGEST)
    play.narrator.output(
        f"the phone of who is on call rings, {time.monotonic() - began:.1f} s after the deployment began:"
    )
    for line in (page["title"], *page["text"].splitlines()[:_SHOWN]):
        play.narrator.output(f"  {line}")
    name = _newest(play)
    play.promise(
        "the page names the bad release as the first suspect",
        any(LATE in line for line in page["text"].splitlines()),
        "it does not",
    )
    play.type("ack")
    _until(play, "web is back at 4.0", lambda: play.commands.service("web")["version"] == "4.0")
    _until(
        play,
        "the alert is over, so the incident is mitigated",
        lambda: _incident(play, name)["state"] == "mitigated",
    )
    play.type("resolve", "5.0 reads prices from a cache that is empty after eight seconds")
    _until(play, "the post-mortem is written", lambda: bool(_incident(play, name)["postmortem"]))
    _postmortem(play, name)
    play.scenes.append(
        Scene(f"web {LATE}, errors after its deployment", "taken back by its alert", time.monotonic() - began)
    )
    play.nothing_lost()


def _postmortem(play: Play, name: str) -> None:
    incident = _incident(play, name)
    path = play.stage.folder / "ops" / incident["postmortem"]
    text = path.read_text()
    suspects = incident["suspects"]
    play.promise(
        "its first suspect is the bad release",
        bool(suspects) and LATE in f"{suspects[0]['text']} {suspects[0]['why']}",
        f"suspects are {[one['text'] for one in suspects]}",
    )
    play.promise("it has a plot", path.with_suffix(".svg").exists(), "there is none")
    if play.stage.git:
        play.promise(
            "it is committed", incident["postmortem"] in play.stage.last_commits(), "git does not have it"
        )
    play.narrator.output(f"ops/{incident['postmortem']} begins:")
    for line in [line for line in text.splitlines() if line.strip()][: 2 * _SHOWN]:
        play.narrator.output(f"  {line}")
    play.type("incidents", "show", name)


def _newest(play: Play) -> str:
    """The incident that is open."""
    found: list[dict[str, Any]] = play.commands.read("incidents", "list", expect=(0, 1))["incidents"]
    if not found:
        raise Failed("no incident was opened")
    return str(found[0]["id"])


def _incident(play: Play, name: str) -> dict[str, Any]:
    found: dict[str, Any] = play.commands.read("incidents", "show", name, expect=(0, 1))
    return found


def _until(play: Play, what: str, so: Callable[[], bool], seconds: float = _LONGEST) -> None:
    deadline = time.monotonic() + seconds
    while not so():
        if time.monotonic() > deadline:
            play.promise(what, False, f"not within {seconds:g} s")
            return
        time.sleep(0.2)
    play.promise(what, True)
