"""The strategies of the handbook as deployments keep them, so that an edit changes nothing under way."""

from __future__ import annotations

import difflib
from typing import Any

from opsbook.book.effective import EffectiveService
from opsbook.book.model import Book
from opsbook.deployment.model import CanaryStep, Pinning, ProbeLoad, Rule, Strategy
from opsbook.errors import NotFound


def settled_strategy(book: Book, effective: EffectiveService, wanted: str | None) -> Strategy:
    """The strategy as a deployment keeps it, percentages resolved to counts.

    Args:
        effective: the service as it is in the environment. wanted: the name of another strategy than its own.

    Raises:
        NotFound: there is none of that name.
    """
    if wanted is not None and wanted not in book.strategies:
        raise NotFound(
            f"there is no strategy {wanted}",
            hint=nearest(wanted, book.strategies),
            where="deployment/strategies.yaml",
        )
    chosen = book.strategies[wanted] if wanted is not None else effective.strategy
    replicas = max(1, effective.replicas)
    return Strategy(
        name=chosen.name,
        type=chosen.type,
        max_surge=chosen.max_surge.of(replicas, round_up=True),
        max_unavailable=chosen.max_unavailable.of(replicas, round_up=False),
        keep_previous=chosen.keep_previous,
        drain_timeout=chosen.drain_timeout,
        ready_for=chosen.ready_for,
        start_timeout=effective.health.start_timeout,
        watch=chosen.watch,
        crash_loop=chosen.crash_loop.restarts,
        crash_window=chosen.crash_loop.within,
        steps=tuple(
            CanaryStep(weight=max(1, round(step.weight * 100)), hold=step.hold) for step in chosen.steps
        ),
        rollback_on=tuple(chosen.rollback_on),
        analysis=tuple(
            Rule(
                metric=rule.metric,
                max=rule.max,
                min=rule.min,
                compare=rule.compare,
                limit=rule.limit,
                window=rule.window,
            )
            for rule in chosen.analysis
        ),
        min_samples=chosen.min_samples,
        inconclusive_after=chosen.inconclusive_after,
        on_inconclusive=chosen.on_inconclusive,
        on_no_data=chosen.on_no_data,
        on_error=chosen.on_error,
        dry_run=chosen.dry_run,
        baseline=chosen.baseline,
        sticky=chosen.sticky,
        pin=Pinning(header=chosen.pin.header, cookie=chosen.pin.cookie) if chosen.pin else None,
        probe_load=(
            ProbeLoad(path=chosen.probe_load.path, rate=chosen.probe_load.rate) if chosen.probe_load else None
        ),
    )


def nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"there are: {', '.join(sorted(known))}" if known else "there are none yet"
