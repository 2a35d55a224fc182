"""Diagnoses of a shop with real metrics, logs, traces, journal and runbooks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from diagnosis_house import FILES, PLACE, Shop, died, failing, found, instance

from opsbook.book import TextFiles, load_or_problems
from opsbook.deployment.model import Outcome, Release
from opsbook.errors import Failed, NotFound
from opsbook.response.diagnosis.checks import LOOKS, Look
from opsbook.response.diagnosis.model import Check, Diagnosis
from opsbook.response.diagnosis.rendering import text
from opsbook.response.diagnosis.room import Diagnoses
from opsbook.response.diagnosis.scene import Scene
from opsbook.world.words import InstanceState


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


def states(diagnosis: Diagnosis) -> dict[str, str]:
    return {check.name: check.state for check in diagnosis.checks}


def test_nothing_is_wrong(shop: Shop) -> None:
    """Every look is there, in order; no suspect is made of a change that did no harm."""
    shop.deploys("web", "2.0", 300)
    made = shop.diagnose()
    assert [look.name for look in LOOKS] == [check.name for check in made.checks]
    assert ("ok", (), "opsbook status") == (made.state, made.suspects, made.next.command)
    assert "2 of 2 instances well" == found(made, "health").text
    assert {"ok", "skipped"} == set(states(made).values())
    assert ("diag-1", "1.0", ()) == (made.id, made.version, made.affected)
    assert ("web",) == shop.diagnose("api").affected


def test_a_bad_release_is_named_first(shop: Shop) -> None:
    """Errors began after it went live: since when, how many, who, the way back, the page and its own looks."""
    shop.named(failing(0.05))
    shop.fires("HighErrorRate", 120)
    shop.deploys("web", "2.0", 300)
    shop.deploys("redis", "7.1", 360)
    made = shop.diagnose(incident="inc-1", alert="HighErrorRate")
    first = made.suspects[0]
    assert ("failed", "HighErrorRate of web") == (made.state, made.symptom)
    assert made.since == pytest.approx(shop.now - 240, abs=30)
    assert ("deployment", "production/web", "web 2.0 went live") == (first.kind, first.subject, first.text)
    assert first.score >= 0.95
    assert first.event == shop.journal.events(kinds=["deployment.succeeded"], subject="production/web")[0].id
    assert "“Faster baskets”" in first.why
    assert "settings changed with it: env TIMEOUT" in first.why
    assert "before it began" in first.why
    assert "opsbook rollback web --in production" == made.next.command
    assert made.runbook is not None
    assert ("high-error-rate", True) == (made.runbook.name, made.runbook.executable)
    assert ["failed-deployment", "checkout"] == [page.name for page in made.further]
    assert "errors 5.0 % · 1 h ago 0.1 % · 1 d ago 0.1 %" == found(made, "traffic").lines[0]
    own = found(made, "runbooks")
    assert "  looking at web in production on /" in own.lines
    assert ("warning", ("run-1",)) == (own.state, made.runs)
    assert ("inc-1", True) == ((run := shop.runbooks.records.run("run-1")).incident, run.looking)
    assert "1. web 2.0 went live" in text(made)


def test_a_dependency_that_is_down(shop: Shop) -> None:
    """What its state, the logs and the traces say adds up; a release of long ago comes after it."""
    shop.named(failing(0.2))
    shop.deploys("web", "2.0", 7200)
    shop.machines.running[-1] = instance("redis", **died("memory limit 256 MiB exceeded", shop.now - 300))
    shop.said("cannot reach redis: connection refused after %d ms", 230, times=9)
    shop.traced(
        ("a1", "", "web", "GET /basket", 0.3), ("a2", "a1", "api", "GET /prices", 0.2),
        ("a3", "a2", "redis", "HGET", 0.1), ago=200, errors=("a1", "a2", "a3"),
    )  # fmt: skip
    made = shop.diagnose()
    first = made.suspects[0]
    assert ("dependency", "production/redis") == (first.kind, first.subject)
    assert first.score == 0.92
    assert "9 lines" in first.why
    assert "1 of 1 failed trace end in redis HGET: it broke" in first.why
    assert "memory limit 256 MiB exceeded" in first.why
    assert "opsbook diagnose redis --in production" == made.next.command
    assert "web in production fails 20 % of its requests, 0.1 % an hour ago" == made.symptom
    assert "redis: no instance runs, memory limit 256 MiB exceeded" in found(made, "dependencies").lines


def test_instances_that_crash(shop: Shop) -> None:
    """How they ended and what they said last; what only the new release suffers from speaks for it."""
    shop.machines.running[0] = instance(
        "web", 0, release="web-2.0", version="2.0", **died("exit code 1", shop.now - 30)
    )
    shop.machines.tails["web-production-0"] = ["KeyError: 'price'", "\x1b[31mbye"]
    shop.deploys("web", "2.0", 90)
    made = shop.diagnose()
    health = found(made, "health")
    assert ("warning", "1 of 2 instances well") == (health.state, health.text)
    assert (
        "web-production-0 (2.0): backoff, exit code 1, started again 2 times in 10m",
        "  KeyError: 'price'",
        "  \N{REPLACEMENT CHARACTER}[31mbye",
    ) == health.lines
    assert "only instances of 2.0 are not well" in made.suspects[0].why
    assert made.since == pytest.approx(shop.now - 50, abs=1)


def test_instances_that_come_and_go_are_no_fault(shop: Shop) -> None:
    """One that is being stopped, and one that has just been started; one that starts for minutes is not well."""
    shop.machines.running += [
        instance("web", 7, state=InstanceState.STOPPING),
        instance("web", 8, state=InstanceState.STARTING, created_at=shop.now - 5),
    ]
    assert ("ok", "3 of 3 instances well") == ((check := shop.check("health")).state, check.text)
    shop.machines.running.append(instance("web", 9, state=InstanceState.STARTING, created_at=shop.now - 300))
    assert ("web-production-9 (1.0): starting",) == shop.check("health").lines


def test_all_are_gone_and_all_are_sick(shop: Shop) -> None:
    """None runs; none answers; the proxy alone says no; none should."""
    shop.machines.sick = {"web-production-0": "connection refused", "web-production-1": "503 in 2 ms"}
    assert "no instance of web in production is well: connection refused" == shop.diagnose().symptom
    shop.machines.running = []
    check = shop.check("health")
    assert ("failed", "no instance runs, 2 should") == (check.state, check.text)
    shop.put("placement/production/web", shop.site.deployments.placement("production", "none"))  # type: ignore[union-attr]
    assert "web is not deployed in production" == shop.check("health").text


def test_what_is_full(shop: Shop) -> None:
    """Its own CPU, a disk of the machine, the connections of a PostgreSQL that an exporter tells of."""
    disk, database = {"mountpoint": "/var", "host": "h1"}, {"instance": "db:9187"}
    shop.measured(
        ("opsbook:cpu_usage", 0.97, PLACE),
        ("node_filesystem_size_bytes", 100.0, disk),
        ("node_filesystem_free_bytes", 3.0, disk),
        ("node_filesystem_avail_bytes", 2.0, disk),
        ("pg_stat_activity_count", 95.0, {**database, "state": "idle"}),
        ("pg_settings_max_connections", 100.0, database),
    )
    check = shop.check("saturation")
    assert "warning" == check.state
    assert ("CPU 97 %", "disk /var 98 %", "connections of PostgreSQL db:9187 95 %") == check.lines
    made = shop.diagnose()
    assert ["/var", "db:9187", "production/web"] == [one.subject for one in made.suspects]
    assert made.runbook is not None
    assert "disk-full" == made.runbook.name


def test_response_times_and_load(shop: Shop) -> None:
    """Slower than an hour ago is a warning, and three times the requests are a suspect."""
    lines = failing(0.0)
    lines["error_rate"] = dict.fromkeys(lines["error_rate"], 0.0)
    lines["response_time_p95"] = {ago: 0.9 if ago <= 300 else 0.1 for ago in lines["error_rate"]}
    lines["throughput"] = {ago: 90.0 if ago <= 300 else 30.0 for ago in lines["error_rate"]}
    shop.named(lines)
    made = shop.diagnose()
    assert ("warning", "web in production answers 95 % within 900 ms, 100 ms an hour ago") == (
        made.state,
        made.symptom,
    )
    (load,) = made.suspects
    assert ("load", "3.0 times the usual requests come to web") == (load.kind, load.text)


def test_known_errors_are_no_news(shop: Shop) -> None:
    """What was said yesterday, too, is not new, whatever its numbers; what was not is, and names no stranger."""
    shop.said("cannot send mail %d", 40_000, times=30)
    shop.said("cannot send mail %d", 300, times=3)
    assert ("ok", "3 errors in 15m, all of kinds that were there before") == (
        (check := shop.check("logs")).state, check.text,
    )  # fmt: skip
    shop.said("order %d has no price", 200, times=4)
    check = shop.check("logs")
    assert "1 new pattern, 1 known: order 1003 has no price" == check.text
    assert check.since == pytest.approx(shop.now - 200, abs=2)
    shop.said("no level, Exception: no space left on device", 100, level="", service="redis")
    made = shop.diagnose("redis")
    assert ("warning", "a disk is full") == (found(made, "logs").state, made.suspects[0].text)
    assert "disk-full" == (made.runbook.name if made.runbook else "")


def test_where_time_goes(shop: Shop) -> None:
    """A slow trace that another service took most of."""
    shop.traced(("b1", "", "web", "GET /", 3.0), ("b2", "b1", "api", "GET /prices", 2.8), ago=100)
    check = shop.check("traces")
    assert ("warning", "2.8 s of 3.0 s in api GET /prices") == (check.state, check.text)
    assert ["production/api"] == [clue.subject for clue in check.clues]


def test_changes_of_all_kinds(shop: Shop) -> None:
    """Secrets that came with a release, scaling down, the handbook, somebody's run, a release that was taken back."""
    new = Release(
        id="web-3.0", service="web", environment="production", version="3.0", digest="1", folder="",
        config={"env": {"TIMEOUT": "9"}}, secrets={"token": "b", "key": "c"},
    )  # fmt: skip
    shop.deploys("web", "3.0", 400, new=new)
    shop.deploys("web", "1.0", 300, kind="scale", replicas=1)
    shop.deploys("web", "4.0", 200, outcome=Outcome.ROLLED_BACK)
    shop.journal.append(
        "book.changed",
        "handbook",
        {"digest": "d", "commit": "abcdef0123456", "services": ["web"]},
        actor="opsbook",
    )
    run, _ = shop.runbooks.run("high-error-rate", {"service": "web", "environment": "production"}, "ben")
    check = shop.check("changes")
    said = " | ".join(check.lines)
    for words in (
        "the secret token has another value", "the secret key is new", "web was scaled from 2 to 1",
        "web 4.0 was tried and taken back", "since commit abcdef0123", "ben ran the page high-error-rate",
    ):  # fmt: skip
        assert words in said
    weights = {clue.key: clue.weight for clue in check.clues}
    assert weights["release:web-3.0"] == 0.95
    assert weights["deployment:d-2"] == 0.6
    assert weights["release:web-4.0"] < 0.3
    assert "opsbook scale web --in production --replicas 2" in {clue.command for clue in check.clues}
    assert run.id in said


