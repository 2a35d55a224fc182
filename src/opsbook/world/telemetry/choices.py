"""Which series fit some matchers, remembered: rules and dashboards ask the same again and again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from opsbook.promql.series import NAME, Integers, Labels, Matcher
from opsbook.world.telemetry.block import Block

_MOST_QUESTIONS = 2000
_MOST_ROWS = 500_000  # remembered over all questions: 16 bytes each


@dataclass(frozen=True, slots=True)
class Choice:
    """The rows of one block, as of one version of it."""

    block: Block
    version: int
    slots: Integers
    series: tuple[Labels, ...]


class Choices:
    """Answers by matchers; blocks whose series changed are asked anew. The store holds its lock."""

    def __init__(self) -> None:
        self._version = 0
        self._known: OrderedDict[tuple[Matcher, ...], tuple[int, list[Choice]]] = OrderedDict()
        self._rows = 0

    def changed(self) -> None:
        """A block came or went, or has other series."""
        self._version += 1

    def of(self, matchers: tuple[Matcher, ...], blocks: Iterable[Block]) -> list[Choice]:
        """The blocks that have such series, each with their slots and labels."""
        version, choices = self._known.pop(matchers, (-1, []))
        if version != self._version:
            self._rows -= sum(len(choice.series) for choice in choices)
            before = {id(choice.block): choice for choice in choices}
            choices = []
            for block in blocks:
                choice = before.get(id(block))
                if choice is None or choice.version != block.version:
                    choice = _choose(matchers, block)
                if choice is not None:
                    choices.append(choice)
            self._rows += sum(len(choice.series) for choice in choices)
        self._known[matchers] = (self._version, choices)
        while len(self._known) > 1 and (self._rows > _MOST_ROWS or len(self._known) > _MOST_QUESTIONS):
            _, (_, forgotten) = self._known.popitem(last=False)
            self._rows -= sum(len(choice.series) for choice in forgotten)
        return choices


def _choose(matchers: tuple[Matcher, ...], block: Block) -> Choice | None:
    name, others = None, list[Matcher]()
    for matcher in matchers:
        if matcher.label == NAME and matcher.operator == "=":
            name = matcher.value if name in (None, matcher.value) else "\0"  # two names: nothing fits
        elif matcher.label in block.common:
            if not matcher.fits(block.common[matcher.label]):
                return None
        else:
            others.append(matcher)
    slots, series = [], []
    for slot in block.slots_of(name):
        labels = block.series[slot]
        if labels is not None and all(matcher.matches(labels) for matcher in others):
            slots.append(slot)
            series.append(labels)
    return Choice(block, block.version, np.array(slots, np.int64), tuple(series)) if slots else None
