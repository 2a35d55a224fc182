"""Each kind of channel against a local server that speaks its protocol."""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message as Mail
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from alerting_house import House, Receiver, Secrets
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from opsbook.errors import NotFound, Unreachable
from opsbook.monitoring.alerting.model import Alert, GroupMessage, Notification
from opsbook.monitoring.notifications.rendering import written
from opsbook.monitoring.notifications.senders import Senders
from opsbook.world.channels.words import Message, Refused, Sender


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def message(*, firing: bool = True, acknowledged: bool = False, number: int = 1) -> Message:
    alerts = tuple(
        Alert(
            {"alertname": "HighErrorRate", "severity": "critical", "service": "web", "instance": f"i{n}"},
            {"summary": "web fails", "runbook": "high-error-rate"},
            starts_at=1_700_000_000.25,
            ends_at=None if firing else 1_700_000_060.0,
            value=0.25,
        )
        for n in range(number)
    )
    group = GroupMessage(
        key='{}:{alertname="HighErrorRate"}',
        labels={"alertname": "HighErrorRate"},
        firing=alerts if firing and not acknowledged else (),
        resolved=() if firing else alerts,
        others=number if acknowledged else 0,
        acknowledged=acknowledged,
    )
    notification = Notification(id="ab" * 16, channel="hook", groups=(group,), at=1_700_000_001.0)
    return written(notification, title=None, text=None, url="http://ops.example.com")


def sender_of(cover: str) -> Sender:
    book = House.read(f"channels: {{it: {cover}}}")
    return Senders(Secrets()).make(book.channels["it"])


def send(cover: str, what: Message) -> str:
    sender = sender_of(cover)
    try:
        return sender.send(what)
    finally:
        sender.close()


# --- webhook ---


def test_a_webhook_is_what_alertmanager_sends_and_more(receiver: Receiver) -> None:
    """Every field of its version 4, so that existing receivers work."""
    assert "200 OK: thanks" == send(f'{{webhook: "{receiver.url}"}}', message())
    [got] = receiver.got

    assert {
        "version": "4", "status": "firing", "receiver": "hook", "groupKey": '{}:{alertname="HighErrorRate"}',
        "groupLabels": {"alertname": "HighErrorRate"}, "externalURL": "http://ops.example.com", "truncatedAlerts": 0,
    }.items() <= got.body.items()  # fmt: skip
    [alert] = got.body["alerts"]
    assert {
        "status": "firing", "startsAt": "2023-11-14T22:13:20.250Z", "endsAt": "0001-01-01T00:00:00Z",
        "annotations": {"summary": "web fails", "runbook": "high-error-rate"}, "value": 0.25,
    }.items() <= alert.items()  # fmt: skip
    assert "ab" * 16 == got.body["opsbook"]["id"] == got.headers["idempotency-key"]


def test_a_webhook_is_signed_over_time_and_body(receiver: Receiver) -> None:
    """With the key from the secret; what the docs tell receivers to compute."""
    send(f'{{webhook: "{receiver.url}?t={{secret:token}}", signing_key: "{{secret:hook}}"}}', message())
    [got] = receiver.got

    signed = got.headers["x-opsbook-timestamp"].encode() + b"." + got.raw
    assert got.headers["x-opsbook-signature"] == "v1=" + hmac.new(b"kooh", signed, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (500, Unreachable),
        (503, Unreachable),
        (429, Unreachable),
        (404, Unreachable),
        (400, Refused),
        (302, Refused),
    ],
)
def test_what_an_answer_means(receiver: Receiver, status: int, kind: type[Exception]) -> None:
    """What may pass is tried again; what will not is not; redirects are not followed with a signed body."""
    receiver.answers, receiver.headers = [status], {"Retry-After": "7", "Location": receiver.url}

    with pytest.raises(kind, match=str(status)) as raised:
        send(f'{{webhook: "{receiver.url}"}}', message())
    assert {"after": 7.0} == getattr(raised.value, "details", {}) or kind is Refused


