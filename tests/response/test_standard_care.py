"""What the standard pages leave alone: the things for which somebody would be woken a second time."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from standard_blocks import Postgres, postgres, run

from opsbook.book.drills import read_drill
from opsbook.book.runbook_pages import read_runbook
from opsbook.response.standard import standard_pages

OURS = (
    "database-connections",
    "slow-queries",
    "replication-lag",
    "backup-failed",
    "cache-failure",
    "queue-backlog",
)
NEVER = re.compile(
    r"FLUSH(ALL|DB)|pg_drop_replication_slot|DROP\s+(TABLE|SCHEMA|DATABASE)|TRUNCATE"
    r"|iptables|nft\b|LTRIM|\bDEL\b|kill -9",
    re.IGNORECASE,
)


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something, with an end."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres("max_connections=20") as found:
        found.ask("CREATE ROLE shop LOGIN", "CREATE TABLE orders (id int)", "GRANT ALL ON orders TO shop")
        yield found


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[dict[str, str]]:
    if shutil.which("redis-server") is None or shutil.which("redis-cli") is None:
        pytest.skip("redis is not installed: apt-get install redis-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    settings = [
        "--maxmemory",
        "4mb",
        "--maxmemory-policy",
        "noeviction",
        "--lua-time-limit",
        "100",
        "--save",
        "",
    ]
    process = subprocess.Popen(
        ["redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", str(tmp_path), *settings],
        stdout=subprocess.DEVNULL,
    )
    try:
        until(lambda: ask(port, "PING") == "PONG")
        yield {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": port, "OPSBOOK_RUN": "run-1"}
    finally:
        process.kill()
        process.wait()


def ask(port: str, *words: str) -> str:
    return subprocess.run(
        ["redis-cli", "-p", port, *words], check=False, capture_output=True, text=True
    ).stdout.strip()


def path_with(folder: Path, **programs: str) -> str:
    """A path with a shell's usual programs, and these: name, what it really is."""
    folder.mkdir()
    usual = ("bash", "timeout", "cat", "tr", "sed", "awk", "grep", "sort", "uniq", "cut", "sleep")
    for name, real in {**dict.fromkeys(usual, ""), **programs}.items():
        found = shutil.which(real or name)
        assert found is not None, name
        (folder / name.replace("_", "-")).symlink_to(found)
    return str(folder)


@pytest.mark.parametrize("name", OURS)
def test_page_and_drill_read_without_a_problem(name: str) -> None:
    """Each page and its drill are read without an error or a warning."""
    page = standard_pages()[name]
    _, _, problems = read_runbook(name, page.runbook.encode())
    drill, _, more = read_drill(f"runbooks/drills/{name}.md", page.drill.encode())
    assert [] == problems + more
    assert drill is not None
    assert name == drill.head.runbook


@pytest.mark.parametrize("name", OURS)
def test_nothing_that_destroys_is_automated(name: str) -> None:
    """No block that runs flushes, drops, purges or shuts a door."""
    runbook, _, _ = read_runbook(name, standard_pages()[name].runbook.encode())
    assert runbook is not None
    found = [block.id for block in runbook.blocks if NEVER.search(block.script)]
    assert [] == found


def test_only_forgotten_transactions_of_programs_are_ended(server: Postgres) -> None:
    """A backup's, a superuser's and a young transaction stay; with none to end, the step says so and fails."""
    sessions = [
        server.begin("BEGIN; SELECT 1;\n", user=user, application=application)
        for user, application in (("shop", "checkout"), ("shop", "pg_dump"), ("postgres", "somebody"))
    ]
    idle = (
        "SELECT string_agg(application_name, ' ' ORDER BY application_name) FROM pg_stat_activity "
        "WHERE state LIKE 'idle in%'"
    )
    until(lambda: server.ask(idle) == "checkout pg_dump somebody")
    ok, said = run("database-connections", "end-forgotten", {**server.where, "IDLE_FOR": "1h"})
    assert (False, True) == (ok, "no transaction has been forgotten for 1h" in said)
    ok, said = run("database-connections", "end-forgotten", {**server.where, "IDLE_FOR": "1ms"})
    assert (True, True) == (ok, "checkout" in said)
    until(lambda: server.ask(idle) == "pg_dump somebody")
    for session in sessions:
        session.communicate()


@pytest.mark.parametrize(("keep", "left"), [("", ""), ("^CHECK", "checkout")])
def test_who_keeps_nobody_ends_everybody(server: Postgres, keep: str, left: str) -> None:
    """An empty pattern is in every name, and would keep all: the page would find nothing, and say that all is well."""
    forgot = server.begin("BEGIN; SELECT 1;\n", user="shop", application="checkout")
    idle = "SELECT string_agg(application_name, ' ') FROM pg_stat_activity WHERE state LIKE 'idle in%'"
    until(lambda: server.ask(idle) == "checkout")
    run("database-connections", "end-forgotten", {**server.where, "IDLE_FOR": "1ms", "KEEP": keep})
    until(lambda: server.ask(idle) == left)
    if left:
        server.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'checkout'"
        )
    forgot.communicate()
    runs = server.begin("SELECT pg_sleep(60);\n", user="shop", application="checkout")
    active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND application_name = 'checkout'"
    until(lambda: server.ask(active) == "1")
    given = {**server.where, "SLOW_AFTER": "1ms", "KEEP": keep}
    assert bool(left) == run("slow-queries", "check-end", given)[0]
    assert run("slow-queries", "cancel", given)[0]
    until(lambda: server.ask(active) == ("1" if left else "0"))
    server.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'checkout'")
    runs.communicate()


