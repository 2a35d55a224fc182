"""Strategies, hooks and pipelines as people write them, Kubernetes' spellings included."""

from __future__ import annotations

import pytest

from opsbook.book import (
    HOST_METRICS,
    NAMED_METRICS,
    Book,
    CountOrShare,
    Strategy,
    TextFiles,
    differences,
    load,
)  # fmt: skip
from opsbook.world.telemetry.named import NAMED

PIPELINE = """\
build:
  steps:
    - checkout: code
    - run: unit tests
lint: {steps: [check the style]}
deploy:
  strategy: blue-green
  steps:
    - switch: traffic
"""


def book_of(
    *, strategies: str = "", web: str = "{}", other: str = "{}", more: str = "", **files: str
) -> Book:
    texts = {
        "opsbook.yaml": "name: shop\n",
        "services/web.yaml": 'service: web\nrun: {command: [serve, "{port}"], port: http}\n',
        "services/worker.yaml": "service: worker\nrun: {command: [work]}\n",
        "environments/local.yaml": "environment: local\nentry: {port: 8080}\n"
        f"services:\n  web: {web}\n  worker:\n{more}",
        "environments/staging.yaml": f"environment: staging\nentry: {{port: 8081}}\nservices:\n  web: {other}\n",
    }
    if strategies:
        texts["deployment/strategies.yaml"] = f"strategies:\n{strategies}\n"
    return load(TextFiles.of(texts | files))


def strategy(text: str) -> Strategy:
    return book_of(web=f"{{strategy: {text}}}").effective("local", "web").strategy


def test_named_metrics_are_those_of_telemetry() -> None:
    """Every metric that telemetry computes may be written, and no other."""
    assert list(NAMED) == sorted(NAMED_METRICS, key=list(NAMED).index)
    assert {"disk_usage", "network_received", "network_sent"} == set(HOST_METRICS)


def test_how_a_canary_is_judged_has_defaults() -> None:
    """Left out, an undecided canary is taken back, one without requests waits, and every verdict counts."""
    canary = book_of().strategies["canary"]

    assert (50, 600.0, "rollback", "wait", "rollback") == (
        canary.min_samples, canary.inconclusive_after, canary.on_inconclusive, canary.on_no_data, canary.on_error
    )  # fmt: skip
    assert (False, False, False, None, None) == (
        canary.dry_run, canary.baseline, canary.sticky, canary.pin, canary.probe_load
    )  # fmt: skip
    assert [(0, 60.0)] == [(rule.limit, rule.window) for rule in canary.analysis]


def test_how_a_canary_is_judged_is_read_as_written() -> None:
    """Every key of the analysis comes out as what it says."""
    canary = strategy(
        "{type: canary, min_samples: 200, inconclusive_after: 1h, on_inconclusive: wait, on_no_data: rollback, "
        "on_error: wait, dry_run: true, baseline: true, sticky: true, pin: {cookie: canary}, probe_load: {}, "
        "analysis: [{metric: error_rate, max: 1%, limit: 2, window: 30s}]}"
    )

    assert (200, 3600.0, "wait", "rollback", "wait", True, True, True) == (
        canary.min_samples, canary.inconclusive_after, canary.on_inconclusive, canary.on_no_data, canary.on_error,
        canary.dry_run, canary.baseline, canary.sticky,
    )  # fmt: skip
    assert canary.pin is not None
    assert (None, "canary") == (canary.pin.header, canary.pin.cookie)
    assert canary.probe_load is not None
    assert ("/", 5.0) == (canary.probe_load.path, canary.probe_load.rate)
    assert [(0.01, 2, 30.0)] == [(rule.max, rule.limit, rule.window) for rule in canary.analysis]


ONE = CountOrShare(count=1)


