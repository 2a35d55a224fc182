"""Targets of the handbook and of files that others write; the alerts of those that do not answer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from opsbook.book import Book, TextFiles, load
from opsbook.errors import Invalid, NotFound
from opsbook.monitoring.generating import generated_groups
from opsbook.monitoring.rules.exporting import exported
from opsbook.monitoring.targets.room import ExtraTargets
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.telemetry.names import Names
from opsbook.world.telemetry.target_files import listed
from opsbook.world.words import Address, Target, Tls


def book_of(targets: str) -> Book:
    return load(TextFiles({"opsbook.yaml": b"name: shop\n", "monitoring/targets.yaml": targets.encode()}))


SECRETS = {"exporter": "s3cret"}


def secret(name: str) -> str:
    if name not in SECRETS:
        raise NotFound(f"there is no secret {name}")
    return SECRETS[name]


class House:
    """The room over a folder, with a name server that knows what `hosts` says."""

    def __init__(self, folder: Path, targets: str) -> None:
        self.book = book_of(targets)
        self.hosts: dict[str, str] = {"db.example.com": "10.0.0.7"}
        self.said: list[str] = []
        self.room = ExtraTargets(
            lambda: self.book,
            folder,
            secret=secret,
            clock=SystemClock(),
            log=self.said.append,
            names=Names(SystemClock(), self.resolve),
        )

    def resolve(self, host: str) -> str:
        if host not in self.hosts:
            raise OSError(-2, "Name or service not known")
        return self.hosts[host]

    def until(self, condition: Callable[[list[Target]], object]) -> list[Target]:
        deadline = time.monotonic() + 10
        while not condition(found := self.room.targets()):
            assert time.monotonic() < deadline, found
            time.sleep(0.01)
        return found


def test_names_tokens_and_certificates(tmp_path: Path) -> None:
    """A name is resolved in the background and kept for the certificate; secrets are filled in, seen by nobody."""
    house = House(
        tmp_path,
        """targets:
  - name: postgres
    addresses: ["db.example.com:9187", "[::1]:9187", "gone.example.com:1"]
    scheme: https
    ca: ca.pem
    token: "{secret:exporter}"
    labels: {service: database}
  - name: locked
    addresses: ["10.0.0.1:1"]
    user: me
    password: "{secret:nothing}"
""",
    )
    found = house.until(lambda targets: len(targets) == 4)
    database, local, gone, locked = found
    labels = {"instance": "db.example.com:9187", "service": "database", "job": "postgres"}
    assert Target(
        "metrics",
        labels,
        Address("10.0.0.7", 9187),
        name="db.example.com",
        tls=Tls(tmp_path / "ca.pem"),
        headers={"Authorization": "Bearer s3cret"},
        interval=15.0,
        timeout=5.0,
    ) == database  # fmt: skip
    assert "s3cret" not in repr(found)
    assert ("https://db.example.com:9187/metrics", "https://[::1]:9187/metrics") == (database.url, local.url)
    assert ("gone.example.com cannot be resolved: Name or service not known", None) == (
        gone.problem,
        gone.address,
    )
    assert "there is no secret nothing" == locked.problem
    house.room.close()


def test_files_come_change_and_go(tmp_path: Path) -> None:
    """A file's targets follow the file at once; while it is broken, what it last said holds."""
    house = House(tmp_path, "targets: [{name: nodes, files: ['sd/*.json', 'sd/more.yml']}]")
    assert [] == house.room.targets()
    (tmp_path / "sd").mkdir()
    file = tmp_path / "sd" / "a.json"
    labels = {"rack": "7", "__metrics_path__": "/m", "__scheme__": "https", "__param_module": "a b"}
    labels |= {"__scrape_interval__": "30s", "__scrape_timeout__": "1m", "__meta_x": "y"}
    file.write_text(json.dumps([{"targets": ["10.0.0.1:9100", "10.0.0.2:9100"], "labels": labels}]))
    one, _ = house.room.targets()
    assert {"job": "nodes", "instance": "10.0.0.1:9100", "rack": "7"} == one.labels
    assert ("https://10.0.0.1:9100/m?module=a+b", 30.0, 30.0) == (one.url, one.interval, one.timeout)
    more = tmp_path / "sd" / "more.yml"
    more.write_text("- targets: ['10.0.0.3:9100', '10.0.0.1:9100']\n  labels: {job: other}\n")
    expected = ["nodes 10.0.0.1:9100", "nodes 10.0.0.2:9100", "other 10.0.0.3:9100", "other 10.0.0.1:9100"]
    labels_of = [target.labels for target in house.room.targets()]
    assert expected == [f"{labels['job']} {labels['instance']}" for labels in labels_of]
    file.write_text("[{")
    assert 4 == len(house.room.targets())
    assert 4 == len(house.room.targets())
    assert 1 == len(house.said)
    assert f"targets: {file}: it is neither JSON nor YAML" in house.said[0]
    file.write_text('[{"targets": ["10.0.0.9:1"]}]')
    assert 3 == len(house.room.targets())
    more.unlink()
    assert ["10.0.0.9:1"] == [target.labels["instance"] for target in house.room.targets()]
    file.write_text(
        '[{"targets": ["10.0.0.9:1"]}, {"targets": ["10.0.0.9:1"], "labels": {"__scheme__": "ftp"}}]'
    )
    assert [""] == [target.problem for target in house.room.targets()]
    assert "nodes 10.0.0.9:1 is there twice with the same labels" in house.said[-1]
    house.room.close()