def test_runaway_statements_that_wrote_wait_or_maintain_stay(server: Postgres) -> None:
    """Cancelled is what has written nothing; with writes=true also what wrote; never maintenance or victims."""
    began = [
        server.begin(f"{text}\n", user=user, application=application)
        for user, application, text in (
            ("shop", "reads", "SELECT pg_sleep(60);"),
            ("shop", "holds", "BEGIN; LOCK TABLE orders IN EXCLUSIVE MODE;"),
            ("postgres", "admin", "SELECT pg_sleep(60);"),
            ("shop", "builds", "/* nightly */ CREATE TEMP TABLE sums AS SELECT count(*) FROM pg_sleep(60);"),
            ("shop", "writes", "BEGIN; CREATE TEMP TABLE t (a int); SELECT pg_sleep(60);"),
        )
    ]
    holding = "SELECT count(*) FROM pg_locks WHERE mode = 'ExclusiveLock' AND relation = 'orders'::regclass AND granted"
    until(lambda: server.ask(holding) == "1")
    began.append(server.begin("INSERT INTO orders VALUES (1);\n", user="shop", application="victim"))
    active = (
        "SELECT string_agg(application_name, ' ' ORDER BY application_name) FROM pg_stat_activity "
        "WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    until(lambda: server.ask(active) == "admin builds reads victim writes")
    given = {**server.where, "SLOW_AFTER": "1ms"}
    assert run("slow-queries", "cancel", given)[0]
    until(lambda: server.ask(active) == "admin builds victim writes")
    assert run("slow-queries", "cancel", {**given, "WRITES": "true"})[0]
    until(lambda: server.ask(active) == "admin builds victim")
    ok, said = run("slow-queries", "check-end", {**given, "SLOW_AFTER": "100ms"})
    assert (False, True, True) == (ok, "of a superuser" in said, "waits for" in said)
    server.ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name IN ('admin', 'builds', 'holds')"
    )
    for session in began:
        session.communicate()


def test_a_backup_that_fails_leaves_nothing_that_looks_like_one(server: Postgres, tmp_path: Path) -> None:
    """No folder, no mount and no right end with a reason, and without a file."""
    given = {**server.where, "DATABASE": "postgres", "FALLBACK": ""}
    ok, said = run("backup-failed", "backup", {**given, "DIRECTORY": str(tmp_path / "gone")})
    assert (False, True) == (ok, "is not there" in said)
    ok, said = run("backup-failed", "backup", {**given, "DIRECTORY": str(tmp_path), "MOUNTED": "true"})
    assert (False, True) == (ok, "is not mounted" in said)
    ok, said = run(
        "backup-failed", "backup", {**given, "DIRECTORY": str(tmp_path), "PGUSER": "shop", "DATABASE": "gone"}
    )
    assert not ok
    assert [] == list(tmp_path.iterdir())


def test_a_mount_that_hangs_does_not_keep_the_backup(server: Postgres, tmp_path: Path) -> None:
    """A server of files that is gone keeps whoever asks: the other folder gets the backup, and soon."""
    programs, hangs, other = (tmp_path / name for name in ("programs", "hangs", "other"))
    for folder in (programs, other):
        folder.mkdir()
    hangs.mkdir()
    (programs / "stat").write_text(
        f'#!/bin/sh\ncase "$*" in *{hangs}) exec sleep 60 ;; esac\nexec {shutil.which("stat")} "$@"\n'
    )
    (programs / "timeout").write_text(
        f'#!/bin/sh\nshift 3\nexec {shutil.which("timeout")} 0.3 "$@"\n'
    )  # sooner
    for file in programs.iterdir():
        file.chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    given = {
        **server.where,
        "PATH": path,
        "DATABASE": "postgres",
        "DIRECTORY": str(hangs),
        "FALLBACK": str(other),
    }
    ok, said = run("backup-failed", "backup", given)
    assert (True, True) == (ok, f"{hangs} is not there, or does not answer" in said)
    assert ([], [said.splitlines()[-1]]) == (list(hangs.iterdir()), [str(file) for file in other.iterdir()])


def test_what_cannot_be_restored_is_not_proved_and_nothing_is_left(server: Postgres, tmp_path: Path) -> None:
    """A damaged backup fails its proof, and the database of the trial is gone."""
    (tmp_path / "bad.dump").write_bytes(b"PGDMP, or so it says")
    given = {**server.where, "DATABASE": "postgres", "DUMP": str(tmp_path / "bad.dump")}
    ok, _ = run("backup-failed", "prove", given)
    assert not ok
    assert "postgres template0 template1" == server.ask(
        "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database"
    )


