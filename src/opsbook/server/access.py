"""Who may come in, decided per listener, so that nothing sent can be mistaken for the Unix socket.

On the socket the file's mode has decided already (0600 in a 0700 folder). On TCP a bearer token is needed,
and the Host header must not be a foreign name: a web page that makes its own name point at 127.0.0.1 (DNS
rebinding) would send its own name there.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from opsbook.errors import NotAllowed, OpsbookError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/api/health"})
ACTOR = b"x-opsbook-actor"


class NotSignedIn(NotAllowed):
    """No token, or a wrong one."""

    http_status = 401


class Access:
    """An ASGI application that lets in who may and tells `application` who it is.

    The caller's name is put in ``request.state.actor`` and into the header ``X-Opsbook-Actor``, which
    replaces whatever was sent. On the socket it is the name sent; with a token the name is only a claim and
    marked as such.

    Args:
        token: None for a listener that only the owner can open.
        names: host names that may stand in the Host header beside localhost and plain IP addresses.
    """

    def __init__(
        self, application: Application, *, token: str | None, names: frozenset[str] = frozenset()
    ) -> None:
        self._application = application
        self._token = token
        self._names = names | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        try:
            actor = self._admit(scope["path"], {name.lower(): value for name, value in headers})
        except NotAllowed as error:
            await _refuse(error, send)
            return
        state = {**scope.get("state", {}), "actor": actor}
        kept = [(name, value) for name, value in headers if name.lower() != ACTOR]
        await self._application(
            {**scope, "headers": [*kept, (ACTOR, actor.encode())], "state": state}, receive, send
        )

    def _admit(self, path: str, headers: dict[bytes, bytes]) -> str:
        name = _name(headers.get(ACTOR, b""))
        if self._token is None:
            return name or "unknown"
        self._check_host(headers.get(b"host", b"").decode("latin-1"))
        if path in OPEN_PATHS:
            return "anonymous"
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._token.encode()):
            raise NotSignedIn(
                "a valid token is needed",
                hint="send `Authorization: Bearer TOKEN`; it is in the file `token` of the state folder",
            )
        return f"{name} (token)" if name else "token"

    def _check_host(self, header: str) -> None:
        host = header.rsplit(":", 1)[0] if not header.endswith("]") else header
        host = host.strip("[]").lower()
        if host in self._names:
            return
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise NotAllowed(
                f"requests to the host name {host[:80]!r} are not answered",
                hint="use http://localhost or the plain IP address",
            ) from None


def _name(value: bytes) -> str:
    """A name fit for the journal: printable, on one line, of sensible length."""
    return re.sub(r"[^\w.@+ -]", "", value.decode("utf-8", "replace"))[:64].strip()


async def _refuse(error: OpsbookError, send: Send) -> None:
    body = json.dumps({"error": error.to_json()}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if error.http_status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="opsbook"'))
    await send({"type": "http.response.start", "status": error.http_status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
