"""Who may do what is written for contacts and asked for people."""

from __future__ import annotations

from opsbook.book import Book, TextFiles, load

COVER = """\
name: shop
contacts:
  alice: {email: alice@example.com}
  ben: {email: ben@example.com}
  eve: {email: eve@example.com}
  team-shop: {members: [alice, team-night]}
  team-night: {members: [ben]}
"""
PRODUCTION = """\
environment: production
entry: {port: 8080}
protect: {approvers: [team-shop], approvals: 2, expires: 1h}
"""
STAGING = "environment: staging\nentry: {port: 8081}\n"


def book_of(roles: str = "") -> Book:
    texts = {
        "opsbook.yaml": COVER,
        "environments/production.yaml": PRODUCTION,
        "environments/staging.yaml": STAGING,
    }
    return load(TextFiles.of(texts | ({"security/roles.yaml": roles} if roles else {})))


def granted(book: Book, person: str) -> list[tuple[str, tuple[str, ...] | None]]:
    return [(grant.role, grant.environments) for grant in book.grants(person)]


def test_a_teams_roles_are_those_of_all_its_members() -> None:
    """Also of teams within it; what is granted twice is granted once."""
    book = book_of(
        "roles:\n  alice: [approver]\n  ben: [{role: operator, environments: [staging]}, viewer]\n"
        "  team-shop: [viewer]\n"
    )

    assert [("approver", None), ("viewer", None)] == granted(book, "alice")
    assert [("operator", ("staging",)), ("viewer", None)] == granted(book, "ben")
    assert [[], [], []] == [granted(book, name) for name in ("eve", "team-shop", "nobody")]
    assert [True, False] == [book.grants("ben")[0].holds_in(name) for name in ("staging", "production")]


def test_approvers_are_approvers_where_no_roles_are_written() -> None:
    """A protected environment can be opened by those it names, there and nowhere else."""
    book = book_of()

    assert [("approver", ("production",))] == granted(book, "ben")
    assert [] == granted(book, "eve")


def test_written_roles_are_the_only_ones() -> None:
    """With roles.yaml, being named in protect is not enough, and the handbook says so."""
    book = book_of("roles: {alice: [approver], ben: [{role: approver, environments: [staging]}]}\n")

    assert [("approver", ("staging",))] == granted(book, "ben")
    assert ["2 approvals are needed, and only alice may give one"] == [
        problem.message for problem in book.warnings if problem.path == "protect.approvals"
    ]


def test_an_approval_lives_for_a_day_by_default() -> None:
    """`expires` is read in seconds, and the checklist is followed unless it is taken out."""
    protect = book_of().environments["production"].protect
    assert protect is not None
    assert (3600.0, True) == (protect.expires, protect.checklist)

    text = PRODUCTION.replace(", expires: 1h", ", checklist: false")
    book = load(TextFiles.of({"opsbook.yaml": COVER, "environments/production.yaml": text}))
    protect = book.environments["production"].protect
    assert protect is not None
    assert (86400.0, False) == (protect.expires, protect.checklist)
