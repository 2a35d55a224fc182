"""Reading pages: what may run, what never does, and every reason for which a page is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbook.book.runbook_pages import read_runbook
from opsbook.book.runbooks import Place, Retry
from opsbook.response.runbooks.importing import imported
from opsbook.response.runbooks.writing import template

WHOLE = """\
---
title: Disk full
owner: team
severity: SEV2
alerts: [DiskFull]
reviewed: 2026-11-01
review_every: 90d
lock: "disk/{host}"
params:
  host: {type: host}
  keep_mb: {type: int, min: 100, max: 5000, default: 500}
---
What it means.

## Diagnose
```bash diagnose
df -h
```
## Steps
### 1. Vacuum the journal
```bash run id=vacuum timeout=2m risk=danger approve=lead on-failure=stop on=host
journalctl --vacuum-size="${KEEP_MB}M"
```
#### Verify
```bash check for=vacuum retry=5x10s
true
```
```promql check
disk{host="${HOST}"} < 0.8
```
```http check
GET {url:web}/healthz
HTTP 204
```
#### Roll back
```sh rollback for=vacuum idempotent
true
```
## Escalate
Who, when.
"""


def test_a_page_to_read_says_which_alerts_lead_to_it() -> None:
    """Its front matter counts as that of a page that runs; that of other programs says nothing and is no mistake."""
    own, _, problems = read_runbook("own", b"---\ntitle: Own\nowner: ana\nalerts: [Down]\n---\nLook.\n")
    assert own is not None
    assert (own.head.alerts, own.head.owner, problems) == (("Down",), "ana", [])
    foreign, _, problems = read_runbook("foreign", b"---\nlayout: wiki\nalerts: [Down]\n---\nLook.\n")
    assert foreign is not None
    assert (foreign.head.alerts, problems) == ((), [])


def test_a_whole_page_is_read_with_its_lines() -> None:
    """Roles, attributes and defaults; a byte order mark before it changes nothing."""
    page, _, problems = read_runbook("disk-full", WHOLE.encode("utf-8-sig"))
    assert page is not None
    assert [] == problems
    assert ["diagnose", "vacuum", "check-vacuum", "check-vacuum-2", "check-vacuum-3", "rollback-vacuum"] == [
        block.id for block in page.blocks
    ]
    vacuum = page.block("vacuum")
    assert vacuum is not None
    assert (21, 120.0, "danger", "lead", "stop", Place("host")) == (
        vacuum.line, vacuum.timeout, vacuum.risk, vacuum.approve, vacuum.on_failure, vacuum.on,
    )  # fmt: skip
    assert Retry(5, 10.0) == page.blocks[2].retry
    assert "Vacuum the journal" == vacuum.title


WRONG = {
    "```bash run\nls": (1, "never closed"),
    "```bash run id=a id=b\nls\n```": (1, "written twice"),
    "```bash run foo=1\nls\n```": (1, 'no attribute is called "foo"'),
    "## Verify\n```bash run\nls\n```": (2, 'stands under "Verify"'),
    "## Roll back\n```bash check for=a\nls\n```": (2, 'stands under "Roll back"'),
    "## Escalate\n```bash run\nls\n```": (2, 'stands under "Escalate"'),
    "```bash rum id=x\nls\n```": (1, 'no role is called "rum"'),
    "```bash id=x\nls\n```": (1, "no role is called"),
    "```bash run `x`\nls\n```": (1, "no block of code"),
    "```bash\n```bash run id=x\nls\n```": (2, "begins within that of line 1"),
    "```python run\nls\n```": (1, "written in bash or sh"),
    "```bash check\nls\n```": (1, "belongs to no step"),
    "```bash run id=a\nls\n```\n```bash check for=b\nls\n```": (4, 'no step is called "b"'),
    "```bash run id=a\nls\n```\n```bash run id=a\nls\n```": (4, "written twice, first on line 1"),
    "```bash run id='a\nls\n```": (1, "never closed"),
    "```bash run on=host\nls\n```": (1, "needs the parameter host"),
    "```bash run timeout=never\nls\n```": (1, "timeout: expected a duration"),
    "```bash run retry=3x1s\nls\n```": (1, "only what is idempotent"),
    "```bash run\n \n```": (1, "empty"),
    "```bash diagnose risk=danger\nls\n```": (1, "only looks"),
    "```bash run sensitive capture=KEY\nls\n```": (1, "must not be"),
    "```bash run capture=PATH\nls\n```": (1, "capture: expected"),
    "```bash run on=hosts:a,-oProxyCommand=x\nls\n```": (1, "on: expected"),
    "```promql precheck\nup{\n```": (1, "does not parse"),
    "```promql precheck\nup{a='${X}'}\n```": (1, "stands in '"),
    '```promql precheck\nup{a="${X}"}\n```': (1, "nothing is called X"),
    "```http precheck\nPOST http://x/\n```": (1, "expected one request"),
    "```http precheck\nGET http://${HOST}/\n```": (1, "behind the host"),
    "---\nparams: {path: {}}\n---\n```bash run\nls\n```": (2, "changes how programs run"),
    '---\nlock: "{host}"\n---\n```bash run\nls\n```': (2, 'no parameter is called "host"'),
    "---\nrisc: read\n---\n```bash run\nls\n```": (2, "unknown key"),
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_what_cannot_be_trusted_is_refused(text: str) -> None:
    """With its file and line; such a page does not run at all."""
    page, _, problems = read_runbook("x", text.encode())
    line, said = WRONG[text]
    assert page is None
    assert [line] == [problem.line for problem in problems if said in problem.message], problems
    assert {"runbooks/x.md"} == {problem.file for problem in problems}


@pytest.mark.parametrize(
    "text",
    [
        "> ```bash run\n> ls\n> ```\n",
        "    ```bash run\n    ls\n    ```",
        "<!--\n```bash run\nls\n```\n-->",
        "````markdown\n```bash run\nls\n```\n````",
        "```bash\nls\n```",
        '```js title="x" {1,3}\nls\n```',
        "```bash Run\nls\n```",
        "no fence at all",
    ],
)
def test_what_has_no_role_never_runs(text: str) -> None:
    """Quotations, comments, examples and other programs' words are only read."""
    page, _, problems = read_runbook("x", text.encode())
    assert page is not None
    assert () == page.blocks
    assert [] == [problem for problem in problems if problem.severity == "error"]


