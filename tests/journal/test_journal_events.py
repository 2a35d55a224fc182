"""Appending and reading back."""

# expected == actual, here as everywhere

import json
import math
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest
import sqlalchemy

from opsbook.errors import Failed, Invalid, Unreachable
from opsbook.journal import GENESIS, Event, Head, Journal


def test_an_event_is_read_back_as_it_was_appended(journal, clock):
    """What `append` returns and what `events` reads are equal, for every kind of JSON."""
    data = {
        "text": "ü \u0000 \U0001f600",
        "list": [1, 2.5, True, None],
        "object": {"b": 1, "a": {}},
        "big": 2**62,
    }

    appended = journal.append("test.happened", "production/web", data, actor="ana")

    assert [appended] == journal.events()
    assert (
        Event(1, clock.at, "test.happened", "production/web", "ana", data, appended.hash, GENESIS) == appended
    )


def test_ids_are_dense_and_each_event_names_the_one_before(journal):
    """The ids count from 1 and `previous` is the hash of the event before."""
    events = [journal.append("test.happened", "s", {"n": n}, actor="a") for n in range(5)]

    assert [1, 2, 3, 4, 5] == [event.id for event in events]
    assert [GENESIS, *(event.hash for event in events[:-1])] == [event.previous for event in events]
    assert Head(5, events[-1].hash) == journal.head()


def test_an_empty_journal_has_the_genesis_as_its_head(journal):
    """Nothing has happened yet: id 0."""
    assert Head(0, GENESIS) == journal.head()
    assert [] == journal.events()


@pytest.mark.parametrize(
    "data",
    [
        {"n": math.nan},
        {"n": math.inf},
        {"n": {1, 2}},
        {"n": b"bytes"},
        {1: "number as key"},
        {"n": "\ud800"},
        {"n": 2**70},
        ["no object"],
        {"n": "x" * 256 * 1024},
    ],
    ids=["nan", "infinity", "set", "bytes", "key", "surrogate", "huge", "array", "large"],
)
def test_data_that_is_not_json_or_too_large_is_refused(journal, data):
    """Nothing is written when the data cannot be."""
    with pytest.raises(Invalid):
        journal.append("test.happened", "s", data, actor="a")

    assert 0 == journal.head().id


def test_data_that_contains_itself_is_refused(journal):
    """A circle is an error with a hint, not a crash."""
    circle: dict[str, object] = {}
    circle["again"] = circle

    with pytest.raises(Invalid, match="nested deeper"):
        journal.append("test.happened", "s", circle, actor="a")


def test_the_place_of_bad_data_is_named(journal):
    """The error says which value it was."""
    with pytest.raises(Invalid) as caught:
        journal.append("test.happened", "s", {"a": [{"b": math.nan}]}, actor="x")

    assert "test.happened data.a[0].b" == caught.value.where


def test_an_unregistered_kind_is_refused_with_the_nearest_that_is(journal):
    """A typing mistake does not make a new kind of event."""
    with pytest.raises(Invalid) as caught:
        journal.append("test.hapened", "s", {}, actor="a")

    assert "did you mean test.happened?" == caught.value.hint


@pytest.mark.parametrize("subject", ["", "a\x00b", "x" * 513])
def test_a_subject_that_is_no_name_is_refused(journal, subject):
    """PostgreSQL could not hold a NUL, and an empty name names nothing."""
    with pytest.raises(Invalid):
        journal.append("test.happened", subject, {}, actor="a")


def test_events_are_found_by_each_condition(journal, clock):
    """Every filter of `events`, alone and together."""
    for n, (kind, subject) in enumerate(
        [
            ("test.happened", "production/web"),
            ("test.other", "production/api"),
            ("test.happened", "production/web"),
            ("lease.broken", "staging/web"),
            ("test.other", "production/web_2"),
        ]
    ):
        clock.at = 100.0 + n
        journal.append(kind, subject, {"n": n}, actor="a")

    def ids(**conditions):
        return [event.id for event in journal.events(**conditions)]

    assert [1, 2, 3, 4, 5] == ids()
    assert [3, 4] == ids(after=2, before=5)
    assert [1, 3] == ids(kinds=["test.happened"])
    assert [1, 2, 3, 5] == ids(kinds=["test.*"])
    assert [1, 3, 4] == ids(kinds=["lease.*", "test.happened"])
    assert [1, 3] == ids(subject="production/web")
    assert [1, 2, 3, 5] == ids(subject_prefix="production/")
    assert [2, 3] == ids(since=101.0, until=103.0)
    assert [1, 2] == ids(limit=2)
    assert [5, 4] == ids(limit=2, newest=True)
    assert [5, 3, 1] == ids(subject_prefix="production/web", newest=True)
    assert [] == ids(subject_prefix="production/%")