def test_a_release_that_was_replaced_is_hardly_it(shop: Shop) -> None:
    """Of two releases before the beginning the second serves; one that came as a remedy clears nobody."""
    shop.fires("HighErrorRate", 120)
    shop.deploys("web", "2.0", 400)
    shop.deploys("web", "3.0", 200)
    shop.deploys("web", "4.0", 30)
    written = {"version": "3.0", "file": "environments/production.yaml", "commit": "abc"}
    changed = {"digest": "d", "commit": "abc", "services": ["web"]}
    shop.journal.append("book.version_written", "production/web", written, actor="opsbook")
    shop.journal.append("book.changed", "handbook", changed, actor="opsbook")
    made = shop.diagnose()
    assert ["web 3.0 went live", "web 2.0 went live"] == [
        one.text for one in made.suspects if one.score > 0.2
    ]
    assert made.suspects[1].score < 0.5
    assert "the handbook" not in " ".join(found(made, "changes").lines)


def test_a_first_deployment_that_failed(shop: Shop) -> None:
    """Nothing runs, nothing did: the last words of what was tried."""
    shop.machines.running = [one for one in shop.machines.running if one.service != "redis"]
    shop.put("placement/production/redis", shop.site.deployments.placement("production", "none"))  # type: ignore[union-attr]
    shop.deploys("redis", "7.1", 60, outcome=Outcome.FAILED, reason="exit code 1", log_tail=("no such file",))
    made = shop.diagnose("redis")
    assert "nothing of redis runs in production: d-1 of 7.1 failed" == made.symptom
    assert ("no such file",) == found(made, "health").lines
    assert "redis: not deployed here" in found(shop.diagnose("api"), "dependencies").lines


