"""Running the server: one per state folder, two doors, and an end that leaves the services alone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import opsbook
from opsbook.errors import Invalid
from opsbook.server import detach as daemon
from opsbook.server import listening, log, state

if TYPE_CHECKING:
    from opsbook.server.rooms import Build, Rooms

DEFAULT_PORT = 7373
STUCK_SECONDS = (
    3.0  # after everything is closed: how long a thread that ignores `stopping` may hold the process
)


def build_rooms(*, book: Path, state: Path, stopping: threading.Event) -> Rooms:
    """The real composition root; imported only when a server starts, because it pulls in everything."""
    from opsbook.server import composition

    return composition.build(book=book, state=state, stopping=stopping)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notices:
    """What the shell wants to hear, to tell it to a person.

    Args:
        ready: both doors are open.
        ending: the end has been asked for.
    """

    ready: Callable[[state.Running], None] = lambda running: None
    ending: Callable[[], None] = lambda: None


def serve(
    build: Build,
    book: Path,
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    detach: bool = False,
    notices: Notices | None = None,
) -> None:
    """Run opsbook until SIGTERM, SIGINT or ``POST /api/server/stop``; services go on running afterwards.

    Args:
        book: the handbook's folder.
        folder: the state folder; created when missing.
        port: 0 takes any free one.
        detach: start it in the background instead and return as soon as it answers.

    Raises:
        Locked: another server has this state. Conflict: the port is taken. Beside these, whatever `build`
            raises.
    """
    book, folder, notices = book.resolve(), folder.resolve(), notices or Notices()
    if not (book / "opsbook.yaml").exists():
        raise Invalid(
            "there is no handbook here: no opsbook.yaml", where=str(book), hint="make one: opsbook init"
        )
    state.prepare(folder)
    if detach:
        notices.ready(daemon.start(book, folder, host, port))
        return
    with state.only_instance(folder):
        state.remember_book(folder, book)
        with log.written(folder), _doors(folder, host, port) as doors:
            _run(build, book, folder, doors, notices)


def running(folder: Path) -> state.Running | None:
    """The server that answers on this state folder, or None."""
    found = state.Running.read(folder)
    return found if found is not None and daemon.answers(found.socket) else None


def _run(build: Build, book: Path, folder: Path, doors: Doors, notices: Notices) -> None:
    stopping = threading.Event()
    with contextlib.ExitStack() as at_end:
        # Closing the loop waits for its threads; one that ignores `stopping` must not hold the process.
        watchdog = threading.Timer(STUCK_SECONDS, os._exit, (0,))
        watchdog.daemon = True
        at_end.callback(watchdog.cancel)
        loop = at_end.enter_context(asyncio.Runner())
        at_end.callback(watchdog.start)
        at_end.enter_context(_no_trace(folder))
        rooms = build(book=book, state=folder, stopping=stopping)
        at_end.callback(rooms.close)
        ended_with_services = at_end.enter_context(_stopped(rooms, stopping))

        # Only now: these imports take a third of a second, and a book that does not load needs none of them.
        from opsbook.server.access import Access
        from opsbook.server.app import create_app
        from opsbook.server.serving import Ender, Listener
        from opsbook.server.serving import serve as answer

        app = create_app(rooms)

        def begin_ending() -> None:
            notices.ending()
            stopping.set()
            for close in app.state.at_end:
                close()

        def opened() -> None:
            running = state.Running(
                pid=os.getpid(),
                started_at=time.time(),
                url=listening.url_of(doors.tcp),
                socket=doors.unix.getsockname(),
                version=opsbook.__version__,
                book=str(book),
            )
            running.write(folder)
            notices.ready(running)

        ender = Ender(begin_ending)
        app.state.ending.request = ender.ask
        own, names = state.token(folder), frozenset({doors.host.lower()})
        by_socket = Access(app, token=own, owner_only=True, security=rooms.security)
        by_network = Access(app, token=own, security=rooms.security, names=names)
        loop.run(answer([Listener(by_socket, doors.unix), Listener(by_network, doors.tcp)], ender, opened))
        if app.state.ending.services_ended:
            ended_with_services.set()


@contextlib.contextmanager
def _stopped(rooms: Rooms, stopping: threading.Event) -> Iterator[threading.Event]:
    """Whatever happens, the background loops end; set the event handed out when they have already."""
    done = threading.Event()
    try:
        yield done
    finally:
        stopping.set()
        if not done.is_set():
            rooms.stop(False)


@contextlib.contextmanager
def _no_trace(folder: Path) -> Iterator[None]:
    """No ``server.json`` before the server answers, nor after."""
    described = folder / "server.json"
    described.unlink(missing_ok=True)
    try:
        yield
    finally:
        described.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Doors:
    """Where requests come in; bound, and not served yet."""

    host: str
    tcp: socket.socket
    unix: socket.socket


@contextlib.contextmanager
def _doors(folder: Path, host: str, port: int) -> Iterator[Doors]:
    path = state.socket_path(folder)
    with listening.bind_tcp(host, port) as tcp, listening.bind_unix(path) as unix:
        try:
            yield Doors(host, tcp, unix)
        finally:
            path.unlink(missing_ok=True)
