"""``opsbook up`` and ``opsbook down``."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

import click

from opsbook.errors import Failed, OpsbookError, Unreachable
from opsbook.terminal import Session, duration
from opsbook.terminal.commands import Command

if TYPE_CHECKING:
    from opsbook.server.state import Running

END_SECONDS = 30.0


@click.command(cls=Command)
@click.option("--detach", is_flag=True, help="Run in the background; return as soon as it answers.")
@click.option("--port", default=7373, show_default=True, type=click.IntRange(0, 65535), metavar="N",
              help="The TCP port of the API; 0 takes a free one.")  # fmt: skip
@click.option(
    "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="The address of the API."
)
@click.pass_obj
def up(session: Session, detach: bool, port: int, host: str) -> None:
    """Start opsbook for this handbook. Services that still run are taken over.

    \b
    Examples:
      opsbook up                    in this terminal; Ctrl-C ends opsbook, services go on
      opsbook up --detach           in the background
      opsbook up --port 7400        another port for the API
    """
    terminal, style = session.terminal, session.terminal.message_style
    book, folder = session.book, session.state
    started = time.monotonic()
    terminal.message(f"{style.state('running', 'starting')} opsbook for {book}")
    from opsbook.server import (
        run,
    )  # imports subprocess, sockets and logging: only who starts a server needs them

    def ready(running: Running) -> None:
        took = duration(time.monotonic() - started)
        terminal.message(
            f"{style.state('ok', 'ready')} {running.url} · pid {running.pid} · {took}",
            f"  token for it: {folder / 'token'}",
            f"{style.paint('next:', 'cyan')} opsbook status · opsbook plan"
            + (
                " · opsbook down"
                if detach
                else " (in another terminal) · Ctrl-C ends opsbook, services go on"
            ),
        )

    def ending() -> None:
        terminal.message("", f"{style.state('running', 'ending')} opsbook; services go on running")

    if not detach and terminal.moves:
        # Only to a person's eyes: a daemon's messages end in a log file, and the link signs in whoever reads it.
        shown = ready

        def ready(running: Running) -> None:
            shown(running)
            threading.Thread(target=_say_link, args=(session,), daemon=True).start()

    if detach and (running := run.running(folder)) is not None:
        terminal.message(f"{style.state('ok', 'running already')} {running.url} · pid {running.pid}")
        return
    notices = run.Notices(ready=ready, ending=ending)
    run.serve(run.build_rooms, book, folder, host=host, port=port, detach=detach, notices=notices)
    if detach and terminal.moves:
        _say_link(session)
    if not detach:
        terminal.message(f"{style.state('ok', 'ended')}")
        _leave()


def _say_link(session: Session) -> None:
    """The link that signs in to the console, once."""
    from opsbook.security.cli import link

    with contextlib.suppress(OpsbookError):
        session.terminal.message(f"  sign in, once, within 15 minutes: {link(session)}")


def _leave() -> None:
    """End the process although a thread of a library may still wait for something that nobody needs any more."""
    sys.stdout.flush()
    sys.stderr.flush()
    others = (t for t in threading.enumerate() if t is not threading.current_thread() and not t.daemon)
    if any(thread.is_alive() for thread in others):
        os._exit(0)


@click.command(cls=Command)
@click.option("--services", is_flag=True, help="End the services and the proxy too: nothing runs afterwards.")
@click.pass_obj
def down(session: Session, services: bool) -> None:
    """End opsbook. Services go on running unless told otherwise.

    \b
    Examples:
      opsbook down                  services go on and are taken over by the next `opsbook up`
      opsbook down --services       end everything
    """
    terminal, style = session.terminal, session.terminal.message_style
    try:
        api = session.api
        if services:
            terminal.message(f"{style.state('running', 'ending')} all services and the proxy")
        answer = api.post("/api/server/stop", {"services": services})
    except Unreachable as error:
        if services:
            error.hint = (
                "services can only be ended by opsbook: opsbook up --detach && opsbook down --services"
            )
            raise
        terminal.message(f"{style.state('ok')} {error.message}: nothing to end")
        return
    if not session.remote and not _gone(int(answer["pid"]), END_SECONDS):
        raise Failed(
            f"opsbook (pid {answer['pid']}) is still ending after {END_SECONDS:.0f} s",
            hint=f"look into {session.state / 'opsbook.log'}, or force it: kill -9 {answer['pid']}",
        )
    what = "opsbook, its services and the proxy" if services else "opsbook; services go on running"
    terminal.message(f"{style.state('ok', 'ended')} {what}")
    after = "opsbook restart SERVICE --in ENV starts one again" if services else "takes them over again"
    terminal.message(
        f"{style.paint('next:', 'cyan')} opsbook up --detach{', then ' if services else ' '}{after}"
    )


def _gone(pid: int, seconds: float) -> bool:
    """Whether the process ends within `seconds`; one that has ended but was not waited for counts as gone."""
    import psutil

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False
