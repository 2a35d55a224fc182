"""Starting, probing, reading and stopping local processes."""

import json
import os
import socket
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from opsbook.errors import Conflict, Failed, Invalid, NotFound
from opsbook.world.words import Exit, HealthCheck, InstanceState, Limits

SHOW = """
import json, os, sys, time
print(json.dumps([dict(os.environ), sys.argv, os.getcwd()]), flush=True)
time.sleep(600)
"""


def shown(world: Any, instance: str) -> tuple[dict[str, str], list[str], str]:
    world.until(lambda: "\n" in world.log(instance))
    environ, argv, folder = json.loads(world.log(instance).splitlines()[0])
    return environ, argv, folder


def test_a_service_starts_answers_and_stops(world: Any) -> None:
    """From start to stop: it runs under its port, is healthy, writes its log, and leaves nothing but that."""
    runtime = world.runtime()
    started = runtime.start(world.work(), "web-test-1")
    assert (started.state, started.alive, started.restarts) == (InstanceState.RUNNING, True, 0)
    world.until(lambda: runtime.probe("web-test-1").healthy)
    assert runtime.instances() == (started,)
    assert runtime.instances("test", "web") == (started,)
    assert runtime.instances("other") == runtime.instances("test", "other") == ()
    assert runtime.log_tail("web-test-1") == (f"ready {started.pid}",)
    runtime.stop("web-test-1")
    assert runtime.instances() == ()
    assert world.family() == []
    assert runtime.log_tail("web-test-1") == (f"ready {started.pid}",)
    assert sorted(path.name for path in (world.state / "instances").iterdir()) == [".token"]
    runtime.stop("web-test-1")


def test_starting_again_returns_what_runs(world: Any) -> None:
    """The second start is the same instance and process; another workload under its name is refused."""
    runtime = world.runtime()
    first = runtime.start(world.work(), "a")
    assert runtime.start(world.work(), "a") == first
    with pytest.raises(Conflict, match="runs another workload"):
        runtime.start(world.work(release="web-2"), "a")


def test_the_environment_is_what_was_said_and_little_else(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service sees its own settings and secrets, and nothing of the operator's shell."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the operator")
    monkeypatch.setenv("LC_TIME", "C")
    world.secrets.set("token", "hunter22\n")
    runtime = world.runtime()
    work = world.work(
        command=(sys.executable, "-c", SHOW, "--port={port}", "{{x}}"),
        env={"TOKEN": "a{secret:token}b", "URL": "http://x:{port}/{{id}}", "OPSBOOK_INSTANCE": "mine"},
    )
    instance = runtime.start(work, "web-test-1")
    environ, argv, folder = shown(world, "web-test-1")
    assert instance.address is not None
    port = str(instance.address.port)
    assert argv == ["-c", f"--port={port}", "{x}"]
    assert (environ["TOKEN"], environ["URL"], environ["PORT"]) == (
        "ahunter22b",
        f"http://x:{port}/{{id}}",
        port,
    )
    assert environ["OPSBOOK_INSTANCE"] == "web-test-1"
    assert [environ[f"OPSBOOK_{name}"] for name in ("SERVICE", "ENVIRONMENT", "RELEASE", "VERSION")] == [
        "web", "test", "web-1", "1",
    ]  # fmt: skip
    assert (environ["PYTHONUNBUFFERED"], environ["PYTHONDONTWRITEBYTECODE"], environ["LC_TIME"]) == (
        "1",
        "1",
        "C",
    )
    assert environ["PATH"] == f"{os.environ['PATH']}:{Path(sys.executable).parent}"
    assert "AWS_SECRET_ACCESS_KEY" not in environ
    assert Path(environ["OPSBOOK_DATA_DIR"]) == world.state / "data" / "test" / "web"
    assert folder == str(world.state / "instances" / "web-test-1")
    assert "hunter22" not in (world.state / "instances" / "web-test-1.json").read_text()
    assert "hunter22" not in "".join(runtime.log_tail("web-test-1"))
    assert "a***b" in "".join(runtime.log_tail("web-test-1"))


def test_a_pinned_secret_is_the_value_of_then(world: Any) -> None:
    """A release that names a secret's version gets that value after the secret was changed."""
    world.secrets.set("token", "old-value")
    version = world.secrets.pin(["token"])["token"]
    world.secrets.set("token", "new-value")
    runtime = world.runtime()
    runtime.start(world.work(SHOW, env={"TOKEN": f"{{secret:token@{version}}}"}), "a")
    assert shown(world, "a")[0]["TOKEN"] == "old-value"


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"command": ("true", "{secret:x}")}, Invalid, "every user could read it"),
        ({"command": ()}, Invalid, "the command is empty"),
        ({"command": ("true", "{port}"), "port": None}, Invalid, "the service has no port"),
        ({"service": "../x"}, Invalid, "cannot be the name of the service"),
    ],
)
def test_what_cannot_be_right_is_refused_without_a_trace(
    world: Any, more: dict[str, Any], error: type[Exception], message: str
) -> None:
    """A workload that cannot be right leaves no instance behind."""
    runtime = world.runtime()
    with pytest.raises(error, match=message):
        runtime.start(world.work(**more), "a")
    assert runtime.instances() == ()


