"""Leases, fencing tokens, and the reference of event kinds."""

# expected == actual, here as everywhere

import pytest

from opsbook.errors import Conflict, Invalid, Locked, NotFound
from opsbook.journal import Lease, kinds, reference, register


def test_a_held_lease_is_refused_to_others_with_who_and_why(journal, clock):
    """Holder, reason and expiry are in the error, for people and for scripts."""
    lease = journal.leases.acquire("production/web", "deployment d-1", "deploying 2.1", ttl=15)
    clock.at += 5
    with pytest.raises(Locked) as caught:
        journal.leases.acquire("production/web", "deployment d-2", "deploying 2.2")

    assert "deployment d-1 is working on production/web: deploying 2.1" == caught.value.message
    assert "in 10 s" in caught.value.hint
    assert {
        "subject": "production/web",
        "holder": "deployment d-1",
        "reason": "deploying 2.1",
        "expires_at": lease.expires_at,
    } == caught.value.details
    assert [lease] == journal.leases.all()


def test_tokens_grow_forever(journal, clock):
    """After a release, an expiry, a break and a resume: each acquisition has a higher token."""
    tokens = []
    lease = journal.leases.acquire("s", "a", "r")
    tokens.append(lease.token)
    journal.leases.release(lease)
    tokens.append(journal.leases.acquire("s", "b", "r").token)
    clock.at += 16
    tokens.append(journal.leases.acquire("s", "c", "r").token)
    journal.leases.break_("s", "ana")
    tokens.append(journal.leases.acquire("s", "d", "r").token)
    tokens.append(journal.leases.acquire("s", "d", "r", resume=True).token)

    assert [1, 2, 3, 4, 5] == tokens
    assert 1 == journal.leases.acquire("other", "a", "r").token


def test_a_writer_whose_lease_was_taken_over_is_refused(journal, clock):
    """However late it wakes up, nothing of its write is done; the new holder writes on."""
    old = journal.leases.acquire("s", "a", "r", ttl=15)
    journal.append("test.happened", "s", {}, actor="a", lease=old)
    clock.at += 16
    new = journal.leases.acquire("s", "b", "r")

    with pytest.raises(Conflict, match="superseded writer"):
        journal.append("test.happened", "s", {}, actor="a", lease=old, put={"key": 1})
    with pytest.raises(Conflict, match="superseded writer"):
        journal.state.put("key", 1, old)
    with pytest.raises(Conflict, match="superseded writer"):
        journal.leases.heartbeat(old)
    journal.leases.release(old)

    assert 2 == journal.append("test.happened", "s", {}, actor="b", lease=new).id
    assert journal.state.get("key") is None
    assert new == journal.leases.get("s")


def test_an_expired_lease_that_nobody_took_still_writes_and_can_be_revived(journal, clock):
    """Its holder is still the only writer."""
    lease = journal.leases.acquire("s", "a", "r", ttl=15)
    clock.at += 60
    assert journal.leases.get("s") is None

    journal.append("test.happened", "s", {}, actor="a", lease=lease)
    beaten = journal.leases.heartbeat(lease)

    assert Lease("s", "a", "r", 1, clock.at + 15, lease.acquired_at) == beaten == journal.leases.get("s")


def test_a_released_lease_writes_no_more(journal):
    """Releasing is final; acquiring again gives a new one."""
    lease = journal.leases.acquire("s", "a", "r")
    journal.leases.release(lease)

    with pytest.raises(Conflict):
        journal.append("test.happened", "s", {}, actor="a", lease=lease)
    assert [] == journal.leases.all()


def test_the_same_holder_resumes_after_a_crash(journal):
    """It need not wait for its own lease to expire; somebody else cannot resume it."""
    first = journal.leases.acquire("s", "a", "r")
    with pytest.raises(Locked):
        journal.leases.acquire("s", "a", "r")
    with pytest.raises(Locked):
        journal.leases.acquire("s", "b", "r", resume=True)

    again = journal.leases.acquire("s", "a", "r", resume=True)

    with pytest.raises(Conflict):
        journal.leases.heartbeat(first)
    assert again == journal.leases.get("s")


def test_breaking_a_lease_is_journaled_with_who_did_it(journal):
    """A broken lease is something that happened."""
    lease = journal.leases.acquire("s", "a", "why")
    heard = []
    journal.subscribe(heard.append)

    assert lease == journal.leases.break_("s", "ana")
    assert [("lease.broken", "s", "ana", {"holder": "a", "reason": "why", "token": 1})] == [
        (event.kind, event.subject, event.actor, event.data) for event in heard
    ]
    with pytest.raises(NotFound):
        journal.leases.break_("s", "ana")


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf")])
def test_a_lease_without_an_end_is_refused(journal, ttl):
    """Every lease expires some time."""
    with pytest.raises(Invalid):
        journal.leases.acquire("s", "a", "r", ttl)


def test_the_reference_lists_each_kind_with_its_fields():
    """The page is made of what is registered."""
    page = reference()

    assert "## test" in page
    assert (
        "### `test.happened`\n\nSomething happened in a test\n\n| field | meaning |\n|---|---|\n| `n` | which one |"
        in page
    )
    assert all(f"`{kind.name}`" in page for kind in kinds())


def test_registering_again_is_fine_but_not_with_another_meaning():
    """Modules may be imported twice; two rooms may not share a name."""
    assert register("test.other", "Something else happened in a test").name == "test.other"
    with pytest.raises(Conflict):
        register("test.other", "Quite another thing")
    with pytest.raises(Invalid):
        register("Test Other", "No name")
    with pytest.raises(Invalid):
        register("test.lines", "two\nlines")
