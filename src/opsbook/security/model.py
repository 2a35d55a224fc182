"""The nouns of security. Times are UTC epoch seconds, durations seconds. No secret is ever kept, only its SHA-256."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from opsbook.book.roles import Grant, Role
from opsbook.errors import NotAllowed

Action = Literal[
    "view", "audit", "deploy", "scale", "restart", "rollback", "abort", "approve", "sign", "freeze", "break_lock",
    "release_hold", "silence", "on_call", "send", "tokens", "stop", "run",
]  # fmt: skip

Via = Literal["socket", "server-token", "token", "session"]

EVERYTHING = (Grant(role="admin"),)


class NotSignedIn(NotAllowed):
    """Nobody known: no token, or one that is wrong, expired or revoked."""

    http_status = 401


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who is asking.

    Args:
        name: a contact of the handbook, or the name that the local operator's shell claims.
        grants: the roles at this moment, as the handbook says.
        authenticated: it is known which person this is. The local operator is not: whoever can open the socket is
            the same one, whatever name they give.
        narrowed: the role that the token was narrowed to; nothing beyond it is allowed.
        credential: the id of the token or session.
        token: the id of the token behind it, also of a session's.
        created_by: who made the credential.
    """

    name: str
    grants: tuple[Grant, ...]
    authenticated: bool
    via: Via
    narrowed: Role | None = None
    credential: str = ""
    token: str = ""
    created_by: str = ""

    @property
    def actor(self) -> str:
        """The name as the journal writes it; one that is only claimed over the network is marked."""
        if self.via != "server-token":
            return self.name or "unknown"
        return f"{self.name} (token)" if self.name else "token"

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "authenticated": self.authenticated,
            "via": self.via,
            "roles": [
                {"role": grant.role, "environments": list(grant.environments) if grant.environments else None}
                for grant in self.grants
            ],
            "narrowed": self.narrowed,
            "credential": self.credential,
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether something is allowed, and why, or why not, in words."""

    allowed: bool
    why: str


class Document(BaseModel):
    """A frozen JSON document of the journal's state."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


class Token(Document):
    """A personal token. Its roles are its person's at the time of use, narrowed to `role`."""

    id: str
    person: str
    name: str = ""
    digest: str
    role: Role | None = None
    created_at: float
    created_by: str
    expires_at: float
    revoked_at: float | None = None
    revoked_by: str = ""

    def valid(self, now: float) -> bool:
        return self.revoked_at is None and now < self.expires_at

    def shown(self, last_used: float) -> dict[str, Any]:
        """What may be seen of it: all but the digest. `last_used` 0.0: never."""
        return {**self.model_dump(mode="json", exclude={"digest"}), "last_used_at": last_used or None}


class Session(Document):
    """A browser that is signed in. `person` None: the local operator, under the name of who made the link."""

    id: str
    digest: str
    person: str | None
    name: str
    opened_at: float
    expires_at: float
    by: str  # "login link of root", "token t-1a2b"
    role: Role | None = None  # as the token it was opened with
    token: str = ""  # its id, or that of the token which made the link: when that is over, so is the session
    created_by: str = ""


class LoginLink(Document):
    """A link that signs somebody in, once."""

    id: str
    digest: str
    person: str | None
    name: str
    created_at: float
    created_by: str
    expires_at: float
    role: Role | None = None
    token: str = ""  # with which it was made


def digest_of(secret: str) -> str:
    """What is kept of a secret. No salt and no stretching: it has 256 random bits, there is nothing to guess."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
