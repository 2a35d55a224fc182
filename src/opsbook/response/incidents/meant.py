"""Which incident a run is about that a person started without saying so. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opsbook.book.runbook_parameters import ParameterType
from opsbook.book.runbooks import Runbook
from opsbook.response.incidents.model import Incident


def about(page: Runbook, given: Mapping[str, str], incidents: Iterable[Incident]) -> str:
    """The one open incident whose alerts lead to the page; empty where there is none, or several are.

    Args:
        given: the parameters of the run; an environment or a service among them is the incident's too.
    """
    found = [one.id for one in incidents if one.open and _leads(one, page) and _fits(one, page, given)]
    return found[0] if len(found) == 1 else ""


def _leads(incident: Incident, page: Runbook) -> bool:
    return incident.runbook == page.name or any(
        alert.runbook == page.name or alert.name in page.head.alerts for alert in incident.firing
    )


def _fits(incident: Incident, page: Runbook, given: Mapping[str, str]) -> bool:
    environments, services = _of(page, given, "environment"), _of(page, given, "service")
    return (not environments or incident.environment in environments) and (
        not services or not incident.services or not services.isdisjoint(incident.services)
    )


def _of(page: Runbook, given: Mapping[str, str], kind: ParameterType) -> set[str]:
    specs = page.head.params
    return {value for name, value in given.items() if name in specs and specs[name].type == kind}
