"""Personal tokens, sessions and sign-in links against a real journal."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import pytest

from opsbook.errors import Invalid, NotFound
from opsbook.security.model import NotSignedIn
from opsbook.security.plan import may
from opsbook.security.room import local_operator
from opsbook.security.sessions import LINK_SECONDS, SESSION_SECONDS, csrf_of

HOUR = 3600.0


def test_a_token_is_its_person_with_the_roles_of_now(vault: Any) -> None:
    """What the handbook says at the time of use counts, not what it said when the token was made."""
    _, secret = vault.security.tokens.create("ben", "root")
    who = vault.security.by_token(secret)
    assert ("ben", True, "token") == (who.name, who.authenticated, who.via)
    assert may(who, "deploy", "staging").allowed
    vault.books.append(dataclasses.replace(vault.books[0], roles={}))
    assert not may(vault.security.by_token(secret), "deploy", "staging").allowed


def test_a_token_is_shown_once_and_kept_nowhere(vault: Any) -> None:
    """Only its SHA-256 is in the state, and not even that in the list."""
    token, secret = vault.security.tokens.create("ben", "root", name="laptop")
    vault.security.by_token(secret)
    assert secret.startswith("ops_")
    assert len(secret) == len("ops_") + 43  # 256 bits
    assert secret not in vault.said()
    assert secret[4:] not in vault.said()
    assert "digest" not in token.shown(0.0)


@pytest.mark.parametrize("change", ["cut", "longer", "case", "prefix", "empty"])
def test_nearly_right_is_wrong(vault: Any, change: str) -> None:
    """Any other text is unknown."""
    _, secret = vault.security.tokens.create("ben", "root")
    given = {
        "cut": secret[:-1],
        "longer": secret + "a",
        "case": secret.swapcase(),
        "prefix": secret[4:],
        "empty": "",
    }
    with pytest.raises(NotSignedIn):
        vault.security.by_token(given[change])


def test_a_token_with_the_same_beginning_of_its_digest_is_another(vault: Any) -> None:
    """The id is twelve digits of the digest; the whole of it decides."""
    token, secret = vault.security.tokens.create("ben", "root")
    document = vault.journal.state.get(f"token/{token.id}")
    vault.journal.state.put(f"token/{token.id}", {**document, "digest": document["digest"][:12] + "0" * 52})
    with pytest.raises(NotSignedIn):
        vault.security.by_token(secret)


def test_an_expired_token_is_refused_from_its_last_second_on(vault: Any) -> None:
    """And it says that it has expired."""
    _, secret = vault.security.tokens.create("ben", "root", seconds=HOUR)
    vault.clock.at += HOUR - 1
    vault.security.by_token(secret)
    vault.clock.at += 1
    with pytest.raises(NotSignedIn, match="has expired"):
        vault.security.by_token(secret)


def test_a_revoked_token_is_refused_at_once_and_so_are_its_sessions(vault: Any) -> None:
    """Also those of links that were made with it."""
    token, secret = vault.security.tokens.create("ben", "root")
    _, cookie = vault.security.sign_in(secret)
    _, link = vault.security.sessions.offer_link(vault.security.by_token(secret), "ben")
    _, other = vault.security.sign_in(link)
    assert {"ben"} == {vault.security.by_cookie(one)[0].name for one in (cookie, other)}
    vault.security.tokens.revoke(token.id, "alice")
    for one in (cookie, other):
        with pytest.raises(NotSignedIn):
            vault.security.by_cookie(one)
    with pytest.raises(NotSignedIn, match="has been revoked"):
        vault.security.by_token(secret)
    vault.security.tokens.revoke(token.id, "alice")
    assert 1 == len(vault.journal.events(kinds=["token.revoked"]))


def test_using_a_token_while_it_is_revoked_never_revives_it(vault: Any) -> None:
    """The note of its last use is in a document of its own."""
    token, secret = vault.security.tokens.create("ben", "root")
    ended = threading.Event()

    def use() -> None:
        while not ended.is_set():
            vault.clock.at += 61
            try:
                vault.security.by_token(secret)
            except NotSignedIn:
                return

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    vault.security.tokens.revoke(token.id, "alice")
    for thread in threads:
        thread.join(20)
    ended.set()
    assert vault.security.tokens.get(token.id).revoked_at is not None


def test_last_use_is_noted_to_the_minute(vault: Any) -> None:
    """Not for each request: that would be a write each."""
    token, secret = vault.security.tokens.create("ben", "root")
    assert 0.0 == vault.security.tokens.last_used(token.id)
    first = vault.clock.at
    for _ in range(5):
        vault.security.by_token(secret)
        vault.clock.at += 10
    assert first == vault.security.tokens.last_used(token.id)
    vault.clock.at += 30
    vault.security.by_token(secret)
    assert vault.clock.at == vault.security.tokens.last_used(token.id)


def test_tokens_belong_to_people_of_the_handbook(vault: Any) -> None:
    """A team, or somebody unknown, gets none."""
    assert "ben" == vault.security.person("ben")
    with pytest.raises(Invalid, match="team is a team") as team:
        vault.security.person("team")
    assert "alice, ben" == team.value.hint
    with pytest.raises(Invalid, match="knows no person mallory"):
        vault.security.person("mallory")


@pytest.mark.parametrize("seconds", [0, -1, 59, 10**9, float("nan"), float("inf")])
def test_a_token_lasts_a_sensible_time(vault: Any, seconds: float) -> None:
    """A minute at least, two years at most."""
    with pytest.raises(Invalid):
        vault.security.tokens.create("ben", "root", seconds=seconds)


def test_a_link_works_once_and_for_fifteen_minutes(vault: Any) -> None:
    """The second browser, and the late one, stay outside."""
    sessions = vault.security.sessions
    _, first = sessions.offer_link(local_operator("root"), "alice")
    _, late = sessions.offer_link(local_operator("root"), "alice")
    session, cookie = vault.security.sign_in(first)
    assert ("alice", "alice") == (session.person, vault.security.by_cookie(cookie)[0].name)
    with pytest.raises(NotSignedIn):
        vault.security.sign_in(first)
    vault.clock.at += LINK_SECONDS
    with pytest.raises(NotSignedIn):
        vault.security.sign_in(late)


def test_of_two_browsers_at_the_same_moment_one_is_signed_in(vault: Any) -> None:
    """Single use also holds for a race."""
    _, link = vault.security.sessions.offer_link(local_operator("root"), "alice")
    outcomes: list[str] = []
    barrier = threading.Barrier(8)

    def redeem() -> None:
        barrier.wait()
        try:
            vault.security.sign_in(link)
            outcomes.append("in")
        except NotSignedIn:
            outcomes.append("out")

    threads = [threading.Thread(target=redeem) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (1, 8) == (outcomes.count("in"), len(outcomes))


def test_the_local_operator_signs_in_as_the_local_operator(vault: Any) -> None:
    """A link without a person makes nobody a person."""
    _, link = vault.security.sessions.offer_link(local_operator("root"), None)
    _, cookie = vault.security.sign_in(link)
    who, _ = vault.security.by_cookie(cookie)
    assert ("root", False) == (who.name, who.authenticated)
    assert not may(who, "approve", "production").allowed


def test_a_session_ends_after_twelve_hours_or_when_it_is_closed(vault: Any) -> None:
    """The cookie is worth nothing then."""
    _, secret = vault.security.tokens.create("ben", "root")
    session, cookie = vault.security.sign_in(secret)
    vault.security.sessions.close(session.id, "ben")
    with pytest.raises(NotSignedIn):
        vault.security.by_cookie(cookie)
    _, cookie = vault.security.sign_in(secret)
    vault.clock.at += SESSION_SECONDS
    with pytest.raises(NotSignedIn):
        vault.security.by_cookie(cookie)
    with pytest.raises(NotFound):
        vault.security.sessions.close("s-none", "ben")


def test_a_session_opened_with_a_narrowed_token_is_as_narrow_and_ends_with_it(vault: Any) -> None:
    """The console is no way around either."""
    _, secret = vault.security.tokens.create("alice", "root", role="viewer", seconds=HOUR)
    _, cookie = vault.security.sign_in(secret)
    who, _ = vault.security.by_cookie(cookie)
    assert [True, False] == [may(who, action).allowed for action in ("view", "deploy")]
    _, link = vault.security.sessions.offer_link(who, "alice")
    assert "viewer" == vault.security.by_cookie(vault.security.sign_in(link)[1])[0].narrowed
    vault.clock.at += HOUR
    with pytest.raises(NotSignedIn):
        vault.security.by_cookie(cookie)


def test_neither_cookies_nor_links_are_kept(vault: Any) -> None:
    """Their digests are, and what is over is forgotten."""
    _, link = vault.security.sessions.offer_link(local_operator("root"), "alice")
    _, cookie = vault.security.sign_in(link)
    assert link not in vault.said()
    assert cookie not in vault.said()
    assert csrf_of(cookie) not in vault.said()
    vault.clock.at += SESSION_SECONDS
    vault.security.sessions.offer_link(local_operator("root"), "alice")
    assert 0 == len(vault.journal.state.items("session/"))


def test_each_session_has_a_csrf_token_of_its_own(vault: Any) -> None:
    """Bound to the cookie, and the same on each page."""
    _, secret = vault.security.tokens.create("ben", "root")
    cookies = [vault.security.sign_in(secret)[1] for _ in range(2)]
    tokens = [vault.security.by_cookie(cookie)[1] for cookie in cookies]
    assert tokens == [csrf_of(cookie) for cookie in cookies]
    assert tokens[0] != tokens[1]