@pytest.mark.parametrize(
    ("more", "message", "hint"),
    [
        ({"command": ("no-such-command",)}, "command not found: no-such-command", "full path"),
        ({"env": {"A": "{secret:missing}"}}, "no such secret: missing", "opsbook secrets set missing"),
        ({"env": {"A=B": "x"}}, "cannot be the name of an environment variable", ""),
        ({"user": "no-such-user"}, "no such user: no-such-user", "useradd"),
        ({"folder": Path("/no/such/release")}, "the snapshot of release web-1 is gone", "deploy"),
        ({"limits": Limits(open_files=2**40)}, "open files cannot be set", "hard limit"),
    ],
)
def test_what_cannot_be_started_is_failed_and_says_why(
    world: Any, more: dict[str, Any], message: str, hint: str
) -> None:
    """The error has a way out, the instance is FAILED with the reason, and starting can be tried again."""
    runtime = world.runtime()
    for _ in range(2):
        with pytest.raises((Failed, NotFound)) as caught:
            runtime.start(world.work(**more), "a")
        assert message in caught.value.message
        assert caught.value.message.startswith("a cannot be started: ")
        assert hint in caught.value.hint
        assert caught.value.where == "test/web"
    (failed,) = runtime.instances()
    assert (failed.state, failed.pid) == (InstanceState.FAILED, None)
    assert failed.last_exit is not None
    assert message in failed.last_exit.reason
    assert runtime.probe("a").detail == f"failed: {failed.last_exit.reason}"
    assert world.runtime().adopt() == (failed,)
    assert runtime.start(world.work(), "a").alive


