"""The nouns of post-mortems. Times are UTC epoch seconds, durations seconds, shares 0 to 1."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A frozen JSON document of the journal's state."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


class Burn(Document):
    """What an incident cost of one objective's error budget. `left` may be below 0: more than all was spent."""

    slo: str
    burned: float | None
    left: float


class ServiceImpact(Document):
    """What users of one service noticed. None: it was not measured, which is not the same as nothing."""

    service: str
    requests: float | None = None
    failed: float | None = None
    worst_error_rate: float | None = None
    usual_p95: float | None = None
    worst_p95: float | None = None
    burns: tuple[Burn, ...] = ()

    @property
    def measured(self) -> bool:
        figures = (self.requests, self.worst_error_rate, self.worst_p95)
        return bool(self.burns) or any(figure is not None for figure in figures)

    @property
    def share(self) -> float | None:
        """Of the requests that failed."""
        if self.requests is None or self.failed is None or not self.requests > 0:
            return None
        return min(1.0, self.failed / self.requests)


class Impact(Document):
    """The impact in numbers, from `start` to `end`. `problem`: why it could not be measured."""

    start: float
    end: float
    services: tuple[ServiceImpact, ...] = ()
    problem: str = ""

    @property
    def seconds(self) -> float:
        return max(0.0, self.end - self.start)

    @property
    def measured(self) -> tuple[ServiceImpact, ...]:
        return tuple(one for one in self.services if one.measured)


class Lesson(Document):
    """A proposed change to a runbook.

    Args:
        runbook: its name. new: the page is not there yet.
        commit: where opsbook put the branch; empty without git.
        place: the branch, or the path of the patch.
        patch: what would change.
        problem: why it could not be put up; `patch` is there all the same.
    """

    incident: str
    runbook: str
    new: bool = False
    commit: str = ""
    place: str = ""
    patch: str = ""
    problem: str = ""


class Record(Document):
    """What opsbook knows of one post-mortem that it wrote.

    Args:
        path: in the handbook. plot: the SVG beside it; empty: nothing was measured.
        written_at: when that was tried last.
        state: of the incident when it was written (`plan.state_of`).
        kept: parts that people have changed, which opsbook leaves alone.
        failed: why the last writing failed; it is tried again. tries: how often in a row.
    """

    incident: str
    path: str = ""
    plot: str = ""
    commit: str = ""
    severity: str = ""
    written_at: float = 0.0
    state: str = ""
    kept: tuple[str, ...] = ()
    impact: Impact | None = None
    lesson: Lesson | None = None
    failed: str = ""
    tries: int = 0


class Tracked(Document):
    """One action of a post-mortem, wherever it was written. `line` is that of the page, 0: of the incident only."""

    incident: str
    environment: str
    file: str
    line: int
    text: str
    owner: str
    due: str
    done: bool
    overdue: bool
    id: str = ""