def test_hostile_alerts_harm_nobody(shop: Shop) -> None:
    """Labels and summaries that anybody may push: shown in one line, never run, never in a command."""
    shop.fires(
        "x; reboot\n\x1b[2J",
        60,
        service="web",
        environment="production",
        route="$(reboot)\n",
        runbook="../../etc",
    )
    shop.fires("HighErrorRate", 50, service="web", environment="production", route="-rf /")
    shop.fires("Host\u202e", 40, severity="\n", host="a b`c`" * 100)
    made = shop.diagnose()
    assert all(line.isprintable() for check in made.checks for line in (check.text, *check.lines))
    assert "high-error-rate: not run: route: it may not begin with -" in found(made, "runbooks").lines[0]
    assert made.next.command.isprintable()
    assert Diagnosis.from_json(made.to_json()) == made


def test_a_look_that_hangs_costs_its_time_and_no_other(tmp_path: Path) -> None:
    """It is unknown at its deadline; while it hangs it is not begun again; the others are there."""
    go = threading.Event()
    begun: list[float] = []

    def hang(scene: Scene) -> Check:
        begun.append(scene.now)
        go.wait(30)
        raise Failed("too late")

    def broken(scene: Scene) -> Check:
        raise ZeroDivisionError(scene.service)

    looks = (Look("hangs", "hangs", 0.4, hang), Look("breaks", "breaks", 5.0, broken), *LOOKS[:2])
    shop = Shop(tmp_path, looks=looks)
    try:
        before = time.monotonic()
        made = shop.diagnose()
        assert time.monotonic() - before < 5.0
        assert "no answer within 0.4 s" == found(made, "hangs").text
        assert "it broke: ZeroDivisionError: web" == found(made, "breaks").text
        assert ["unknown", "unknown", "ok", "ok"] == list(states(made).values())
        assert "the same look at it hangs since an earlier diagnosis" == shop.check("hangs").text
        assert 1 == len(begun)
    finally:
        go.set()
        shop.close()