def test_a_full_disk_is_said_and_leaves_nothing(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When not even the intent can be written, there is no instance and no process."""
    runtime = world.runtime()

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("opsbook.world.hosts.files.os.write", full)
    with pytest.raises(Failed, match="the disk is full"):
        runtime.start(world.work(), "a")
    monkeypatch.undo()
    assert runtime.instances() == ()
    assert world.family() == []
    assert [path.name for path in (world.state / "instances").iterdir()] == [".token"]
    assert runtime.start(world.work(), "a").alive


def test_stopping_works_on_a_full_disk(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What frees the disk must not need any of it."""
    runtime = world.runtime()
    runtime.start(world.work(), "a")

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("opsbook.world.hosts.files.os.write", full)
    runtime.stop("a")
    monkeypatch.undo()
    assert (world.family(), world.runtime().instances()) == ([], ())


def test_the_working_folder_is_the_instances_own_copy(world: Any, tmp_path: Path) -> None:
    """Relative paths and imports work, what is written stays out of the release and survives a restart only."""
    release = tmp_path / "release"
    (release / "shop").mkdir(parents=True)
    (release / "node_modules" / "x").mkdir(parents=True)
    (release / "shop" / "__init__.py").write_text("")
    (release / "shop" / "web.py").write_text(
        "import time; open('data.txt','a').write('x'); open('shop/web.py','a').write('#')\n"
        "print(open('data.txt').read(), flush=True); time.sleep(600)"
    )
    (release / "run").write_text("#!/bin/sh\nexec python -m shop.web\n")
    (release / "run").chmod(0o555)
    (release / "link").symlink_to("shop/web.py")
    (release / "shop" / "web.py").chmod(0o444)
    runtime, _ = world.supervised()
    instance = runtime.start(world.work(command=("./run",), folder=release), "a")
    world.until(lambda: world.log("a") == "x\n")
    folder = world.state / "instances" / "a"
    assert (folder / "node_modules").readlink() == release / "node_modules"
    assert (folder / "link").readlink() == Path("shop/web.py")
    os.kill(instance.pid, 9)
    world.until(lambda: world.log("a") == "x\nxx\n")
    assert not (release / "shop" / "web.py").read_text().endswith("#")
    assert sorted(path.name for path in release.iterdir()) == ["link", "node_modules", "run", "shop"]
    runtime.stop("a", grace=0)
    assert not folder.exists()


def test_data_outlives_the_instance(world: Any) -> None:
    """What a service writes to its data folder is there for its next instance, and closed to others."""
    program = "import os; open(os.environ['OPSBOOK_DATA_DIR'] + '/db', 'a').write('x'); __import__('time').sleep(600)"
    runtime = world.runtime()
    data = world.state / "data" / "test" / "web"
    for number in (1, 2):
        runtime.start(world.work(program), f"a{number}")
        world.until(
            lambda expected="x" * number: (data / "db").exists() and (data / "db").read_text() == expected
        )
        runtime.stop(f"a{number}")
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


def test_many_starts_at_once_have_different_ports(world: Any) -> None:
    """Instances that are started in several threads at the same moment never share a port or a process."""
    runtime = world.runtime()
    started: list[Any] = []
    threads = [
        threading.Thread(target=lambda n=n: started.append(runtime.start(world.work(), f"a{n % 6}")))
        for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({instance.address for instance in started}) == 6
    assert len({instance.pid for instance in started}) == 6
    for instance in runtime.instances():
        world.until(lambda name=instance.id: runtime.probe(name).healthy)


def test_a_range_of_ports_is_kept_to(world: Any) -> None:
    """Ports come from the range, taken ones are passed over, and an exhausted range is an error without a trace."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        runtime = world.runtime(port_range=range(port, port + 1))
        with pytest.raises(Failed, match=f"no free port between {port} and {port}"):
            runtime.start(world.work(), "a")
        assert runtime.instances() == ()
    assert runtime.start(world.work(), "a").address.port == port  # type: ignore[union-attr]


def test_a_worker_has_no_port(world: Any) -> None:
    """A service without a port has no address and no PORT, and is well once it has run for a moment."""
    runtime = world.runtime()
    work = world.work(SHOW, port=None, health=HealthCheck("alive", start_period=0.05))
    assert runtime.start(work, "a").address is None
    world.until(lambda: runtime.probe("a").healthy)
    assert "PORT" not in shown(world, "a")[0]


HTTP = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/hang": __import__("time").sleep(600)
        if self.path == "/close": return
        self.send_response(int(self.path[1:])); self.end_headers()
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.mark.parametrize(
    ("path", "healthy", "detail"),
    [
        ("/200", True, "200 in "),
        ("/302", True, "302 in "),
        ("/404", False, "404"),
        ("/503", False, "503"),
        ("/hang", False, "no answer within 0.3 s"),
        ("/close", False, "closed the connection without an answer"),
    ],
)
def test_http_health_is_the_status(world: Any, path: str, healthy: bool, detail: str) -> None:
    """2xx and 3xx are well; anything else, silence and nonsense are not, and the detail says which."""
    runtime = world.runtime()
    timeout = 0.3 if path == "/hang" else 20.0
    runtime.start(world.work(HTTP, health=HealthCheck("http", path=path, timeout=timeout)), "a")
    probe = world.until(lambda: (p := runtime.probe("a")).detail != "connection refused" and p)
    assert probe.healthy is healthy
    assert probe.detail.startswith(detail)
    assert 0 <= probe.seconds < 20


@pytest.mark.parametrize(
    ("script", "healthy", "detail"),
    [
        ("test $PORT -gt 0 && test $OPSBOOK_INSTANCE = a", True, "exit code 0 in "),
        ("echo all is $WORD; exit 3", False, "exit code 3: all is ***"),
        ("sleep 600", False, "no end within 0.5 s"),
    ],
)
def test_command_health_is_the_exit_code(world: Any, script: str, healthy: bool, detail: str) -> None:
    """The command has the instance's environment; its last words are in the detail, without secrets."""
    world.secrets.set("word", "well-kept")
    runtime = world.runtime()
    timeout = 0.5 if script == "sleep 600" else 20.0
    check = HealthCheck("command", command=("sh", "-c", script), timeout=timeout)
    runtime.start(world.work(health=check, env={"WORD": "{secret:word}"}), "a")
    probe = runtime.probe("a")
    assert probe.healthy is healthy
    assert probe.detail.startswith(detail)


def test_probing_what_is_not_there(world: Any) -> None:
    """Nobody listening is not healthy; an unknown instance is an error."""
    runtime = world.runtime()
    runtime.start(world.work("import time; time.sleep(600)"), "a")
    assert runtime.probe("a").detail == "connection refused"
    with pytest.raises(NotFound, match="no such instance: b"):
        runtime.probe("b")
    assert runtime.log_tail("b") == ()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="changing the user needs root")
def test_a_service_of_another_user_needs_a_way_in(world: Any) -> None:
    """A folder that the user cannot enter is named, with the command that opens it."""
    world.folder.chmod(0o700)
    with pytest.raises(Failed, match="nobody cannot enter") as caught:
        world.runtime().start(world.work(user="nobody"), "a")
    assert caught.value.hint.startswith("chmod o+x ")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="changing the user needs root")
