"""What a channel of `opsbook.yaml` says: by which way messages go."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from opsbook.book.fields import Host, Line, Part, Port, Template, expected, matching, wrong
from opsbook.book.templates import fill, placeholders

ChannelKind = Literal["url", "webhook", "pagerduty", "email"]
KINDS: tuple[ChannelKind, ...] = ("url", "webhook", "pagerduty", "email")
EVENTS_URL = "https://events.pagerduty.com/v2/enqueue"


def _secrets_only(value: Any) -> Any:
    if isinstance(value, str) and any(placeholder.kind != "secret" for placeholder in placeholders(value)):
        wrong("only {secret:NAME} has a meaning in a channel")
    return value


def _apprise_url(value: Any) -> Any:
    if isinstance(value, str) and "://" not in value:
        expected("a URL such as slack://{secret:slack}/#ops or mailto://user@example.com")
    return _secrets_only(value)


def _web_url(value: Any) -> Any:
    if isinstance(value, str):
        plain = fill(value, lambda placeholder: "x") if "{" in value else value
        if not plain.startswith(("http://", "https://")):
            expected("an http or https URL")
    return _secrets_only(value)


def _addresses(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Secret = Annotated[Template, BeforeValidator(_secrets_only)]
Address = Annotated[str, matching(r"[^@\s<>,]+@[^@\s<>,]+", "an e-mail address")]


class Smtp(Part):
    """The mail server that takes messages."""

    host: Host = Field("localhost", description="Its name or address.", examples=["mail.example.com"])
    port: Port | None = Field(
        None, description="Left out: 587 with starttls, 465 with tls, 25 with none.", examples=[587]
    )
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="starttls is required, not only tried."
    )
    user: Secret | None = Field(None, description="As whom to sign in.", examples=["ops@example.com"])
    password: Secret | None = Field(None, description="With what.", examples=["{secret:mail}"])
    sender: Address | None = Field(
        None, alias="from", description="Whom mail is from.", examples=["opsbook@example.com"]
    )

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.user is None) != (self.password is None):
            wrong("expected user and password, or neither", 'password: "{secret:mail}"')
        if self.password is not None and self.security == "none":
            wrong("a password would be sent in the clear", "security: starttls", at=("security",))
        return self


class Channel(Part):
    """Where messages go; exactly one of url, webhook, pagerduty and email."""

    url: Annotated[Template, BeforeValidator(_apprise_url)] | None = Field(
        None,
        description="An Apprise URL; {secret:NAME} is filled in when a message is sent.",
        examples=["slack://{secret:slack}/#ops-alerts"],
    )
    webhook: Annotated[Template, BeforeValidator(_web_url)] | None = Field(
        None,
        description="An address that is sent JSON, as Alertmanager sends it, and more.",
        examples=["https://hooks.example.com/alerts"],
    )
    signing_key: Secret | None = Field(
        None,
        description="Of a webhook: its requests are signed with it (HMAC-SHA256).",
        examples=["{secret:hook}"],
    )
    pagerduty: Secret | None = Field(
        None,
        description="A PagerDuty service's integration key (Events API v2).",
        examples=["{secret:pagerduty}"],
    )
    events_url: Annotated[Template, BeforeValidator(_web_url)] | None = Field(
        None,
        description="Of pagerduty: where its events go.",
        examples=["https://events.eu.pagerduty.com/v2/enqueue"],
    )
    email: Annotated[tuple[Address, ...], BeforeValidator(_addresses), Field(min_length=1)] | None = Field(
        None, description="Who gets mail; one address or several.", examples=["ops@example.com"]
    )
    smtp: Smtp | None = Field(
        None, description="Of email: the server that takes it. Left out: localhost, port 25, as it is."
    )
    title: Line | None = Field(
        None,
        description="The template (Jinja) of a message's title.",
        examples=["{{ status | upper }} {{ name }} ({{ firing | length }})"],
        json_schema_extra={"$comment": "template"},
    )
    text: str | None = Field(
        None,
        description="The template (Jinja) of a message's text.",
        examples=["{% for alert in alerts %}{{ alert.annotations.summary }}\n{% endfor %}"],
        json_schema_extra={"$comment": "template"},
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        written = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(written) != 1:
            wrong(
                "expected exactly one of url, webhook, pagerduty and email",
                "url: slack://{secret:slack}/#ops",
                at=(written[1],) if written else (),
            )
        for key, kind in (("signing_key", "webhook"), ("events_url", "pagerduty"), ("smtp", "email")):
            if getattr(self, key) is not None and kind not in written:
                wrong(f"{key} belongs to a channel of the kind {kind}", at=(key,))
        for key in ("title", "text"):
            template = getattr(self, key)
            if template is not None and (fault := template_fault(template)):
                wrong(f"not a template: {fault}", "see docs/notifications.md", at=(key,))
        return self

    @property
    def kind(self) -> ChannelKind:
        """By which way it goes."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def secrets(self) -> frozenset[str]:
        """The names of the secrets that it needs."""
        texts = [self.url, self.webhook, self.signing_key, self.pagerduty, self.events_url]
        texts += [self.smtp.user, self.smtp.password] if self.smtp else []
        return frozenset(one.name for text in texts if text for one in placeholders(text))


def template_fault(text: str) -> str | None:
    """What is wrong with a Jinja template; None: nothing."""
    from jinja2 import TemplateSyntaxError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    try:
        ImmutableSandboxedEnvironment(autoescape=True).parse(text)
    except TemplateSyntaxError as error:
        return f"line {error.lineno}: {error.message}"
    return None