def test_jobs_of_opsbook_are_its_own(tmp_path: Path) -> None:
    """A file cannot pass something off as what opsbook measures itself."""
    (tmp_path / "a.json").write_text('[{"targets": ["10.0.0.9:1"], "labels": {"job": "process"}}]')
    house = House(tmp_path, "targets: [{name: nodes, files: a.json}]")
    (target,) = house.room.targets()
    assert ("nodes", "job is process, which opsbook uses itself") == (target.labels["job"], target.problem)
    house.room.close()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "expected a list of"),
        ("[1]", "entry 1: expected targets and labels"),
        ('[{"targets": ["a:1"], "label": {}}]', "entry 1: expected targets and labels"),
        ('[{"targets": "a:1"}]', "entry 1: targets is no list"),
        ('[{"targets": ["a"]}]', 'entry 1: expected host:port, got "a"'),
        ('[{"targets": ["http://a:1"]}]', "entry 1: expected host:port"),
        ('[{"targets": ["a:99999"]}]', "entry 1: expected host:port"),
        ('[{"targets": [], "labels": {"a-b": "c"}}]', "entry 1: a-b is no name of a label"),
        ('[{"targets": [], "labels": {"a": 1}}]', "entry 1: the value of a is no text"),
        ("\x00", "neither JSON nor YAML"),
        (json.dumps([{"targets": ["a:1"] * 2001}]), "2001 addresses, more than 2000"),
    ],
)
def test_files_that_are_wrong(content: str, said: str) -> None:
    """What is wrong with a file is said in words."""
    for name in ("a.json", "a.yaml"):
        with pytest.raises(Invalid, match=said):
            listed(name, content.encode())


def test_a_name_server_that_hangs_delays_nobody() -> None:
    """While a name is being asked for, it is simply not known; later on its last address holds."""
    import threading

    go, answers = threading.Event(), [OSError(-3, "Temporary failure"), "10.0.0.2", "10.0.0.1"]
    now = [0.0]

    class Clock(SystemClock):
        def monotonic(self) -> float:
            return now[0]

    def resolve(_: str) -> str:
        assert go.wait(10)
        answer = answers.pop()
        if isinstance(answer, OSError):
            raise answer
        return answer

    names = Names(Clock(), resolve)
    assert names.address("a.example.com") is None
    assert names.address("a.example.com") is None
    go.set()

    def becomes(address: str, left: int) -> None:
        deadline = time.monotonic() + 10
        while names.address("a.example.com") != address or len(answers) > left:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    becomes("10.0.0.1", 2)
    now[0] = 31.0
    becomes("10.0.0.2", 1)
    now[0] = 62.0
    becomes("10.0.0.2", 0)
    names.close()


def test_an_alert_for_each_that_is_down(tmp_path: Path) -> None:
    """Every entry has an alert unless it wants none; it is exported with all other rules."""
    book = book_of(
        "targets: [{name: nodes, addresses: ['a:1'], severity: critical, interval: 2m},"
        " {name: quiet, addresses: ['a:1'], alert: false}]"
    )
    ((rule,),) = (group.rules for group in generated_groups(book))
    assert ("TargetDown", 'up{job="nodes"} == 0', 300.0, {"severity": "critical", "job": "nodes"}) == (
        rule.alert, rule.expr, rule.for_, rule.labels
    )  # fmt: skip
    assert "targets.yaml" in exported(book, generated_groups(book))