def test_a_trial_never_fills_the_disk_of_the_server(server: Postgres, tmp_path: Path) -> None:
    """Where there is room the backup is proved; where there is not nothing is restored, and that is said."""
    given = {**server.where, "DATABASE": "postgres", "DIRECTORY": str(tmp_path), "FALLBACK": ""}
    ok, dump = run("backup-failed", "backup", given)
    assert ok, dump
    given["DUMP"] = dump.strip()
    ok, said = run("backup-failed", "prove", given)
    assert (True, True) == (ok, said.splitlines()[-1].startswith("PROVED: ")), said
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "df").write_text(
        "#!/bin/sh\nprintf 'Filesystem\\n/dev/sda1 9999999 9990000 9999 99%% /\\n'\n"
    )
    (programs / "df").chmod(0o755)
    ok, said = run("backup-failed", "prove", {**given, "PATH": f"{programs}:{os.environ['PATH']}"})
    assert (True, True) == (ok, said.startswith("NOT PROVED: the disk of the server has 9999 kB free")), said


def test_only_dumps_that_nobody_writes_are_cleared(tmp_path: Path) -> None:
    """Old leftovers go; finished, young and open files stay."""
    for name in ("old of.partial", "open.partial", "young.partial", "whole.dump"):
        (tmp_path / name).write_bytes(b"x")
        if name != "young.partial":
            os.utime(tmp_path / name, (0, 0))
    with (tmp_path / "open.partial").open("rb"):
        ok, said = run("backup-failed", "clear", {"DATABASE": "shop", "DIRECTORY": str(tmp_path)})
    assert (True, True) == (ok, "in use" in said)
    assert ["open.partial", "whole.dump", "young.partial"] == sorted(file.name for file in tmp_path.iterdir())


def test_a_redis_that_is_more_than_a_cache_is_not_made_to_evict(redis: dict[str, str]) -> None:
    """With keys that do not expire the policy stays; with keys that do it changes, and back again."""
    port, value = redis["REDIS_PORT"], "x" * 10_000
    lines = "".join(f"SET key:{number} {value}\n" for number in range(400))
    subprocess.run(["redis-cli", "-p", port], input=lines, text=True, stdout=subprocess.DEVNULL, check=False)
    ok, said = run("cache-failure", "evict", redis)
    assert (False, True) == (ok, "more than a cache" in said)
    assert not run("cache-failure", "check-evict", redis)[0]
    lines = "".join(f"EXPIRE key:{number} 3600\n" for number in range(400))
    subprocess.run(["redis-cli", "-p", port], input=lines, text=True, stdout=subprocess.DEVNULL, check=True)
    ok, said = run("cache-failure", "evict", redis)
    assert (True, "noeviction") == (ok, said.strip())
    assert run("cache-failure", "check-evict", redis)[0]
    assert run("cache-failure", "rollback-evict", {**redis, "POLICY_BEFORE": said.strip()})[0]
    assert "noeviction" == ask(port, "CONFIG", "GET", "maxmemory-policy").split()[-1]


def test_a_script_that_has_written_is_not_ended(redis: dict[str, str]) -> None:
    """What cannot be ended without losing data is left to a person, and said."""
    port = redis["REDIS_PORT"]
    writes = "redis.call('set', 'a', 'b') while true do end"
    with subprocess.Popen(
        ["redis-cli", "-p", port, "EVAL", writes, "0"], stdout=subprocess.DEVNULL
    ) as script:
        until(lambda: ask(port, "PING").startswith("BUSY"))
        assert run("cache-failure", "answers", redis)[0]
        ok, said = run("cache-failure", "end-script", redis)
        script.kill()
    assert (False, True) == (ok, "UNKILLABLE" in said)


def test_valkey_is_asked_by_its_own_client(redis: dict[str, str], tmp_path: Path) -> None:
    """Where only that is installed the pages work as well; where neither is, that is what is said."""
    path = path_with(tmp_path / "valkey", valkey_cli="redis-cli")
    for page, block, said in (
        ("cache-failure", "answers", "PONG"),
        ("queue-backlog", "too-long", "2 jobs wait"),
    ):
        ask(redis["REDIS_PORT"], "RPUSH", f"jobs-{page}", "one", "two")
        given = {**redis, "PATH": path, "QUEUE": f"jobs-{page}", "LIMIT": "1"}
        ok, words = run(page, block, given)
        assert (True, said) == (ok, words.strip())
    path = path_with(tmp_path / "neither")
    for page, block in (("cache-failure", "answers"), ("queue-backlog", "too-long")):
        ok, words = run(page, block, {**redis, "PATH": path, "QUEUE": "jobs"})
        assert (False, "neither redis-cli nor valkey-cli is installed") == (ok, words.strip())


def test_a_queue_that_cannot_be_asked_for_says_why() -> None:
    """A Redis that does not run, or wants a password, is not an empty queue."""
    if shutil.which("redis-cli") is None:
        pytest.skip("redis is not installed: apt-get install redis-server")
    given = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": "1", "QUEUE": "jobs"}
    ok, said = run("queue-backlog", "too-long", given)
    assert (False, True) == (ok, "127.0.0.1:1 cannot be asked: Could not connect" in said)
