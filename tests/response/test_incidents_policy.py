"""What `incidents/policy.yaml` says of incidents, and what is made of it."""

from __future__ import annotations

import pytest
from incident_house import COVER, POLICY, alert, book

from opsbook.book import HandbookError, TextFiles, load
from opsbook.response.incidents.policy import escalation_of, one_tree, opens, rules_of, severity_of

PAGE = """---
title: Orders fail
severity: SEV1
---
```bash diagnose
uptime
```
"""


def test_without_a_word() -> None:
    """Critical alerts open one; SEV1 is told of each half hour, SEV2 each hour, the others never."""
    said = book(
        "incidents: {open: [warning], severity: {critical: SEV1}, join_within: 1m}\n"
        "severities: {SEV3: {update_every: 2h}}\n"
    )
    assert opens(said, alert(severity="warning"))
    assert not opens(said, alert(severity="critical"))
    assert severity_of(said, alert(severity="info")) == "SEV1"
    assert rules_of(said).update_every["SEV3"] == 7200
    written = book(POLICY)
    assert escalation_of(written, alert(), "SEV1") == "storage"
    assert escalation_of(written, alert(page="usual"), "SEV1") == "usual"


def test_the_page_may_say_worse() -> None:
    """The runbook that the alert names, and never less than the alert itself."""
    files = {"opsbook.yaml": COVER.encode(), "runbooks/orders.md": PAGE.encode()}
    said = load(TextFiles(files))
    for name in ("orders", "runbooks/orders.md", "orders.md"):
        assert severity_of(said, alert(severity="info", runbook=name)) == "SEV1"
    files["runbooks/orders.md"] = PAGE.replace("SEV1", "SEV4").encode()
    assert severity_of(load(TextFiles(files)), alert(runbook="orders")) == "SEV2"


def test_trees() -> None:
    """One needs the other, or both need a third; names that nobody knows are themselves only."""
    related = one_tree(book())
    assert related("web", "db")
    assert related("db", "web")
    assert not related("web", "mail")
    assert related("nobody", "nobody")
    assert not related("nobody", "web")


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("severities: {SEV1: {escalation: usul}}\n", 'no escalation is called "usul"'),
        ("incidents: {channels: [nope]}\n", 'no channel is called "nope"'),
        ("incidents: {severity: {critical: SEV9}}\n", "expected one of SEV1"),
        ("incidents: {join_within: 3d}\n", "another cause"),
        ("severities: {SEV7: {}}\n", "expected one of SEV1"),
        ("incidents: {settel: 3m}\n", "unknown key"),
    ],
)
def test_mistakes(policy: str, said: str) -> None:
    """Each is found before it matters."""
    with pytest.raises(HandbookError) as caught:
        book(policy)
    assert said in str(caught.value)
