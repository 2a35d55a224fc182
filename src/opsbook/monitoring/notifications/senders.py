"""From a channel of the handbook to the way that its messages take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from opsbook.book import fill
from opsbook.book.channels import EVENTS_URL, Channel
from opsbook.errors import NotFound, Unreachable
from opsbook.world.channels.words import Sender

_FROM = "opsbook@localhost"


class SecretValues(Protocol):
    """The part of `world.words.Secrets` that channels need."""

    def get(self, name: str) -> str: ...

    def mask(self, text: str) -> str: ...


Make = Callable[[Channel], Sender]


class Senders:
    """Makes senders, with the secrets as they are at this moment."""

    def __init__(self, secrets: SecretValues) -> None:
        self._secrets = secrets

    def key(self, channel: Channel) -> tuple[str, ...]:
        """What a sender was made of: another key, and it must be made anew. Raises as `make` does."""
        return (*(self._filled(text) for text in _texts(channel)), repr(channel))

    def make(self, channel: Channel) -> Sender:
        """The way that a channel's messages take.

        Raises:
            Unreachable: one of its secrets is not there (yet).
        """
        if channel.webhook is not None:
            from opsbook.world.channels.webhook import Webhook

            return Webhook(self._filled(channel.webhook), self._filled(channel.signing_key or ""))
        if channel.pagerduty is not None:
            from opsbook.world.channels.pagerduty import PagerDuty

            return PagerDuty(self._filled(channel.pagerduty), self._filled(channel.events_url or EVENTS_URL))
        if channel.email is not None:
            return self._mail(channel)
        from opsbook.world.channels.by_apprise import ByApprise

        return ByApprise(self._filled(channel.url or ""))

    def prepare(self, channel: Channel) -> None:
        """Import and read what the channel needs, so that the first alert does not wait for it."""
        if channel.kind in ("webhook", "pagerduty"):
            from opsbook.world.channels import pagerduty, webhook  # noqa: F401
            from opsbook.world.channels.posting import prepare

            prepare()
        elif channel.kind == "url":
            import apprise

            apprise.Apprise().add("json://localhost")  # which imports its services

    def _mail(self, channel: Channel) -> Sender:
        from opsbook.world.channels.mail import Mail, MailServer

        server, smtp = MailServer(), channel.smtp
        if smtp is not None:
            server = MailServer(
                host=smtp.host,
                port=smtp.port,
                security=smtp.security,
                user=self._filled(smtp.user or ""),
                password=self._filled(smtp.password or ""),
            )
        return Mail(channel.email or (), server, sender=(smtp.sender if smtp else None) or _FROM)

    def _filled(self, text: str) -> str:
        try:
            return fill(text, lambda placeholder: self._secrets.get(placeholder.name))
        except NotFound as error:
            raise Unreachable(error.message, hint=error.hint) from error


def _texts(channel: Channel) -> tuple[str, ...]:
    smtp = (channel.smtp.user, channel.smtp.password) if channel.smtp else ()
    every = (
        channel.url, channel.webhook, channel.signing_key, channel.pagerduty, channel.events_url, *smtp,
    )  # fmt: skip
    return tuple(text for text in every if text)
