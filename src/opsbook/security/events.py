"""The kinds of events that security writes, registered when the room is opened. None of them holds a secret."""

from __future__ import annotations

from opsbook.journal import register

register(
    "token.created",
    "Somebody made a personal token.",
    {
        "id": "its id",
        "for": "whose it is",
        "name": "what it is called",
        "role": "the role it is narrowed to, if any",
        "expires_at": "until when it is good",
    },
)
register("token.revoked", "A personal token was made worthless.", {"id": "its id", "for": "whose it was"})
register(
    "login_link.created",
    "Somebody made a link that signs in once.",
    {"for": "whom it signs in; empty for the local operator", "expires_at": "until when it is good"},
)
register(
    "session.opened",
    "Somebody signed in to the console.",
    {"id": "the session", "for": "who; empty for the local operator", "by": "a link, or a token"},
)
register("session.closed", "Somebody signed out, or was signed out.", {"id": "the session", "for": "who"})
