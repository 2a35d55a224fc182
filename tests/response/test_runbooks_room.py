"""Runs as they are: real shells, a real journal, real durable work."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from runbook_house import ANA, BEN, House, handbook

from opsbook.book.problems import HandbookError
from opsbook.errors import Conflict, Invalid, Locked, NotAllowed, OpsbookError
from opsbook.response.runbooks.live import Live
from opsbook.world.words import Instance, InstanceState

Make = Callable[..., House]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[House] = []

    def build(**pages: str) -> House:
        made.append(House(tmp_path, pages))
        return made[-1]

    yield build
    for house in made:
        house.close()


def block(role: str, script: str, words: str = "", language: str = "bash") -> str:
    return f"```{language} {role} {words}\n{script}\n```\n"


def test_a_run_is_written_down_before_and_after_each_step(make: Make) -> None:
    """Intent, outcome; what it captured reaches the later ones."""
    house = make(
        p=block("run", "echo 42", "id=a risk=read capture=ANSWER")
        + block("run", 'echo "got $ANSWER"', "id=b risk=read")
    )
    run = house.go("p")
    assert "succeeded" == run.outcome
    assert "got 42\n" == house.output(run, "b")
    started, step, end = "runbook.step.started", "runbook.step.ended", "runbook.ended"
    assert ["runbook.started", started, step, started, step, end] == house.kinds(run)


def test_ten_starts_are_one_run(make: Make, tmp_path: Path) -> None:
    """People and alerts at once: one runs, the others are told which."""
    house = make(p=block("run", f"echo x >> {tmp_path}/count; sleep 0.3", "id=a"))
    found: list[tuple[str, bool]] = []

    def start(number: int) -> None:
        run, attached = house.room.run("p", {}, f"person-{number}", automatic=number % 2 == 0, alert="Alert")
        found.append((run.id, attached))

    threads = [threading.Thread(target=start, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    house.ended("run-1")
    assert ({"run-1"}, 9) == ({name for name, _ in found}, sum(attached for _, attached in found))
    assert "x\n" == (tmp_path / "count").read_text()


def test_a_target_has_one_run_at_a_time(make: Make, tmp_path: Path) -> None:
    """Another page with the same lock waits for its turn, and says for whom."""
    head = "---\nlock: disk\n---\n"
    gate = tmp_path / "gate"
    house = make(
        p=head + block("run", f"until test -e {gate}; do sleep 0.02; done", "id=a"),
        q=head + block("run", "true", "id=b"),
    )
    first, _ = house.room.run("p", {}, "ana")
    house.until(first.id, lambda run: bool(run.steps))
    second, _ = house.room.run("q", {}, "ana")
    waiting = house.until(second.id, lambda run: bool(run.waiting_for))
    assert first.id in waiting.waiting_for
    gate.touch()
    one, two = house.ended(first.id), house.ended(second.id)
    assert one.ended_at is not None
    assert two.started_at is not None
    assert one.ended_at <= two.started_at


def test_alerts_rest_between_runs(make: Make) -> None:
    """Cooldown, a limit by the hour, and the environments that the page names; a person may always."""
    house = make(
        p=block("run", "true", "id=a"),
        never="---\nautomatic_per_hour: 0\n---\n" + block("run", "true", "id=a"),
    )
    assert "succeeded" == house.go("p", automatic=True).outcome
    with pytest.raises(Conflict, match="it rests for"):
        house.room.run("p", {}, "alert", automatic=True)
    assert "succeeded" == house.go("p").outcome
    with pytest.raises(Conflict, match="0 may be"):
        house.room.run("never", {}, "alert", automatic=True)


def test_only_somebody_else_who_is_known_approves(make: Make) -> None:
    """And only what was looked at."""
    house = make(p=block("run", "true", "id=a risk=danger approve=team"))
    run, _ = house.room.run("p", {}, "ana")
    house.paused(run.id)
    for who, why in ((ANA, "somebody else approves"), (_unknown(), "it must be known who")):
        with pytest.raises(NotAllowed, match=why):
            house.room.approve(run.id, who)
    with pytest.raises(Conflict, match="not what would run"):
        house.room.approve(run.id, BEN, bound="0" * 64)
    waiting = house.room.view(run.id)["waiting"]
    house.room.approve(run.id, BEN, bound=waiting["binding"])
    assert "succeeded" == house.ended(run.id).outcome


def test_a_run_that_nobody_could_approve_is_not_begun(make: Make) -> None:
    """The only one who may say yes to a step is who asks for it: somebody else has to ask."""
    house = make(p=block("run", "true", "id=a risk=read") + block("run", "true", "id=b approve=ben"))
    with pytest.raises(NotAllowed, match="b needs the approval of ben"):
        house.room.run("p", {}, "ben")
    run, _ = house.room.run("p", {}, "ana")
    house.paused(run.id)
    house.room.approve(run.id, BEN)
    assert "succeeded" == house.ended(run.id).outcome


def _unknown():  # type: ignore[no-untyped-def]
    from dataclasses import replace

    return replace(BEN, authenticated=False, via="socket")


def test_a_page_edited_meanwhile_changes_nothing(make: Make, tmp_path: Path) -> None:
    """The run keeps the text that it began with, over a restart too."""
    text = block("manual", "Look.", "id=look", "text") + block("run", "echo old", "id=a risk=read")
    house = make(p=text)
    run, _ = house.room.run("p", {}, "ana")
    house.paused(run.id)
    house.book = handbook({"p": text.replace("old", "new")})
    house.close()
    house.open()
    house.room.resume(run.id, "ana")
    assert "old\n" == house.output(house.ended(run.id), "a")
    with pytest.raises(HandbookError):
        handbook({"p": "```bash run\nnever closed"})


def test_cancelling_ends_the_step_and_undoes(make: Make, tmp_path: Path) -> None:
    """Also one that ignores SIGTERM and has children in the background."""
    script = f"touch {tmp_path}/made; trap '' TERM; sleep 60 & sleep 60"
    house = make(p=block("run", script, "id=a") + block("rollback", f"rm {tmp_path}/made", "idempotent"))
    run, _ = house.room.run("p", {}, "ana")
    house.until(run.id, lambda _: (tmp_path / "made").exists())
    house.room.cancel(run.id, "ben", "wrong host")
    ended = house.ended(run.id)
    assert ("cancelled", "wrong host", False) == (ended.outcome, ended.reason, (tmp_path / "made").exists())
    assert "cancelled" == ended.steps[0].reason


def test_retry_skip_and_resume_from(make: Make, tmp_path: Path) -> None:
    """A run that stopped goes on as a person decides; the journal has the reason."""
    flag = tmp_path / "flag"
    house = make(
        p=block("run", f"echo a >> {tmp_path}/log", "id=a risk=read")
        + block("run", f"test -e {flag}", "id=b on-failure=stop")
        + block("run", f"echo c >> {tmp_path}/log", "id=c risk=read")
    )
    run = house.go("p")
    assert ("failed", "b failed: exit code 1") == (run.outcome, run.reason)
    house.room.retry(run.id, "ana")
    assert "failed" == house.until(run.id, lambda one: one.ended and len(one.steps) == 3).outcome
    with pytest.raises(Invalid, match="why is it skipped"):
        house.room.skip(run.id, "ana")
    house.room.skip(run.id, "ana", reason="done by hand")
    assert "succeeded" == house.ended(run.id).outcome
    assert "a\nc\n" == (tmp_path / "log").read_text()
    flag.touch()
    again = house.go("p")
    with pytest.raises(Conflict, match="is done"):
        house.room.resume(again.id, "ana", step="b")


def test_secrets_are_in_no_sink(make: Make, tmp_path: Path) -> None:
    """Not in the journal, the record, the stream; in no form, and not across the borders of pieces."""
    secret = "tr0ub4dor&3-horse"
    script = 'printf %s "$KEY" | base64; for i in $(seq ${#KEY}); do printf %s "${KEY:$((i-1)):1}"; done; echo; exit 1'
    head = "---\nparams: {key: {sensitive: true}}\n---\n"
    house = make(p=head + block("run", script, "id=a on-failure=stop"))
    run = house.go("p", {"key": secret})
    heard = "".join(one.get("text", "") for one in house.room.follow(run.id, lambda: False) if one)
    assert heard == house.output(run, "a")
    assert "***" in heard
    house.close()
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("*.sqlite*"))
    house.open()
    for form in (secret, "dHIwdWI0ZG9yJjMtaG9yc2U", "tr0ub4dor%263"):
        assert form not in heard
        assert form.encode() not in kept


def test_sensitive_parameters_are_asked_for_again(make: Make) -> None:
    """They are kept nowhere, so a restart forgets them."""
    head = "---\nparams: {key: {sensitive: true}}\n---\n"
    house = make(
        p=head
        + block("manual", "Look.", "id=look", "text")
        + block("run", 'test "$KEY" = abc', "id=a risk=read")
    )
    run, _ = house.room.run("p", {"key": "abc"}, "ana")
    house.paused(run.id)
    house.close()
    house.open()
    house.until(run.id, lambda one: "sensitive parameters" in one.waiting_for)
    house.room.resume(run.id, "ana", params={"key": "abc"})
    house.until(run.id, lambda one: "a person" in one.waiting_for)
    house.room.resume(run.id, "ana")
    assert "succeeded" == house.ended(run.id).outcome


def test_a_flood_keeps_its_head_and_its_tail(make: Make) -> None:
    """Megabytes of output cost kilobytes."""
    house = make(p=block("run", "echo first; seq 1 300000; echo last", "id=a risk=read"))
    run = house.go("p")
    text = house.output(run, "a")
    assert ("succeeded", True, True) == (run.outcome, text.startswith("first\n"), text.endswith("last\n"))
    assert "bytes left out" in text
    assert len(text) < 40_000


def test_in_the_place_of_an_instance(tmp_path: Path) -> None:
    """The environment and the folder of the process, without what would make the step one of its own."""
    import subprocess

    work = tmp_path / "work"
    work.mkdir()
    environ = {**os.environ, "COLOUR": "blue", "OPSBOOK_INSTANCE": "web-1", "PORT": "4711"}
    process = subprocess.Popen(["sleep", "60"], cwd=work, env=environ)
    try:
        instance = Instance("web-1", "web", "local", "r", "1", InstanceState.RUNNING, None, pid=process.pid)
        service = "service: {type: service, default: web}"
        head = f"---\nparams: {{{service}, environment: {{type: environment, default: local}}}}\n---\n"
        script = 'echo "$COLOUR $PWD $SERVICE_PORT ${OPSBOOK_INSTANCE:-none}"'
        text = head + block("run", script, "id=a risk=read on=instance")
        house = House(tmp_path, {"p": text}, instances=lambda environment, service: [instance])
        try:
            assert f"blue {work} 4711 none\n" == house.output(house.go("p"), "a")
        finally:
            house.close()
    finally:
        process.kill()
        process.wait()


def test_queries_and_requests_as_checks(tmp_path: Path) -> None:
    """A query holds when it has an answer; parameters within it stay what they are."""
    import numpy as np

    from opsbook.promql.model import Result, Vector

    asked: list[str] = []

    class Queries:
        def instant(self, query: str, at_ms: int) -> Result:
            asked.append(query)
            found = (
                (({"host": "x"},), np.array([1.0]), np.array([at_ms]))
                if "yes" in query
                else ((), np.array([]), np.array([]))
            )
            return Result(Vector(*found))

    head = "---\nparams: {word: {}, environment: {type: environment, default: local}}\n---\n"
    text = (
        head
        + block("precheck", 'up{host="${WORD}"}', "", "promql")
        + block("precheck", "GET {url:web}/x?q=${WORD}", "", "http")
    )
    urls: list[str] = []

    def status_of(method: str, url: str, *, timeout: float) -> int:
        urls.append(url)
        return 200

    house = House(
        tmp_path,
        {"p": text},
        queries=Queries(),
        status_of=status_of,
        url_of=lambda environment, service: "http://w:1/",
    )
    try:
        assert "succeeded" == house.go("p", {"word": 'yes"} or vector(1) #'}).outcome
        assert "refused" == house.go("p", {"word": "no"}).outcome
        assert ['up{host="yes\\"} or vector(1) #"}', 'up{host="no"}'] == [one.strip() for one in asked]
        assert ["http://w:1/x?q=yes%22%7D%20or%20vector%281%29%20%23"] == urls
    finally:
        house.close()


def test_a_lock_taken_away_ends_the_run(make: Make) -> None:
    """Whoever lost it writes nothing more; a finished run cannot be reopened beside another."""
    house = make(p=block("manual", "Look.", "id=look", "text"))
    run, _ = house.room.run("p", {}, "ana")
    house.paused(run.id)
    house.journal.leases.break_("runbook/p", "ben")
    house.room.resume(run.id, "ana")
    ended = house.ended(run.id)
    assert "failed" == ended.outcome
    assert "its lock was taken away" in ended.reason


HOSTILE = [
    "$(touch {m})",
    "`touch {m}`",
    "; touch {m}",
    "| touch {m}",
    "&& touch {m}",
    "|| touch {m}",
    '"; touch {m}; "',
    "'; touch {m}; '",
    "$(touch${{IFS}}{m})",
    'a\\"; touch {m}',
    "${{x:-$(touch {m})}}",
    "$((`touch {m}`))",
    "<(touch {m})",
    ">{m}",
    "2>{m}",
    "* ? [a-z] ~ !",
    "%s%n%x",
    "\\x24(touch {m})",
    "a' $(touch {m}) 'b",
    "()  {{ :; }}; touch {m}",
    "() {{ touch {m}; }}",
    "{{a,b}}",
    "~root",
    "#",
    "\\",
    "\\\\",
    "'",
    '"',
    "''",
    "${{PATH}}",
    "$PATH",
    "$'\\n'",
    "a=b touch {m}",
    "x[$(touch {m})]",
    "x[`touch {m}`]",
    "ｆｕｌｌ＇；touch {m}",
    "é́",
    "日本語",
    "$(<{m})",
    "!!",
    "^a^b",
    "=touch",
    "@{m}",
]
REFUSED = [
    "-rf",
    "--help",
    "-",
    "－rf",
    "a\nb",
    "a\r\nb",
    "a\0b",
    "\x1b[2J",
    "a\u202eb",
    "a\u200bb",
    "\ud800",
    "x" * 1_000_001,
    "a\u2028b",
    "a\u0085b",
    "\ufeffx",
    "\t",
    "a\x7f",
]


def test_two_hundred_hostile_parameters(tmp_path: Path) -> None:
    """They arrive as they are or are refused; what runs is what the page says."""
    marker = tmp_path / "owned"
    head = "---\nparams: {word: {max_length: 4096}}\n---\n"
    script = 'printf %s "$WORD" > "{}"'.format(tmp_path / "seen")
    house = House(tmp_path, {"p": head + block("run", script, "id=a risk=read")})
    values = [value.format(m=marker) for value in HOSTILE]
    values += [
        f"{before}{value}{after}"
        for value in values
        for before, after in (("x ", ""), ('"', '"'), ("'", "'"), ("$(", ")"))
    ]
    try:
        assert len(values) + len(REFUSED) >= 200
        for value in values:
            run = house.go("p", {"word": value})
            assert ("succeeded", value) == (run.outcome, (tmp_path / "seen").read_text()), value
        for value in REFUSED:
            with pytest.raises(Invalid) as refusal:
                house.room.run("p", {"word": value}, "alert", automatic=True)
            assert len(refusal.value.message) < 200
        for name in ("PATH", "LD_PRELOAD", "$(id)", "word ", "WORD"):
            with pytest.raises(OpsbookError):
                house.room.run("p", {"word": "x", name: "y"}, "alert")
        assert not marker.exists()
    finally:
        house.close()


def test_a_target_is_not_reopened_beside_another_run(make: Make) -> None:
    """A retry of an ended run is refused while the target is taken."""
    head = "---\nlock: disk\n---\n"
    house = make(
        p=head + block("run", "false", "id=a on-failure=stop"),
        q=head + block("manual", "Look.", "id=b", "text"),
    )
    failed = house.go("p")
    other, _ = house.room.run("q", {}, "ana")
    house.paused(other.id)
    with pytest.raises(Locked):
        house.room.retry(failed.id, "ana")
    house.room.cancel(other.id, "ana")
    house.ended(other.id)


def test_diagnosing_changes_nothing_and_is_held_up_by_nothing(make: Make, tmp_path: Path) -> None:
    """An alert has its page's diagnosis at once, also while the page itself runs."""
    made = tmp_path / "made"
    text = (
        block("diagnose", "echo seen")
        + block("manual", "Look.", "id=look", "text")
        + block("run", f"touch {made}")
    )
    house = make(p=text)
    running, _ = house.room.run("p", {}, "ana")
    house.paused(running.id)
    for _ in range(2):
        run = house.go("p", looking=True, automatic=True, alert="Slow")
        assert ("succeeded", "seen\n", False) == (run.outcome, house.output(run, "diagnose"), made.exists())


