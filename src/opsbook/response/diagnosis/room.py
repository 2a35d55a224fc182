"""The room: diagnoses are made here, told as they come, and the last one of each service is kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from opsbook.book import Book
from opsbook.errors import NotFound, OpsbookError
from opsbook.response.diagnosis import kinds
from opsbook.response.diagnosis.checks import LOOKS, Look
from opsbook.response.diagnosis.conclusion import concluded, neighbours
from opsbook.response.diagnosis.model import Diagnosis, plain
from opsbook.response.diagnosis.ports import Site
from opsbook.response.diagnosis.running import Looking
from opsbook.response.diagnosis.scene import Scene
from opsbook.response.diagnosis.work import Work

BUDGET = 8.0
"""Seconds. A page waits ten for its diagnosis, and the message itself takes some time."""

AT_ONCE = 4  # diagnoses; the others wait for their turn
REMEMBERED = 200  # that can be asked for by their ids
COUNTER = "diagnosis/counter"
TICK = 1.0  # seconds between two signs of life to those who follow


def last_key(environment: str, service: str) -> str:
    return f"diagnosis/last/{environment}/{service}"


class Diagnoses:
    """Looks at services.

    One diagnosis of a service is under way at a time; who asks meanwhile gets that one.
    """

    def __init__(self, site: Site, looks: tuple[Look, ...] = LOOKS) -> None:
        self._site = site
        self._looks = looks
        self._looking = Looking(site.clock)
        self._guard = threading.Lock()
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._works: OrderedDict[str, Work] = OrderedDict()
        self._under_way: dict[tuple[str, str, bool, str], Work] = {}
        self._number = 0
        self._closed = False

    def start(self) -> None:
        """Nothing goes on by itself: a diagnosis that a crash ended is simply made again."""

    def close(self) -> None:
        """Wake those who follow; what is being looked at is left alone."""
        self._closed = True
        for work in tuple(self._works.values()):
            with work.changed:
                work.changed.notify_all()

    # --- making

    def make(
        self,
        environment: str,
        service: str,
        actor: str = "opsbook",
        *,
        incident: str = "",
        alert: str = "",
        budget: float = BUDGET,
        run_pages: bool = True,
    ) -> Diagnosis:
        """Look, and wait for what comes of it: `budget` seconds and a moment, and as long as it waits for its turn.

        Args:
            service: empty: the machines, and what else belongs to no service; `environment` may be empty then.
            incident, alert: what it is for; runs of pages carry both.
            budget: seconds. Looks that take longer are said to be unknown.
            run_pages: run the diagnose blocks of the pages that firing alerts name.

        Raises:
            NotFound: the handbook has no such service, or not in this environment.
        """
        work = self._begin(
            environment, service, actor, incident=incident, alert=alert, budget=budget, run_pages=run_pages
        )
        with work.changed:
            work.changed.wait_for(lambda: work.ended)
        if work.error is not None:
            raise work.error
        assert work.diagnosis is not None
        return work.diagnosis

    def begin(
        self,
        environment: str,
        service: str,
        actor: str = "opsbook",
        *,
        incident: str = "",
        alert: str = "",
        budget: float = BUDGET,
        run_pages: bool = True,
    ) -> str:
        """As `make`, without waiting: its id, by which `follow` and `view` know it."""
        return self._begin(
            environment, service, actor, incident=incident, alert=alert, budget=budget, run_pages=run_pages
        ).id

    def _begin(
        self,
        environment: str,
        service: str,
        actor: str,
        *,
        incident: str,
        alert: str,
        budget: float,
        run_pages: bool,
    ) -> Work:
        book = self._known(environment, service)
        key = (environment, service, run_pages, incident)
        with self._guard:
            known = self._under_way.get(key)
            if known is not None:
                return known
            self._number = max(self._number, self._counted()) + 1
            work = Work(
                f"diag-{self._number}",
                environment,
                service,
                self._site.clock.now(),
                looks=tuple(look for look in self._looks if service or not look.of_services),
            )
            self._under_way[key] = work
            self._works[work.id] = work
            while len(self._works) > REMEMBERED:
                self._works.popitem(last=False)

        def go() -> None:
            try:
                with self._turns:
                    scene_of = self._scene(book, work, actor, incident, alert, run_pages=run_pages)
                    made = self._made(work, scene_of, budget)
                self._end(work, made, None)
            except OpsbookError as error:
                self._end(work, None, error)
            except Exception as error:  # whoever waits for it is told
                self._end(work, None, OpsbookError(f"the diagnosis broke: {type(error).__name__}: {error}"))
            finally:
                with self._guard:
                    self._under_way.pop(key, None)

        threading.Thread(target=go, name=work.id, daemon=True).start()
        return work

    def _counted(self) -> int:
        try:
            return int(self._site.journal.state.get(COUNTER) or 0)
        except OpsbookError:
            return 0  # the store is away: somebody is to be told what is wrong all the same

    def _scene(
        self, book: Book, work: Work, actor: str, incident: str, alert: str, *, run_pages: bool
    ) -> Callable[[Callable[[], bool]], Scene]:
        site = self._site
        alerts = tuple(site.alerts())
        now = site.clock.now()
        moment = site.moment() if site.moment is not None else now
        needs, affected = neighbours(book, work.environment, work.service) if work.service else ((), ())

        def scene_of(stop: Callable[[], bool]) -> Scene:
            return Scene(
                site=site, book=book, environment=work.environment, service=work.service, alerts=alerts,
                now=now, moment=moment, depends_on=needs, affected=affected, actor=actor, incident=incident,
                alert=alert, run_pages=run_pages, stop=stop,
            )  # fmt: skip

        return scene_of

    def _made(self, work: Work, scene_of: Callable[[Callable[[], bool]], Scene], budget: float) -> Diagnosis:
        began = self._site.clock.monotonic()
        for check in self._looking.run(work.looks, scene_of, budget):
            with work.changed:
                work.checks.append(check)
                work.changed.notify_all()
        order = [look.name for look in work.looks]
        checks = tuple(sorted(work.checks, key=lambda check: order.index(check.name)))
        made = concluded(work.id, work.at, scene_of(lambda: False), checks, self._version(work))
        made = made.model_copy(update={"seconds": round(self._site.clock.monotonic() - began, 3)})
        return self._kept(made)

    def _version(self, work: Work) -> str:
        records = self._site.deployments
        try:
            known = records is not None and work.service
            return records.placement(work.environment, work.service).version if records and known else ""
        except OpsbookError:
            return ""  # the look at changes has said why

    def _kept(self, made: Diagnosis) -> Diagnosis:
        data = {
            "id": made.id,
            "incident": made.incident,
            "alert": made.alert,
            "state": made.state,
            "symptom": made.symptom,
            "since": made.since,
            "suspects": [
                {
                    "kind": one.kind,
                    "subject": one.subject,
                    "text": one.text,
                    "score": one.score,
                    "event": one.event,
                }
                for one in made.suspects
            ],
            "runbook": made.runbook.name if made.runbook is not None else "",
            "next": made.next.command,
            "checks": {check.name: check.state for check in made.checks},
            "seconds": made.seconds,
        }
        number = int(made.id.rpartition("-")[2])
        put = {COUNTER: number, last_key(made.environment, made.service): made.to_json()}
        try:
            self._site.journal.append(kinds.MADE.name, made.subject, data, actor=made.actor, put=put)
        except OpsbookError as error:
            return made.model_copy(update={"unkept": plain(str(error))})
        return made

    def _end(self, work: Work, made: Diagnosis | None, error: OpsbookError | None) -> None:
        with work.changed:
            work.diagnosis, work.error = made, error
            work.changed.notify_all()

    # --- looking

    def refuse_unless_known(self, environment: str, service: str) -> None:
        """Raises NotFound: the handbook has no such service, or not in this environment."""
        self._known(environment, service)

    def _known(self, environment: str, service: str) -> Book:
        book = self._site.book()
        if service:
            book.effective(environment, service)
        elif environment:
            book.environment(environment)
        return book

    def last(self, environment: str, service: str) -> Diagnosis | None:
        """The newest that was made of a service; None: there is none."""
        found = self._site.journal.state.get(last_key(environment, service))
        return Diagnosis.from_json(found) if found else None

    def listed(self) -> list[Diagnosis]:
        """The newest of each service, the newest first."""
        found = self._site.journal.state.items(last_key("", "").rstrip("/") + "/").values()
        return sorted((Diagnosis.from_json(one) for one in found), key=lambda one: -one.at)

    def under_way(self, environment: str, service: str) -> Work | None:
        """The one that is being made."""
        with self._guard:
            works = [one for one in self._works.values() if not one.ended]
        found = (one for one in reversed(works) if (one.environment, one.service) == (environment, service))
        return next(found, None)

    def environment_of(self, name: str) -> str:
        """Raises NotFound."""
        return str(self.view(name)["environment"])

    def view(self, name: str) -> dict[str, Any]:
        """A diagnosis as the API gives it, made or under way. Raises NotFound."""
        work = self._works.get(name)
        if work is not None:
            return work.to_json()
        kept = next((one for one in self.listed() if one.id == name), None)
        if kept is None:
            raise NotFound(
                f"there is no diagnosis {name[:40]}",
                hint="only the last one of each service is kept",
                where=name[:40],
            )
        return {"progress": "ended", **kept.to_json()}

    def follow(self, name: str, stop: Callable[[], bool] = lambda: False) -> Iterator[dict[str, Any] | None]:
        """Each check as it comes, then the diagnosis; None once a second in between.

        Raises:
            NotFound: there is none, at the first step.
        """
        work = self._works.get(name)
        if work is None:
            yield {"type": "diagnosis", **self.view(name)}
            return
        told = 0
        while not (stop() or self._closed):
            with work.changed:
                came = bool(work.checks[told:]) or work.ended or work.changed.wait(TICK)
                fresh, ended = work.checks[told:], work.ended
            yield from ({"type": "check", **check.to_json()} for check in fresh)
            told += len(fresh)
            if ended and told == len(work.checks):
                yield {"type": "diagnosis", **self.view(name)}
                return
            if not came:
                yield None
