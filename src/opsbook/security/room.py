"""The room put together: who somebody is, by what they show; and whether they may."""

from __future__ import annotations

from collections.abc import Callable

import opsbook.security.events as _kinds  # noqa: F401 - registers the kinds of events
from opsbook.book import Book
from opsbook.book.roles import Role
from opsbook.errors import Invalid, NotAllowed
from opsbook.journal import Journal
from opsbook.security.model import EVERYTHING, Action, Identity, NotSignedIn, Session, Token
from opsbook.security.plan import PERSONAL, holders, may, may_somewhere
from opsbook.security.sessions import Sessions, csrf_of
from opsbook.security.tokens import PREFIX, Tokens


class Security:
    """Everything about identities that the faces may ask.

    Args:
        book: the handbook at this moment: it says who has which role.
        now: UTC epoch seconds.
        secret: 256 random bits as text (``secrets.token_urlsafe``), new at each call.
    """

    def __init__(
        self, book: Callable[[], Book], journal: Journal, now: Callable[[], float], secret: Callable[[], str]
    ) -> None:
        self._book = book
        self._now = now
        self.tokens = Tokens(journal, now, secret)
        self.sessions = Sessions(journal, now, secret)

    def by_token(self, secret: str) -> Identity:
        """Who a personal token belongs to. Raises NotSignedIn."""
        return self._of_token(self.tokens.find(secret))

    def by_cookie(self, secret: str) -> tuple[Identity, str]:
        """Who is signed in with this cookie, and the CSRF token that their forms carry. Raises NotSignedIn."""
        session = self.sessions.find(secret)
        if session is None or not self._token_holds(session):
            raise NotSignedIn("you are not signed in any more", hint="opsbook login-link")
        return self._of_session(session), csrf_of(secret)

    def present(self, who: Identity) -> Identity:
        """`who` at this moment, for streams that outlast a request: with the roles of now.

        Raises:
            NotSignedIn: the token or session is over.
        """
        if who.via == "token":
            token = self.tokens.get(who.credential)
            if not token.valid(self._now()):
                raise NotSignedIn("this token is over")
            return self._of_token(token)
        if who.via == "session":
            session = self.sessions.get(who.credential)
            if session is None or not self._token_holds(session):
                raise NotSignedIn("this session is over")
            return self._of_session(session)
        return who

    def sign_in(self, given: str) -> tuple[Session, str]:
        """Open a session with a sign-in link's secret or a personal token: the session, and the cookie's value.

        Raises:
            NotSignedIn: it is neither.
        """
        given = given.strip()
        if given.startswith(PREFIX):
            return self.sessions.open_with(self.tokens.find(given))
        return self.sessions.redeem(given)

    def person(self, name: str) -> str:
        """`name`, when the handbook knows it as a person.

        Raises:
            Invalid: it is a team, or nobody.
        """
        book = self._book()
        people = book.people(name)
        if people == {name}:
            return name
        if people:
            raise Invalid(f"{name} is a team: a token belongs to a person", hint=", ".join(sorted(people)))
        known = sorted(one for one in book.contacts if book.people(one) == {one})
        raise Invalid(
            f"the handbook knows no person {name}",
            hint=f"add them under contacts: of opsbook.yaml; there are: {', '.join(known) or 'none'}",
        )

    def refuse_unless(self, who: Identity, action: Action, environment: str | None) -> None:
        """Raises NotAllowed, naming the role that is missing and who has it."""
        decision = may(who, action, environment)
        if not decision.allowed:
            refusal = self._refusal(decision.why, action, environment)
            if action in PERSONAL and not who.authenticated and (able := refusal.details["able"]):
                refusal.hint += f"; each with a token of their own: opsbook tokens create --for {able[0]}"
            raise refusal

    def refuse_unless_somewhere(self, who: Identity, action: Action) -> None:
        """As `refuse_unless`, but one environment is enough."""
        decision = may_somewhere(who, action)
        if not decision.allowed:
            raise self._refusal(decision.why, action, None)

    def _refusal(self, why: str, action: Action, environment: str | None) -> NotAllowed:
        able = holders(self._book().roles, action, environment)
        hint = f"who may: {', '.join(able)}" if able else "nobody has that role yet: security/roles.yaml"
        return NotAllowed(
            why, hint=hint, where=environment or "", details={"action": action, "able": list(able)}
        )

    def _of_token(self, token: Token) -> Identity:
        return Identity(
            name=token.person,
            grants=self._book().grants(token.person),
            authenticated=True,
            via="token",
            narrowed=token.role,
            credential=token.id,
            token=token.id,
            created_by=token.created_by,
        )

    def _of_session(self, session: Session) -> Identity:
        if session.person is None:
            return local_operator(session.name, via_session=session.id, narrowed=session.role)
        return Identity(
            name=session.person,
            grants=self._book().grants(session.person),
            authenticated=True,
            via="session",
            narrowed=session.role,
            credential=session.id,
            token=session.token,
            created_by=session.created_by,
        )

    def _token_holds(self, session: Session) -> bool:
        return not session.token or self.tokens.get(session.token).valid(self._now())


def local_operator(name: str, *, via_session: str = "", narrowed: Role | None = None) -> Identity:
    """Whoever can open the Unix socket: they may do everything that need not be done by a known person."""
    return Identity(
        name=name,
        grants=EVERYTHING,
        authenticated=False,
        via="session" if via_session else "socket",
        narrowed=narrowed,
        credential=via_session,
    )