def test_a_clock_that_jumps_back_does_not_break_the_order(journal, clock):
    """The id is the order; the time is only noted."""
    clock.at = 200.0
    journal.append("test.happened", "s", {"n": 1}, actor="a")
    clock.at = 100.0
    journal.append("test.happened", "s", {"n": 2}, actor="a")

    assert [1, 2] == [event.data["n"] for event in journal.events()]
    assert journal.verify().ok


def test_secrets_are_masked_before_they_are_hashed_and_written(open_journal, url):
    """Every string goes through the mask, however deep and as a key too; the chain is over the masked text."""
    journal = open_journal(mask=lambda text: text.replace("hunter2", "***"))

    event = journal.append("test.happened", "s", {"a": ["x hunter2"], "hunter2": 1}, actor="a")

    assert {"a": ["x ***"], "***": 1} == event.data
    assert [event] == journal.events()
    assert journal.verify().ok
    if "://" not in url:
        with closing(sqlite3.connect(url)) as connection:
            assert "hunter2" not in "\n".join(connection.iterdump())


def test_state_changes_with_the_event_or_not_at_all(journal):
    """`put` is in the event's transaction: a document that is refused takes the event with it."""
    journal.append("test.happened", "s", {}, actor="a", put={"a/1": {"n": 1}, "a/2": [2]})
    with pytest.raises(Invalid):
        journal.append("test.happened", "s", {}, actor="a", put={"a/1": {"n": 2}, "a/3": math.nan})
    journal.append("test.happened", "s", {}, actor="a", put={"a/2": None})

    assert {"a/1": {"n": 1}} == journal.state.items()
    assert 2 == journal.head().id


def test_state_documents_are_read_as_they_were_written(journal):
    """Get, put, delete and items by prefix, in byte order."""
    journal.state.put("b/é", {"n": 1})
    journal.state.put("b/z", "text")
    journal.state.put("b_", 1)
    journal.state.put("b/é", {"n": 2})

    assert {"n": 2} == journal.state.get("b/é")
    assert ["b/z", "b/é"] == list(journal.state.items("b/"))
    journal.state.delete("b/z")
    journal.state.delete("b/z")
    assert journal.state.get("b/z") is None


@pytest.mark.parametrize("few", [3, 5000])
def test_a_stretch_of_time_is_found_whatever_the_clock_did(journal, clock, monkeypatch, few):
    """Also when the clock was set back, and however many events the stretch has: ids need not follow the times."""
    monkeypatch.setattr("opsbook.journal.queries.FEW", few)
    for n, at in enumerate([100, 110, 120, 130, 90, 115, 140, 150, 95, 125], 1):
        clock.at = float(at)
        journal.append("test.happened" if n % 2 else "test.other", "s", {"n": n}, actor="ana")

    def ids(**asked):
        return [event.id for event in journal.events(**asked)]

    assert [2, 3, 6] == ids(since=110, until=125)
    assert [6, 3] == ids(since=110, until=125, newest=True, limit=2)
    assert [3, 4, 7, 8, 10] == ids(since=120)
    assert [7, 8] == ids(since=120, after=4, before=10)
    assert [3, 7] == ids(since=120, kinds=["test.happened"])
    assert [] == ids(since=200)
    assert [5, 9] == ids(until=100)


def test_state_is_read_in_parts_from_either_end(journal):
    """The first or the last of a prefix, from a key on or up to one, are read without the rest."""
    journal.append_all((), put={f"run/{n:04d}": {"n": n} for n in range(1, 31)} | {"rum": 1, "run0": 1})

    assert ["run/0030", "run/0029"] == list(journal.state.items("run/", limit=2, newest=True))
    assert {"run/0009": {"n": 9}} == journal.state.items("run/", before="run/0010", limit=1, newest=True)
    assert ["run/0029", "run/0030"] == list(journal.state.items("run/", after="run/0028"))
    assert ["run/0001", "run/0002"] == journal.state.keys("run/", limit=2)
    assert ["run/0002"] == journal.state.keys("run/", after="run/0001", before="run/0003")
    assert 32 == len(journal.state.keys())
    assert [] == journal.state.keys("run/", limit=0)


def test_several_documents_are_read_at_once_in_the_order_asked_for(journal):
    """However many they are; those that are not there are left out."""
    journal.append_all((), put={f"a/{n}": n for n in range(1200)})

    assert {"a/7": 7, "a/3": 3} == journal.state.several(["a/7", "none", "a/3"])
    assert ["a/7", "a/3"] == list(journal.state.several(["a/7", "none", "a/3"]))
    assert list(range(1200)) == list(journal.state.several([f"a/{n}" for n in range(1200)]).values())
    assert {} == journal.state.several([])


