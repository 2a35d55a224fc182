"""The judge of canaries: pure decisions over counts of requests. `judge` is called at every look."""

from opsbook.deployment.analysis.judge import judge, replay
from opsbook.deployment.analysis.model import (
    Bounds,
    Counts,
    Judgement,
    Reading,
    Rule,
    RuleJudgement,
    Settings,
)
from opsbook.deployment.analysis.state import AnalysisState

__all__ = [
    "AnalysisState",
    "Bounds",
    "Counts",
    "Judgement",
    "Reading",
    "Rule",
    "RuleJudgement",
    "Settings",
    "judge",
    "replay",
]
