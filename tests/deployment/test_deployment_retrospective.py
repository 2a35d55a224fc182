"""Judging once more what was measured: pure, on readings made up here."""

from __future__ import annotations

from opsbook.deployment.analysis import Counts, Reading
from opsbook.deployment.keeping import thinned
from opsbook.deployment.model import Deployment, Outcome, Phase, Placement, Rule, Strategy
from opsbook.deployment.readings import Taken
from opsbook.deployment.retrospective import replayed, retrospective

STRICT = Strategy(name="strict", type="canary", analysis=(Rule(metric="error_rate", compare="stable"),))
LAX = Strategy(name="lax", type="canary", analysis=(Rule(metric="error_rate", max=0.5),))


def taken(rate: float, *, looks: int = 60, window: int = 0, at: float = 1000.0) -> list[Taken]:
    """A canary with this rate of errors beside a stable with almost none, 20 requests a second each."""
    return [
        Taken(
            0,
            window,
            Reading(
                at + look,
                Counts(20 * look, round(20 * look * rate)),
                Counts(20 * look, 0),
                metrics={"error_rate ≤ 0.5": rate},
            ),
        )
        for look in range(looks)
    ]


def deployment(**changes: object) -> Deployment:
    return Deployment.model_validate(
        {
            "id": "d-1", "rollout": "r-1", "kind": "deploy", "service": "web", "environment": "production",
            "version": "2.0", "release": "web-bb", "replicas": 2,
            "before": Placement(environment="production", service="web", release="web-aa", version="1.0"),
            "strategy": STRICT, "requested_by": "ana", "requested_at": 900.0, "phase": Phase.DONE,
            "outcome": Outcome.SUCCEEDED, "finished_at": 1100.0, **changes,
        }
    )  # fmt: skip


def test_a_bad_canary_would_have_been_stopped_when_the_evidence_was_there() -> None:
    """The strict strategy stops it after some looks, the lax one never."""
    strict = retrospective(deployment(), STRICT, taken(0.2), ())["would"]
    assert strict["stopped"]
    assert 0 < strict["seconds"] < 30
    assert strict["requests"] == 20 * strict["seconds"]
    lax = retrospective(deployment(), LAX, taken(0.2), ())["would"]
    assert ("pass", False) == (lax["verdict"], lax["stopped"])


def test_what_was_kept_is_judged_as_what_was_seen() -> None:
    """Writing readings down and reading them again changes no verdict."""
    seen = taken(0.1)
    kept = [Taken.from_json(one.to_json()) for one in seen]
    assert seen == kept
    assert replayed(STRICT, seen, ()).judgements == replayed(STRICT, kept, ()).judgements


def test_counting_anew_is_no_counter_that_went_back() -> None:
    """In each window requests count from zero; the evidence goes on."""
    both = taken(0.0, looks=20) + taken(0.0, looks=20, window=1, at=1020.0)
    assert {"error"}.isdisjoint(judgement.verdict for _, judgement in replayed(STRICT, both, ()).judgements)
    assert 2 * 19 * 20 == retrospective(deployment(), STRICT, both, ())["would"]["requests"]


def test_without_readings_or_rules_nothing_is_said() -> None:
    """An old deployment, and a strategy that judges by nothing."""
    assert retrospective(deployment(), STRICT, [], ())["would"] is None
    assert retrospective(deployment(), Strategy(name="plain", type="canary"), taken(0.1), ())["would"] is None


def test_a_long_chart_keeps_its_beginning() -> None:
    """However many points come, the first and the latest are there, in order, and there are never too many."""
    kept: list[int] = []
    for number in range(10_000):
        kept = thinned([*kept, number], 900)
        assert len(kept) <= 900
    assert (0, 9_999) == (kept[0], kept[-1])
    assert sorted(kept) == kept
    assert kept[-300:] == list(range(9_700, 10_000))