@pytest.mark.parametrize(
    ("written", "type_", "surge", "unavailable"),
    [
        ("blue-green", "blue-green", ONE, CountOrShare(count=0)),
        ("BlueGreen", "blue-green", ONE, CountOrShare(count=0)),
        ("RollingUpdate", "rolling", ONE, CountOrShare(count=0)),
        ("{type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 1}}", "rolling", ONE, ONE),
        ("{type: rollingupdate, maxSurge: 25%}", "rolling", CountOrShare(ratio=0.25), CountOrShare(count=0)),
        ("{type: RECREATE}", "recreate", ONE, CountOrShare(count=0)),
    ],
)  # fmt: skip
def test_other_spellings_mean_the_same(
    written: str, type_: str, surge: CountOrShare, unavailable: CountOrShare
) -> None:
    """What Kubernetes and other tools write is understood, in a placement and in strategies.yaml."""
    found = strategy(written)
    assert (type_, surge, unavailable) == (found.type, found.max_surge, found.max_unavailable)

    if written.startswith("{"):
        named = book_of(strategies=f"  gentle: {written}").strategies["gentle"]
        assert (type_, surge, unavailable) == (named.type, named.max_surge, named.max_unavailable)


def test_a_canary_of_one_step_is_short() -> None:
    """10 % for 30 minutes, as one says it; everything else is the built-in canary's."""
    canary = strategy("{type: canary, weight: 10%, duration: 30m}")

    assert [(0.1, 1800.0)] == [(step.weight, step.hold) for step in canary.steps]
    assert ("canary", book_of().strategies["canary"].analysis) == (canary.name, canary.analysis)


def test_a_name_of_ones_own_is_never_taken_for_a_spelling() -> None:
    """A strategy that is called nearly as a type is still the one that was written."""
    book = book_of(strategies="  rolling-update: {type: canary}", web="{strategy: rolling-update}")

    assert "canary" == book.effective("local", "web").strategy.type


def test_what_differs_in_place_is_told() -> None:
    """Two strategies of one name are compared by what they say."""
    book = book_of(web="{strategy: {type: Rolling, maxSurge: 2}}", other="{strategy: rolling}")
    told = [(found.field, found.left, found.right) for found in differences(book, "local", "staging")]

    assert [("strategy.max_surge", "2", "1"), ("service", "there", "not there")] == told


def test_a_pipeline_is_read_in_its_order() -> None:
    """A verb and its object are a step; stages of ones own stand where they are written."""
    pipeline = book_of(**{"deployment/pipeline.yaml": PIPELINE}).pipeline

    assert pipeline is not None
    assert [
        ("build", ("checkout code", "run unit tests"), None),
        ("lint", ("check the style",), None),
        ("deploy", ("switch traffic",), "blue-green"),
    ] == [(stage.name, stage.steps, stage.strategy) for stage in pipeline.stages]
    assert book_of().pipeline is None


def test_the_pipelines_strategy_is_the_usual_one() -> None:
    """It holds where a placement names none; a worker is still recreated, and a name of ones own wins."""
    files = {"deployment/pipeline.yaml": "deploy: {strategy: rolling}\n"}
    book = book_of(other="{strategy: canary}", **files)

    assert ["rolling", "recreate", "canary"] == [
        book.effective(*place).strategy.name
        for place in (("local", "web"), ("local", "worker"), ("staging", "web"))
    ]


def test_hooks_are_commands_with_a_timeout() -> None:
    """A bare list is a command; five minutes are the default; without the key there are none."""
    book = book_of(more="hooks:\n  before: [[make, check], {command: [make, backup], timeout: 10m}]\n")
    hooks = book.environments["local"].hooks

    assert [(("make", "check"), 300.0), (("make", "backup"), 600.0)] == [
        (hook.command, hook.timeout) for hook in hooks.before
    ]
    assert ((), ()) == (hooks.after, book.environments["staging"].hooks.before)


def test_promotion_is_required_unless_it_is_said_otherwise() -> None:
    """`promote_from` alone refuses what has not succeeded there."""
    usual, lax = (
        book_of(more=f"promote_from: staging\n{rest}").environments["local"]
        for rest in ("", "require_promotion: false\n")
    )

    assert (True, False) == (usual.require_promotion, lax.require_promotion)
