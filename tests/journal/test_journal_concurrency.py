"""Many threads, many processes, and processes that are killed."""

# expected == actual, here as everywhere

import contextlib
import logging
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from opsbook.errors import Locked

APPENDER = Path(__file__).with_name("appender.py")


def start(url, tmp_path, count, name):
    """An appender in a process of its own."""
    command = [sys.executable, APPENDER, url, tmp_path / "keys", str(count), name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_threads_do_not_fork_the_chain(journal):
    """Eight threads append at once: dense ids, one chain, subscribers hear all in order."""
    heard = []
    journal.subscribe(lambda event: heard.append(event.id))

    def work(name):
        for n in range(25):
            journal.append("test.happened", name, {"n": n}, actor=name, put={name: n})

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert list(range(1, 201)) == [event.id for event in journal.events()]
    assert list(range(1, 201)) == heard
    assert journal.verify().ok
    assert {f"t{n}": 24 for n in range(8)} == journal.state.items()


def test_processes_do_not_fork_the_chain(url, tmp_path, open_journal):
    """Three processes open an empty database at once and append: dense ids, one chain."""
    processes = [start(url, tmp_path, 60, f"p{n}") for n in range(3)]
    outputs = [process.communicate(timeout=60) for process in processes]

    assert ["", "", ""] == [errors for _, errors in outputs]
    journal = open_journal()
    assert list(range(1, 181)) == [event.id for event in journal.events()]
    assert sorted(range(1, 181)) == sorted(int(n) for out, _ in outputs for n in out.split()[1:])
    assert journal.verify().ok


def test_only_one_of_many_gets_the_lease(open_journal):
    """Sixteen threads, on two connections pools, want the same subject."""
    journals = [open_journal(), open_journal()]
    got = []

    def work(n):
        with contextlib.suppress(Locked):
            got.append(journals[n % 2].leases.acquire("s", f"h{n}", "r"))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1 == len(got)
    assert got == journals[0].leases.all()


def test_what_was_appended_survives_kill_9(url, tmp_path, open_journal):
    """Killed while appending, three times: what was said to be written is there, and the chain is whole."""
    for round_ in range(3):
        process = start(url, tmp_path, 1_000_000, f"k{round_}")
        assert process.stdout is not None
        assert "open\n" == process.stdout.readline()
        for _ in range(50):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        said, errors = process.communicate(timeout=30)
        assert errors == ""
        last = max(int(line) for line in said.split("\n")[:-1]) if "\n" in said else 50

        journal = open_journal()
        verification = journal.verify()
        assert verification.ok
        assert verification.checked >= last
        newest = journal.events(newest=True, limit=1)[0]
        assert newest.data["n"] == journal.state.get(f"k{round_}")


def test_waiting_wakes_for_an_append_in_this_process(journal):
    """And returns at once when there is news already; on time-out it says what there is."""
    journal.append("test.happened", "s", {}, actor="a")
    assert 1 == journal.wait(0, timeout=30)
    assert 1 == journal.wait(1, timeout=0.01)

    found = []
    waiter = threading.Thread(target=lambda: found.append(journal.wait(1, timeout=60)))
    waiter.start()
    journal.append("test.happened", "s", {}, actor="a")
    waiter.join(10)

    assert [2] == found


def test_waiting_wakes_for_an_append_of_another_process(open_journal):
    """Another journal object on the same database knows nothing of this one's condition."""
    here, there = open_journal(), open_journal()
    found = []
    waiter = threading.Thread(target=lambda: found.append(here.wait(0, timeout=60)))
    waiter.start()
    there.append("test.happened", "s", {}, actor="a")
    waiter.join(10)

    assert [1] == found


def test_closing_wakes_who_waits(open_journal):
    """Nobody hangs on a journal that is going away."""
    journal = open_journal()
    waiter = threading.Thread(target=lambda: journal.wait(0, timeout=60))
    waiter.start()
    journal.close()
    waiter.join(10)

    assert not waiter.is_alive()


def test_a_subscriber_that_fails_hurts_nobody(journal, caplog):
    """The append returns, the other subscribers are called, the failure is logged."""
    heard = []

    def broken(event):
        raise RuntimeError("no")

    journal.subscribe(broken)
    journal.subscribe(lambda event: heard.append(event.id))
    with caplog.at_level(logging.ERROR):
        journal.append("test.happened", "s", {}, actor="a")

    assert [1] == heard
    assert "a subscriber failed on event 1" in caplog.text


def test_a_subscriber_may_append_and_hears_no_more_after_it_left(journal):
    """The event of a callback comes next in line; unsubscribing ends the calls, twice is fine."""
    heard = []

    def answer(event):
        heard.append(event.kind)
        if event.kind == "test.happened":
            journal.append("test.other", "s", {}, actor="answer")

    leave = journal.subscribe(answer)
    journal.append("test.happened", "s", {}, actor="a")
    leave()
    leave()
    journal.append("test.happened", "s", {}, actor="a")

    assert ["test.happened", "test.other"] == heard
    assert 3 == journal.head().id


def test_nothing_is_announced_that_was_not_committed(journal):
    """A refused event is no news."""
    heard = []
    journal.subscribe(heard.append)
    with pytest.raises(Exception, match="JSON"):
        journal.append("test.happened", "s", {}, actor="a", put={"k": {1, 2}})

    assert [] == heard
