"""Deployments on real processes behind a real proxy, while customers ask without a pause."""

from __future__ import annotations

import threading

import pytest
from workshop import Customers, Workshop, until

from opsbook.errors import Conflict, Locked, NotFound, OpsbookError


def test_blue_green_rolling_and_back_lose_no_request(workshop: Workshop) -> None:
    """Three strategies, a rollback, a scaling and a restart: every request of four customers is answered."""
    assert workshop.deploy("1.0")["outcome"] == "succeeded"
    with Customers(workshop) as customers:
        for version, strategy in (("2.0", "blue-green"), ("3.0", "rolling")):
            (workshop.root / "web" / "note.txt").write_text(version)
            assert workshop.deploy(version, strategy=strategy)["outcome"] == "succeeded"
        assert workshop.rollback("2.0")["outcome"] == "succeeded"
        requests = workshop.room.requests
        assert (
            workshop.ended(requests.scale("web", "local", 3, "ana").deployments[0])["outcome"] == "succeeded"
        )
        assert (
            workshop.ended(requests.restart("web", "local", "ana").deployments[0])["outcome"] == "succeeded"
        )
        assert (
            workshop.ended(requests.scale("web", "local", 1, "ana").deployments[0])["outcome"] == "succeeded"
        )
    assert customers.failures == []
    assert customers.sent > 100
    assert workshop.get() == (200, "2.0")
    assert workshop.journal.verify().ok


def test_rollback_to_the_warm_release_is_one_route_change(workshop: Workshop) -> None:
    """The previous release still runs after a blue-green deployment, so nothing is started on the way back."""
    workshop.deploy("1.0")
    (workshop.root / "web" / "note.txt").write_text("2")
    workshop.deploy("2.0")
    before = {instance.id for instance in workshop.runtime.instances()}
    ended = workshop.rollback()
    assert (ended["outcome"], ended["version"]) == ("succeeded", "1.0")
    assert {instance.id for instance in workshop.runtime.instances()} < before
    assert workshop.get() == (200, "1.0")


def test_never_healthy_is_refused_and_says_what_the_instance_said(workshop: Workshop) -> None:
    """A version that never becomes healthy is taken back; the old one answered all the time."""
    workshop.deploy("1.0")
    workshop.behave("never-healthy")
    with Customers(workshop) as customers:
        ended = workshop.deploy("2.0")
    assert ended["outcome"] == "rolled_back"
    assert "was not healthy within 3 s: 503" in ended["reason"]
    assert "1.0 serves local/web" in ended["reason"]
    assert any("/healthz" in line for line in ended["log_tail"])
    assert customers.failures == []
    assert len(workshop.runtime.instances()) == 2
    assert [hold.version for hold in workshop.placement().holds] == ["2.0"]


def test_a_program_that_exits_ends_the_deployment_before_the_timeout(workshop: Workshop) -> None:
    """A crash loop is told by its exits, with the last words of the program; nobody waits for the timeout."""
    workshop.deploy("1.0")
    workshop.behave("exits")
    ended = workshop.deploy("2.0")
    assert ended["outcome"] == "rolled_back"
    assert "crash loop" in ended["reason"]
    assert "exit code 3" in ended["reason"]
    assert "no database here" in "\n".join(ended["log_tail"])


def test_crash_loop_after_the_end_is_taken_back_by_the_watch_window(workshop: Workshop) -> None:
    """A version that dies after it was promoted is rolled back by opsbook itself, and says so on both."""
    workshop.deploy("1.0")
    workshop.behave("crashes 1.0")
    first = workshop.deploy("2.0")
    assert first["outcome"] == "succeeded"
    until(lambda: workshop.room.view(first["id"])["reverted_by"], what="the watch window to act")
    back = workshop.ended(workshop.room.view(first["id"])["reverted_by"])
    assert (back["kind"], back["automatic"], back["outcome"]) == ("rollback", True, "succeeded")
    assert [(hold.version, hold.deployment) for hold in workshop.placement().holds] == [("2.0", first["id"])]
    assert workshop.get() == (200, "1.0")


def test_command_that_is_not_there(workshop: Workshop) -> None:
    """A command that cannot be found fails the deployment at once, by its name; the old version serves."""
    workshop.deploy("1.0")
    workshop.book(
        "services/web.yaml",
        'service: web\nrun: {command: ["no-such-program", "{port}"], port: http}\nsource: {path: ../web}\n',
    )
    ended = workshop.deploy("2.0")
    assert ended["outcome"] == "rolled_back"
    assert "no-such-program" in ended["reason"]
    assert workshop.get() == (200, "1.0")


