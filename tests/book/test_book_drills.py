"""Drills and what they name: pages that must be there."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from opsbook.book import TextFiles, load_or_problems
from opsbook.book.runbook_advice import offered_alerts

DRILL = """\
---
runbook: {page}
alert: DiskFull
fault: a disk is full
---
```bash inject
true
```
"""
PAGES = {"runbooks/disk-full.md": "# Disk full\n"}


PLACE = "runbooks/drills/disk.md"


def said(files: Mapping[str, str], severity: str = "error") -> list[str]:
    """What is wrong with a handbook of these files."""
    _, problems = load_or_problems(TextFiles.of({"opsbook.yaml": "name: shop\n", **files}))
    return [str(one) for one in problems if one.severity == severity]


def test_a_drill_of_a_page_that_is_not_there_is_an_error() -> None:
    """It says what to write, or what was meant."""
    drill = {PLACE: DRILL.format(page="disk-ful")}
    refused = f'{PLACE}:2: runbook: no runbook is called "disk-ful"'
    assert [f'{refused} (hint: did you mean "disk-full"?)'] == said(PAGES | drill)
    assert [f"{refused} (hint: write runbooks/disk-ful.md)"] == said(drill)


def test_a_scheduled_drill_of_a_page_that_is_not_there_is_an_error() -> None:
    """Each name under `drills:` is looked up, at its own line."""
    policy = "drills:\n  every: 30d\n  pages:\n    - disk-full\n    - service-down\n"
    refused = 'incidents/policy.yaml:5: drills.pages[1]: no runbook is called "service-down"'
    assert [f"{refused} (hint: known: disk-full)"] == said(PAGES | {"incidents/policy.yaml": policy})


def test_drills_of_pages_that_are_there_are_fine() -> None:
    """Nothing is said, also where a page is only there to be read."""
    drill = {PLACE: DRILL.format(page="disk-full")}
    assert [] == said(PAGES | drill | {"incidents/policy.yaml": "drills: {pages: [disk-full]}\n"})


OPSBOOKS = """\
```yaml
alerts:
  - name: CacheFailing
    condition: redis_up == 0
  - 3
```
"""
PROMETHEUS = """\
```yml
groups:
  - name: cache
    rules:
      - alert: CacheFailing
        expr: redis_up == 0
      - record: cache:up
```
"""


@pytest.mark.parametrize("rules", [OPSBOOKS, PROMETHEUS])
def test_alerts_whose_rules_the_page_shows_are_no_mistake(rules: str) -> None:
    """The page offers them to be copied; a name that is nowhere is still one that was mistyped."""
    page = f"---\nalerts: [CacheFailing, CacheFaling]\n---\n```bash diagnose\ntrue\n```\n{rules}"
    warned = [one for one in said({"runbooks/cache.md": page}, "warning") if "no alert" in one]
    assert ['runbooks/cache.md:2: alerts[1]: no alert is called "CacheFaling"'] == [
        one.partition(" (hint")[0] for one in warned
    ]


@pytest.mark.parametrize(
    "shown", ["```yaml\nalerts: [\n```", "```yaml\n- a\n```", "```yaml\ngroups: {a: b}\n```"]
)
def test_a_page_may_show_any_yaml(shown: str) -> None:
    """What is no list of rules is passed over."""
    assert frozenset() == offered_alerts(shown)