def test_nobody_there_is_told_without_the_address() -> None:
    """A URL may hold a secret."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(Unreachable) as raised:
        send(f'{{webhook: "http://127.0.0.1:{port}/very-secret"}}', message())

    assert "very-secret" not in str(raised.value)


# --- PagerDuty ---


def test_pagerduty_triggers_acknowledges_and_resolves_one_incident(receiver: Receiver) -> None:
    """By the same key, as its Events API v2 wants it."""
    receiver.said = b'{"status":"success","dedup_key":"x"}'
    for what in (message(), message(acknowledged=True), message(firing=False)):
        send(f'{{pagerduty: "{{secret:pd}}", events_url: "{receiver.url}"}}', what)
    events = [one.body for one in receiver.got]

    assert ["trigger", "acknowledge", "resolve"] == [one["event_action"] for one in events]
    assert 1 == len({one["dedup_key"] for one in events})
    assert {"dp"} == {one["routing_key"] for one in events}
    payload = events[0]["payload"]
    assert ("[FIRING] HighErrorRate · web", "critical") == (payload["summary"], payload["severity"])
    assert payload["source"]
    assert "payload" not in events[2]


# --- mail ---


@dataclass
class Mailbox:
    """What an SMTP server took."""

    mails: list[Mail] = field(default_factory=list)
    answer: str = "250 taken"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        if self.answer.startswith("250"):
            self.mails.append(message_from_bytes(envelope.content, policy=default))
        return self.answer


class OnFreePort(Controller):
    """aiosmtpd's controller asks for its port by connecting to it; with port 0 it must look it up first."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


def mail_server(mailbox: Mailbox, **options: Any) -> OnFreePort:
    server = OnFreePort(mailbox, hostname="127.0.0.1", port=0, **options)
    server.start()
    return server


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's TLS, and this process trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    public, private = tmp_path / "public.pem", tmp_path / "private.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context


def test_mail_is_a_thread_a_person_can_read() -> None:
    """Plain and HTML, one thread a group, an id that stays the same when it is sent again."""
    mailbox = Mailbox()
    server = mail_server(mailbox)
    smtp = f"{{host: 127.0.0.1, port: {server.port}, security: none, from: ops@shop.example}}"
    try:
        for what in (message(), message(), message(firing=False)):
            assert "handed in" in send(f"{{email: [a@x.example, b@x.example], smtp: {smtp}}}", what)
    finally:
        server.stop()
    first, again, resolved = mailbox.mails

    assert "[FIRING] HighErrorRate · web" == first["Subject"]
    assert ("a@x.example, b@x.example", "ops@shop.example") == (first["To"], first["From"])
    assert first["Message-ID"] == again["Message-ID"] == f"<{'ab' * 16}@shop.example>"
    assert first["References"] == resolved["References"]
    assert "high" == first["Importance"]
    assert first.is_multipart()
    plain, html = (part.get_content() for part in first.iter_parts())  # type: ignore[attr-defined]
    assert "web fails" in plain
    assert "<b>web fails</b>" in html


def test_mail_goes_with_starttls_and_a_password(certificate: ssl.SSLContext) -> None:
    """And not at all where the server has no TLS: a password is not sent in the clear."""
    seen = []

    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        seen.append((data.login, data.password))
        return AuthResult(success=data.password == b"liam", handled=False)

    mailbox = Mailbox()
    server = mail_server(
        mailbox,
        tls_context=certificate,
        require_starttls=True,
        auth_required=True,
        authenticator=authenticate,
    )
    plain = mail_server(Mailbox())
    smtp = "{{host: localhost, port: {port}, user: ops, password: '{{secret:{secret}}}'}}"
    cover = f"{{{{email: a@x.example, smtp: {smtp}}}}}"
    try:
        send(cover.format(port=server.port, secret="mail"), message())
        with pytest.raises(Unreachable, match="does not let us in"):
            send(cover.format(port=server.port, secret="other"), message())
        with pytest.raises(Unreachable):
            send(cover.format(port=plain.port, secret="mail"), message())
    finally:
        server.stop()
        plain.stop()

    assert (b"ops", b"liam") == seen[0]
    assert 1 == len(mailbox.mails)