def test_build_that_fails(workshop: Workshop) -> None:
    """A failing build ends the deployment before anything was touched, with the build's last words."""
    workshop.deploy("1.0")
    workshop.service(
        source='{path: ../web, build: ["python", "-c", "print(\'no compiler\'); raise SystemExit(2)"]}'
    )
    ended = workshop.deploy("2.0")
    assert (ended["outcome"], ended["phase"]) == ("failed", "failed")
    assert "1.0 goes on serving" in ended["reason"]
    assert "no compiler" in "\n".join(ended["log_tail"])
    assert workshop.get() == (200, "1.0")


def test_first_deployment_that_fails_leaves_nothing(workshop: Workshop) -> None:
    """Without an earlier version there is nothing to go back to; nothing is left running either."""
    workshop.behave("exits")
    ended = workshop.deploy("1.0")
    assert (ended["outcome"], ended["phase"]) == ("failed", "failed")
    assert workshop.runtime.instances() == ()
    assert workshop.placement().weights == {}


def test_two_deployments_at_once(workshop: Workshop) -> None:
    """The second is refused by name of the first, or waits, or takes its place, as the policy says."""
    workshop.deploy("1.0")
    workshop.behave("never-healthy")
    first = workshop.deploy("2.0", wait=False)
    workshop.in_phase(first["id"], "starting")
    with pytest.raises(Locked, match=f"{first['id']} is under way: deploy 2.0 by ana"):
        workshop.deploy("3.0")
    workshop.behave("healthy")
    (workshop.root / "web" / "note.txt").write_text("4")
    newer = workshop.deploy("4.0", when_busy="supersede")
    assert workshop.ended(first["id"])["outcome"] == "superseded"
    assert newer["outcome"] == "succeeded"
    assert workshop.get() == (200, "4.0")


def test_queued_deployments_follow_each_other(workshop: Workshop) -> None:
    """With the policy to queue, both arrive, in the order they were asked for."""
    workshop.deploy("1.0")
    (workshop.root / "web" / "note.txt").write_text("2")
    first = workshop.deploy("2.0", wait=False)
    workshop.in_phase(first["id"], "starting", "ready", "shifting")
    (workshop.root / "web" / "note.txt").write_text("3")
    second = workshop.deploy("3.0", when_busy="queue")
    assert workshop.ended(first["id"])["outcome"] == "succeeded"
    assert second["outcome"] == "succeeded"
    assert workshop.get() == (200, "3.0")


def test_abort_takes_it_back(workshop: Workshop) -> None:
    """An abort in the starting phase ends the deployment with the old version serving."""
    workshop.deploy("1.0")
    workshop.behave("never-healthy")
    asked = workshop.deploy("2.0", wait=False)
    workshop.in_phase(asked["id"], "starting")
    workshop.room.requests.abort(asked["id"], "wrong version", "ben")
    ended = workshop.ended(asked["id"])
    assert (ended["outcome"], ended["phase"]) == ("aborted", "rolled_back")
    assert ended["reason"].startswith("wrong version; 1.0 serves local/web")
    with pytest.raises(Conflict, match="has ended already"):
        workshop.room.requests.abort(asked["id"], "", "ben")


def test_what_cannot_be_asked_for(workshop: Workshop) -> None:
    """Unknown names get a suggestion; nothing is recorded for them."""
    cases: list[tuple[type[OpsbookError], str, dict[str, object]]] = [
        (NotFound, "no service wen", {"services": ("wen",)}),
        (NotFound, "no strategy blue-gren", {"strategy": "blue-gren"}),
        (Conflict, "the plan is stale", {"check_index": 1}),
    ]
    for error, message, options in cases:
        services = options.pop("services", ("web",))
        with pytest.raises(error, match=message):
            workshop.deploy("1.0", *services, **options)  # type: ignore[misc]
    with pytest.raises(NotFound, match="not deployed in local"):
        workshop.rollback()
    assert workshop.room.listed(None, None, 10) == []


def test_rollback_without_predecessor(workshop: Workshop) -> None:
    """A rollback needs a release that served before."""
    workshop.deploy("1.0")
    with pytest.raises(NotFound, match="no earlier release"):
        workshop.rollback()
    with pytest.raises(NotFound, match="what serves already"):
        workshop.rollback("1.0")