def test_events_cannot_be_changed_by_a_mistyped_statement(journal, url):
    """The database itself refuses updates and deletions."""
    journal.append("test.happened", "s", {}, actor="a")
    engine = sqlalchemy.create_engine(journal._database.url)
    schema = "opsbook." if "://" in url else ""
    for statement in (f"UPDATE {schema}events SET actor = 'x'", f"DELETE FROM {schema}events"):
        with pytest.raises(sqlalchemy.exc.DBAPIError, match="append-only"), engine.begin() as connection:
            connection.exec_driver_sql(statement)
    engine.dispose()

    assert journal.verify().ok


def test_opening_again_migrates_nothing_and_keeps_everything(open_journal):
    """Migrations are applied once, also when several open at the same time."""
    open_journal().append("test.happened", "s", {}, actor="a")
    threads = [threading.Thread(target=open_journal) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = open_journal()

    with last._database.read() as connection:
        from opsbook.journal.schema import MIGRATIONS, migrations

        applied = connection.scalars(sqlalchemy.select(migrations.c.version)).all()
    assert [version for version, _, _ in MIGRATIONS] == applied
    assert 1 == last.head().id


def test_a_journal_of_a_newer_opsbook_is_not_touched(open_journal, tamper):
    """An old opsbook says so instead of guessing what the tables mean."""
    open_journal()
    tamper("INSERT INTO migrations (version, name, applied_at) VALUES (999, 'from the future', 0)")

    with pytest.raises(Failed, match="newer opsbook"):
        open_journal()


def test_a_locked_database_gives_a_clear_error(open_journal, url):
    """Who waits longer than the busy timeout is told what happened and what to do; nothing is written."""
    journal = open_journal(busy_timeout=0.2)
    blocker = open_journal()
    with blocker._database.write(), pytest.raises(Failed, match="locked") as caught:
        journal.append("test.happened", "s", {}, actor="a")

    assert "try again" in caught.value.hint
    assert 0 == journal.head().id
    assert 1 == journal.append("test.happened", "s", {}, actor="a").id


def test_a_full_disk_gives_a_clear_error_and_nothing_is_half_written(tmp_path, clock):
    """The event and its state are written together or not at all."""
    with Journal.open(tmp_path / "j.sqlite", keys=tmp_path, clock=clock) as journal:
        journal.append("test.happened", "s", {}, actor="a")
        sqlalchemy.event.listen(
            journal._database._engine,
            "connect",
            lambda connection, _: connection.execute("PRAGMA max_page_count=30"),
        )
        journal._database._engine.dispose()
        bulk = {"x": "y" * 100_000}

        def fill():
            for _ in range(5):
                journal.append("test.happened", "s", bulk, actor="a", put={"bulk": bulk})

        with pytest.raises(Failed, match="disk is full"):
            fill()
        verification = journal.verify()

        assert verification.ok
        assert verification.checked == journal.head().id


def test_a_file_that_is_no_database_is_refused_with_a_hint(tmp_path, clock):
    """A journal is never written over something else."""
    (tmp_path / "j.sqlite").write_text("this is a shopping list\n" * 100)

    with pytest.raises(Failed, match="damaged"):
        Journal.open(tmp_path / "j.sqlite", keys=tmp_path, clock=clock)


@pytest.mark.parametrize("url", ["mysql://x:secret@h/d", "sqlite://", "postgresql://u:secret@h:port/d"])
def test_a_database_of_an_unknown_kind_is_refused_without_its_password(tmp_path, clock, url):
    """The error may end up in a log."""
    with pytest.raises(Invalid) as caught:
        Journal.open(url, keys=tmp_path, clock=clock)

    assert "secret" not in json.dumps(caught.value.to_json())


def test_a_server_that_does_not_answer_is_unreachable(tmp_path, clock):
    """Nobody listens there."""
    with pytest.raises(Unreachable) as caught:
        Journal.open(f"postgresql://u:secret@/d?host={tmp_path}", keys=tmp_path, clock=clock)

    assert "secret" not in json.dumps(caught.value.to_json())


def test_the_file_is_only_for_its_owner(tmp_path, clock):
    """Database, write-ahead log and signing key are 0600."""
    with Journal.open(tmp_path / "new" / "j.sqlite", keys=tmp_path / "keys", clock=clock) as journal:
        journal.append("test.happened", "s", {}, actor="a")
        journal.signed_head()
        files = [*(tmp_path / "new").iterdir(), *(tmp_path / "keys").iterdir()]

        assert {0o600} == {file.stat().st_mode & 0o777 for file in files}
        assert {0o700} == {(tmp_path / name).stat().st_mode & 0o777 for name in ("new", "keys")}


def test_importing_the_journal_is_cheap():
    """Neither SQLAlchemy nor DBOS nor cryptography is imported before it is needed."""
    code = (
        "import sys, opsbook.journal; "
        "print([name for name in ('sqlalchemy', 'dbos', 'cryptography', 'psycopg') if name in sys.modules])"
    )
    assert (
        "[]\n"
        == subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    )