def test_all_of_it_ends_with_its_budget(tmp_path: Path) -> None:
    """A page waits for no more than that, and says what runs on."""
    slow = FILES["runbooks/high-error-rate.md"].replace('echo "looking', 'sleep 3; echo "looking')
    shop = Shop(tmp_path, {**FILES, "runbooks/high-error-rate.md": slow})
    try:
        shop.fires("HighErrorRate", 60)
        made = shop.diagnose(budget=1.0)
        assert made.seconds < 2.5
        assert ("high-error-rate: goes on: opsbook runs show run-1", ("run-1",)) == (
            found(made, "runbooks").lines[0], made.runs,
        )  # fmt: skip
        assert "opsbook runs show run-1 --follow" != made.next.command  # it only looks
    finally:
        shop.close()


def test_many_at_once_are_one(tmp_path: Path) -> None:
    """Who asks for the same meanwhile gets the same; another incident gets its own."""
    go = threading.Event()

    def wait(scene: Scene) -> Check:
        go.wait(20)
        return Check(name="waits", title="waits", state="ok", text=scene.service)

    shop = Shop(tmp_path, looks=(Look("waits", "waits", 30.0, wait),))
    try:
        names = [shop.room.begin("production", "web", "ana", budget=30.0) for _ in range(5)]
        other = shop.room.begin("production", "api", "ana", budget=30.0)
        assert ({"diag-1"}, "diag-2") == (set(names), other)
        assert "running" == shop.room.view("diag-1")["progress"]
        work = shop.room.under_way("production", "web")
        assert work is not None
        heard: list[dict[str, Any] | None] = []
        ear = threading.Thread(target=lambda: heard.extend(shop.room.follow("diag-1")))
        ear.start()
        go.set()
        ear.join(20)
        assert ["check", "diagnosis"] == [one["type"] for one in heard if one is not None]
        assert ("ended", "diag-1") == (shop.room.view("diag-1")["progress"], shop.room.view("diag-1")["id"])
        assert shop.room.make("production", "web").id == "diag-3"
    finally:
        go.set()
        shop.close()


def test_it_is_written_down_and_survives(shop: Shop) -> None:
    """One event with the suspects; the last of each service after a restart, and numbers that go on."""
    shop.fires("HighErrorRate", 60)
    shop.deploys("web", "2.0", 120)
    made = shop.diagnose(actor="ana", incident="inc-3")
    (event,) = shop.journal.events(kinds=["diagnosis.made"])
    assert ("production/web", "ana", "inc-3") == (event.subject, event.actor, event.data["incident"])
    assert "web 2.0 went live" == event.data["suspects"][0]["text"]
    again = Diagnoses(shop.site)
    assert made == again.last("production", "web")
    assert (made.id, "ended") == ((view := again.view(made.id))["id"], view["progress"])
    assert [made.id] == [one.id for one in again.listed()]
    assert "diag-2" == again.make("production", "web").id
    assert again.last("production", "redis") is None