def test_stepwise_asks_before_each_step(make: Make) -> None:
    """And a word lets one go."""
    house = make(p=block("run", "true", "id=a risk=read") + block("run", "true", "id=b risk=read"))
    run, _ = house.room.run("p", {}, "ana", stepwise=True)
    for name in ("a", "b"):
        house.until(run.id, lambda one, name=name: one.waiting_for.endswith(name))
        house.room.resume(run.id, "ana")
    assert "succeeded" == house.ended(run.id).outcome


def test_daemons_and_the_deaf_do_not_hold_a_step(make: Make) -> None:
    """What hangs is ended with all its children; what goes into the background is not waited for."""
    house = make(
        hangs=block("run", "setsid sleep 61 & sleep 61", "id=a timeout=300ms on-failure=stop"),
        leaves=block("run", "sleep 61 & echo left", "id=a risk=read"),
    )
    began = time.monotonic()
    assert "did not end within its timeout" in house.go("hangs").reason
    assert "succeeded" == house.go("leaves").outcome
    assert time.monotonic() - began < 30
    own = [place.name for place in Path("/proc").glob("[0-9]*") if _says(place, b"sleep\x0061")]
    assert [] == own


def _says(place: Path, words: bytes) -> bool:
    try:
        return (place / "cmdline").read_bytes().startswith(words)
    except OSError:
        return False


