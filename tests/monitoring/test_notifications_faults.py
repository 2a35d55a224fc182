"""Channels at their worst: silent, slow, away for an hour; and crashes right between deciding and sending."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from alerting_house import House, Receiver, until
from test_notifications_channels import Mailbox, message, send

from opsbook.errors import Unreachable
from opsbook.world.channels import mail, posting

HOUR = 3600.0


def test_a_receiver_that_says_nothing_is_left_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has been tried, and will be again; the connection is not waited for for ever."""
    monkeypatch.setattr(posting, "STEP_SECONDS", 0.2)
    silent = Receiver(hang=threading.Event())
    with pytest.raises(Unreachable, match="no answer within"):
        send(f'{{webhook: "{silent.url}"}}', message())
    silent.close()


def test_a_receiver_that_answers_a_byte_at_a_time_is_left_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, all of them would not."""
    monkeypatch.setattr(posting, "WHOLE_SECONDS", 0.3)
    drips = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 500 Oh\r\nContent-Length: 100000\r\n\r\n")
                while not drips.wait(0.02):
                    try:
                        connection.sendall(b".")
                    except OSError:
                        return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        with pytest.raises(Unreachable, match="500 Oh"):
            send(f'{{webhook: "http://127.0.0.1:{listening.getsockname()[1]}/"}}', message())
        drips.set()
        thread.join(5)


def test_a_mail_server_that_says_nothing_is_left_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one behind a firewall that swallows packets."""
    monkeypatch.setattr(mail, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Unreachable, match="mail server"):
            send(
                f"{{email: [a@x.example], smtp: {{host: 127.0.0.1, port: {port}, security: none}}}}",
                message(),
            )


def test_mail_of_an_hour_without_a_server_comes_once_and_in_order(tmp_path: Path) -> None:
    """The server is tried each minute, and gets what fired and what ended meanwhile when it is back."""
    from aiosmtpd.controller import Controller

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    house = House(
        tmp_path,
        f"channels: {{m: {{email: [a@x.example], smtp: {{host: 127.0.0.1, port: {port}, security: none}}}}}}",
    )
    began = house.clock.now()
    at = [began]
    house.clock.now = lambda: at[0]  # type: ignore[method-assign]
    delivery = house.alerting.delivery
    house.fire("One")
    until(lambda: delivery.state("m").failures)
    house.fire("Two")
    while at[0] < began + HOUR:
        tried = delivery.state("m").failures
        at[0] += 61
        if at[0] > began + HOUR / 2 and delivery.state("m").waiting == 2:
            one = house.alerting.alerts()[0].alert
            ended = type(one)(one.labels, one.annotations, starts_at=one.starts_at, ends_at=at[0])
            house.alerting.receive([ended])
        house.alerting.wake()
        until(lambda tried=tried: delivery.state("m").failures > tried)  # type: ignore[misc]
    assert 59 <= delivery.state("m").failures <= 75
    assert at[0] - began > HOUR
    mailbox = Mailbox()
    server = Controller(mailbox, hostname="127.0.0.1", port=port)
    server.start()
    at[0] += 61
    house.alerting.wake()
    until(lambda: delivery.state("m").sent == 3)
    house.close()
    server.stop()

    assert ["[FIRING] One", "[FIRING] Two", "[RESOLVED] One"] == sorted(
        (one["Subject"] for one in mailbox.mails), key=lambda subject: ("RESOLVED" in subject, subject)
    )
    subjects = [one["Subject"] for one in mailbox.mails]
    assert subjects.index("[FIRING] One") < subjects.index("[RESOLVED] One")
    assert 3 == len({one["Message-ID"] for one in mailbox.mails})


DYING = """
    import os, signal, sys, time
    sys.path.insert(0, {tests!r})
    from pathlib import Path
    from alerting_house import House, Secrets
    from opsbook.monitoring.alerting.model import Alert
    from opsbook.monitoring.alerting.room import Alerting
    from opsbook.world.hosts.tokens import new_token

    class Dying(House):
        def open(self):
            super().open()
            self.alerting.close()
            def boundary(place):
                if place == {place!r} and self.journal.state.items("alerting/outbox/"):
                    os.kill(os.getpid(), signal.SIGKILL)
            self.alerting = Alerting(
                lambda: self.book, self.journal, Secrets(), self.clock, new_id=new_token, log=print, boundary=boundary
            )
            self.alerting.start()

    house = Dying(Path({folder!r}), {cover!r})
    house.alerting.receive([Alert({{"alertname": "Down"}}, starts_at=time.time())])
    time.sleep(30)
"""


@pytest.mark.parametrize(
    ("place", "before", "in_all"),
    [("alerting:decided", 0, 1), ("channel:a:send", 0, 1), ("channel:a:sent", 1, 2)],
)
def test_a_crash_between_deciding_and_writing_down_that_it_was_sent(
    tmp_path: Path, place: str, before: int, in_all: int
) -> None:
    """It is sent after the restart: once, or, when it had been taken, again with the same id."""
    receiver = Receiver()
    cover = f'channels: {{a: {{webhook: "{receiver.url}"}}}}'
    program = textwrap.dedent(DYING).format(
        tests=str(Path(__file__).parent), place=place, folder=str(tmp_path), cover=cover
    )
    died = subprocess.run([sys.executable, "-c", program], env={**os.environ}, timeout=60, check=False)
    assert (-signal.SIGKILL, before) == (died.returncode, len(receiver.got))
    house = House(tmp_path, cover)
    receiver.wait(in_all)
    until(lambda: house.alerting.delivery.state("a").sent)
    house.close()
    receiver.close()

    assert in_all == len(receiver.got)
    assert 1 == len({one.headers["idempotency-key"] for one in receiver.got})
