"""The standard pages of machines and of services as such, each on its real fault."""

from __future__ import annotations

import pytest
from standard_drills import ALWAYS, passes
from test_standard_servers import NAMES as SERVERS
from test_standard_services import NAMES as SERVICES

from opsbook.response.standard import standard_pages

NAMES = ("disk-full", "service-down", "high-cpu", "high-memory", "failed-deployment")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", NAMES)
def test_the_page_fixes_the_real_fault(name: str) -> None:
    """The alert fires, the page helps, and the fault is gone."""
    passes(name)


def test_every_page_of_the_set_is_drilled() -> None:
    """None is shipped that no test tries, and those that are always tried are there."""
    drilled = {*NAMES, *SERVERS, *SERVICES}
    assert standard_pages().keys() == drilled
    assert drilled >= ALWAYS