def test_a_flood_is_not_held_in_memory() -> None:
    """Neither its text nor one entry for each of its pieces; what comes after it is told."""
    live = Live()
    live.say("run-1", {"type": "began"})
    for _ in range(2000):
        live.say("run-1", {"type": "output", "step": "a", "text": "x" * 4096})
    live.say("run-1", {"type": "ended", "step": "a"})
    held = live._runs["run-1"]
    assert len(held) <= 512 * 1024 // 4096 + 2
    assert {"type": "ended", "step": "a"} == held[-1]


def test_of_a_flood_the_end_is_followed() -> None:
    """Who watches sees what is written now, once; so does the step after a flood."""
    live = Live()
    live.say("run-1", {"type": "began"})
    live.say("run-1", {"type": "started", "step": "a"})
    for number in range(600):
        live.say("run-1", {"type": "output", "step": "a", "text": f"{number:04}" * 256})
    said = live.said("run-1", "a")
    assert said.endswith("0599" * 256)
    assert len(said) <= 512 * 1024
    live.say("run-1", {"type": "started", "step": "b"})
    live.say("run-1", {"type": "output", "step": "b", "text": "after it"})
    assert "after it" == live.said("run-1", "b")
    run = SimpleNamespace(id="run-1", ended=False)
    records = SimpleNamespace(run=lambda name: run)
    told: list[str] = []
    for one in live.follow("run-1", records, lambda: len(told) > 600):  # type: ignore[arg-type]
        if one is None:
            break
        if one["type"] == "output":
            told.append(one["text"])
            if one["text"] == "0599" * 256:
                live.say("run-1", {"type": "output", "step": "b", "text": "y" * 500_000})
    assert ["after it", "y" * 500_000] == told[-2:]
    assert len(set(told)) == len(told)
