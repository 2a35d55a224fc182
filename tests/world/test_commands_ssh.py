"""Scripts over SSH: a real SSH server in this process, real shells behind it."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from opsbook.world.commands.ssh import SshRunner, remote_command
from opsbook.world.commands.words import Outcome, Script


class Server:
    """Runs what it is asked to by a shell, as sshd does."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._key = asyncssh.generate_private_key("ssh-ed25519")
        self._client = asyncssh.generate_private_key("ssh-ed25519")
        self._thread.start()
        assert self._ready.wait(20)

    @property
    def options(self) -> dict[str, Any]:
        known = asyncssh.import_known_hosts(
            f"[127.0.0.1]:{self.port} {self._key.export_public_key().decode()}"
        )
        return {
            "port": self.port,
            "username": "ops",
            "client_keys": [self._client],
            "known_hosts": known,
            "config": None,
        }

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._loop.run_forever()
        self._loop.close()

    async def _listen(self) -> None:
        public = asyncssh.import_authorized_keys(self._client.export_public_key().decode())
        self._acceptor = await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[self._key], authorized_client_keys=public,
            process_factory=self._handle, encoding=None,
        )  # fmt: skip
        self.port = self._acceptor.get_port()
        self._ready.set()

    async def _handle(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        self.commands.append(process.command or "")
        pipe = asyncio.subprocess.PIPE
        shell = await asyncio.create_subprocess_shell(
            process.command or "",
            stdin=pipe,
            stdout=pipe,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        talking = asyncio.create_task(shell.communicate(await process.stdin.read()))
        while not talking.done():
            await asyncio.wait({talking}, timeout=0.05)
            if process.is_closing() and shell.returncode is None:
                shell.terminate()
        if not process.is_closing():
            process.stdout.write(talking.result()[0])
            process.exit(shell.returncode or 0)

    def close(self) -> None:
        async def end() -> None:
            self._acceptor.close()
            await self._acceptor.wait_closed()

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def run(server: Server, text: str, **more: Any) -> Outcome:
    heard: list[bytes] = []
    script = Script("bash", text, **more)
    return SshRunner("127.0.0.1", server.options).run(script, heard.append, lambda: False)


def test_what_comes_back(server: Server) -> None:
    """Output, exit code, a strict shell with nothing to read."""
    assert (0, "hello\n") == ((ended := run(server, "echo hello")).code, ended.output), ended
    assert 3 == run(server, "exit 3").code
    assert (1, "") == ((ended := run(server, "false | true; echo no")).code, ended.output)
    assert "" == run(server, "cat").output


def test_nothing_of_it_is_in_the_command(server: Server) -> None:
    """Variables arrive as they are, quoted once; the command line is always the same."""
    hostile = "$(id) `id`; ' \" \\ \n* é" + "x" * 100_000
    script = Script("bash", 'printf %s "$A" | sha256sum', {"A": hostile})
    ended = run(server, script.text, variables=script.variables)
    assert hashlib.sha256(hostile.encode()).hexdigest() in ended.output, ended
    assert remote_command(Script("bash", "")) == server.commands[-1]


def test_the_far_side_keeps_the_time(server: Server) -> None:
    """It is ended there, whatever becomes of the connection."""
    ended = run(server, "sleep 60", timeout=0.5)
    assert (True, None) == (ended.timed_out, ended.code), ended


def test_a_cancel_is_heard(server: Server) -> None:
    """And told apart from a failure."""
    wanted = threading.Event()
    threading.Timer(0.3, wanted.set).start()
    ended = SshRunner("127.0.0.1", server.options).run(
        Script("bash", "sleep 60"), lambda chunk: None, wanted.is_set
    )
    assert "cancelled" == ended.reason


def test_a_host_that_is_not_there_or_not_itself(server: Server, tmp_path: Path) -> None:
    """Is an outcome with its name; an unknown key is never accepted."""
    options = {**server.options, "port": 1}
    ended = SshRunner("127.0.0.1", options).run(Script("bash", "true"), lambda chunk: None, lambda: False)
    assert ended.problem.startswith("127.0.0.1: ")
    stranger = {**server.options, "known_hosts": asyncssh.import_known_hosts("")}
    ended = SshRunner("127.0.0.1", stranger).run(Script("bash", "true"), lambda chunk: None, lambda: False)
    assert (None, True) == (ended.code, "key" in ended.problem.lower()), ended
