"""The embedded metrics engine: scrapes into the hot store, and answers the named metrics from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from opsbook.errors import Failed
from opsbook.world.telemetry.exposition import Metric, render
from opsbook.world.telemetry.history.compaction import Retention
from opsbook.world.telemetry.history.history import History, HistoryStatus
from opsbook.world.telemetry.named import named_metric
from opsbook.world.telemetry.recording import TargetStatus, Warn
from opsbook.world.telemetry.request_counts import request_counts
from opsbook.world.telemetry.scraper import Scraper
from opsbook.world.telemetry.storage import Storage
from opsbook.world.telemetry.store import HotStore
from opsbook.world.telemetry.stretch import Stretch
from opsbook.world.words import Clock, Limits, RequestCounts, Sample, Target


def _no_proxy() -> str:
    raise Failed("no proxy is known", hint="hand `envoy_stats` to EmbeddedTelemetry")


class EmbeddedTelemetry:
    """Metrics within this process; see `Telemetry`. The scraping thread starts with the first targets.

    Args:
        clock: both clocks.
        envoy_stats: the proxy's statistics as Prometheus text (`EnvoyTraffic.stats_text`), for targets of kind
            ``envoy``. Its clusters' series must have the labels environment, service and release.
        limits: what the instance behind a target may use, so that usage can be told as a ratio.
        store: where the samples are kept; shared with whoever computes on them.
        timeout: seconds after which a scrape has failed.
        max_bytes: of one answer of a target.
        warn: told whenever a target begins to have more series than are kept, with a sentence for people.
        history: a folder for the samples of the last weeks; None: what is not in memory is gone.
        retention: how long the history keeps what.
        warn_history: told in a sentence when the history fails, and when it works again.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        envoy_stats: Callable[[], str] = _no_proxy,
        limits: Callable[[Target], Limits] = lambda _: Limits(),
        store: HotStore | None = None,
        timeout: float = 5.0,
        max_bytes: int = 10 * 1024 * 1024,
        warn: Warn = lambda _target, _sentence: None,
        history: Path | None = None,
        retention: Retention = Retention(),  # noqa: B008 - frozen
        warn_history: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.store = store or HotStore()
        self._scraper = Scraper(
            self.store,
            clock,
            envoy_stats=envoy_stats,
            own=self.own_metrics,
            limits=limits,
            timeout=timeout,
            max_bytes=max_bytes,
            warn=warn,
        )
        self.history: History | None = None
        if history is not None:
            now = self._scraper.timeline.now
            self.history = History(history, self.store, now, retention=retention, warn=warn_history)
        self.storage = Storage(self.store, self.history)

    def start(self) -> None:
        """Open the history and take its newest samples back into memory; before the first targets, else for nothing."""
        if self.history is not None:
            self.history.start()

    def targets(self, targets: Sequence[Target]) -> None:
        """Replace the set of targets; those that left get staleness markers. New ones are scraped at once.

        Raises:
            Invalid: two targets have the same kind and labels, or one of kind ``metrics`` has no address.
        """
        self._scraper.targets(targets)

    def interval(self, seconds: float) -> None:
        """How often to scrape, kept between 1 and 15; 5 until said otherwise."""
        self._scraper.interval(seconds)

    def on_scraped(self, callback: Callable[[int], None]) -> None:
        """Have `callback` called after every round of scrapes, once its samples are stored.

        Args:
            callback: gets the present moment in milliseconds, which no sample of the round is later than. It is called
                in the scraping thread, so it should only wake somebody. A target that hangs does not hold a round up:
                half a second after it began the others are told of.
        """
        self._scraper.on_scraped(callback)

    def named(self, metric: str, matchers: Mapping[str, str], *, window: float = 60.0) -> Sample | None:
        """A named metric over the last `window` seconds; see `Telemetry.named` and the table `NAMED`."""
        entry = named_metric(metric)
        end = self._scraper.timeline.now()
        figure = entry.compute(Stretch(self.store, matchers, end - int(window * 1000), end))
        if figure is None:
            return None
        value, at = figure
        return Sample(dict(matchers), value, at / 1000)

    def moment(self) -> float:
        """Now, on the clock that samples are stamped with; see `Telemetry.moment`."""
        return self._scraper.timeline.now() / 1000

    def counts(
        self, environment: str, service: str, release: str, window: float, *, since: float | None = None
    ) -> RequestCounts | None:
        """What a release answered in a stretch of time; see `Telemetry.counts`."""
        end = self._scraper.timeline.now()
        start = end - int(window * 1000) if since is None else int(since * 1000)
        labels = {"environment": environment, "service": service, "release": release}
        return request_counts(Stretch(self.store, labels, start, end))

    def status(self) -> tuple[TargetStatus, ...]:
        """How the scrapes of every target go."""
        return self._scraper.status()

    def own_metrics(self) -> str:
        """opsbook's own metrics as Prometheus text."""
        return render(self._own_metrics())

    def close(self) -> None:
        """End the scraping and write what is new to the history; what is in memory stays readable."""
        self._scraper.close()
        if self.history is not None:
            self.history.close()

    def _own_metrics(self) -> Iterator[Metric]:
        yield from _process_metrics()
        size, status = self.store.size(), self.status()
        up = sum(each.up for each in status)
        gauges = {
            "opsbook_telemetry_series": ("Series in the hot store.", size.series),
            "opsbook_telemetry_samples": ("Cells for samples in the hot store.", size.samples),
            "opsbook_telemetry_bytes": ("Memory of the hot store's arrays.", size.nbytes),
            "opsbook_telemetry_clock_ahead_seconds": (
                "How far samples are ahead of the wall clock, which was set back.",
                self._scraper.timeline.ahead(),
            ),
        }
        for name, (description, value) in gauges.items():
            yield Metric(name, "gauge", description, (({}, value),))
        states = (({"state": "up"}, up), ({"state": "down"}, len(status) - up))
        yield Metric(
            "opsbook_telemetry_targets", "gauge", "Targets by the outcome of their last scrape.", states
        )
        totals = self._scraper.totals
        counters = {
            "opsbook_scrapes_total": ("Scrapes, failed ones included.", totals.scrapes),
            "opsbook_scrape_failures_total": ("Scrapes that failed.", totals.failures),
            "opsbook_scrape_samples_refused_total": (
                "Samples that were not kept because their target has too many series.",
                totals.refused,
            ),
            "opsbook_telemetry_samples_dropped_early_total": (
                "Samples given up before their time for want of memory.",
                size.dropped_early,
            ),
        }
        for name, (description, value) in counters.items():
            yield Metric(name, "counter", description, (({}, value),))
        if self.history is not None:
            yield from _history_metrics(self.history.status())


