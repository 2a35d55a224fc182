"""The standard pages on machines that are not like the drill's: a program is missing, or another one is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from standard_authority import command, free_port, listens, program, until
from standard_blocks import run
from test_standard_trust import answering

from opsbook.book.runbook_pages import read_runbook
from opsbook.response.standard import standard_pages

ENDS_EARLY = re.compile(r"\|\s*(head|grep -[a-zA-Z]*q|awk[^|\n]*\bexit\b)")


def path_without(folder: Path, *names: str) -> str:
    """A path on which everything is found but these."""
    folder.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for file in Path(place).iterdir() if os.access(place, os.R_OK | os.X_OK) else ():
            if file.name not in names and not (folder / file.name).is_symlink():
                (folder / file.name).symlink_to(file)
    return str(folder)


@pytest.fixture
def notes(tmp_path: Path) -> tuple[str, Path]:
    """A path whose `opsbook` only writes down what it is asked, and that file."""
    programs, asked = tmp_path / "programs", tmp_path / "asked"
    programs.mkdir()
    asked.touch()
    command(programs, "opsbook", f'echo "$*" >>{asked}')
    return f"{programs}:{os.environ['PATH']}", asked


@pytest.mark.parametrize("name", sorted(standard_pages()))
def test_no_reader_ends_before_who_writes(name: str) -> None:
    """With `pipefail`, a `head` that has enough ends the writer by a signal, and with it the whole block."""
    runbook, _, _ = read_runbook(name, standard_pages()[name].runbook.encode())
    assert runbook is not None
    assert [] == [block.id for block in runbook.blocks if ENDS_EARLY.search(block.script)]


def test_the_network_is_shown_whole_on_a_machine_with_many_links(tmp_path: Path) -> None:
    """Hundreds of interfaces, as where containers run, or no `ip` at all: what comes after is shown too."""
    programs = tmp_path / "programs"
    programs.mkdir()
    command(
        programs,
        "ip",
        'case "$*" in *statistics*) i=0; while [ $i -lt 4000 ]; do i=$((i + 1)); '
        'echo "$i: veth$i: <UP> mtu 1500"; echo "    RX: bytes packets"; done ;; '
        '*"route show default"*) ;; *route*) echo "the routes" ;; *) echo "$*" ;; esac',
    )
    ok, said = run("network-dns", "diagnose-2", {"PATH": f"{programs}:{os.environ['PATH']}"})
    assert (True, True) == (ok, "the routes" in said)
    ok, said = run("network-dns", "diagnose-2", {"PATH": path_without(tmp_path / "no-ip", "ip")})
    assert (True, True) == (ok, "ip is not installed" in said)


@pytest.mark.parametrize(
    ("page", "block"),
    [
        ("service-down", "is-down"),
        ("failed-deployment", "fails"),
        ("region-failover", "precheck"),
        ("compromised-credential", "precheck-3"),
    ],
)
def test_a_page_that_cannot_ask_begins_nothing(page: str, block: str, tmp_path: Path) -> None:
    """Without curl everything looks as if it were down; a service that is well would be restarted."""
    path = path_without(tmp_path / "no-curl", "curl")
    where = "http://127.0.0.1:1/"
    ok, said = run(page, block, {"PATH": path, "URL": where, "ENTRY": where, "PROVE_URL": where})
    assert (False, True) == (ok, "curl is not installed" in said)


def test_only_a_service_that_does_not_answer_is_down() -> None:
    """Errors of the server and silence are; a refusal, and a question that cannot be asked, are not."""
    program("curl")
    with answering(503) as address:
        failing = run("service-down", "is-down", {"URL": address})
    silent = run("service-down", "is-down", {"URL": f"http://127.0.0.1:{free_port()}/"})
    with answering(404) as address:
        refusing = run("service-down", "is-down", {"URL": address})
    slip = run("service-down", "is-down", {"URL": "htp://shop.test/"})
    with answering(200) as address:
        well = run("service-down", "is-down", {"URL": address})
    assert [True, True, False, False, False] == [one[0] for one in (failing, silent, refusing, slip, well)]
    assert "it answers, with 404: it is not down" == refusing[1].strip()
    assert "cannot be asked from here" in slip[1]


def test_a_release_is_not_taken_back_for_a_url_with_a_slip() -> None:
    """Its check could never see that users are answered again."""
    program("curl")
    ok, said = run("failed-deployment", "fails", {"URL": "htp://shop.test/"})
    assert (False, True) == (ok, "cannot be asked from here" in said)


@pytest.mark.parametrize(
    ("page", "block", "never"),
    [
        ("high-cpu", "is-high", "less than"),
        ("high-memory", "is-high", "less than"),
        ("failed-deployment", "fails", "do not fail"),
        ("slow-api", "precheck", "answered within"),
        ("slow-api", "judge", "unknown"),
    ],
)
def test_who_cannot_be_asked_has_not_said_that_all_is_well(
    page: str, block: str, never: str, tmp_path: Path
) -> None:
    """Where the figures are not to be had, that is the reason which is given."""
    command(
        tmp_path,
        "opsbook",
        '[ "$1" = query ] || { echo \'{"deployments": []}\'; exit 0; }; echo gone away >&2; exit 3',
    )
    given = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SERVICE": "web", "ENVIRONMENT": "local"}
    with answering(200) as address:
        ok, said = run(page, block, {**given, "URL": address})
    assert (False, True, False) == (ok, "gone away" in said, never in said)


def test_an_address_that_is_silent_proves_nothing(tmp_path: Path) -> None:
    """It is neither refused nor answered, and that is what is said."""
    program("curl")
    command(tmp_path, "sleep", "true")
    command(tmp_path, "curl", "printf 000; exit 7")
    aside = Path("/var/tmp") / f"credential.test-{os.getpid()}"
    aside.mkdir(0o700)
    (aside / "old").write_text("s3cret")
    where = "http://127.0.0.1:1/"
    given = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ASIDE": str(aside), "PROVE_URL": where}
    ok, said = run("compromised-credential", "prove", given)
    assert (False, f"NOT PROVEN: {where} does not answer", False) == (ok, said.strip(), aside.exists())


def test_a_region_with_all_the_requests_keeps_its_room(tmp_path: Path, notes: tuple[str, Path]) -> None:
    """Where requests could not go back to the region that is lost, the other is not made smaller under them."""
    path, asked = notes
    traffic = tmp_path / "traffic"
    given = {
        "PATH": path,
        "TRAFFIC": str(traffic),
        "TO": "east",
        "ENVIRONMENT": "west",
        "SERVICE": "web",
        "INSTANCES": "2",
    }
    command(tmp_path, "traffic", "echo east")
    ok, said = run("region-failover", "rollback-room", given)
    assert (True, "requests go to east: its instances stay", "") == (ok, said.strip(), asked.read_text())
    command(tmp_path, "traffic", "echo west")
    assert run("region-failover", "rollback-room", given)[0]
    assert "scale web --in east --replicas 2\n" == asked.read_text()


def test_the_example_of_moving_traffic_works_with_haproxy(tmp_path: Path) -> None:
    """Its three commands, as they stand in the page, against a real HAProxy with two regions."""
    program("socat")
    page = standard_pages()["region-failover"].runbook
    example = page[page.index("#!/bin/bash\n# an example for HAProxy") :].partition("```")[0]
    socket = tmp_path / "s"
    (tmp_path / "traffic").write_text(example.replace("/run/haproxy/admin.sock", str(socket)))
    (tmp_path / "traffic").chmod(0o755)
    port = free_port()
    (tmp_path / "haproxy.cfg").write_text(
        f"global\n  stats socket {socket} level admin\ndefaults\n  mode http\n  timeout connect 5s\n"
        f"  timeout client 5s\n  timeout server 5s\nfrontend entry\n  bind 127.0.0.1:{port}\n"
        "  default_backend regions\nbackend regions\n  server west 127.0.0.1:1\n  server east 127.0.0.1:2 disabled\n"
    )
    process = subprocess.Popen(
        [program("haproxy"), "-f", str(tmp_path / "haproxy.cfg")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def traffic(*words: str) -> str:
        done = subprocess.run([tmp_path / "traffic", *words], capture_output=True, text=True, check=False)
        return f"{done.returncode} {done.stdout.strip()}"

    try:
        until(lambda: listens(port), "HAProxy does not listen")
        assert "0 west" == traffic("show")
        for _ in range(2):
            assert traffic("to", "east").startswith("0")
            assert "0 east" == traffic("show")
        assert traffic("to", "north").startswith("1")
        assert "0 east" == traffic("show")
        assert traffic("to", "west").startswith("0")
        assert "0 west" == traffic("show")
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("nameserver 192.0.2.1\n", True),
        ("# Generated by NetworkManager\nnameserver 192.0.2.1\n", False),
        ("# resolv.conf(5) file generated by tailscale\nnameserver 100.100.100.100\n", False),
        ("# Generated by Docker Engine.\nnameserver 127.0.0.11\n", True),
    ],
)
def test_a_file_that_is_written_anew_is_left_to_who_writes_it(
    text: str, allowed: bool, tmp_path: Path
) -> None:
    """A change in it would be gone with the next lease; only a container's stays."""
    file = tmp_path / "resolv.conf"
    file.write_text(text)
    ok, said = run("network-dns", "precheck-3", {"RESOLV_CONF": str(file), "FALLBACK": "192.0.2.9"})
    assert (allowed, not allowed) == (ok, "set the name server there" in said)


