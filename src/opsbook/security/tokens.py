"""Personal tokens: made, found, listed, revoked. What is printed once is never kept; its SHA-256 is."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from opsbook.book.roles import Role
from opsbook.errors import Invalid, NotFound
from opsbook.journal import Journal
from opsbook.security.model import NotSignedIn, Token, digest_of

PREFIX = "ops_"
DEFAULT_SECONDS = 90 * 86400.0
LONGEST_SECONDS = 2 * 366 * 86400.0
NOTE_USE_EVERY = 60.0  # seconds: "last used" is for people, not worth a write for each request


class Tokens:
    """The tokens of one opsbook. The id is the beginning of the digest, so a token is found by itself.

    Args:
        secret: 256 random bits as text.
    """

    def __init__(self, journal: Journal, now: Callable[[], float], secret: Callable[[], str]) -> None:
        self._journal = journal
        self._now = now
        self._secret = secret

    def create(
        self,
        person: str,
        by: str,
        *,
        name: str = "",
        role: Role | None = None,
        seconds: float = DEFAULT_SECONDS,
    ) -> tuple[Token, str]:
        """A new token, and what to hand to its person: nobody can see that again."""
        if not 60 <= seconds <= LONGEST_SECONDS:
            raise Invalid("a token is good for one minute to two years", hint="--expires 90d")
        secret = PREFIX + self._secret()
        now, digest = self._now(), digest_of(secret)
        token = Token(
            id=_id(digest),
            person=person,
            name=name.strip()[:64],
            digest=digest,
            role=role,
            created_at=now,
            created_by=by,
            expires_at=now + seconds,
        )
        about = {
            "id": token.id,
            "for": person,
            "name": token.name,
            "role": role,
            "expires_at": token.expires_at,
        }
        self._journal.append(
            "token.created", f"token/{token.id}", about, actor=by, put={_key(token.id): token.to_json()}
        )
        return token, secret

    def find(self, secret: str) -> Token:
        """The valid token that this is.

        Raises:
            NotSignedIn: it is none, or has expired or been revoked.
        """
        digest, now = digest_of(secret), self._now()
        document = self._journal.state.get(_key(_id(digest)))
        token = Token.model_validate(document) if document is not None else None
        if token is None or not hmac.compare_digest(token.digest, digest):
            raise NotSignedIn("this token is not known here", hint="opsbook tokens create --for YOU")
        if not token.valid(now):
            how = "has expired" if token.revoked_at is None else "has been revoked"
            raise NotSignedIn(
                f"the token {token.id} of {token.person} {how}", hint="opsbook tokens create --for YOU"
            )
        if now - self.last_used(token.id) >= NOTE_USE_EVERY:
            # In a document of its own, so that no use can ever undo a revocation that comes at the same moment.
            self._journal.state.put(_used_key(token.id), {"at": now})
        return token

    def last_used(self, name: str) -> float:
        """When, to the minute; 0.0: never."""
        document = self._journal.state.get(_used_key(name))
        return float(document["at"]) if document is not None else 0.0

    def get(self, name: str) -> Token:
        """Raises NotFound."""
        document = self._journal.state.get(_key(name))
        if document is None:
            raise NotFound(f"there is no token {name}", hint="opsbook tokens list", where=name)
        return Token.model_validate(document)

    def listed(self, person: str | None = None) -> list[Token]:
        """All, or those of a person; the newest first."""
        found = [Token.model_validate(document) for document in self._journal.state.items("token/").values()]
        mine = [token for token in found if person in (None, token.person)]
        return sorted(mine, key=lambda token: token.created_at, reverse=True)

    def revoke(self, name: str, by: str) -> Token:
        """Make it worthless, at once. Doing so twice changes nothing."""
        token = self.get(name)
        if token.revoked_at is not None:
            return token
        revoked = token.model_copy(update={"revoked_at": self._now(), "revoked_by": by})
        self._journal.append(
            "token.revoked",
            f"token/{name}",
            {"id": name, "for": token.person},
            actor=by,
            put={_key(name): revoked.to_json()},
        )
        return revoked


def _id(digest: str) -> str:
    return f"t-{digest[:12]}"


def _key(name: str) -> str:
    return f"token/{name}"


def _used_key(name: str) -> str:
    return f"token-used/{name}"
