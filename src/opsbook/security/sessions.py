"""Browsers that are signed in: by a link that works once, or by a personal token that somebody pasted.

The cookie holds a secret, the journal's state its SHA-256. The CSRF token follows from the cookie's secret, so it is
bound to the session and needs no storing.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Callable

from opsbook.errors import NotFound
from opsbook.journal import Journal
from opsbook.security.model import Identity, LoginLink, NotSignedIn, Session, Token, digest_of

COOKIE = "opsbook_session"
SESSION_SECONDS = 12 * 3600.0
LINK_SECONDS = 15 * 60.0


class Sessions:
    """The sessions and sign-in links of one opsbook.

    Args:
        secret: 256 random bits as text.
    """

    def __init__(self, journal: Journal, now: Callable[[], float], secret: Callable[[], str]) -> None:
        self._journal = journal
        self._now = now
        self._secret = secret
        self._redeeming = threading.Lock()  # a link works once, also for two browsers at the same moment

    def offer_link(self, by: Identity, person: str | None) -> tuple[LoginLink, str]:
        """A link for `person`, or for the local operator, and the secret that ends its address (``/sign-in/SECRET``).

        A link that somebody makes for themselves can do no more than what they made it with.
        """
        secret = self._secret()
        digest, now = digest_of(secret), self._now()
        link = LoginLink(
            id=_id(digest),
            digest=digest,
            person=person,
            name=person or by.name,
            created_at=now,
            created_by=by.actor,
            expires_at=now + LINK_SECONDS,
            role=by.narrowed,
            token=by.token,
        )
        self._sweep(now)
        about = {"for": person or "", "expires_at": link.expires_at}
        put = {_link_key(link.id): link.to_json()}
        self._journal.append("login_link.created", "sign-in", about, actor=by.actor, put=put)
        return link, secret

    def redeem(self, secret: str) -> tuple[Session, str]:
        """Sign in with a link: the session, and what goes into the cookie.

        Raises:
            NotSignedIn: it is none, has been used, or is too old.
        """
        digest, now = digest_of(secret), self._now()
        with self._redeeming:
            document = self._journal.state.get(_link_key(_id(digest)))
            link = LoginLink.model_validate(document) if document is not None else None
            if link is None or not hmac.compare_digest(link.digest, digest) or now >= link.expires_at:
                raise NotSignedIn("this sign-in link has been used, or is too old", hint="opsbook login-link")
            return self._open(
                person=link.person,
                name=link.name,
                by=f"link of {link.created_by}",
                role=link.role,
                token=link.token,
                created_by=link.created_by,
                used_up=_link_key(link.id),
            )

    def open_with(self, token: Token) -> tuple[Session, str]:
        """Sign in with a personal token, which the caller has found valid."""
        return self._open(
            person=token.person,
            name=token.person,
            by=f"token {token.id}",
            role=token.role,
            token=token.id,
            created_by=token.created_by,
            until=token.expires_at,
        )

    def _open(
        self,
        *,
        person: str | None,
        name: str,
        by: str,
        role: str | None,
        created_by: str,
        token: str = "",
        until: float = float("inf"),
        used_up: str = "",
    ) -> tuple[Session, str]:
        secret = self._secret()
        digest, now = digest_of(secret), self._now()
        session = Session.model_validate(
            {
                "id": _id(digest),
                "digest": digest,
                "person": person,
                "name": name,
                "opened_at": now,
                "expires_at": min(now + SESSION_SECONDS, until),
                "by": by,
                "role": role,
                "token": token,
                "created_by": created_by,
            }
        )
        put = {_key(session.id): session.to_json(), **({used_up: None} if used_up else {})}
        about = {"id": session.id, "for": person or "", "by": by}
        self._journal.append("session.opened", "sign-in", about, actor=name or "unknown", put=put)
        return session, secret

    def find(self, secret: str) -> Session | None:
        """The session whose cookie this is; None when there is none, or it is over."""
        digest = digest_of(secret)
        session = self.get(_id(digest))
        return session if session is not None and hmac.compare_digest(session.digest, digest) else None

    def get(self, name: str) -> Session | None:
        """The session with this id; None when there is none, or it is over."""
        document = self._journal.state.get(_key(name))
        session = Session.model_validate(document) if document is not None else None
        return session if session is not None and self._now() < session.expires_at else None

    def listed(self) -> list[Session]:
        """Those that are not over, the newest first."""
        found = [
            Session.model_validate(document) for document in self._journal.state.items("session/").values()
        ]
        alive = [session for session in found if self._now() < session.expires_at]
        return sorted(alive, key=lambda session: session.opened_at, reverse=True)

    def close(self, name: str, by: str) -> None:
        """Sign out; from now on the cookie is worth nothing. Raises NotFound."""
        document = self._journal.state.get(_key(name))
        if document is None:
            raise NotFound(f"there is no session {name}", where=name)
        person = Session.model_validate(document).person or ""
        about = {"id": name, "for": person}
        self._journal.append("session.closed", "sign-in", about, actor=by, put={_key(name): None})

    def _sweep(self, now: float) -> None:
        """Forget what is over; links are made seldom, so this costs nobody anything."""
        for prefix in ("session/", "login-link/"):
            for key, document in self._journal.state.items(prefix).items():
                if float(document["expires_at"]) <= now:
                    self._journal.state.delete(key)


def csrf_of(secret: str) -> str:
    """The token that forms of this session carry; `secret` is what the cookie holds."""
    return hmac.new(secret.encode("utf-8", "surrogatepass"), b"opsbook csrf", hashlib.sha256).hexdigest()


def _id(digest: str) -> str:
    return f"s-{digest[:12]}"


def _key(name: str) -> str:
    return f"session/{name}"


def _link_key(name: str) -> str:
    return f"login-link/{name}"
