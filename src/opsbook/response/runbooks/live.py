"""What runs say as they say it, for whoever watches; what is kept lies in the journal."""

from __future__ import annotations

import codecs
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from typing import Any

from opsbook.response.runbooks.model import Run
from opsbook.response.runbooks.records import Records
from opsbook.world.commands.masking import StreamMask
from opsbook.world.commands.words import Kept

_MOST_RUNS = 100
_MOST_CHARACTERS = 512 * 1024  # of one run's output that is held for those who come late


class Live:
    """The news of each run in this process."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._runs: OrderedDict[str, list[dict[str, Any]]] = OrderedDict()
        self._held: dict[str, int] = {}
        self._numbers: dict[str, list[int]] = {}  # of each of them, counted from the run's first

    def say(self, run: str, what: dict[str, Any]) -> None:
        with self._news:
            if run not in self._runs:
                self._runs[run], self._numbers[run], self._held[run] = [], [], 0
                while len(self._runs) > _MOST_RUNS:
                    gone, _ = self._runs.popitem(last=False)
                    del self._held[gone], self._numbers[gone]
            numbers = self._numbers[run]
            self._runs[run].append(what)
            numbers.append(numbers[-1] + 1 if numbers else 0)
            self._held[run] += len(what.get("text", ""))
            self._let_go(run)
            self._news.notify_all()

    def _let_go(self, run: str) -> None:
        """Of a flood the end is held: who watches sees what is written now; the rest is in the record."""
        news, at = self._runs[run], 0
        while self._held[run] > _MOST_CHARACTERS and at < len(news) - 1:
            if news[at]["type"] == "output":
                self._held[run] -= len(news.pop(at)["text"])
                del self._numbers[run][at]
            else:
                at += 1

    def _after(self, run: str, number: int) -> tuple[list[dict[str, Any]], int]:
        """What was said after that number, and the number of the last of it."""
        numbers = self._numbers.get(run, [])
        at = bisect_right(numbers, number)
        return self._runs.get(run, [])[at:], numbers[-1] if at < len(numbers) else number

    def said(self, run: str, step: str) -> str:
        """What the newest try of a step has written so far."""
        found: list[str] = []
        with self._news:
            for one in self._runs.get(run, ()):
                if one.get("step") != step:
                    continue
                if one["type"] == "started":
                    found.clear()
                elif one["type"] == "output":
                    found.append(one["text"])
        return "".join(found)

    def follow(
        self, name: str, records: Records, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[dict[str, Any] | None]:
        """All of a run's news from its beginning, as they come; None about once a second in between."""
        run = records.run(name)
        seen = -1
        with self._news:
            known = name in self._runs and self._runs[name][0]["type"] == "began"
        if not known:
            yield from told(run, records)
            with self._news:
                _, seen = self._after(name, seen)
            if run.ended:
                return
        while not stop():
            with self._news:
                if not self._after(name, seen)[0]:
                    self._news.wait(1.0)
                fresh, seen = self._after(name, seen)
            # What it waited for once, and got, is no news to those who come late.
            yield from (one for one in fresh if one["type"] != "waiting" or one is fresh[-1])
            if any(one["type"] == "end" for one in fresh):
                return
            if not fresh:
                yield None
                if (now := records.run(name)).ended:
                    yield ended(now)
                    return


def told(run: Run, records: Records) -> Iterator[dict[str, Any]]:
    """The news of a run as its record has them."""
    yield began(run)
    for one in run.steps:
        yield {
            "type": "started",
            "step": one.step,
            "role": one.role,
            "attempt": one.attempt,
            "at": one.started_at,
        }
        if text := records.output(run.id, one.number)["text"]:
            yield {"type": "output", "step": one.step, "text": text}
        if one.state != "started":
            yield {
                "type": "ended",
                "step": one.step,
                "state": one.state,
                "reason": one.reason,
                "seconds": one.seconds,
            }
    if run.ended:
        yield ended(run)
    elif run.waiting_for:
        yield {"type": "waiting", "for": run.waiting_for}


def began(run: Run) -> dict[str, Any]:
    return {"type": "began", "id": run.id, "page": run.page, "title": run.title, "at": run.requested_at}


def ended(run: Run) -> dict[str, Any]:
    seconds = (run.ended_at or 0.0) - (run.started_at or run.ended_at or 0.0)
    return {"type": "end", "outcome": run.outcome, "reason": run.reason, "seconds": seconds}


class Ear:
    """Hears one try: masks what comes, hands it to those who watch, and keeps the two ends of it."""

    def __init__(self, say: Callable[[str], None], secrets: Collection[str], *, sensitive: bool) -> None:
        self._say = say
        self._mask = StreamMask(secrets)
        self._sensitive = sensitive
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.kept = Kept()

    def hear(self, chunk: bytes) -> None:
        if not self._sensitive:
            self._keep(self._mask.feed(chunk))

    def end(self) -> None:
        self._keep(b"" if self._sensitive else self._mask.flush(), final=True)

    def masked(self, text: str) -> str:
        return self._mask.text(text)

    def _keep(self, chunk: bytes, *, final: bool = False) -> None:
        self.kept.add(chunk)
        if text := self._decoder.decode(chunk, final):
            self._say(text)
