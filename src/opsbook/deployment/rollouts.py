"""The story of a rollout: level after level in dependency order; back together, in reverse, when asked."""

from __future__ import annotations

import threading

from opsbook.deployment.model import Deployment, Outcome, Phase, Rollout
from opsbook.deployment.records import deployment_key, open_key, rollout_key
from opsbook.deployment.requests import Requests
from opsbook.deployment.site import Site
from opsbook.journal.durable import Interrupted


class Rollouts:
    """Runs rollouts; each deployment in it is a durable workflow of its own."""

    def __init__(self, site: Site, requests: Requests, stopping: threading.Event) -> None:
        self._site = site
        self._requests = requests
        self._stopping = stopping

    def run(self, name: str) -> str:
        """The durable workflow: bring rollout `name` to its end; returns its outcome."""
        rollout = self._site.records.rollout(name)
        for level in rollout.levels:
            for deployment in level:
                # Asked for already, unless opsbook died right after it had recorded the request.
                self._requests.supersede_others(self._site.records.deployment(deployment))
                self._site.durable.start("deployment", deployment)
            ended = [self._wait_for(deployment) for deployment in level]
            bad = next((found for found in ended if found.outcome is not Outcome.SUCCEEDED), None)
            if bad is not None:
                return self._stop_here(rollout, bad)
        return self._record(rollout, Outcome.SUCCEEDED)

    def _stop_here(self, rollout: Rollout, bad: Deployment) -> str:
        waiting = [d for d in map(self._site.records.deployment, rollout.deployments) if d.started_at is None]
        for deployment in waiting:
            if not deployment.finished:
                self._never_started(deployment, bad)
        if rollout.together:
            done = [self._site.records.deployment(name) for level in rollout.levels for name in level]
            for deployment in reversed([d for d in done if d.outcome is Outcome.SUCCEEDED]):
                self._take_back(rollout, deployment, bad)
        return self._record(rollout, bad.outcome or Outcome.FAILED)

    def _never_started(self, deployment: Deployment, bad: Deployment) -> None:
        reason = f"not started: {bad.service}, which comes before it, ended {bad.outcome}"
        ended = deployment.but(
            phase=Phase.FAILED, outcome=Outcome.FAILED, reason=reason, finished_at=self._site.clock.now()
        )
        self._site.journal.append(
            "deployment.failed",
            deployment.subject,
            {
                "id": deployment.id,
                "kind": deployment.kind,
                "version": deployment.version,
                "reason": reason,
                "seconds": 0.0,
            },
            actor="opsbook",
            put={deployment_key(deployment.id): ended.to_json(), open_key(deployment.id): None},
        )

    def _take_back(self, rollout: Rollout, deployment: Deployment, bad: Deployment) -> None:
        """Once only: a rollback that this rollout asked for already is waited for, not asked for again."""
        reason = f"rolled back together with {bad.service}"
        known = self._site.records.deployments(deployment.environment, deployment.service)
        asked = next((d for d in known if d.reverts == deployment.id), None)
        if asked is None and deployment.before.release and deployment.before.release != deployment.release:
            back = self._requests.rollback(
                deployment.service,
                deployment.environment,
                deployment.before.release,
                rollout.requested_by,
                automatic=True,
                reverts=deployment.id,
                reason=reason,
            )
            asked = self._site.records.deployment(back.deployments[0])
        if asked is not None:
            self._wait_for(asked.id)

    def _wait_for(self, name: str) -> Deployment:
        after = 0
        while not (deployment := self._site.records.deployment(name)).finished:
            if self._stopping.is_set():
                raise Interrupted
            after = self._site.journal.wait(after or self._site.journal.head().id, timeout=0.5)
        return deployment

    def _record(self, rollout: Rollout, outcome: Outcome) -> str:
        self._site.journal.state.put(rollout_key(rollout.id), rollout.but(outcome=outcome).to_json())
        return outcome
