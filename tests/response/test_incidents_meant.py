"""Which incident a run belongs to, of which nobody said so."""

from __future__ import annotations

from opsbook.book.runbook_pages import read_runbook
from opsbook.book.runbooks import Runbook
from opsbook.response.incidents.meant import about
from opsbook.response.incidents.model import Incident, IncidentAlert

PAGE = """\
---
title: Down
alerts: [Down]
params: {service: {type: service, default: web}, environment: {type: environment, default: production}}
---
```bash run id=look risk=read
true
```
"""


def page() -> Runbook:
    found, _, _ = read_runbook("down", PAGE.encode())
    assert found is not None
    return found


def incident(number: int = 1, name: str = "Down", *, ended: bool = False, **more: object) -> Incident:
    alert = IncidentAlert("f", labels={"alertname": name}, ended_at=1.0 if ended else None)
    said = {"environment": "production", "services": ("web",), "alerts": (alert,), **more}
    return Incident(id=f"inc-{number}", **said)  # type: ignore[arg-type]


def test_the_only_one_whose_alert_leads_to_the_page() -> None:
    """By the page's own list, or by the alert's annotation; one that is over leads nowhere."""
    assert about(page(), {}, [incident(), incident(2, "Slow")]) == "inc-1"
    assert about(page(), {}, [incident(2, "Slow", runbook="down")]) == "inc-2"
    assert about(page(), {}, [incident(ended=True)]) == ""
    assert about(page(), {}, [incident(state="resolved")]) == ""
    assert about(page(), {}, []) == ""


def test_of_several_nobody_knows() -> None:
    """Parameters of the run may tell."""
    both = [incident(), incident(2, services=("api",), environment="staging")]
    assert about(page(), {}, both) == ""
    assert about(page(), {"service": "api"}, both) == "inc-2"
    assert about(page(), {"environment": "production"}, both) == "inc-1"
    assert about(page(), {"service": "api", "environment": "production"}, both) == ""
