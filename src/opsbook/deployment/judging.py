"""A canary's step while it is held: what the verdict of the analysis means for the way on. Pure.

Only a pass, or a person, lets a step go on. Everything else waits or goes back, as the strategy says; nothing is ever
promoted because nobody could tell.
"""

from __future__ import annotations

from opsbook.deployment.looks import Action, Enter, Seen, Verdict, Wait, not_routed
from opsbook.deployment.model import Deployment, Phase, Reaction

_UNREAD = Verdict("no_data", "nothing has been measured yet")


def held(deployment: Deployment, seen: Seen, hold: float) -> Action | None:
    """What to do at this step; None when it may go on."""
    verdict = seen.verdict or _UNREAD
    judged = bool(deployment.strategy.analysis) and not deployment.strategy.dry_run
    if judged and verdict.kind == "fail":
        return Enter(Phase.ABORTING, verdict.reason)
    left = hold - seen.elapsed
    if left > 0:
        return Wait(f"{left:.0f} s more at this weight" + (f"; {verdict.reason}" if judged else ""))
    if waiting := not_routed(deployment.instances, seen):
        return Wait(waiting)
    if not judged or verdict.kind == "pass" or deployment.allowed_step >= deployment.step:
        return None
    return _undecided(deployment, verdict, over=-left)


def _undecided(deployment: Deployment, verdict: Verdict, *, over: float) -> Action:
    """The hold is over and there is no pass."""
    strategy = deployment.strategy
    reactions: dict[str, Reaction] = {
        "inconclusive": strategy.on_inconclusive,
        "no_data": strategy.on_no_data,
        "error": strategy.on_error,
    }
    limit = strategy.inconclusive_after
    if reactions[verdict.kind] == "rollback":
        if over > limit:
            return Enter(Phase.ABORTING, f"undecided for {limit:g} s beyond the hold: {verdict.reason}")
        return Wait(f"a verdict, for {limit - over:.0f} s more: {verdict.reason}")
    return Wait(f"a verdict or a person (opsbook approve {deployment.id}): {verdict.reason}")
