"""A checklist is a page that people read, whose items machines check or people sign."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbook.book import CHECKS, Book, Checklist, TextFiles, load, load_or_problems
from opsbook.book.checklist import read_checklist

PAGE = """\
---
title: Before and after
environments: [production]
reviewed: 2026-11-01
---
# 📋 Checklist

Read it with somebody.

## Pre-Deployment
- [ ] Code review completed and *approved*, see [how](https://example.com/review)
- [ ] All tests passing `check: tests`
  ```bash check timeout=2m
  make test
  ```
- [ ] Handbook is right `check: book`
- [ ] `make` is installed

### During Deployment
1. [ ] The storefront
   answers
   ```http check
   HEAD {url:web}/healthz
   HTTP 204
   ```
   ```text
   only an example
   ```

## Post-Deployment

### For customers
- [ ] Smoke test
  - [ ] with a card `check: error_rate`
- not an item
"""
WEB = 'service: web\nrun: {command: [serve, "{port}"], port: http}\n'
ENVIRONMENT = "environment: {0}\nentry: {{port: {1}}}\nservices: {{web: {{}}}}\n{2}"


def book_of(page: str, protect: str = "protect: {approvers: [alice]}\n") -> Book:
    return load(
        TextFiles.of(
            {
                "opsbook.yaml": "name: shop\ncontacts:\n  alice: {email: alice@example.com}\n",
                "services/web.yaml": WEB,
                "environments/staging.yaml": ENVIRONMENT.format("staging", 8081, ""),
                "environments/production.yaml": ENVIRONMENT.format("production", 8080, protect),
                "deployment/checklist.md": page,
            }
        )
    )


def checklist(page: str) -> Checklist:
    found = book_of(page).checklist
    assert found is not None
    return found


def test_items_have_stage_kind_and_line() -> None:
    """Headings of any level say the stage, boxes of any list are items, and each knows its line."""
    assert [
        ("pre-code-review-completed-and-approved-see-how", "signed", None, 11),
        ("pre-all-tests-passing", "machine", "tests", 12),
        ("pre-handbook-is-right", "machine", "book", 16),
        ("pre-make-is-installed", "signed", None, 17),
        ("during-the-storefront-answers", "machine", "http", 20),
        ("post-smoke-test", "signed", None, 33),
        ("post-with-a-card", "machine", "error_rate", 34),
    ] == [(item.id, item.kind, item.check, item.line) for item in checklist(PAGE).items]


def test_an_item_may_bring_its_own_check() -> None:
    """A script is one argument of a shell that stops at the first failure; a request has method and status."""
    tests = checklist(PAGE).items[1]
    answers = checklist(PAGE).items[4]

    assert (("bash", "-euo", "pipefail", "-c", "make test\n"), 120.0) == (tests.command, tests.timeout)
    assert answers.request is not None
    assert ("HEAD", "{url:web}/healthz", 204, "The storefront answers") == (
        answers.request.method, answers.request.url, answers.request.status, answers.text
    )  # fmt: skip


def test_the_front_matter_says_where() -> None:
    """Only the environments that it names ask for it."""
    found = checklist(PAGE)

    assert 4 == len(found.for_("production", "web", "pre"))
    assert () == found.for_("staging", "web", "pre")


@pytest.mark.parametrize(
    ("front", "protect", "asked"),
    [
        ("", "protect: {approvers: [alice]}\n", ["production"]),
        ("", "protect: {approvers: [alice], checklist: false}\n", []),
        ("", "", []),
        ("---\nenvironments: [staging]\n---\n", "protect: {approvers: [alice]}\n", ["staging"]),
        ("---\nservices: [web]\n---\n", "protect: {approvers: [alice]}\n", ["production"]),
    ],
)
def test_without_names_it_belongs_to_protected_environments(
    front: str, protect: str, asked: list[str]
) -> None:
    """Nobody signs for a deployment to a laptop; what is named or protected asks, and can be taken out."""
    book = book_of(f"{front}## Post-Deployment\n- [ ] Works\n", protect)

    assert asked == [name for name in sorted(book.environments) if book.checklist_items(name, "web", "post")]


def test_what_nobody_would_ask_for_is_said() -> None:
    """An item outside of the stages and a tick in the page are warnings, and the rest stands."""
    page = "- [ ] early\n## Pre-Deployment\n- [x] done\n## Security\n- [ ] keys\n```bash\nmake\n```\n"
    found, _, problems = read_checklist(page.encode())

    assert found is not None
    assert ["pre-done"] == [item.id for item in found.items]
    assert [(1, "warning"), (3, "warning"), (5, "warning")] == sorted((p.line, p.severity) for p in problems)


def test_an_item_keeps_its_name_when_the_page_moves() -> None:
    """Signatures are bound to the id: text above an item, another order and other line ends change none."""
    moved = PAGE.replace("Read it", "Hello.\n\nRead it").replace("\n", "\r\n")

    assert [item.id for item in checklist(PAGE).items] == [item.id for item in checklist(moved).items]
    assert [replace(item, line=0) for item in checklist(PAGE).items] == [
        replace(item, line=0) for item in checklist(moved).items
    ]


def test_long_and_foreign_texts_have_names_too() -> None:
    """Two long items that begin alike are told apart; every script is a name."""
    long = "all of the things that anybody could ever think of have been looked at by "
    page = f"## Pre-Deployment\n- [ ] {long}alice\n- [ ] {long}bob\n- [ ] 数据库已备份\n- [ ] ✅\n"
    names = [item.id for item in checklist(page).items]

    assert 4 == len(set(names))
    assert names[2] == "pre-数据库已备份"
    assert max(map(len, names)) <= 75


def test_another_item_is_another_book() -> None:
    """The digest changes with what is to be checked, and not with the text around it."""
    reworded, further = PAGE.replace("Read it", "Go through it"), PAGE + "- [ ] another\n"

    assert book_of(PAGE).digest == book_of(reworded).digest
    assert book_of(PAGE).digest != book_of(further).digest


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_is_in_the_reference(check: str) -> None:
    """Who writes a checklist can look up what may stand there."""
    from opsbook.book.reference import reference

    assert f"| `{check}` | " in reference()


@settings(deadline=None, max_examples=80)
@given(
    st.text(alphabet=st.sampled_from("-[] x`#>1.\n:checkbash~~~{}u é"), max_size=120) | st.binary(max_size=80)
)
def test_any_page(page: str | bytes) -> None:
    """Whatever the page holds, it gives a checklist or problems with their lines."""
    content = page.encode() if isinstance(page, str) else page
    found, _, problems = read_checklist(b"## Pre-Deployment\n" + content)

    assert (found is None) == any(problem.severity == "error" for problem in problems)
    assert all("\n" not in str(problem) for problem in problems)


def test_the_briefs_page_is_read() -> None:
    """A checklist as people write it, under emoji and headings of the third level, needs no change."""
    page = (
        "## 📋 Deployment Checklist\n\n### Pre-Deployment\n- [ ] Rollback plan documented\n\n"
        "### Post-Deployment\n- [ ] Error rates normal\n"
    )
    book, problems = load_or_problems(
        TextFiles.of({"opsbook.yaml": "name: shop\n", "deployment/checklist.md": page})
    )

    assert book is not None
    assert () == problems
    assert book.checklist is not None
    assert [("pre", "Rollback plan documented"), ("post", "Error rates normal")] == [
        (item.stage, item.text) for item in book.checklist.items
    ]