def test_same_label_with_other_content_is_refused(workshop: Workshop) -> None:
    """A label stands for one content, forever."""
    workshop.deploy("1.0")
    (workshop.root / "web" / "note.txt").write_text("other")
    with pytest.raises(Conflict, match=r"1\.0"):
        workshop.deploy("1.0")
    assert workshop.get() == (200, "1.0")


def test_protected_environment_waits_for_somebody_else(workshop: Workshop) -> None:
    """Where an approval is asked for, a deployment waits for it, and says whose; nothing has been started."""
    workshop.book(
        "opsbook.yaml",
        "name: test\nowner: team\ncontacts:\n  ben: {email: ben@example.com}\n  team: {members: [ben]}\n",
    )
    workshop.environment(extra="protect: {approvals: 1, approvers: [team]}\n")
    asked = workshop.deploy("1.0", wait=False)
    workshop.in_phase(asked["id"], "gated")
    until(lambda: "ben" in workshop.room.view(asked["id"])["waiting_for"], what="it to wait for ben")
    assert workshop.runtime.instances() == ()
    workshop.room.requests.abort(asked["id"], "not today", "ana")
    assert workshop.ended(asked["id"])["outcome"] == "aborted"


def test_broken_handbook_while_running(workshop: Workshop) -> None:
    """A broken edit changes nothing: the last good book stands, the problem is told, rollback works."""
    workshop.deploy("1.0")
    (workshop.root / "web" / "note.txt").write_text("2")
    workshop.deploy("2.0")
    workshop.book("services/web.yaml", "service: [\n")
    workshop.handbook.refresh()
    assert workshop.handbook.to_json()["problems"]
    assert [event.kind for event in workshop.journal.events(kinds=["book.*"])][-1] == "book.broken"
    assert workshop.rollback()["outcome"] == "succeeded"
    assert workshop.get() == (200, "1.0")


def test_refused_configuration_takes_the_deployment_back(workshop: Workshop) -> None:
    """When the proxy refuses the routes its last good ones stand, and the deployment is taken back."""
    workshop.deploy("1.0")
    (workshop.root / "web" / "note.txt").write_text("2")
    apply = workshop.traffic.apply
    refusals = iter([True])

    def refuse_once(table: object) -> int:
        if any(len(listener.routes[0].split.weights) for listener in table.listeners) and next(
            refusals, False
        ):  # type: ignore[attr-defined]
            raise OpsbookError("the proxy refused the configuration: no such thing")
        return apply(table)  # type: ignore[arg-type]

    workshop.traffic.apply = refuse_once  # type: ignore[method-assign, assignment]
    with Customers(workshop) as customers:
        ended = workshop.deploy("2.0")
    assert ended["outcome"] == "rolled_back"
    assert "the proxy refused the configuration: no such thing" in ended["reason"]
    assert customers.failures == []
    assert workshop.journal.events(kinds=["traffic.refused"]) != []


def test_entry_port_taken(workshop: Workshop) -> None:
    """A port that another program holds is named; the deployment fails and leaves no instance."""
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", workshop.port))
        other.listen()
        ended = workshop.deploy("1.0")
    assert ended["outcome"] == "failed"
    assert str(workshop.port) in ended["reason"]
    assert workshop.runtime.instances() == ()