def test_a_fence_in_a_list_runs() -> None:
    """Its indentation is no part of the script."""
    page, _, _ = read_runbook("x", b"1. do it\n   ```bash run id=a\n   ls\n   ```\n")
    assert page is not None
    assert ["ls\n"] == [block.script for block in page.blocks]


PIECES = [
    "```bash run", "```", "~~~", "> ```bash run", "    ```sh check", "````", "<!--", "-->", "---", "```console",
    "$ rm -rf <dir>", "output", "- ```bash run", "```bash run `", "<pod>", "# h",
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(PIECES),
            st.text(max_size=12),
        ),
        max_size=14,
    )
)
def test_an_import_never_fails_and_never_runs(lines: list[str]) -> None:
    """Whatever the page is, no block of what is written has a role."""
    page = imported("Some Page", "\n".join(lines).encode("utf-8", "surrogatepass"), {"some-page"})
    read, _, _ = read_runbook(page.name, page.text.encode("utf-8", "surrogatepass"))
    assert read is not None
    assert () == read.blocks
    assert "some-page-2" == page.name


def test_an_import_proposes() -> None:
    """Prompts are told from output, placeholders become parameters, unclosed blocks are closed."""
    text = "# Pods\n```console\n$ kubectl get pod <pod name>\nNAME  READY\n```\n```bash run\nrm -rf <dir>\n"
    page = imported("Pods!", text.encode())
    assert ("pods", ("pod_name", "dir"), 2) == (page.name, page.params, page.blocks)
    said = " | ".join(note.text for note in page.notes)
    assert "commands behind prompts: kubectl get pod <pod name>; 1 lines look like output" in said
    assert "was taken away" in said
    assert "never closed" in said


def test_the_template_reads_without_a_word() -> None:
    """What opsbook writes has no problem of its own, whatever the title."""
    for title in ("Disk full", 'A "quoted": title # x', "Ünïcode {x}"):
        page, _, problems = read_runbook("new", template(title, "team", "DiskFull", "2026-11-01").encode())
        assert page is not None
        assert ([], title) == (problems, page.title)
