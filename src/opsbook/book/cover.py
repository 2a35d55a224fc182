"""What `opsbook.yaml` says: whose handbook it is and how people are reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from opsbook.book.channels import Channel
from opsbook.book.fields import Name, OrEmpty, Part, Seconds, matching, wrong
from opsbook.book.moments import Timezone
from opsbook.book.settings import MonitoringSettings, RunbookSettings


class Contact(Part):
    """A person, or with members a team."""

    name: str | None = Field(None, description="What people call them.", examples=["Alice"])
    email: (
        Annotated[str, matching(r"[^@\s]+@[^@\s]+\.[^@\s]+|[^@\s]+@localhost", "an e-mail address")] | None
    ) = Field(None, description="Where mail reaches them.", examples=["alice@example.com"])
    phone: (
        Annotated[str, matching(r"\+[0-9][0-9 ()-]{4,24}", "a phone number such as +49 30 1234567")] | None
    ) = Field(None, description="With its country code, quoted.", examples=["+49 30 1234567"])
    channel: Name | None = Field(
        None, description="A channel of this file that reaches them.", examples=["ops-alerts"]
    )
    fallback: tuple[Name, ...] = Field(
        (),
        description="Further channels that reach them: pages go there when the first one does not take them.",
        examples=[["alice-sms"]],
    )
    timezone: Timezone | None = Field(None, description="Where their day is.", examples=["Europe/Berlin"])
    members: tuple[Name, ...] = Field((), description="A team's contacts.", examples=[["alice"]])

    @model_validator(mode="after")
    def _person_or_team(self) -> Self:
        if self.members and (self.timezone or self.phone):
            wrong("a team with members has no phone and no timezone of its own", "give them to a member")
        return self


class Cover(Part):
    """`opsbook.yaml`: the one file that a handbook must have."""

    name: Name = Field(description="What the handbook is of.", examples=["shop"])
    owner: Name | None = Field(
        None, description="Who answers for what has no owner of its own.", examples=["team-shop"]
    )
    contacts: Annotated[Mapping[Name, Annotated[Contact, OrEmpty]], OrEmpty] = Field(
        default={}, description="People and teams.", examples=[{"alice": {"email": "alice@example.com"}}]
    )
    channels: Annotated[Mapping[Name, Channel], OrEmpty] = Field(
        default={},
        description="Where messages go.",
        examples=[{"ops-alerts": {"url": "slack://{secret:slack}/#ops-alerts"}}],
    )
    console: Annotated[str, matching(r"https?://[^\s/?#@{}]+(/[^\s?#{}]*)?", "a web address")] | None = Field(
        None,
        description="Where people reach opsbook; the links in messages begin so. Left out: its own address.",
        examples=["https://ops.example.com"],
    )
    review: Seconds | None = Field(
        None, description="How often a page is read again, where it does not say so itself.", examples=["90d"]
    )
    monitoring: Annotated[MonitoringSettings, OrEmpty] = Field(
        default_factory=MonitoringSettings,
        description="How much is kept of what is measured, and whose metrics are used.",
        examples=[{"retention": "30d"}],
        json_schema_extra={"default": {}},
    )
    runbooks: Annotated[RunbookSettings, OrEmpty] = Field(
        default_factory=RunbookSettings,
        description="How much is kept of what ran.",
        examples=[{"retention": "90d"}],
        json_schema_extra={"default": {}},
    )
    write_back: bool = Field(
        True, description="opsbook writes back what people would forget, such as the version that runs."
    )