def test_clock_that_jumps_ends_nothing_early(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock jumps an hour ahead in the middle of a deployment: it goes on, and the chain is whole."""
    workshop.deploy("1.0")
    (workshop.root / "web" / "note.txt").write_text("2")
    asked = workshop.deploy("2.0", wait=False)
    workshop.in_phase(asked["id"], "starting")
    now = workshop.clock.now
    monkeypatch.setattr(type(workshop.clock), "now", lambda self: now() + 3600.0)
    assert workshop.ended(asked["id"])["outcome"] == "succeeded"
    assert workshop.journal.verify().ok


def test_locked_database_is_waited_for(workshop: Workshop) -> None:
    """A database that cannot be written for a moment delays the deployment and loses nothing."""
    import sqlite3

    workshop.deploy("1.0")
    (workshop.root / "web" / "note.txt").write_text("2")
    asked = workshop.deploy("2.0", wait=False)
    blocker = sqlite3.connect(workshop.state / "journal.sqlite", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        phase = workshop.room.view(asked["id"])["phase"]
        with Customers(workshop) as customers:
            until(lambda: customers.sent > 50)
        assert workshop.room.view(asked["id"])["phase"] == phase
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()
    assert workshop.ended(asked["id"])["outcome"] == "succeeded"
    assert customers.failures == []


def test_dependencies_go_first_and_come_back_together(workshop: Workshop) -> None:
    """Services deploy in dependency order; when a later one fails, those before it are taken back too."""
    workshop.service("api")
    workshop.service(extra="depends_on: [api]\n")
    workshop.environment(
        "  web: {replicas: 1, route: {path: /web, strip_prefix: true}}\n"
        "  api: {replicas: 1, route: {path: /api, strip_prefix: true}}\n"
    )
    assert workshop.deploy("1.0", "api", "web")["outcome"] == "succeeded"
    order = [event.subject for event in workshop.journal.events(kinds=["deployment.succeeded"])]
    assert order == ["local/api", "local/web"]
    (workshop.root / "bad").mkdir()
    (workshop.root / "bad" / "app.py").write_text((workshop.root / "web" / "app.py").read_text())
    workshop.behave("exits", "bad")
    (workshop.root / "web" / "note.txt").write_text("2")
    workshop.service(extra="depends_on: [api]\n", source="{path: ../bad}")
    ended = workshop.deploy("2.0", "api", "web", together=True)
    assert ended["outcome"] == "rolled_back"
    until(lambda: workshop.get("/api/") == (200, "1.0"), what="api to be back at 1.0")
    until(lambda: workshop.placement("api").version == "1.0", what="api to be promoted back to 1.0")


def test_opsbook_ends_in_the_middle_and_goes_on(workshop: Workshop) -> None:
    """opsbook ends while a deployment runs; the next opsbook adopts the instances and finishes it."""
    workshop.deploy("1.0")
    (workshop.root / "web" / "note.txt").write_text("2")
    asked = workshop.deploy("2.0", wait=False)
    workshop.in_phase(asked["id"], "starting", "ready", "shifting")
    with Customers(workshop) as customers:
        workshop.close()
        until(lambda: customers.sent > 100)
        workshop.open()
        ended = workshop.ended(asked["id"])
    assert ended["outcome"] == "succeeded"
    assert customers.failures == []
    assert workshop.get() == (200, "2.0")
    assert workshop.journal.verify().ok


def test_end_of_the_services_lets_requests_finish(workshop: Workshop) -> None:
    """``down --services`` ends everything, but a request under way gets its answer first."""
    workshop.deploy("1.0")
    answers: list[tuple[int, str]] = []
    asking = threading.Thread(target=lambda: answers.append(workshop.get("/slow")))
    asking.start()
    until(lambda: any(backend.active for backend in workshop.traffic.observe().backends.values()))
    workshop.stopping.set()
    workshop.room.stop_services()
    asking.join()
    assert [(200, "1.0")] == answers
    assert workshop.runtime.instances() == ()
    assert not workshop.traffic.observe().alive
    assert workshop.placement().version == "1.0"


def test_version_is_written_into_the_handbook(workshop: Workshop) -> None:
    """After a deployment the environment's file says which version runs, and nothing else of it changed."""
    path = workshop.root / "ops" / "environments" / "local.yaml"
    before = path.read_text()
    workshop.deploy("1.0")
    assert path.read_text() == before.replace("{replicas: 2}", '{replicas: 2, version: "1.0"}')


def test_rollback_goes_to_the_version_that_served(workshop: Workshop) -> None:
    """Two versions of the same content are two releases, because an instance is told its version."""
    workshop.deploy("1.0")
    workshop.deploy("2.0")
    (workshop.root / "web" / "note.txt").write_text("3")
    workshop.deploy("3.0")
    assert workshop.rollback()["version"] == "2.0"
    assert workshop.get() == (200, "2.0")


def test_the_release_before_the_last_is_put_away_after_the_deployment(workshop: Workshop) -> None:
    """A deployment does not wait for what has had no requests for long; the steward stops it, and nothing else."""
    for version in ("1.0", "2.0", "3.0"):
        (workshop.root / "web" / "note.txt").write_text(version)
        assert workshop.deploy(version)["outcome"] == "succeeded"
    with Customers(workshop) as customers:
        until(lambda: len(workshop.runtime.instances()) == 4, what="the instances of 1.0 to be stopped")
        until(lambda: len(workshop.placement().groups) == 2, what="1.0 to be forgotten")
    assert sorted({instance.version for instance in workshop.runtime.instances()}) == ["2.0", "3.0"]
    assert customers.failures == []