def test_a_service_of_another_user_owns_its_folders(world: Any, tmp_path: Path) -> None:
    """It runs with that user's ids, may write where it works and to its data, and its health command is that user's."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder == tmp_path or folder.name.startswith(("pytest-", "popen-")):
            folder.chmod(0o711)
    release = tmp_path / "release"
    release.mkdir()
    (release / "a").write_text("")
    script = "touch here a $OPSBOOK_DATA_DIR/there && id -un && exec sleep 600"
    check = HealthCheck("command", command=("sh", "-c", "test $(id -un) = nobody"))
    runtime = world.runtime()
    runtime.start(world.work(command=("sh", "-c", script), user="nobody", folder=release, health=check), "a")
    world.until(lambda: world.log("a") == "nobody\n")
    assert runtime.probe("a").healthy
    assert (world.state / "data" / "test" / "web" / "there").owner() == "nobody"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may change to anybody")
def test_only_root_changes_the_user(world: Any) -> None:
    """An ordinary user is told that running as somebody else needs root."""
    with pytest.raises(Exception, match="only root can run a service as root"):
        world.runtime().start(world.work(user="root"), "a")


def test_an_end_is_noticed_without_supervision(world: Any) -> None:
    """`instances` never says RUNNING of what has ended, and leaves no zombie."""
    runtime = world.runtime()
    pid = runtime.start(world.work("raise SystemExit(7)"), "a").pid
    (ended,) = world.until(lambda: (found := runtime.instances()) and not found[0].alive and found)
    assert ended.state is InstanceState.BACKOFF
    assert ended.last_exit == Exit(7, None, ended.last_exit.at)
    assert not Path(f"/proc/{pid}").exists()
