"""Scrapes all targets from one thread that never waits for one of them."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial

from opsbook.errors import Failed, Invalid, OpsbookError, Unreachable
from opsbook.promql.series import LabelKey, key_of
from opsbook.world.telemetry.connection import Connection, resolve, tls_context
from opsbook.world.telemetry.envoy_source import EnvoySource
from opsbook.world.telemetry.host_usage import host_usage
from opsbook.world.telemetry.process_meter import ProcessMeter
from opsbook.world.telemetry.process_usage import group_usage
from opsbook.world.telemetry.recording import Recording, TargetStatus, Totals, Warn, labels_of
from opsbook.world.telemetry.rounds import Rounds
from opsbook.world.telemetry.store import HotStore
from opsbook.world.telemetry.timeline import Timeline
from opsbook.world.words import Clock, Limits, Target

SHORTEST, LONGEST = 1.0, 15.0  # seconds between two scrapes


class _Watched:
    """A target, and the scrape of it that may be under way."""

    def __init__(self, target: Target, limits: Limits, connection: Connection | OpsbookError | None) -> None:
        self.target = target
        self.limits = limits
        self.connection = connection
        self.meter = ProcessMeter(target, limits)
        self.recording: Recording
        self.busy = False
        self.due = 0.0  # with an interval of its own: when to scrape again, on the monotonic clock
        self.at = 0  # when the scrape under way began: milliseconds on the timeline,
        self.began = 0.0  # and seconds of the monotonic clock


class Scraper:
    """Fills a store. `targets` starts the thread; `close` ends it.

    Args:
        store: where the samples go.
        clock: gives the times.
        envoy_stats: the proxy's statistics as Prometheus text, for targets of kind ``envoy``.
        own: opsbook's own metrics as Prometheus text, for targets of kind ``opsbook``.
        limits: what an instance may use; recorded beside what it uses.
        timeout: seconds after which a scrape has failed.
        max_bytes: of one answer.
        warn: told when a target has more series than are kept.
    """

    def __init__(
        self,
        store: HotStore,
        clock: Clock,
        *,
        envoy_stats: Callable[[], str],
        own: Callable[[], str],
        limits: Callable[[Target], Limits],
        timeout: float,
        max_bytes: int,
        warn: Warn,
    ) -> None:
        self.timeline = Timeline(clock)
        self.totals = Totals()
        self._store = store
        self._clock = clock
        self._own = own
        self._limits = limits
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._warn = warn
        self._lock = threading.Lock()  # guards the four that callers hand to the thread
        self._interval = 5.0
        self._wanted: dict[LabelKey, _Watched] | None = None
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._rounds = Rounds(clock, self.timeline.now)
        self._watched: dict[
            LabelKey, _Watched
        ] = {}  # replaced, never changed: `status` reads it from anywhere
        self._requests: dict[Connection, _Watched] = {}
        self._due = clock.monotonic()
        self._selector = selectors.DefaultSelector()
        self._bell, self._cord = socket.socketpair()
        self._bell.setblocking(False)
        self._cord.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._envoy: EnvoySource[_Watched] = EnvoySource(envoy_stats, self._ring)

    # --- for callers, from any thread ---------------------------------------------------------------------------

    def targets(self, targets: Sequence[Target]) -> None:
        """Replace the set of targets; takes effect within milliseconds. New ones are scraped at once.

        Raises:
            Invalid: two targets have the same kind and labels, or a `metrics` target has no address.
        """
        wanted: dict[LabelKey, _Watched] = {}
        for target in targets:
            key = key_of(labels_of(target))
            if key in wanted:
                raise Invalid(f"two targets have the labels {dict(key)}", hint="give each its own `instance`")
            wanted[key] = _Watched(target, self._limits(target), self._connection(target))
        with self._lock:
            self._wanted = wanted
            if self._thread is None and not self._stopping:
                self._thread = threading.Thread(target=self._run, name="opsbook-scraper", daemon=True)
                self._thread.start()
        self._ring()

    def interval(self, seconds: float) -> None:
        """Scrape every `seconds`, kept between 1 and 15."""
        with self._lock:
            self._interval = min(LONGEST, max(SHORTEST, seconds))
        self._ring()

    def on_scraped(self, callback: Callable[[int], None]) -> None:
        """Call `callback` after every round; see `EmbeddedTelemetry.on_scraped`."""
        self._rounds.callbacks = (*self._rounds.callbacks, callback)

    def status(self) -> tuple[TargetStatus, ...]:
        """How the scrapes of every target go."""
        return tuple(watched.recording.status for watched in self._watched.values())

    def close(self) -> None:
        """End the thread; what is under way is given up. A second call does nothing."""
        with self._lock:
            closed, self._stopping = self._stopping, True
        if closed:
            return
        self._ring()
        self._envoy.close()
        if self._thread is not None:
            self._thread.join()
        for connection in self._requests:
            connection.close()
        self._selector.close()
        self._bell.close()
        self._cord.close()

    def _connection(self, target: Target) -> Connection | OpsbookError | None:
        if target.kind != "metrics":
            return None
        if target.problem:
            return Unreachable(target.problem)
        if target.address is None:
            raise Invalid(
                "a target of kind metrics needs an address", where=target.labels.get("instance", "")
            )
        try:
            return Connection(
                resolve(target.address),
                target.path,
                selector=self._selector,
                max_bytes=self._max_bytes,
                tls=None if target.tls is None else tls_context(target.tls),
                name=target.name,
                headers=target.headers,
            )
        except OpsbookError as error:
            return error  # every scrape will say so

    def _ring(self) -> None:
        with suppress(OSError):  # it rings already, or there is nobody any more
            self._cord.send(b"\0")

    # --- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._lock:
                stopping, wanted, interval = self._stopping, self._wanted, self._interval
                self._wanted = None
            if stopping:
                return
            now = self._clock.monotonic()
            if wanted is not None:
                if not self._watched:
                    self._due = now + interval
                    self._rounds.begin()
                self._begin(self._exchange(wanted))
            self._due = min(self._due, now + interval)  # the interval may have become shorter
            if now >= self._due:
                # After a pause of the machine nothing is made up for.
                self._due = max(self._due + interval, now + interval / 2)
                self._store.expire(self.timeline.now())
                self._rounds.begin()
                # Who has an interval of its own takes part in the round that is nearest.
                soon = now + interval / 2
                self._begin(w for w in self._watched.values() if w.target.interval is None or w.due <= soon)
            elif oftener := [w for w in self._oftener(interval) if now >= w.due]:
                self._rounds.begin()
                self._begin(oftener)
            self._give_up_overdue()
            self._rounds.look(watched.busy for watched in self._watched.values())
            self._wait(interval)

    def _oftener(self, interval: float) -> list[_Watched]:
        """Targets that are scraped more often than the others."""
        return [w for w in self._watched.values() if w.target.interval and w.target.interval < interval]

    def _exchange(self, wanted: dict[LabelKey, _Watched]) -> list[_Watched]:
        """Make `wanted` the targets; returns those that are new or are now found elsewhere."""
        current, fresh = dict[LabelKey, _Watched](), list[_Watched]()
        for key, watched in self._watched.items():
            if key not in wanted:
                self._drop(watched)
                watched.recording.end(self.timeline.now())
        for key, candidate in wanted.items():
            before = self._watched.get(key)
            if before is not None and _same(before, candidate):
                current[key] = before
                continue
            if before is not None:
                self._drop(before)
                candidate.recording = before.recording
                candidate.recording.moved(candidate.target)
            else:
                candidate.recording = Recording(candidate.target, self._store, self._warn, self.totals)
            current[key] = candidate
            fresh.append(candidate)
            if isinstance(candidate.connection, Connection):
                self._requests[candidate.connection] = candidate
        self._watched = current
        return fresh

    def _drop(self, watched: _Watched) -> None:
        watched.busy = False
        if isinstance(watched.connection, Connection):
            watched.connection.close()
            self._requests.pop(watched.connection, None)

    def _begin(self, targets: Iterable[_Watched]) -> None:
        """Start a scrape of each target whose last one is over."""
        idle = [watched for watched in targets if not watched.busy]
        for watched in idle:
            watched.at, watched.began, watched.busy = self.timeline.now(), self._clock.monotonic(), True
            if watched.target.interval is not None:
                watched.due = watched.began + watched.target.interval
            if watched.target.kind == "metrics":
                self._guarded(watched, self._request)
            elif watched.target.kind == "envoy":
                self._guarded(watched, self._envoy.ask)
            elif watched.target.kind == "host":
                self._guarded(watched, self._measure_host)
            elif watched.target.kind == "opsbook":
                self._guarded(watched, self._measure_own)
        self._measure_processes([watched for watched in idle if watched.target.kind == "process"])

    def _request(self, watched: _Watched) -> None:
        if isinstance(watched.connection, OpsbookError):
            raise watched.connection
        assert watched.connection is not None
        watched.connection.begin()

    def _measure_host(self, watched: _Watched) -> None:
        samples = host_usage()
        watched.recording.measured(watched.at, self._seconds(watched), samples)
        watched.busy = False

    def _measure_own(self, watched: _Watched) -> None:
        self._answered(watched, self._own().encode())

    def _measure_processes(self, targets: Collection[_Watched]) -> None:
        """All in one pass over the process table."""
        usage = group_usage({watched.target.pid for watched in targets if watched.target.pid is not None})

        def measure(watched: _Watched) -> None:
            samples = watched.meter.samples(usage.get(watched.target.pid or 0))
            watched.recording.measured(watched.at, self._seconds(watched), samples)
            watched.busy = False

        for watched in targets:
            self._guarded(watched, measure)

    def _wait(self, interval: float) -> None:
        """Until the next scrape or timeout, and take what comes meanwhile."""
        ends = [watched.began + self._patience(watched) for watched in self._watched.values() if watched.busy]
        dues = [watched.due for watched in self._oftener(interval) if not watched.busy]
        pause = min([self._due, *self._rounds.ends(), *ends, *dues]) - self._clock.monotonic()
        for key, _ in self._selector.select(max(0.0, pause)):
            if key.fileobj is self._bell:
                with suppress(BlockingIOError):
                    self._bell.recv(4096)
            elif (watched := self._requests.get(key.data)) is not None:
                self._guarded(watched, self._advance)
        for watched, answer in self._envoy.answers():
            if watched.busy:  # else it left, or took too long
                self._guarded(watched, partial(self._answered, answer=answer))

    def _advance(self, watched: _Watched) -> None:
        assert isinstance(watched.connection, Connection)
        body = watched.connection.advance()
        if body is not None:
            self._answered(watched, body)

    def _answered(self, watched: _Watched, answer: bytes | OpsbookError) -> None:
        if isinstance(answer, OpsbookError):
            raise answer
        watched.recording.body(watched.at, self._seconds(watched), answer)
        watched.busy = False

    def _give_up_overdue(self) -> None:
        now = self._clock.monotonic()
        for watched in self._watched.values():
            if watched.busy and now >= watched.began + self._patience(watched):
                self._failed(watched, Failed(f"no answer within {self._patience(watched):g} s"))

    def _patience(self, watched: _Watched) -> float:
        return self._timeout if watched.target.timeout is None else watched.target.timeout

    def _guarded(self, watched: _Watched, action: Callable[[_Watched], None]) -> None:
        """Whatever goes wrong with one target is that target's, and recorded there."""
        try:
            action(watched)
        except OpsbookError as error:
            self._failed(watched, error)
        except Exception as error:
            self._failed(watched, Failed(f"{type(error).__name__}: {error}"))

    def _failed(self, watched: _Watched, error: OpsbookError) -> None:
        if isinstance(watched.connection, Connection):
            watched.connection.close()
        watched.recording.failed(watched.at, self._seconds(watched), error)
        watched.busy = False

    def _seconds(self, watched: _Watched) -> float:
        return self._clock.monotonic() - watched.began


def _same(before: _Watched, after: _Watched) -> bool:
    """What stood in the way, as an unknown name, is tried again when the targets are handed in anew."""
    hindered = isinstance(before.connection, OpsbookError)
    return not hindered and (before.target, before.limits) == (after.target, after.limits)
