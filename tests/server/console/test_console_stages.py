"""A deployment as a row of stages, and as a sentence: pure."""

from __future__ import annotations

import pytest
from stand import CAREFUL

from opsbook.deployment.model import Deployment, Group, Member, Outcome, Phase, Placement, Transition
from opsbook.deployment.pages.sentences import Condition, figure, overall, sentence, service_condition
from opsbook.deployment.pages.stages import stages

BEFORE = Placement(
    environment="production", service="web", release="web-1", version="1.0", replicas=1, weights={"web-1": 100},
    groups=(Group(release="web-1", members=(Member(instance="a"),)),),
)  # fmt: skip
WALK = [
    (Phase.PENDING, "prepared"),
    (Phase.GATED, ""),
    (Phase.STARTING, ""),
    (Phase.READY, ""),
    (Phase.SHIFTING, "10 % of requests to 2.0"),
    (Phase.SHIFTING, "10 % of requests to 2.0"),
    (Phase.ANALYSING, ""),
    (Phase.SHIFTING, "50 % of requests to 2.0"),
    (Phase.ANALYSING, ""),
    (Phase.SHIFTING, "100 % of requests to 2.0"),
    (Phase.PROMOTING, ""),
    (Phase.DRAINING, ""),
]
NAMES = ["prepare", "gates", "start", "ready", "10 %", "50 %", "100 %", "promote", "drain"]


def deployment(length: int, step: int, **changes: object) -> Deployment:
    """One that has walked so far, ten seconds a phase."""
    transitions = tuple(
        Transition(at=100.0 + 10 * number, phase=phase, message=message)
        for number, (phase, message) in enumerate(WALK[:length])
    )
    made = Deployment(
        id="d-1", kind="deploy", service="web", environment="production", version="2.0", strategy=CAREFUL, replicas=1,
        release="web-2", instances=("b",), before=BEFORE, phase=WALK[length - 1][0], step=step, transitions=transitions,
    )  # fmt: skip
    return made.but(**changes)


def test_a_canary_under_way_stands_at_its_step() -> None:
    """What is behind it has its time, what comes is to come."""
    found = stages(deployment(7, 0))
    assert NAMES == [stage.name for stage in found]
    assert ["done"] * 4 + ["now"] + ["todo"] * 4 == [stage.state for stage in found]
    assert [10.0] * 4 == [stage.seconds for stage in found[:4]]
    assert 140.0 == found[4].since


def test_the_second_step_is_the_second_stage() -> None:
    """And the first one took as long as it was held."""
    found = stages(deployment(9, 1))
    assert ("10 %", "done", 30.0) == (found[4].name, found[4].state, found[4].seconds)
    assert ("50 %", "now") == (found[5].name, found[5].state)


def test_one_that_waits_at_the_gates_waits() -> None:
    """It does not look as if it were working."""
    assert "waiting" == stages(deployment(2, 0))[1].state


def test_one_that_succeeded_is_done_everywhere() -> None:
    """Also where a stage was passed too quickly to be noted."""
    done = deployment(12, 2, phase=Phase.DONE, outcome=Outcome.SUCCEEDED, finished_at=230.0)
    assert ["done"] * 9 == [stage.state for stage in stages(done)]


def test_one_that_is_taken_back_shows_where_it_failed_and_the_way_back() -> None:
    """And nothing of what will not come any more."""
    going = deployment(7, 0)
    back = (*going.transitions, Transition(at=170.0, phase=Phase.ABORTING, message="errors"))
    going = going.but(phase=Phase.ABORTING, transitions=back)
    found = stages(going)
    assert [*NAMES[:5], "take back"] == [stage.name for stage in found]
    assert ["done"] * 4 + ["failed", "now"] == [stage.state for stage in found]
    ended = going.but(phase=Phase.ROLLED_BACK, outcome=Outcome.ROLLED_BACK, finished_at=180.0)
    assert ("taken back", "done", 10.0) == (
        stages(ended)[-1].name,
        stages(ended)[-1].state,
        stages(ended)[-1].seconds,
    )