def test_a_name_is_no_name_server() -> None:
    """Nobody can ask for it while names do not resolve, and the C library ignores it."""
    ok, said = run("network-dns", "precheck-2", {"FALLBACK": "dns.example.com", "NAME": "db.test"})
    assert (False, True) == (ok, "give an address" in said)


def test_a_step_that_is_done_again_still_goes_back_to_the_first_file(tmp_path: Path) -> None:
    """What was kept is not written over by what the page itself wrote."""
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 192.0.2.1\n")
    given = {"RESOLV_CONF": str(file), "FALLBACK": "192.0.2.9", "OPSBOOK_RUN": "run-1"}
    for _ in range(2):
        assert run("network-dns", "fall-back", given)[0]
    assert "nameserver 192.0.2.9\nnameserver 192.0.2.1\n" == file.read_text()
    assert run("network-dns", "rollback-fall-back", given)[0]
    assert "nameserver 192.0.2.1\n" == file.read_text()


@pytest.mark.parametrize("folder", ["/", "/etc", "/usr/share", "/var", "/var/lib", "/var/backups", "/home"])
def test_logs_are_not_looked_for_in_a_whole_system(folder: str) -> None:
    """Where everybody's files lie, a file that ends in .gz may be anything."""
    if not Path(folder).is_dir():
        pytest.skip(f"there is no {folder}")
    ok, said = run("disk-full", "too-full", {"DIRECTORY": folder, "LIMIT_PERCENT": "0"})
    assert (False, True) == (ok, "is not a folder of logs" in said)


