"""Canaries on real processes behind the real proxy, judged by what the proxy counted."""

from __future__ import annotations

from workshop import Customers, Workshop, until

CANARY = """
strategies:
  canary:
    steps: [{weight: 25%, hold: 3s}]
    min_samples: 20
    inconclusive_after: 4s
    analysis:
      - {metric: error_rate, max: 5%}
      - {metric: error_rate, compare: stable}
      - {metric: response_time_p95, compare: stable}
"""


def canary(workshop: Workshop, extra: str = "") -> None:
    text = CANARY.replace("    min_samples", f"    {extra}\n    min_samples") if extra else CANARY
    workshop.book("deployment/strategies.yaml", text)
    workshop.environment("  web: {replicas: 2, strategy: canary}\n")
    workshop.deploy("1.0")


def test_a_good_canary_is_promoted_by_its_evidence(workshop: Workshop) -> None:
    """Equal versions pass; the journal says by which numbers; no request is lost."""
    canary(workshop)
    (workshop.root / "web" / "note.txt").write_text("2")
    with Customers(workshop, connections=6) as customers:
        ended = workshop.deploy("2.0")
    assert ended["outcome"] == "succeeded", ended["reason"]
    assert customers.failures == []
    assert workshop.get() == (200, "2.0")
    judged = [event.data for event in workshop.journal.events(kinds=["deployment.judged"])]
    assert judged[-1]["verdict"] == "pass"
    assert {rule["name"] for rule in judged[-1]["rules"]} == {
        "error_rate ≤ 0.05",
        "error_rate against stable",
        "response_time_p95 against stable",
    }
    points = workshop.room.analysis(ended["id"])["points"]
    assert points[-1]["canary"]["requests"] >= 20


def test_a_canary_that_errs_is_reverted_before_its_hold_is_over(workshop: Workshop) -> None:
    """One in three requests fails: it is taken back with the evidence, and customers meet few failures."""
    canary(workshop, "ready_for: 0s")
    workshop.book("deployment/strategies.yaml", CANARY.replace("hold: 3s", "hold: 60s"))
    workshop.behave("errors 0.33")
    with Customers(workshop, connections=6) as customers:
        ended = workshop.deploy("2.0")
    assert ended["outcome"] == "rolled_back", ended["reason"]
    assert "error" in ended["reason"]
    assert all(failure.startswith("503 2.0") for failure in customers.failures)
    assert workshop.placement().weights == {workshop.placement().release: 100}
    assert workshop.placement().version == "1.0"
    assert [hold.version for hold in workshop.placement().holds] == ["2.0"]
    aborting = next(t for t in ended["transitions"] if t["phase"] == "aborting")
    assert aborting["evidence"]["verdict"] == "fail"


def test_a_slow_canary_is_reverted_by_rank(workshop: Workshop) -> None:
    """No request fails, but every one takes longer than stable's: the comparison by rank takes it back."""
    canary(workshop)
    workshop.book("deployment/strategies.yaml", CANARY.replace("hold: 3s", "hold: 60s"))
    workshop.behave("latency 0.08")
    with Customers(workshop, connections=6) as customers:
        ended = workshop.deploy("2.0")
    assert ended["outcome"] == "rolled_back", ended["reason"]
    assert "p95" in ended["reason"]
    assert customers.failures == []


def test_a_canary_nobody_asks_is_not_promoted(workshop: Workshop) -> None:
    """Without requests there is no evidence: it waits for a person, who may let it go on."""
    canary(workshop)
    (workshop.root / "web" / "note.txt").write_text("2")
    asked = workshop.deploy("2.0", wait=False)
    until(lambda: "a person" in workshop.room.view(asked["id"])["waiting_for"], 30, "it to wait for a person")
    assert workshop.placement().version == "1.0"
    workshop.room.requests.allow(asked["id"], "ben", "nobody shops at night")
    assert workshop.ended(asked["id"])["outcome"] == "succeeded"
    assert [event.actor for event in workshop.journal.events(kinds=["deployment.allowed"])] == ["ben"]


def test_synthetic_requests_reach_the_canary_alone(workshop: Workshop) -> None:
    """With a probe load a canary without users is judged all the same, and stable gets none of it."""
    canary(workshop)
    workshop.book(
        "deployment/strategies.yaml",
        CANARY.replace("    min_samples", "    probe_load: {path: /, rate: 50}\n    min_samples").replace(
            "      - {metric: error_rate, compare: stable}\n      - {metric: response_time_p95, compare: stable}\n",
            "",
        ),
    )
    (workshop.root / "web" / "note.txt").write_text("2")
    ended = workshop.deploy("2.0")
    assert ended["outcome"] == "succeeded", ended["reason"]
    last = workshop.room.analysis(ended["id"])["points"][-1]
    assert last["canary"]["requests"] >= 20
    assert last["stable"]["requests"] == 0