def test_one_that_failed_before_anything_ran_stops_there() -> None:
    """Refused at the gates."""
    failed = deployment(2, 0, phase=Phase.FAILED, outcome=Outcome.FAILED, finished_at=120.0)
    assert ["done", "failed"] + ["todo"] * 7 == [stage.state for stage in stages(failed)]


@pytest.mark.parametrize("length", range(1, 13))
@pytest.mark.parametrize("phase", [None, Phase.ABORTING, Phase.ROLLED_BACK, Phase.FAILED_NEEDS_HUMAN])
def test_there_is_a_row_for_every_state(length: int, phase: Phase | None) -> None:
    """Wherever it stands, exactly one stage at most is under way."""
    made = deployment(length, 0)
    if phase is not None:
        outcome = None if phase is Phase.ABORTING else Outcome.ROLLED_BACK
        made = made.but(phase=phase, outcome=outcome, finished_at=None if outcome is None else 400.0)
    states = [stage.state for stage in stages(made)]
    assert states.count("now") + states.count("waiting") <= 1


def view(**changes: object) -> dict[str, object]:
    return {
        "outcome": None, "phase": "analysing", "waiting_for": "", "transitions": [], "gates": [], "reason": "",
        "version": "2.0", "weights": {"2.0": 10, "1.0": 90}, "step": 0, "analysis": None, "serving": "2.0 serves web",
        "reverted_by": "", **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "2.0 gets 10 % of requests."),
        (
            {"analysis": {"verdict": "inconclusive", "reason": "12 of 50 requests"}},
            "2.0 gets 10 % of requests; undecided: 12 of 50 requests.",
        ),
        ({"outcome": "succeeded", "phase": "done"}, "2.0 serves web."),
        (
            {"outcome": "rolled_back", "phase": "rolled_back", "reason": "errors"},
            "Taken back by opsbook: errors.",
        ),
        ({"phase": "aborting", "reason": "errors"}, "Being taken back: errors."),
        (
            {
                "phase": "gated",
                "gates": [
                    {
                        "name": "approvals",
                        "status": "waiting",
                        "detail": "1 more of ben (opsbook approve d-1)",
                    }
                ],
            },
            "Waits at the gates: 1 more of ben.",
        ),
    ],
)
def test_a_deployment_is_one_sentence(changes: dict[str, object], said: str) -> None:
    """What happens, or how and why it ended."""
    assert said == sentence(view(**changes))


def service(**changes: object) -> dict[str, object]:
    return {
        "version": "1.0", "replicas": 2, "healthy": 2, "deployment": None, "instances": [], "weights": {"1.0": 100},
        **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "ok"),
        ({"healthy": 1}, "warning"),
        ({"healthy": 0}, "critical"),
        ({"version": None}, "unknown"),
        ({"replicas": 0, "healthy": 0}, "paused"),
        ({"deployment": {"id": "d-1", "phase": "analysing"}}, "running"),
        ({"deployment": {"id": "d-1", "phase": "gated"}}, "paused"),
        ({"deployment": {"id": "d-1", "phase": "analysing"}, "healthy": 0}, "critical"),
    ],
)
def test_a_service_has_one_state(changes: dict[str, object], state: str) -> None:
    """What is wrong comes before what is going on."""
    assert state == service_condition(service(**changes)).state


def test_the_overall_sentence_names_the_worst_and_counts_the_rest() -> None:
    """And is content only when all is well."""
    down, poor, well = (
        Condition("critical", "down", "it exits"),
        Condition("warning", "degraded"),
        Condition("ok", "well"),
    )
    said = overall([("production/web", down), ("production/api", poor), ("staging/web", well)], 2)
    assert ("critical", "production/web is down: it exits, and 1 more needs attention.") == (
        said.state,
        said.word,
    )
    assert "All 2 services in 1 environment are well." == overall([("a/b", well), ("a/c", well)], 1).word


def test_figures_are_in_the_unit_of_their_metric() -> None:
    """Shares in percent, times in milliseconds."""
    found = [
        figure("error_rate ≤ 0.02", 0.0175),
        figure("response_time_p95 against stable", 0.412),
        figure("x", None),
    ]
    assert ["1.75 %", "412 ms", "–"] == found
