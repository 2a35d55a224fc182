"""What a scrape of one target leaves behind: its samples, the series about the scrape itself, and a status."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from opsbook.errors import OpsbookError
from opsbook.promql.series import Labels
from opsbook.world.telemetry.scrape_cache import ScrapeCache
from opsbook.world.telemetry.staleness import Floats, Integers
from opsbook.world.telemetry.store import HotStore
from opsbook.world.words import Target

_ABOUT = (
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "opsbook_scrape_series_refused",
    "opsbook_scrape_lines_unreadable",
)

Warn = Callable[[Target, str], None]


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """How the scrapes of one target go."""

    target: Target
    up: bool = False
    at: float | None = None  # of the last scrape, epoch seconds; None: not scraped yet
    seconds: float = 0.0  # how long it took
    samples: int = 0
    refused: int = 0  # samples of the last scrape whose series are too many
    unreadable: int = 0  # lines of the last scrape
    problem: str = ""  # what the last scrape suffered from; empty when nothing


@dataclass(slots=True)
class Totals:
    """Counts over all targets since the start, those that left included. Written by the scraping thread only."""

    scrapes: int = 0
    failures: int = 0
    refused: int = 0  # samples


def labels_of(target: Target) -> dict[str, str]:
    """The labels of every series of `target`; `job` tells apart what is known of one instance in several ways."""
    return {"job": target.kind, **{name: value for name, value in target.labels.items() if value}}


class Recording:
    """Writes the scrapes of one target into the store. Used by one thread; readers may ask for `status`.

    Args:
        target: whose samples they are.
        store: where they go.
        warn: told once whenever a target begins to have more series than are kept.
        totals: what every scrape is added to.
    """

    def __init__(self, target: Target, store: HotStore, warn: Warn, totals: Totals) -> None:
        self.status = TargetStatus(target)
        self._store = store
        self._warn = warn
        self._totals = totals
        self._labels = labels_of(target)
        self._block = store.block(self._labels)
        self._cache = ScrapeCache(self._block, self._labels, store.metadata)
        self._about: Integers = np.empty(0, np.int64)
        self._about_layout = -1
        self._to_warn = False
        with store.lock:
            self._about_slots()  # before all others, so that they are never the ones refused

    def body(self, at: int, seconds: float, body: bytes) -> None:
        """A scrape that gave Prometheus text.

        Args:
            at: milliseconds, when it began.
            seconds: how long it took.
            body: what the target answered.

        Raises:
            Invalid: it is no Prometheus text; nothing was recorded.
        """
        with self._store.lock:
            reading = self._cache.read(body)
            problem = str(reading.first_problem or "")
            self._record(
                at, seconds, reading.slots, reading.values, reading.refused, reading.problems, problem
            )
        self._warn_if_due()

    def measured(self, at: int, seconds: float, samples: Iterable[tuple[Labels, float]]) -> None:
        """A scrape that gave labels (``__name__`` included) and values; no series may be there twice."""
        slots, values, refused = [], [], 0
        with self._store.lock:
            for labels, value in samples:
                slot = self._block.slot({**labels, **self._labels})
                if slot is None:
                    refused += 1
                else:
                    slots.append(slot)
                    values.append(value)
            self._record(at, seconds, np.array(slots, np.int64), np.array(values, np.float64), refused, 0, "")
        self._warn_if_due()

    def failed(self, at: int, seconds: float, error: OpsbookError) -> None:
        """A scrape that gave nothing: all series become stale."""
        with self._store.lock:
            none = np.empty(0, np.int64)
            self._record(at, seconds, none, np.empty(0), 0, 0, str(error) or error.kind, up=False)

    def moved(self, target: Target) -> None:
        """The same labels are now found elsewhere: a restarted process has another pid."""
        self.status = replace(self.status, target=target)

    def end(self, at: int) -> None:
        """The target left."""
        self._store.end(self._labels, at)

    def _record(
        self,
        at: int,
        seconds: float,
        slots: Integers,
        values: Floats,
        refused: int,
        unreadable: int,
        problem: str,
        *,
        up: bool = True,
    ) -> None:
        samples = len(slots) + refused
        about = self._about_slots()
        about_values = np.array([float(up), seconds, samples, refused, unreadable])[: about.size]
        written = self._block.append(
            at, np.concatenate([slots, about]), np.concatenate([values, about_values]), scraped=up
        )
        before = self.status
        if refused:
            problem = f"{refused} samples refused: more than {self._block.max_series} series"
        self.status = replace(
            before,
            up=up,
            at=written / 1000,
            seconds=seconds,
            samples=samples,
            refused=refused,
            unreadable=unreadable,
            problem=problem,
        )
        self._totals.scrapes += 1
        self._totals.failures += not up
        self._totals.refused += refused
        self._to_warn = bool(refused and not before.refused)

    def _warn_if_due(self) -> None:
        """Outside the store's lock: whoever is told may take its time."""
        if self._to_warn:
            self._to_warn = False
            self._warn(self.status.target, self.status.problem)

    def _about_slots(self) -> Integers:
        """The rows of the series about the scrape."""
        if self._about_layout != self._block.layout or self._about.size < len(_ABOUT):
            found = [self._block.slot({"__name__": name, **self._labels}) for name in _ABOUT]
            self._about = np.array([slot for slot in found if slot is not None], np.int64)
            self._about_layout = self._block.layout
        return self._about