def test_pinned_requests_meet_the_canary(workshop: Workshop) -> None:
    """A header brings a tester to the canary, whatever its weight."""
    import http.client

    canary(workshop)
    workshop.book(
        "deployment/strategies.yaml",
        CANARY.replace("    min_samples", "    pin: {header: x-canary}\n    min_samples").replace(
            "hold: 3s", "hold: 60s"
        ),
    )
    (workshop.root / "web" / "note.txt").write_text("2")
    asked = workshop.deploy("2.0", wait=False)
    workshop.in_phase(asked["id"], "analysing")
    for _ in range(10):
        connection = http.client.HTTPConnection("127.0.0.1", workshop.port, timeout=10)
        connection.request("GET", "/", headers={"X-Canary": "yes"})
        assert connection.getresponse().read().decode().strip() == "2.0"
        connection.close()
    workshop.room.requests.abort(asked["id"], "seen enough", "ben")
    assert workshop.ended(asked["id"])["outcome"] == "aborted"
    assert workshop.placement().trial is None


def test_dry_run_records_and_does_not_act(workshop: Workshop) -> None:
    """In a dry run a failing verdict stands in the journal, and the hold alone decides."""
    canary(workshop)
    workshop.book(
        "deployment/strategies.yaml", CANARY.replace("    min_samples", "    dry_run: true\n    min_samples")
    )
    workshop.behave("errors 0.5")
    with Customers(workshop, connections=4):
        ended = workshop.deploy("2.0")
    assert ended["outcome"] == "succeeded", ended["reason"]
    assert "fail" in [event.data["verdict"] for event in workshop.journal.events(kinds=["deployment.judged"])]


def test_baseline_is_compared_and_leaves(workshop: Workshop) -> None:
    """Fresh instances of the stable version are what the canary is compared with; they are gone afterwards."""
    canary(workshop)
    workshop.book(
        "deployment/strategies.yaml", CANARY.replace("    min_samples", "    baseline: true\n    min_samples")
    )
    (workshop.root / "web" / "note.txt").write_text("2")
    with Customers(workshop, connections=6) as customers:
        ended = workshop.deploy("2.0")
    assert ended["outcome"] == "succeeded", ended["reason"]
    assert customers.failures == []
    assert not any(group.release.endswith("~baseline") for group in workshop.placement().groups)


WATCHED = """
strategies:
  watched:
    type: blue-green
    watch: 60s
    min_samples: 20
    analysis: [{metric: error_rate, max: 5%}]
"""


def test_errors_after_the_end_are_taken_back_by_the_watch_window(workshop: Workshop) -> None:
    """A version that passed and errs with customers is rolled back by its limit; the evidence is kept and told."""
    workshop.book("deployment/strategies.yaml", WATCHED)
    workshop.environment("  web: {replicas: 2, strategy: watched}\n")
    workshop.deploy("1.0")
    workshop.behave("errors 0.5")
    with Customers(workshop, connections=6):
        first = workshop.deploy("2.0")
        assert first["outcome"] == "succeeded"
        until(lambda: workshop.room.view(first["id"])["reverted_by"], what="the watch window to act")
        back = workshop.ended(workshop.room.view(first["id"])["reverted_by"])
    assert ("rollback", True, "succeeded") == (back["kind"], back["automatic"], back["outcome"])
    reverted = workshop.journal.events(kinds=["deployment.reverted"])[-1].data
    assert "error_rate" in reverted["reason"]
    assert "at most 5.0 %" in reverted["reason"]
    assert [hold.version for hold in workshop.placement().holds] == ["2.0"]
    assert "fail" == workshop.room.analysis(first["id"])["points"][-1]["verdict"]
    again = workshop.room.judged_again(first["id"], None)
    assert again["would"]["stopped"]


def test_a_version_no_worse_than_an_ill_one_before_stays(workshop: Workshop) -> None:
    """The limit that the version before did not keep either takes nothing back: else nothing could be repaired."""
    workshop.book("deployment/strategies.yaml", WATCHED.replace("watch: 60s", "watch: 4s"))
    workshop.environment("  web: {replicas: 2, strategy: watched}\n")
    workshop.behave("errors 0.5")
    workshop.deploy("1.0")
    with Customers(workshop, connections=6) as customers:
        until(lambda: len(customers.failures) > 100, what="errors of the version before")
        (workshop.root / "web" / "note.txt").write_text("2")
        second = workshop.deploy("2.0")
        assert second["outcome"] == "succeeded"
        until(lambda: workshop.placement().watch is None, what="the end of the watch window")
    assert workshop.room.view(second["id"])["reverted_by"] in (None, "")
    assert workshop.placement().version == "2.0"
