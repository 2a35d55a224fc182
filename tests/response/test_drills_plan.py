from __future__ import annotations

import pytest

from opsbook.book.drills import read_drill
from opsbook.book.runbook_pages import read_runbook
from opsbook.response.drills import plan
from opsbook.response.drills.finding import find
from opsbook.response.standard import standard_pages

DRILL = b"""---
runbook: page
alert: DiskFull
fault: something
params: {host: 127.0.0.1}
---
```bash inject
true
```
"""
PAGE = b"""---
params:
  host: {type: host}
---
```bash run on=%s
true
```
"""


def scratch(environment: str = "environment: drill\nentry: {port: 1}\nservices: {}\n"):
    book, problems = plan.loaded(
        {
            "opsbook.yaml": "name: drill\ncontacts: {ana: {email: ana@localhost}}\n",
            "environments/drill.yaml": environment,
        }
    )
    assert book is not None, problems
    return book


@pytest.mark.parametrize("name", sorted(standard_pages()))
def test_every_page_of_the_set_and_its_drill_can_be_read(name):
    """What is shipped has no errors, and may be run here."""
    found = find(name, None, {})
    files = plan.handbook(found.page, found.drill, str)
    assert found.standard
    assert found.drill.head.runbook == name
    assert "opsbook.yaml" in files


@pytest.mark.parametrize("place", ["hosts:db-1.example.com", "hosts:10.0.0.1"])
def test_a_page_that_runs_on_another_machine_is_refused(place):
    """Drills stay on this machine, whatever the page says."""
    page, _, problems = read_runbook("page", PAGE % place.encode())
    assert page is not None, problems
    assert any(
        "drills stay on this machine" in one
        for one in plan.refusals(scratch(), page, {"host": "127.0.0.1"}, None)
    )


@pytest.mark.parametrize("host", ["db-1.example.com", "10.0.0.1", "db.test"])
def test_a_host_that_is_not_this_machine_is_refused(host):
    """Nor by a parameter."""
    page, _, _ = read_runbook("page", PAGE % b"host")
    assert page is not None
    assert plan.refusals(scratch(), page, {"host": host}, None) == (
        f"host is {host}: drills stay on this machine",
    )


def test_a_protected_environment_is_refused():
    """An environment with protect: is refused whatever is asked, its own or one of the handbook by the same name."""
    protected = scratch("environment: drill\nentry: {port: 1}\nservices: {}\nprotect: {approvers: [ana]}\n")
    page, _, _ = read_runbook("page", PAGE % b"host")
    assert page is not None
    expected = ("drill is protected: drills never run there",)
    assert plan.refusals(protected, page, {"host": "127.0.0.1"}, None) == expected
    assert plan.refusals(scratch(), page, {"host": "127.0.0.1"}, protected) == expected


def test_files_of_a_drill_cannot_lead_out_of_its_handbook():
    """A path with .. is an error of the page."""
    drill, _, problems = read_drill(
        "runbooks/drills/page.md", DRILL + b"```yaml handbook file=services/../../x\n```\n"
    )
    assert drill is None
    assert problems[0].message == "expected a file of the scratch handbook"


def test_what_is_missing_says_how_to_get_it():
    """A drill that cannot run here names the package."""
    drill, _, _ = read_drill(
        "runbooks/drills/page.md", DRILL.replace(b"fault:", b"needs: [root, program:dig]\nfault:")
    )
    assert drill is not None
    assert plan.missing(drill, lambda name: False, False) == (
        f'root: sudo "$(command -v opsbook)" runbooks test {drill.head.runbook}',
        "dig: apt install bind9-dnsutils",
    )
