"""What the judge remembers between two looks: a small JSON document, so that a crash costs no evidence."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from opsbook.errors import Invalid

Tally = tuple[float, ...]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Evidence(_Document):
    """One test: capitals as logarithms, and what the release in question had answered when the last block closed."""

    capital: Tally
    canary: Tally
    stable: Tally
    learnt: Tally  # all of stable's requests of closed blocks, also those before the counting began anew
    even_canary: Tally  # what had been answered when the evidence was last not above 1:1
    even_stable: Tally
    blocks: int = Field(0, ge=0)
    present: float = 0.0  # the logarithm of the whole capital
    strongest: float = 0.0  # the highest it ever was

    def lately(self) -> tuple[Tally, Tally]:
        """What canary and stable have answered since the evidence began to rise; all zero when it has not."""
        return _less(self.canary, self.even_canary), _less(self.stable, self.even_stable)

    def counting_anew(self) -> Self:
        """As if nothing had been answered, without losing what was answered lately."""
        ours, theirs = self.lately()
        zeros = {"canary": _less(self.canary, self.canary), "stable": _less(self.stable, self.stable)}
        even = {"even_canary": _less(zeros["canary"], ours), "even_stable": _less(zeros["stable"], theirs)}
        return self.model_copy(update=zeros | even)


class Seen(_Document):
    """The counts of one release at the last look."""

    requests: float = 0.0
    errors: float = 0.0
    latency: Tally = ()


class AnalysisState(_Document):
    """What is known after some looks. The empty one is before the first."""

    looks: int = Field(0, ge=0)
    canary: Seen = Seen()
    stable: Seen = Seen()
    grew_at: float | None = None  # when the canary's requests last became more
    failures: dict[str, int] = {}  # consecutive looks at which a rule failed, by its name
    evidence: dict[str, Evidence] = {}  # by what is tested

    def counting_anew(self) -> Self:
        """For a new step, or a window that begins again: counts restart at zero, evidence is kept.

        So one budget of false alarms covers all steps of a deployment.
        """
        kept = {name: found.counting_anew() for name, found in self.evidence.items()}
        return self.model_copy(update={"canary": Seen(), "stable": Seen(), "grew_at": None, "evidence": kept})

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """The state that `to_json` wrote; an empty document is the state before the first look.

        Raises:
            Invalid: it is not one.
        """
        try:
            return cls.model_validate(document)
        except ValidationError as problem:
            raise Invalid(
                "the state of the analysis cannot be read",
                hint="abort the deployment and start it anew",
                details={"problems": [str(error["loc"]) + " " + error["msg"] for error in problem.errors()]},
            ) from problem


def _less(counts: Tally, others: Tally) -> Tally:
    return tuple(count - other for count, other in zip(counts, others, strict=True))