def test_a_store_that_is_away_loses_no_diagnosis(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody is woken with what could be seen, and told that it could not be kept."""
    shop.fires("HighErrorRate", 60)

    def away(*args: object, **named: object) -> None:
        raise Failed("the database cannot be written")

    monkeypatch.setattr(shop.journal, "append", away)
    monkeypatch.setattr(shop.journal, "events", away)
    made = shop.diagnose()
    assert ("failed", "the database cannot be written") == (made.state, made.unkept)
    assert ("unknown", "failed") == ((told := states(made))["changes"], told["alerts"])
    assert "not run: the database cannot be written" in found(made, "runbooks").lines[0]


def test_what_there_is_not(shop: Shop) -> None:
    """Services and environments that the handbook does not have, and a room without any port."""
    for environment, service in (("production", "none"), ("none", "web"), ("staging", "web")):
        with pytest.raises(NotFound):
            shop.room.make(environment, service)
    with pytest.raises(NotFound):
        shop.room.view("diag-99")
    with pytest.raises(NotFound):
        list(shop.room.follow("diag-99"))
    bare = Diagnoses(type(shop.site)(book=shop.site.book, journal=shop.journal, clock=shop.clock))
    made = bare.make("production", "web")
    assert {"ok", "skipped"} == set(states(made).values())
    assert "skipped" == states(made)["health"]


def test_alerts_of_other_services_and_hosts(shop: Shop) -> None:
    """An alert of a dependency speaks for it, one of the machine for the machine; a stranger's for nobody."""
    shop.fires("HighErrorRate", 60)
    shop.fires("ServiceDown", 90, service="api", environment="production")
    shop.fires("DiskFull", 600, host="h1", mountpoint="/")
    shop.fires("ServiceDown", 90, service="api", environment="staging")
    made = shop.diagnose()
    assert ["production/api", "h1"] == [one.subject for one in made.suspects]
    assert 2 == len(found(made, "alerts").lines)
    assert "high-error-rate" == (made.runbook.name if made.runbook else "")


def test_alerts_of_no_service(shop: Shop) -> None:
    """A disk that is full belongs to no service: its page, its own looks, and what else is full."""
    shop.fires("DiskFull", 60, host="h1")
    shop.fires("HighErrorRate", 60)
    disk = {"mountpoint": "/var", "host": "h1"}
    shop.measured(
        *(
            (f"node_filesystem_{name}_bytes", size, disk)
            for name, size in (("size", 9.0), ("free", 0.1), ("avail", 0.1))
        )
    )
    made = shop.room.make("", "", alert="DiskFull", incident="inc-1")
    assert ["alerts", "changes", "saturation", "runbooks"] == [check.name for check in made.checks]
    assert ("failed", "DiskFull of something", "hosts") == (made.state, made.symptom, made.subject)
    assert ["/var"] == [one.subject for one in made.suspects]
    assert ("disk-full", "opsbook runbooks show disk-full") == (
        made.runbook and made.runbook.name,
        made.next.command,
    )
    assert made == shop.room.last("", "")
    with pytest.raises(NotFound):
        shop.room.make("none", "")


def test_pages_of_troubleshooting_are_checked() -> None:
    """A service that nobody has is a warning, and so is front matter that cannot be read: the page is prose."""
    pages = {
        "troubleshooting/a.md": "---\nservices: [wbe]\nenvironments: [prod]\n---\n# A\n",
        "troubleshooting/b.md": "---\nservice: web\n---\n# About web and api\n",
        "troubleshooting/c.md": "---\ntitle: [\n---\n",
    }
    book, problems = load_or_problems(TextFiles.of({**FILES, **pages}))
    assert book is not None
    said = [(one.file, one.severity) for one in problems if one.file in pages]
    assert {"warning"} == {severity for _, severity in said}
    assert set(pages) == {file for file, _ in said}
    named = {page.name: sorted(page.services) for page in book.troubleshooting}
    assert ([], ["api", "web"]) == (named["a"], named["b"])
    assert PLACE["service"] in named["checkout"]