def test_of_logs_only_what_nobody_needs_is_deleted(tmp_path: Path) -> None:
    """Also behind a link; what a program has open, dumps and archives stay."""
    real = tmp_path / "logs"
    real.mkdir()
    names = ("a.log.1", "b c.log.2.gz", "shop.sql.gz", "home.tar.gz", "held.log.3", "app.log")
    for name in names:
        (real / name).write_bytes(b"x")
        os.utime(real / name, (0, 0))
    (tmp_path / "link").symlink_to(real)
    with (real / "held.log.3").open("rb"):
        ok, said = run("disk-full", "rotated", {"DIRECTORY": str(tmp_path / "link"), "LIMIT_PERCENT": "-1"})
    assert (True, True, True) == (ok, "2 files deleted" in said, "in use: " in said)
    assert sorted(names[2:]) == sorted(file.name for file in real.iterdir())


def test_one_file_that_cannot_be_deleted_does_not_keep_the_others(tmp_path: Path) -> None:
    """The page goes on with the next, and the check says whether it sufficed."""
    real = shutil.which("rm")
    programs, logs = tmp_path / "programs", tmp_path / "logs"
    for folder in (programs, logs):
        folder.mkdir()
    command(programs, "rm", f'case "$*" in *stuck*) exit 1 ;; esac\nexec {real} "$@"')
    for age, name in enumerate(("stuck.log.1", "free.log.1")):
        (logs / name).write_bytes(b"x")
        os.utime(logs / name, (age, age))
    given = {"PATH": f"{programs}:{os.environ['PATH']}", "DIRECTORY": str(logs), "LIMIT_PERCENT": "-1"}
    assert run("disk-full", "rotated", given)[0]
    assert ["stuck.log.1"] == [file.name for file in logs.iterdir()]
