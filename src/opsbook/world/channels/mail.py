"""Mail by SMTP, each group a thread of its own in the reader's mailbox."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime, localtime
from typing import Literal

from opsbook.errors import Unreachable
from opsbook.world.channels.words import Message, Refused

SECONDS = 20.0  # for each step
_PORTS = {"starttls": 587, "tls": 465, "none": 25}


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """Where mail is handed in. `security` starttls is required, not only tried."""

    host: str = "localhost"
    port: int | None = None
    security: Literal["starttls", "tls", "none"] = "none"
    user: str = ""
    password: str = ""


class Mail:
    """Satisfies `Sender`.

    Args:
        to: addresses.
        sender: whom it is from.
    """

    def __init__(self, to: Sequence[str], server: MailServer, *, sender: str) -> None:
        self._to = tuple(to)
        self._server = server
        self._sender = sender

    def send(self, message: Message) -> str:
        """See `Sender.send`."""
        mail = self._written(message)
        try:
            return self._hand_in(mail)
        except smtplib.SMTPRecipientsRefused as error:
            said = next(iter(error.recipients.values()), (0, b""))
            raise _refusal(*said) from error
        except smtplib.SMTPAuthenticationError as error:  # a password can be mended
            raise Unreachable(f"the mail server does not let us in: {_text(error.smtp_error)}") from error
        except smtplib.SMTPResponseException as error:
            raise _refusal(error.smtp_code, error.smtp_error) from error
        except (smtplib.SMTPException, OSError) as error:
            raise Unreachable(f"the mail server: {error or type(error).__name__}") from error

    def close(self) -> None:
        """See `Sender.close`; a connection is made for each message."""

    def _hand_in(self, mail: EmailMessage) -> str:
        server = self._server
        port = server.port or _PORTS[server.security]
        with self._connected(server, port) as connection:
            if server.security == "starttls":
                connection.starttls(context=ssl.create_default_context())
            if server.user:
                connection.login(server.user, server.password)
            refused = connection.send_message(mail, self._sender, self._to)
            with suppress(smtplib.SMTPException, OSError):
                connection.quit()  # it is handed in, whatever the server says now
        if refused:
            names = ", ".join(refused)
            return f"handed in to {server.host}, which refused {names}"
        return f"handed in to {server.host}"

    def _connected(self, server: MailServer, port: int) -> smtplib.SMTP:
        if server.security == "tls":
            return smtplib.SMTP_SSL(server.host, port, timeout=SECONDS, context=ssl.create_default_context())
        return smtplib.SMTP(server.host, port, timeout=SECONDS)

    def _written(self, message: Message) -> EmailMessage:
        domain = self._sender.rpartition("@")[2]
        mail = EmailMessage()
        mail["Subject"] = " ".join(message.title.split())
        mail["From"] = self._sender
        mail["To"] = ", ".join(self._to)
        mail["Date"] = format_datetime(localtime())
        mail["Message-ID"] = f"<{message.id}@{domain}>"
        mail["References"] = f"<{message.thread}@{domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail["X-Opsbook-Status"] = "resolved" if message.action == "resolve" else "firing"
        if message.severity == "critical" and message.action == "trigger":
            mail["Importance"] = "high"
        mail.set_content(message.text)
        if message.html:
            mail.add_alternative(message.html, subtype="html")
        return mail


def _refusal(code: int, said: bytes | str) -> Unreachable | Refused:
    """By the first digit of the answer: 4 is for now, 5 for ever."""
    words = f"the mail server answered {code} {_text(said)}"
    return Refused(words) if code >= 500 else Unreachable(words)


def _text(said: bytes | str) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return " ".join(text.split())[:300]