def _history_metrics(status: HistoryStatus) -> Iterator[Metric]:
    values: dict[str, tuple[str, str, float]] = {
        "opsbook_history_up": ("gauge", "Whether samples are written to the history.", not status.problem),
        "opsbook_history_bytes": ("gauge", "Size of the history's files.", status.nbytes),
        "opsbook_history_files": ("gauge", "Files of the history.", status.files),
        "opsbook_history_samples_written_total": ("counter", "Samples written.", status.samples),
        "opsbook_history_failures_total": ("counter", "Writings that failed.", status.failures),
        "opsbook_history_files_damaged_total": ("counter", "Files moved aside as damaged.", status.damaged),
    }
    if status.written_at is not None:
        said = "When samples were written last, epoch seconds."
        values["opsbook_history_written_timestamp_seconds"] = ("gauge", said, status.written_at)
    for name, (kind, description, value) in values.items():
        yield Metric(name, kind, description, (({}, float(value)),))


def _process_metrics() -> Iterator[Metric]:
    process = psutil.Process()
    with process.oneshot():
        cpu = process.cpu_times()
        values = {
            "process_cpu_seconds_total": ("counter", "CPU time of opsbook itself.", cpu.user + cpu.system),
            "process_resident_memory_bytes": ("gauge", "Resident memory.", process.memory_info().rss),
            "process_open_fds": ("gauge", "Open file descriptors.", process.num_fds()),
            "process_threads": ("gauge", "Threads.", process.num_threads()),
            "process_start_time_seconds": ("gauge", "When it started, epoch seconds.", process.create_time()),
        }
    for name, (kind, description, value) in values.items():
        yield Metric(name, kind, description, (({}, value),))
