"""Requests that opsbook makes itself, where users bring too few to judge a release by."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from opsbook.errors import Invalid
from opsbook.world.traffic.ports import WILDCARDS
from opsbook.world.words import Address, Clock

LOWEST_RATE, HIGHEST_RATE = 0.1, 100.0  # requests a second
TIMEOUT_SECONDS = 5.0  # of one request, its whole answer included
MAX_BYTES = 1024 * 1024  # of one answer; what is longer is cut off
CHUNK_BYTES = 64 * 1024
STOP_SECONDS = 1.0
PATH = re.compile(r"/[\x21-\x7e]*")
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


@dataclass(frozen=True, slots=True)
class _Order:
    """What is asked for, and how often."""

    address: Address
    host: str
    path: str
    rate: float
    headers: tuple[tuple[str, str], ...]


class SyntheticLoad:
    """Asks for pages, again and again, in the background. Safe to use from several threads.

    Every key has a thread and a connection of its own, and asks for its next page only when it has had an answer to
    the last one: a target that hangs gets one request at a time, and keeps no other key waiting. What comes of the
    requests is for the proxy to count.

    Args:
        clock: measures the distance of the requests.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._streams: dict[str, _Stream] = {}

    def start(
        self, key: str, address: Address, host: str, path: str, rate: float, headers: Mapping[str, str]
    ) -> None:
        """Send requests as `key` until `stop`; at once the same again changes nothing, others take their place.

        Args:
            key: whose requests they are.
            address: whom to connect to; an address that stands for all of this machine is its loopback.
            host: the header ``Host``.
            path: what to GET, with its query if any. Redirects are not followed.
            rate: requests a second at most, 0.1 to 100. What a slow target has missed is not made up for.
            headers: to send along.

        Raises:
            Invalid: the rate is out of its range, or the path or a header cannot be sent.
        """
        order = _Order(address, host, path, rate, tuple(sorted(headers.items())))
        _check(order)
        with self._lock:
            running = self._streams.get(key)
            if running is not None and running.order == order:
                return
            self._streams[key] = _Stream(key, order, self._clock)
        if running is not None:
            running.end()

    def stop(self, key: str) -> None:
        """Send no more as `key`; a request under way is cut off. Nothing happens when there is no such key."""
        with self._lock:
            running = self._streams.pop(key, None)
        if running is not None:
            running.end()

    def keys(self) -> frozenset[str]:
        """Whose requests are being sent."""
        with self._lock:
            return frozenset(self._streams)

    def close(self) -> None:
        """Stop all."""
        for key in self.keys():
            self.stop(key)


class _Stream:
    """The requests of one key."""

    def __init__(self, key: str, order: _Order, clock: Clock) -> None:
        self.order = order
        self._clock = clock
        self._ended = threading.Event()
        address = order.address
        self._connection = http.client.HTTPConnection(
            WILDCARDS.get(address.host, address.host), address.port, timeout=TIMEOUT_SECONDS
        )
        # A daemon: a target that hangs must not keep opsbook from ending.
        self._thread = threading.Thread(target=self._run, name=f"opsbook-synthetic-{key}", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Return when it has ended, or is so stuck that only its time limit can end it."""
        self._ended.set()
        peer: socket.socket | None = self._connection.sock
        if peer is not None:
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        if self._thread is not threading.current_thread():
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        distance = 1 / self.order.rate
        due = self._clock.monotonic()
        while not self._ended.wait(max(0.0, due - self._clock.monotonic())):
            # Twice as late would be twice as many at once, were it made up for.
            due = max(due + distance, self._clock.monotonic())
            try:
                self._ask()
            except (OSError, http.client.HTTPException):
                self._connection.close()  # the next one connects anew
        self._connection.close()

    def _ask(self) -> None:
        deadline = self._clock.monotonic() + TIMEOUT_SECONDS
        headers = {"Host": self.order.host, "User-Agent": "opsbook-synthetic", **dict(self.order.headers)}
        self._connection.request("GET", self.order.path, headers=headers)
        response = self._connection.getresponse()
        left = MAX_BYTES
        while chunk := response.read1(CHUNK_BYTES):
            left -= len(chunk)
            if left < 0 or self._clock.monotonic() > deadline:
                self._connection.close()
                return
        response.close()  # read1 does not notice by itself that an answer is whole; the connection stays


def _check(order: _Order) -> None:
    if not LOWEST_RATE <= order.rate <= HIGHEST_RATE:
        raise Invalid(
            f"{order.rate:g} requests a second cannot be sent",
            hint=f"a rate from {LOWEST_RATE:g} to {HIGHEST_RATE:g}",
        )
    if not PATH.fullmatch(order.path):
        raise Invalid(
            f"{order.path!r} cannot be asked for", hint="a path that begins with '/', percent-encoded"
        )
    for name, value in (("Host", order.host), *order.headers):
        if not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(value):
            raise Invalid(f"the header {name!r} cannot be sent")  # its value may be a secret
