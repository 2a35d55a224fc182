"""Putting a route table before a running Envoy so that no request meets a gap, and proving that it is served.

The order is make before break: endpoints that come, clusters, wait until Envoy has warmed them, routes, listeners,
endpoints that go.
Clusters that the table no longer names stay until its routes are confirmed everywhere (`prune`). At every
moment, also if opsbook dies between two files, the routes on disk therefore refer to clusters on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from opsbook.errors import Failed, OpsbookError, Unreachable
from opsbook.world.traffic import files, ports
from opsbook.world.traffic.admin import Admin
from opsbook.world.traffic.clusters import aggregate_name
from opsbook.world.traffic.configuration import Configuration, Folder, clusters_in, render
from opsbook.world.traffic.process import EnvoyProcess
from opsbook.world.traffic.record import Stamped
from opsbook.world.traffic.selection import pairs
from opsbook.world.words import Clock, Listener, RouteTable

FIRST_POLL_SECONDS = 0.001
LONGEST_POLL_SECONDS = 0.02
WARMING_SECONDS = 10.0  # on top of the longest health check
PROBES_PER_WORKER = (
    8  # the kernel picks the worker of a new connection: 2 workers are both met but once in 2^15
)


def with_earlier_endpoints(table: RouteTable, earlier: RouteTable | None) -> RouteTable:
    """`table`, but every endpoint that takes requests in `earlier` still takes them."""
    if earlier is None:
        return table
    taking = {
        backend.name: {endpoint.address: endpoint for endpoint in backend.endpoints if not endpoint.draining}
        for backend in earlier.backends
    }
    backends = []
    for backend in table.backends:
        kept = dict(taking.get(backend.name, {}))
        endpoints = [kept.pop(endpoint.address, endpoint) for endpoint in backend.endpoints]
        backends.append(replace(backend, endpoints=(*endpoints, *kept.values())))
    return replace(table, backends=tuple(backends))


class Publication:
    """The files of one Envoy and what that Envoy says of them.

    Args:
        revive: starts Envoy again when it died while we wait for it.
    """

    def __init__(
        self,
        folder: Folder,
        admin: Admin,
        process: EnvoyProcess,
        clock: Clock,
        *,
        probe_host: str,
        revive: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._admin = admin
        self._process = process
        self._clock = clock
        self._probe_host = probe_host
        self._revive = revive
        self._log_mark = 0
        self._rejections: dict[str, str] = {}
        self._rejections_of: object = None  # the process that counted them

    def configuration(self, stamped: Stamped, *, keep: bool) -> Configuration:
        """The files for `stamped`; `keep`: with the clusters that only earlier tables name."""
        kept = clusters_in(files.read(self._folder.clusters)) if keep else ()
        return render(
            stamped.table,
            stamped.generation,
            folder=self._folder,
            probe_host=self._probe_host,
            kept_clusters=kept,
        )

    def lay_out(self, stamped: Stamped) -> None:
        """Write every file for an Envoy that is about to start."""
        for document in self.configuration(stamped, keep=False).documents():
            files.write_if_changed(document.path, document.text)
        self._remove_strays(stamped.table)

    def put(self, stamped: Stamped, earlier: RouteTable | None = None) -> None:
        """Make before break, with a running Envoy.

        Args:
            earlier: the table whose routes are served now: its endpoints take requests until the new routes do.

        Raises:
            Failed: Envoy refuses the clusters or does not get them ready in time. No route has changed then.
        """
        self.mark()
        final = self.configuration(stamped, keep=True)
        wide = replace(stamped, table=with_earlier_endpoints(stamped.table, earlier))
        configuration = final if wide.table == stamped.table else self.configuration(wide, keep=True)
        for document in (*configuration.endpoints.values(), configuration.clusters):
            files.write_if_changed(document.path, document.text)
        self._wait_until_warm(configuration, wide.table)
        for document in (*configuration.routes.values(), configuration.listeners):
            files.write_if_changed(document.path, document.text)
        if configuration is not final:
            self._wait_until_taken(configuration)
            for document in final.endpoints.values():
                files.write_if_changed(document.path, document.text)

    def _wait_until_taken(self, configuration: Configuration) -> None:
        """Until Envoy has the routes and listeners; its workers get its updates in the order in which it took them."""
        wanted = (*configuration.routes.values(), configuration.listeners)
        for _ in self._polls(WARMING_SECONDS):
            if (metrics := self._metrics()) is None:
                if not self._process.alive():
                    self._revive()
                continue
            self._raise_if_refused(metrics)
            if all(metrics.get(document.version_metric) == document.version for document in wanted):
                return

    def put_back(self, stamped: Stamped) -> None:
        """Undo: routes first, as all they refer to is still there; then only the clusters they need."""
        configuration = self.configuration(stamped, keep=False)
        for document in (*configuration.routes.values(), configuration.listeners):
            files.write_if_changed(document.path, document.text)
        for document in (*configuration.endpoints.values(), configuration.clusters):
            files.write_if_changed(document.path, document.text)
        self.mark()

    def prune(self, stamped: Stamped) -> None:
        """Drop the clusters and files that `stamped`, now serving everywhere, does not use."""
        document = self.configuration(stamped, keep=False).clusters
        files.write_if_changed(document.path, document.text)
        self._remove_strays(stamped.table)

    def absent_listeners(self, table: RouteTable) -> frozenset[str]:
        """The listeners of `table` that take no connections. Unreachable when Envoy does not answer."""
        return frozenset(listener.name for listener in table.listeners) - self._admin.listeners()

    def repeat_listeners(self) -> None:
        """Have Envoy read the listeners once more."""
        self.mark()
        files.write(self._folder.listeners, files.read(self._folder.listeners))

    def mark(self) -> None:
        """From here on, refusals are those of what is written next."""
        self._log_mark = self._process.log_size()
        self._rejections_of = self._process.running
        self._rejections = _rejections(self._metrics() or {})

    def mark_started(self, log_mark: int) -> None:
        """A new Envoy has begun at `log_mark`: all its refusals count."""
        self._log_mark = log_mark
        self._rejections_of = self._process.running
        self._rejections = {}

    def await_serving(self, stamped: Stamped, *, timeout: float) -> None:
        """Return when every listener serves `stamped`.

        Raises:
            Refused: Envoy refused a part of it.
            Failed: `timeout` seconds were not enough; the message says what is missing.
        """
        missing = "an answer of the proxy"
        for _ in self._polls(timeout):
            metrics = self._metrics()
            if metrics is None:
                missing = "an answer of the proxy"
                continue
            self._raise_if_refused(metrics)
            missing = self._missing(stamped, metrics)
            if not missing:
                return
        raise Failed(
            f"generation {stamped.generation} was not serving within {timeout:g} s: waiting for {missing}",
            hint=f"the proxy's log: {self._process.log}",
            details={"log": list(self._process.log_since(self._log_mark))},
        )

    def generation(self, applied: Stamped, good: Stamped) -> int:
        """The generation that Envoy says it serves on every listener: of the two known, or 0."""
        metrics = self._metrics()
        if metrics is None:
            return 0
        for stamped in (applied, good):
            routes_and_listeners = self.configuration(stamped, keep=False)
            wanted = (*routes_and_listeners.routes.values(), routes_and_listeners.listeners)
            if all(metrics.get(each.version_metric) == each.version for each in wanted):
                return stamped.generation
        return 0

    def _missing(self, stamped: Stamped, metrics: dict[str, str]) -> str:
        """What Envoy or a listener does not say yet; empty when nothing is missing."""
        for document in self.configuration(stamped, keep=True).documents():
            if metrics.get(document.version_metric) != document.version:
                return f"{document.path.parent.name} {document.path.stem}"
        if metrics.get("listener_manager.total_listeners_warming", "0") != "0":
            return "a listener to warm up"
        try:
            absent = self.absent_listeners(stamped.table)
        except Unreachable:  # it died between two questions, and its successor is on its way
            return "an answer of the proxy"
        if absent:
            return f"the listener {min(absent)}"
        for listener in stamped.table.listeners:
            if listener.kind == "http" and not self._serves(listener, stamped.generation):
                return f"a probe through the listener {listener.name}"
        return ""

    def _serves(self, listener: Listener, generation: int) -> bool:
        return all(
            ports.generation_served(listener.address, self._probe_host) == generation
            for _ in range(PROBES_PER_WORKER * self._process.concurrency)
        )

    def _wait_until_warm(self, configuration: Configuration, table: RouteTable) -> None:
        timeout = WARMING_SECONDS + max((backend.health.timeout for backend in table.backends), default=0.0)
        names = frozenset(configuration.endpoints) | {aggregate_name(*pair) for pair in pairs(table)}
        wanted = (*configuration.endpoints.values(), configuration.clusters)
        for _ in self._polls(timeout):
            metrics = self._metrics()
            if metrics is None:
                if not self._process.alive():
                    self._revive()
                continue
            self._raise_if_refused(metrics)
            if any(metrics.get(document.version_metric) != document.version for document in wanted):
                continue
            if metrics.get("cluster_manager.warming_clusters") == "0" or not self._warms(names):
                return
        raise Failed(
            f"the proxy did not get the backends of {configuration.generation} ready in {timeout:g} s",
            hint=f"the proxy's log: {self._process.log}",
            details={"log": list(self._process.log_since(self._log_mark))},
        )

    def _warms(self, names: frozenset[str]) -> bool:
        """Whether one of these clusters is still warming, as far as Envoy answers."""
        try:
            return bool(names & self._admin.warming_clusters())
        except Unreachable:
            return True

    def _metrics(self) -> dict[str, str] | None:
        """Envoy's metrics about its configuration; None while it does not answer."""
        try:
            return self._admin.configuration_metrics()
        except Unreachable:
            return None

    def _raise_if_refused(self, metrics: dict[str, str]) -> None:
        if self._rejections_of is None:  # adopted: what it refused earlier is none of our doing
            self.mark()
        known = self._rejections if self._rejections_of == self._process.running else {}
        if any(int(count) > int(known.get(name, "0")) for name, count in _rejections(metrics).items()):
            raise Refused(
                f"the proxy refused the configuration: {self.refusal()}",
                hint=f"the proxy's log: {self._process.log}",
            )

    def refusal(self) -> str:
        """Envoy's own reason for what it refused since the last mark."""
        try:
            reasons = list(self._admin.listener_errors())
        except OpsbookError:
            reasons = []
        for line in self._process.log_since(self._log_mark):
            _, found, reason = line.partition(" config update ")
            if found:
                reasons.append(reason.partition(": ")[2])
        return "; ".join(dict.fromkeys(reasons)) or "it gave no reason"

    def _polls(self, timeout: float) -> Iterator[None]:
        """Wake-ups at growing distances until `timeout` seconds have passed; always one at least."""
        deadline = self._clock.monotonic() + timeout
        pause = FIRST_POLL_SECONDS
        yield
        while (left := deadline - self._clock.monotonic()) > 0:
            self._clock.sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_POLL_SECONDS)
            yield

    def _remove_strays(self, table: RouteTable) -> None:
        wanted = {self._folder.endpoints(backend.name) for backend in table.backends}
        wanted |= {self._folder.routes(listener.name) for listener in table.listeners}
        for name in ("eds", "rds"):
            for path in _files_in(self._folder.root / name):
                if path not in wanted:
                    path.unlink(missing_ok=True)


class Refused(Failed):
    """Envoy itself said no; what it served before, it still serves."""


def _rejections(metrics: dict[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in metrics.items()
        if name.endswith((".update_rejected", ".update_failure", ".listener_create_failure"))
    }


def _files_in(folder: Path) -> tuple[Path, ...]:
    return tuple(folder.iterdir()) if folder.is_dir() else ()
