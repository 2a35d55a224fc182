"""The hash chain, the signed head and the export: what is changed afterwards is found."""

# expected == actual, here as everywhere

import json
import sqlite3
import struct

import psycopg
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from opsbook.errors import Failed
from opsbook.journal import Journal, Verification, verify_export

COLUMNS = ("id", "at", "kind", "subject", "actor", "data", "hash", "previous")


@pytest.fixture
def five(journal, clock):
    """A journal of five events."""
    for n in range(1, 6):
        clock.at += 0.25
        journal.append("test.happened", f"production/web{n}", {"n": n, "text": "Ü"}, actor="ana")
    return journal


@pytest.fixture
def export(five):
    """Its export, a line each."""
    lines: list[str] = []
    five.export(lines.append)
    return lines


def test_a_whole_chain_verifies(five):
    """Also against its own signed head, old or new."""
    old = five.signed_head()
    five.append("test.happened", "s", {}, actor="a")

    assert Verification(True, 6) == five.verify()
    assert Verification(True, 6) == five.verify(signed_head=old)
    assert Verification(True, 6) == five.verify(signed_head=five.signed_head())


def test_a_chain_of_many_batches_verifies(journal):
    """Reading goes on behind the first batch, and finds what is wrong there."""
    from opsbook.journal import queries

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queries, "_BATCH", 3)
        for n in range(9):
            journal.append("test.happened", "s", {"n": n}, actor="a")
        lines: list[str] = []
        journal.export(lines.append)

        assert Verification(True, 9) == journal.verify()
        assert 10 == len(lines)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    row=st.integers(1, 5),
    column=st.sampled_from(COLUMNS),
    position=st.integers(0, 400),
    bit=st.integers(0, 7),
)
def test_any_flipped_bit_of_any_row_is_found(five, url, tamper, row, column, position, bit):
    """Whatever a column held, one bit of it is enough; the event is named."""
    before = next(event for event in five.events() if event.id == row)
    stored = before.to_json() | {
        "data": json.dumps(before.data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    }
    assert Verification(True, 5) == five.verify()
    now: object
    if column == "id":
        now = stored["id"] ^ (1 << (position % 62))
    elif column == "at":
        octets = bytearray(struct.pack(">d", stored["at"]))
        octets[position % 8] ^= 1 << bit
        (now,) = struct.unpack(">d", octets)
    else:
        octets = bytearray(stored[column].encode())
        octets[position % len(octets)] ^= 1 << bit
        now = bytes(octets)
    sqlite = "://" not in url
    if isinstance(now, bytes) and not sqlite:
        try:
            now = now.decode()
        except UnicodeDecodeError:
            assume(False)  # PostgreSQL does not take it
        assume("\0" not in now)
    value = "CAST(? AS TEXT)" if sqlite and isinstance(now, bytes) else "?"
    try:
        assert 1 == tamper(f"UPDATE events SET {column} = {value} WHERE id = ?", now, row)
    except (sqlite3.IntegrityError, psycopg.IntegrityError):
        assume(False)  # an id that is taken, or a number that is none

    verification = five.verify()

    key = now if column == "id" else row
    tamper(f"UPDATE events SET {column} = ? WHERE id = ?", stored[column], key)
    assert not verification.ok
    # A flipped id leaves a gap where it was, unless it went to the front.
    assert (1 if column == "id" and now == 0 else row) == verification.broken_at


def test_an_event_deleted_in_the_middle_is_found(five, tamper):
    """The gap is named."""
    tamper("DELETE FROM events WHERE id = 3")

    assert (False, 3, 2) == (five.verify().ok, five.verify().broken_at, five.verify().checked)


def test_two_events_that_changed_places_are_found(five, tamper):
    """The content is unchanged, the order is not."""
    tamper("UPDATE events SET id = 99 WHERE id = 2")
    tamper("UPDATE events SET id = 2 WHERE id = 3")
    tamper("UPDATE events SET id = 3 WHERE id = 99")

    assert 2 == five.verify().broken_at


def test_data_that_means_the_same_but_is_spelled_otherwise_is_found(five, tamper):
    """The hash is over the text, so not even a space can be added."""
    tamper("UPDATE events SET data = ? WHERE id = 2", '{"n": 2,"text":"Ü"}')

    assert 2 == five.verify().broken_at


def test_a_row_of_another_type_is_found(five, tamper, url):
    """SQLite takes a blob where text should be."""
    if "://" in url:
        pytest.skip("PostgreSQL keeps the types of its columns")
    tamper("UPDATE events SET actor = CAST(actor AS BLOB) WHERE id = 4")

    assert 4 == five.verify().broken_at


def test_a_cut_tail_is_found_with_a_signed_head(five, tamper):
    """Without one, a shorter journal looks whole; that is what the signed head is for."""
    head = five.signed_head()
    tamper("DELETE FROM events WHERE id > 3")

    assert Verification(True, 3) == five.verify()
    assert Verification(False, 3, 4, "the tail was cut: the head was signed at event 5") == five.verify(
        signed_head=head
    )


def test_a_rewritten_history_is_found_with_a_signed_head(tmp_path, five, clock):
    """Another chain, whole in itself, does not go through the head that was signed."""
    head = five.signed_head()
    with Journal.open(tmp_path / "forged.sqlite", keys=tmp_path / "keys", clock=clock) as forged:
        for n in range(7):
            forged.append("test.happened", "s", {"n": n}, actor="a")

        assert forged.verify().ok
        assert 5 == forged.verify(signed_head=head).broken_at


@pytest.mark.parametrize("change", ["id", "hash", "at", "public_key", "signature", "missing"])
def test_a_changed_signed_head_is_refused(five, change):
    """Each of its parts is signed."""
    head = five.signed_head()
    if change == "missing":
        del head["signature"]
    else:
        value = head[change]
        head[change] = (
            value + 1 if not isinstance(value, str) else ("0" if value[0] != "0" else "1") + value[1:]
        )

    assert not five.verify(signed_head=head).ok


def test_a_head_signed_by_somebody_else_is_refused_unless_trusted(tmp_path, five, open_journal):
    """By default only this control plane's own key counts."""
    other = open_journal(keys=tmp_path / "other").signed_head()

    assert "another key" in five.verify(signed_head=other).reason
    assert five.verify(signed_head=other, trust={other["public_key"]}).ok


def test_the_key_stays_the_same(open_journal):
    """Opening again signs with the same key."""
    assert open_journal().signed_head() == open_journal().signed_head()


def test_a_key_that_others_can_read_is_refused(tmp_path, five, open_journal):
    """What others can sign with proves nothing."""
    five.signed_head()
    (tmp_path / "keys" / "journal-signing.pem").chmod(0o644)
    journal = open_journal()

    with pytest.raises(Failed, match="others can read"):
        journal.signed_head()


def test_an_export_verifies_by_itself(five, export):
    """Six lines: five events and the signed head."""
    assert 6 == len(export)
    assert [event.to_json() for event in five.events()] == [json.loads(line) for line in export[:-1]]
    assert Verification(True, 5) == verify_export(export)
    assert Verification(True, 5) == verify_export(export, trust={five.signed_head()["public_key"]})
    assert not verify_export(export, trust={"00" * 32}).ok


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=st.integers(0, 5), position=st.integers(0, 600), character=st.sampled_from('0a9Z"{,é '))
def test_any_changed_character_of_an_export_is_found(export, line, position, character):
    """Unless it is a space between tokens, which means nothing."""
    position %= len(export[line]) - 1
    changed = export[line][:position] + character + export[line][position + 1 :]
    try:
        assume(json.loads(changed) != json.loads(export[line]))
    except ValueError:
        pass

    assert not verify_export([*export[:line], changed, *export[line + 1 :]]).ok


def test_a_cut_export_is_found(export):
    """Whichever line is missing, also the last one."""
    for missing in range(len(export)):
        assert not verify_export([line for n, line in enumerate(export) if n != missing]).ok
    assert not verify_export([*export, export[0]]).ok
    assert not verify_export([]).ok


def test_an_empty_journal_can_be_exported(journal):
    """The signed head alone says that there was nothing."""
    lines: list[str] = []
    journal.export(lines.append)

    assert Verification(True, 0) == verify_export(lines)
    assert journal.verify(signed_head=json.loads(lines[0])).ok
