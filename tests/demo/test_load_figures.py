"""The arithmetic of the load generator: figures, pace, options."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbook.demo.load.options import Target, parse
from opsbook.demo.load.pace import Pace
from opsbook.demo.load.tally import KEPT_FAILURES, Latencies, Tally


@given(st.lists(st.floats(1e-5, 60), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_is_within_a_percent_of_the_truth(seconds: list[float], share: float) -> None:
    """Buckets of 2 % width cannot be further off."""
    latencies = Latencies()
    for value in seconds:
        latencies.add(value)
    truth = sorted(seconds)[math.ceil(share * len(seconds)) - 1]
    assert latencies.percentile(share) == pytest.approx(truth, rel=0.0101)


@given(st.lists(st.sampled_from(["ok", "expected_errors", "failed", "abandoned", "open"]), max_size=80))
def test_nothing_that_was_sent_is_ever_forgotten(fates: list[str]) -> None:
    """Sent is ok plus expected errors plus failed plus abandoned plus open, at any time."""
    tally = Tally(0.0)
    for number, fate in enumerate(fates):
        tally.sent("http")
        if fate == "ok":
            tally.ok("http", seconds=0.01, at=1.0, version="1.0")
        elif fate == "expected_errors":
            tally.expected_error("http", at=1.0, version="1.0")
        elif fate == "failed":
            tally.failed("http", connection=number, cause="reset before the answer", at=1.0)
        elif fate == "abandoned":
            tally.abandoned("http")
    report = tally.report(2.0)
    expected = {name: fates.count(name) for name in ("ok", "expected_errors", "failed", "abandoned", "open")}
    assert {"sent": len(fates), **expected} == {name: report[name] for name in ("sent", *expected)}


def test_the_first_failures_are_kept_with_their_causes() -> None:
    """Twenty are enough to see what happened; all are counted by cause."""
    tally = Tally(0.0)
    for number in range(30):
        tally.sent("http")
        tally.failed("http", connection=number, cause="status 503", at=float(number))
    report = tally.report(30.0)
    assert [
        {"at": float(n), "kind": "http", "connection": n, "cause": "status 503"} for n in range(KEPT_FAILURES)
    ] == (report["failures"])
    assert report["causes"] == {"status 503": 30}


def test_versions_are_counted_with_the_time_of_their_first_answer() -> None:
    """That is when a new version began to serve."""
    tally = Tally(0.0)
    for at, version in ((1.0, "1.0"), (2.0, "2.0"), (3.0, "1.0")):
        tally.sent("http")
        tally.ok("http", seconds=0.01, at=at, version=version)
    assert tally.report(4.0)["versions"] == {
        "1.0": {"count": 2, "first_at": 1.0, "last_at": 3.0, "slow": 0, "errors": 0},
        "2.0": {"count": 1, "first_at": 2.0, "last_at": 2.0, "slow": 0, "errors": 0},
    }


def test_the_latest_figures_begin_anew_with_each_report() -> None:
    """The totals go on."""
    tally = Tally(0.0)
    tally.sent("http")
    tally.ok("http", seconds=0.01, at=0.5)
    first, second = tally.report(1.0), tally.report(2.0)
    assert (first["lately"]["ok"], second["lately"]["ok"]) == (1, 0)
    assert (first["ok"], second["ok"]) == (1, 1)


def test_requests_are_due_evenly() -> None:
    """Ten a second are a tenth of a second apart, whoever asks and when."""
    pace = Pace(10.0, now=100.0)
    assert [pytest.approx(pace.due(100.05)) for _ in range(4)] == [100.0, 100.1, 100.2, 100.3]


def test_arrears_are_made_up_for_up_to_a_second() -> None:
    """After a stall of a minute the server is not buried under a minute's requests."""
    pace = Pace(10.0, now=0.0)
    assert pace.due(60.0) == 59.0


def test_without_a_rate_every_request_is_due_now() -> None:
    """Flat out."""
    pace = Pace(0.0, now=0.0)
    assert [pace.due(5.0), pace.due(6.0)] == [5.0, 6.0]


def test_a_changed_rate_holds_from_now_on() -> None:
    """What was planned at the old rate is forgotten."""
    pace = Pace(1.0, now=0.0)
    pace.due(0.0)
    pace.change(100.0, now=0.5)
    assert [pytest.approx(pace.due(0.5)) for _ in range(2)] == [0.5, 0.51]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:80/", "http://localhost:80/", "http://127.8.8.8:80", "ws://[::1]:80/"]
)
def test_loopback_addresses_are_loaded(url: str) -> None:
    """All of 127/8 and ::1, and the one name that can mean nothing else."""
    assert parse(["--url", url]).http is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.7:80/",
        "http://example.com:80/",
        "http://0.0.0.0:80/",
        "http://127.0.0.1.example.com:80/",
        "http://[::ffff:192.0.2.7]:80/",
    ],
)
def test_other_addresses_are_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A load generator that is shipped with a program must not be a weapon."""
    with pytest.raises(SystemExit) as end:
        parse(["--url", url])
    assert end.value.code == 2
    assert "not a loopback address" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["https://127.0.0.1:443/", "http://127.0.0.1/", "127.0.0.1:80", ""])
def test_an_address_must_say_protocol_and_port(url: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(SystemExit):
        parse(["--url", url])


def test_the_query_belongs_to_the_path() -> None:
    """It is sent as it was written."""
    assert (
        Target("127.0.0.1", 8080, "/stream?events=3")
        == parse(["--url", "http://localhost:8080/stream?events=3"]).http
    )
