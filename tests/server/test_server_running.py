"""Starting, being the only one, and ending."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from opsbook.errors import Conflict, Failed, Invalid, Locked, NotAllowed
from opsbook.server import detach, listening, state


def test_the_end_stops_the_loops_closes_the_rooms_and_leaves_no_trace(place: Any) -> None:
    """SIGTERM: exit 0, rooms stopped without services, then closed; socket and description gone."""
    place.serve()
    assert place.end(signal.SIGTERM) == 0
    assert (place.state / "stopped").read_text() == "loops"
    assert (place.state / "closed").exists()
    assert not (place.state / "server.json").exists()
    assert not (place.state / "api.sock").exists()


def test_stop_with_services_is_done_once_and_before_the_end(place: Any) -> None:
    """The answer comes after the services have ended."""
    place.serve()
    answer = place.api.post("/api/server/stop", {"services": True})
    assert answer["services"]
    assert (place.state / "stopped").read_text() == "services"
    assert place.process.wait(timeout=30) == 0
    assert (place.state / "stopped").read_text() == "services"


def test_a_request_that_is_stuck_in_a_thread_does_not_hold_the_server(place: Any) -> None:
    """A minute of sleep in a library is not waited for; the rooms are closed all the same."""
    place.serve()
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(json.loads((place.state / "server.json").read_text())["socket"])
    connection.request("GET", "/api/stuck")
    place.process.terminate()
    place.until((place.state / "closed").exists, "the rooms to be closed")
    connection.close()
    place.end(signal.SIGKILL)


def test_a_second_server_on_the_same_state_is_refused_and_told_who_has_it(place: Any) -> None:
    """The lock names the pid."""
    place.serve()
    with pytest.raises(Locked) as caught, state.only_instance(place.state):
        pass
    assert f"pid {place.process.pid}" in str(caught.value)
    assert caught.value.details["holder"] == str(place.process.pid)


def test_a_killed_server_leaves_nothing_that_keeps_the_next_from_starting(place: Any) -> None:
    """Lock, socket and description of a dead one are no obstacle."""
    place.serve()
    place.end(signal.SIGKILL)
    assert (place.state / "server.json").exists()
    (place.state / "server.json").unlink()
    place.serve()
    assert place.api.get("/api/health")["ok"]


def test_a_taken_port_is_refused_and_its_holder_named() -> None:
    """And the next port is proposed."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Conflict) as caught:
            listening.bind_tcp("127.0.0.1", port)
    assert f"port {port} is taken" in caught.value.message
    assert f"pid {os.getpid()}" in caught.value.message
    assert "--port" in caught.value.hint


def test_an_address_of_another_machine_is_refused() -> None:
    """192.0.2.0/24 is nobody's."""
    with pytest.raises(Invalid):
        listening.bind_tcp("192.0.2.1", 0)


def test_a_long_state_path_puts_the_socket_into_a_short_private_folder(tmp_path: Path) -> None:
    """Unix sockets have about a hundred characters."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    found = state.socket_path(folder)
    try:
        assert len(str(found)) < 100
        assert found.parent.stat().st_mode & 0o777 == 0o700
        assert found == state.socket_path(folder)
    finally:
        shutil.rmtree(found.parent)


def test_the_state_belongs_to_one_handbook(tmp_path: Path) -> None:
    """Two handbooks side by side do not end each other's services; one that moved is followed."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "opsbook.yaml").write_text("")
    folder = tmp_path / "state"
    state.prepare(folder)
    state.remember_book(folder, tmp_path / "a")
    with pytest.raises(Invalid, match="belongs to the handbook"):
        state.remember_book(folder, tmp_path / "b")
    (tmp_path / "a").rename(tmp_path / "c")
    state.remember_book(folder, tmp_path / "c")
    assert (folder / "handbook").read_text().strip() == str(tmp_path / "c")


def test_a_token_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    """Somebody may have it already."""
    state.prepare(tmp_path)
    value = state.token(tmp_path)
    assert value == state.token(tmp_path)
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(NotAllowed, match="read by other users"):
        state.token(tmp_path)


def test_the_state_folder_keeps_itself_out_of_git(tmp_path: Path) -> None:
    """It often lies inside a repository, and holds keys."""
    state.prepare(tmp_path / "state")
    assert (tmp_path / "state" / ".gitignore").read_text() == "*\n"


def test_a_server_that_cannot_start_shows_its_own_last_words(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Detached: the log of this attempt, not of an earlier one, and at once."""
    monkeypatch.setattr(detach, "command", lambda *_: [sys.executable, "-c", "raise SystemExit('no luck')"])
    state.prepare(place.state)
    (place.state / "opsbook.log").write_text("old words\n")
    with pytest.raises(Failed) as caught:
        detach.start(place.book, place.state, "127.0.0.1", 0)
    assert caught.value.details["log"] == ["no luck"]


def test_a_detached_server_answers_when_start_returns(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And lives in a session of its own."""
    script = Path(__file__).parents[1] / "cli" / "canned_server.py"
    monkeypatch.setattr(
        detach, "command", lambda *_: [sys.executable, str(script), str(place.book), str(place.state)]
    )
    state.prepare(place.state)
    running = detach.start(place.book, place.state, "127.0.0.1", 0)
    try:
        assert place.api.get("/api/health")["ok"]
        assert os.getsid(running.pid) == running.pid
    finally:
        os.kill(running.pid, signal.SIGTERM)
        os.waitpid(running.pid, 0)


def test_a_build_that_fails_ends_the_start_with_its_error(place: Any) -> None:
    """Nothing is left behind."""
    (place.book / "refuse").write_text("")
    script = Path(__file__).parents[1] / "cli" / "canned_server.py"
    ended = subprocess.run(
        [sys.executable, str(script), str(place.book), str(place.state)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    assert "refuses to be served" in ended.stderr
    assert not (place.state / "api.sock").exists()
