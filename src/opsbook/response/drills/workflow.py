"""One drill, from the empty scratch place to the empty scratch place."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from opsbook.book import Book
from opsbook.book.drills import Drill, Stage, fill
from opsbook.book.runbooks import Runbook
from opsbook.errors import OpsbookError
from opsbook.response.drills import plan
from opsbook.response.drills.model import TEXT, Result
from opsbook.world.commands.scratch import Scratch

LOOK_EVERY = 0.5
QUIET_SECONDS = 60.0  # how long the alert may take to be silent before the fault is there
START_SECONDS = 90.0
DEPLOY_SECONDS = 120.0


class Stopped(Exception):
    """The drill cannot go on: at which stage, and why."""

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(reason)
        self.stage, self.reason = stage, reason


@dataclass(slots=True)
class Rehearsal:
    """See the module.

    Args:
        real: the handbook whose page it is; None for a page of the standard set.
        python: what `{python}` means. has: whether a program is there. root: whether one is root.
        say: is told of each stage, as it begins.
    """

    page: Runbook
    drill: Drill
    real: Book | None
    python: str
    has: Callable[[str], bool]
    root: bool
    say: Callable[[str], None] = lambda text: None
    standard: bool = False
    _place: Scratch | None = None
    _second: str = ""
    _answered: set[tuple[str, int]] = field(default_factory=set)

    def run(self) -> Result:
        """Run it; never raises for what the drill itself does. The scratch place is gone afterwards."""
        began = time.monotonic()
        head = self.drill.head
        result = Result(
            page=self.page.name, state="passed", fault=head.fault, alert=head.alert, at=time.time(),
            digest=self.page.digest, standard=self.standard,
        )  # fmt: skip
        if lacking := plan.missing(self.drill, self.has, self.root):
            return result.model_copy(update={"state": "skipped", "reason": "needs " + "; ".join(lacking)})
        found: dict[str, Any] = {}
        try:
            self._place = Scratch(self.drill.ports | {"spare"}, self.drill.folders)
            self._rehearse(self._place, found)
        except Stopped as stopped:
            found |= {"state": "failed", "stage": stopped.stage, "reason": stopped.reason[-TEXT:]}
        except OpsbookError as error:
            found |= {"state": "failed", "stage": "scratch", "reason": str(error)[-TEXT:]}
        finally:
            trouble = self._place.clear() if self._place is not None else ""
        if trouble and found.get("state") != "failed":
            found |= {"state": "failed", "stage": "undo", "reason": trouble[-TEXT:]}
        return result.model_copy(update={**found, "seconds": time.monotonic() - began})

    # --- the recipe

    def _rehearse(self, place: Scratch, found: dict[str, Any]) -> None:
        book = self._prepare(place)
        self._start(place, book)
        self._await_quiet(place)
        self.say(f"inject: {self.drill.head.fault}")
        self._stage(place, "inject")
        began = time.monotonic()
        self.say(f"detect: waiting for {self.drill.head.alert}")
        self._await_alert(place, firing=True, until=began + self.drill.head.detect_within, stage="detect")
        found["detect_seconds"] = time.monotonic() - began
        began = time.monotonic()
        until = began + self.drill.head.fix_within
        self.say(f"fix: running {self.page.name}")
        self._run_page(place, until)
        self.say(f"fix: waiting until {self.drill.head.alert} is over")
        self._await_alert(place, firing=False, until=until, stage="fix")
        found["fix_seconds"] = time.monotonic() - began
        self.say("verify")
        self._stage(place, "verify")
        self.say("undo")

    def _prepare(self, place: Scratch) -> Book:
        """The handbook, allowed and written."""
        files = plan.handbook(self.page, self.drill, lambda text: self._filled(place, text))
        book, problems = plan.loaded(files)
        if book is None:
            raise Stopped("handbook", "; ".join(str(problem) for problem in problems))
        if refused := plan.refusals(book, self.page, self._params(place), self.real):
            raise Stopped("refused", "; ".join(refused))
        for path, text in files.items():
            place.write(path, text)
        place.at_the_end([(act.shell, act.script, act.timeout) for act in self.drill.of_stage("undo")])
        return book

    def _start(self, place: Scratch, book: Book) -> None:
        self.say("set up: a scratch opsbook")
        self._opsbook(place, "set up", "up", "--detach", "--port", "0", timeout=START_SECONDS)
        self._stage(place, "setup")
        for environment, services in plan.to_deploy(book):
            self.say(f"set up: deploying {', '.join(services)} to {environment}")
            words = ("deploy", *services, "--to", environment, "--yes")
            self._opsbook(place, "set up", *words, timeout=DEPLOY_SECONDS)
        made = self._opsbook(
            place, "set up", "tokens", "create", "--for", plan.SECOND, "--name", "drill", "--json"
        )
        self._second = str(json.loads(made)["secret"])

    def _await_quiet(self, place: Scratch) -> None:
        """An alert that fires before anything is wrong would prove nothing."""
        until = time.monotonic() + QUIET_SECONDS
        silent = 0
        while silent < 3:
            silent = 0 if self._fires(place) else silent + 1
            if time.monotonic() > until:
                raise Stopped("set up", f"{self.drill.head.alert} fires before anything is wrong")
            time.sleep(LOOK_EVERY)

    def _await_alert(self, place: Scratch, *, firing: bool, until: float, stage: str) -> None:
        while self._fires(place) != firing:
            if time.monotonic() > until:
                what = "did not fire" if firing else "still fires"
                raise Stopped(
                    stage, f"{self.drill.head.alert} {what} in time; {self._alerts_in_words(place)}"
                )
            time.sleep(LOOK_EVERY)

    # --- the page

    def _run_page(self, place: Scratch, until: float) -> None:
        given = [
            word for name, value in self._params(place).items() for word in ("--param", f"{name}={value}")
        ]
        started = json.loads(self._opsbook(place, "fix", "run", self.page.name, *given, "--detach", "--json"))
        name = str(started["id"])
        while True:
            run = json.loads(self._opsbook(place, "fix", "runs", "show", name, "--json"))
            if run["state"] == "ended":
                if run["outcome"] != "succeeded":
                    raise Stopped("fix", f"{name} {run['outcome']}: {run['reason']}{_said(run)}")
                return
            if run.get("waiting"):
                self._answer(place, name, run["waiting"], len(run["steps"]))
            if time.monotonic() > until:
                raise Stopped("fix", f"{self.page.name} was not done in time{_said(run)}")
            time.sleep(LOOK_EVERY / 2)

    def _answer(self, place: Scratch, run: str, waiting: dict[str, Any], steps: int) -> None:
        """What the drill's people do where the page waits for one."""
        step, what = str(waiting["step"] or ""), str(waiting["what"])
        if (step, steps) in self._answered:
            return
        self._answered.add((step, steps))
        if what == "approval":
            self._opsbook(
                place, "fix", "runs", "approve", run, step, variables={"OPSBOOK_TOKEN": self._second}
            )
        elif what == "person":
            answer = self.drill.head.answers.get(step)
            if answer is None:
                raise Stopped("fix", f"{step} asks a person, and the drill's answers do not say what they do")
            if answer != "done":
                outcome = place.script("bash", answer, 60.0)
                if not outcome.ok:
                    raise Stopped("fix", f"the answer to {step} failed: {outcome.output[-500:]}")
            self._opsbook(place, "fix", "runs", "resume", run, "--note", "done, as the drill says")
        else:
            raise Stopped("fix", f"{run} waits for {waiting['text']}")

    # --- the tools

    def _stage(self, place: Scratch, stage: Stage) -> None:
        for act in self.drill.of_stage(stage):
            outcome = place.script(act.shell, act.script, act.timeout)
            if not outcome.ok:
                reason = outcome.reason or f"exit code {outcome.code}"
                raise Stopped(stage, f"line {act.line}: {reason}: {outcome.output.strip()[-1000:]}")

    def _opsbook(
        self,
        place: Scratch,
        stage: str,
        *words: str,
        timeout: float = 60.0,
        variables: dict[str, str] | None = None,
    ) -> str:
        done = place.opsbook(*words, timeout=timeout, variables=variables)
        if done.code != 0:
            why = "did not end in time" if done.timed_out else done.text.strip()[-1500:]
            raise Stopped(stage, f"opsbook {words[0]}: {why}")
        return done.output.decode("utf-8", "replace")

    def _fires(self, place: Scratch) -> bool:
        done = place.opsbook("alerts", "--json")
        try:
            alerts = json.loads(done.output)["alerts"]
        except (ValueError, KeyError):
            raise Stopped("alerts", f"opsbook alerts: {done.text.strip()[-500:]}") from None
        return any(one["name"] == self.drill.head.alert and one["state"] == "firing" for one in alerts)

    def _alerts_in_words(self, place: Scratch) -> str:
        return " ".join(place.opsbook("alerts", "--all").text.split())[-500:]

    def _params(self, place: Scratch) -> dict[str, str]:
        return {name: self._filled(place, value) for name, value in self.drill.head.params.items()}

    def _filled(self, place: Scratch, text: str) -> str:
        return fill(text, place.ports, place.folders, self.python)


def _said(run: dict[str, Any]) -> str:
    """The last step that did not go well, with the end of what it said."""
    bad = [step for step in run["steps"] if step["state"] != "ok"]
    if not bad:
        return ""
    last = bad[-1]
    output = last.get("output") or ""
    text = output if isinstance(output, str) else str(output.get("text", output))
    return f"; {last['step']} {last['state']} {last['reason']}: {text.strip()[-700:]}"
