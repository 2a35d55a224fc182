"""The commands that an environment wants run before and after each deployment, one after the other."""

from __future__ import annotations

from typing import Literal

from opsbook.book import Hook
from opsbook.deployment.commands import Commands
from opsbook.deployment.gates import HookRecord, HookResult
from opsbook.deployment.model import Deployment
from opsbook.deployment.site import Site

When = Literal["before", "after"]


class HookRunner:
    """Runs those that have not run yet; each result is recorded as it comes, so a crash repeats one at most."""

    def __init__(self, site: Site, commands: Commands) -> None:
        self._site = site
        self._commands = commands

    def wanted(self, deployment: Deployment, when: When) -> tuple[Hook, ...]:
        """What the handbook asks for; nothing of anything but a deploy."""
        environment = self._site.book().environments.get(deployment.environment)
        if environment is None or deployment.kind != "deploy":
            return ()
        return environment.hooks.before if when == "before" else environment.hooks.after

    def record(self, name: str) -> HookRecord:
        document = self._site.journal.state.get(_key(name))
        return HookRecord() if document is None else HookRecord.model_validate(document)

    def run(self, name: str, when: When) -> None:
        """Run what is left, up to the first that fails, or until the deployment is aborted."""
        deployment = self._site.records.deployment(name)
        for hook in self.wanted(deployment, when)[len(results(self.record(name), when)) :]:
            present = self._site.records.deployment(name)
            if present.abort is not None or present.finished:
                return
            ran = self._commands.run(hook.command, hook.timeout, deployment)
            result = HookResult(
                command=hook.command, passed=ran.passed, detail=ran.detail, seconds=round(ran.seconds, 3)
            )
            record = self.record(name)
            grown = record.but(**{when: (*results(record, when), result)})
            self._site.journal.append(
                "deployment.hook",
                deployment.subject,
                {"id": name, "stage": when, **result.to_json(), "output": ran.output},
                actor="opsbook",
                put={_key(name): grown.to_json()},
            )
            if not ran.passed:
                return


def results(record: HookRecord, when: When) -> tuple[HookResult, ...]:
    return record.before if when == "before" else record.after


def _key(name: str) -> str:
    return f"hooks/{name}"
