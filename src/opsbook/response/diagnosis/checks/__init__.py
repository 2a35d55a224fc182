"""The looks, in the order in which people read them. A new one is a module with `look`, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opsbook.response.diagnosis.checks import (
    alerting,
    changes,
    dependencies,
    health,
    logging,
    runbook_pages,
    saturation,
    tracing,
    traffic,
)
from opsbook.response.diagnosis.model import Check
from opsbook.response.diagnosis.scene import Scene


@dataclass(frozen=True, slots=True)
class Look:
    """One of them. `seconds` is what it may take at most."""

    name: str
    title: str
    seconds: float
    look: Callable[[Scene], Check]
    of_services: bool = False  # it has nothing to look at where there is no service


LOOKS = (
    Look(alerting.NAME, alerting.TITLE, 2.0, alerting.look),
    Look(health.NAME, health.TITLE, 5.0, health.look, of_services=True),
    Look(traffic.NAME, traffic.TITLE, 4.0, traffic.look, of_services=True),
    Look(changes.NAME, changes.TITLE, 3.0, changes.look),
    Look(dependencies.NAME, dependencies.TITLE, 3.0, dependencies.look, of_services=True),
    Look(saturation.NAME, saturation.TITLE, 4.0, saturation.look),
    Look(logging.NAME, logging.TITLE, 6.0, logging.look, of_services=True),
    Look(tracing.NAME, tracing.TITLE, 4.0, tracing.look, of_services=True),
    Look(runbook_pages.NAME, runbook_pages.TITLE, 60.0, runbook_pages.look),
)