@pytest.mark.parametrize(("answer", "kind"), [("451 later", Unreachable), ("550 never", Refused)])
def test_what_a_mail_server_means(answer: str, kind: type[Exception]) -> None:
    """4 is for now, 5 for ever."""
    server = mail_server(Mailbox(answer=answer))
    try:
        with pytest.raises(kind, match=answer[:3]):
            send(
                f"{{email: a@x.example, smtp: {{host: 127.0.0.1, port: {server.port}, security: none}}}}",
                message(),
            )
    finally:
        server.stop()


def test_a_header_cannot_be_smuggled_in() -> None:
    """A label with line breaks stays one line of the subject."""
    alert = Alert({"alertname": "X\r\nBcc: evil@x.example"}, starts_at=1.0)
    group = GroupMessage(key="k", labels=alert.labels, firing=(alert,))
    what = written(Notification(id="id", channel="c", groups=(group,), at=1.0), title=None, text=None, url="")
    mailbox = Mailbox()
    server = mail_server(mailbox)
    try:
        send(f"{{email: a@x.example, smtp: {{host: 127.0.0.1, port: {server.port}, security: none}}}}", what)
    finally:
        server.stop()

    assert None is mailbox.mails[0]["Bcc"]


# --- Apprise ---

apprises_own = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # it imports modules that are on their way out


@apprises_own
def test_apprise_reaches_what_its_url_says(receiver: Receiver) -> None:
    """Here its own JSON plugin, with a secret in the URL."""
    port = receiver.server.server_address[1]
    send(f'{{url: "json://127.0.0.1:{port}/{{secret:path}}"}}', message())

    [got] = receiver.got
    assert ("[FIRING] HighErrorRate · web", "failure") == (got.body["title"], got.body["type"])
    assert "web fails" in got.body["message"]


@apprises_own
def test_apprise_says_why_it_was_not_taken(receiver: Receiver) -> None:
    """As far as it says so, in its log."""
    receiver.answers = [500]
    port = receiver.server.server_address[1]

    with pytest.raises(Unreachable, match="500"):
        send(f'{{url: "json://127.0.0.1:{port}/"}}', message())
    with pytest.raises(Refused, match="does not know"):
        send('{url: "nosuch://x"}', message())


# --- by hand ---


def test_a_channel_can_be_tested(tmp_path: Path, receiver: Receiver) -> None:
    """A real message, at once; what is wrong is said, without the secret."""
    house = House(
        tmp_path,
        f'channels: {{hook: {{webhook: "{receiver.url}"}}, dead: {{webhook: "http://127.0.0.1:1/{{secret:secret}}"}}}}',
    )
    assert "200 OK: thanks" == house.alerting.test("hook", actor="ana")
    assert "Test" == receiver.got[0].body["commonLabels"]["alertname"]
    with pytest.raises(Unreachable) as raised:
        house.alerting.test("dead", actor="ana")
    assert "terces" not in str(raised.value)
    with pytest.raises(NotFound, match="no channel nosuch"):
        house.alerting.test("nosuch", actor="ana")
    house.close()


def test_a_missing_secret_is_tried_again() -> None:
    """It may be set while the message waits."""

    class NoSecrets(Secrets):
        def get(self, name: str) -> str:
            raise NotFound(f"no secret {name}", hint="opsbook secrets set")

    book = House.read('channels: {it: {pagerduty: "{secret:pd}"}}')
    with pytest.raises(Unreachable, match="no secret pd"):
        Senders(NoSecrets()).make(book.channels["it"])
