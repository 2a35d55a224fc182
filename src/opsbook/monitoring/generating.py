"""Rules that follow from other parts of the handbook."""

from __future__ import annotations

from opsbook.book import Book
from opsbook.monitoring.probes.plan import groups_of as of_probes
from opsbook.monitoring.rules.model import RuleGroup
from opsbook.monitoring.slos.burning import groups_of as of_slos
from opsbook.monitoring.slos.objectives import objectives_of
from opsbook.monitoring.targets.plan import groups_of as of_targets


def generated_groups(book: Book) -> tuple[RuleGroup, ...]:
    """All of them, as they are exported for another server."""
    return (
        *of_probes(book.probes),
        *of_targets(book.targets),
        *of_slos(objectives_of(book), counted=False),
    )
