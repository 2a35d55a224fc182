"""Who is asking, decided per door, so that nothing sent can be mistaken for the Unix socket.

Through the socket comes its owner (its mode is 0600, in a 0700 folder): the local operator. A bearer token counts at
both doors: the server's own (the file `token` of the state folder) is the local operator too, a personal one is its
person. A browser brings the cookie of its session, over TCP only.

On TCP the Host header must not be a foreign name: a web page that makes its own name point at 127.0.0.1 (DNS
rebinding) would send its own name there. A browser that sends more than a look must come from our own pages: the
Origin must be ours, and with a session the CSRF token that is bound to it must come along.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hmac
import ipaddress
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from opsbook.errors import Invalid, NotAllowed, OpsbookError
from opsbook.security.model import Identity, NotSignedIn
from opsbook.security.room import Security, local_operator
from opsbook.security.sessions import COOKIE
from opsbook.security.tokens import PREFIX
from opsbook.server.lasting import REVOCABLE, Lasting

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = dict[bytes, bytes]

OPEN_PATHS = frozenset({"/api/health", "/sign-in", "/favicon.ico"})
OPEN_FOLDERS = ("/static/", "/sign-in/", "/answer/")  # the last: who holds a signed link of a page
CALENDAR = "/api/response/oncall/calendar.ics"
FOR_TOOLS = (
    "/prometheus/",
    "/alertmanager/",
    CALENDAR,
)  # clients of which some know basic authentication only
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
ACTOR = b"x-opsbook-actor"
CSRF_HEADER = b"x-csrf-token"
CSRF_FIELD = "csrf_token"
LARGEST_FORM = 256 * 1024  # bytes


class Access:
    """An ASGI application that tells `application` who is asking, and lets nobody else in.

    It puts into ``request.state``: ``identity`` (None on the few open pages), ``actor`` (the name for the journal, also
    in the header ``X-Opsbook-Actor``, which replaces whatever was sent), ``security`` and, with a session, ``csrf``.

    Args:
        token: the server's own.
        owner_only: only the owner of the state folder can open this door.
        security: who knows persons; None: there is the local operator only.
        names: host names that may stand in the Host header beside localhost and plain IP addresses.
    """

    def __init__(
        self,
        application: Application,
        *,
        token: str,
        owner_only: bool = False,
        security: Security | None = None,
        names: frozenset[str] = frozenset(),
    ) -> None:
        self._application = application
        self._token = token
        self._owner_only = owner_only
        self._security = security
        self._names = names | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        try:
            if not self._owner_only:
                self._check_host(headers.get(b"host", b"").decode("latin-1"))
            who, csrf = await self._identify(scope["path"], headers)
            if (
                not self._owner_only
                and (b"authorization" not in headers or _is_basic(headers))
                and scope["method"] not in SAFE_METHODS
            ):
                _check_origin(headers)  # a browser may remember basic credentials as it does cookies
                receive = await _checked_form(headers, csrf, receive) if csrf else receive
        except OpsbookError as error:
            await _refuse(error, scope, headers, send)
            return
        actor = who.actor if who else "anonymous"
        mine = {"identity": who, "actor": actor, "security": self._security, "csrf": csrf}
        kept = [(name, value) for name, value in scope["headers"] if name.lower() != ACTOR]
        asked = {
            **scope,
            "headers": [*kept, (ACTOR, actor.encode())],
            "state": {**scope.get("state", {}), **mine},
        }
        if who is not None and who.via in REVOCABLE:

            async def known() -> bool:
                try:
                    return (await self._identify(scope["path"], headers))[0] == who
                except OpsbookError:
                    return False

            lasting = Lasting(receive, send, known)
            receive, send = lasting.receive, lasting.send
        await self._application(asked, receive, send)

    async def _identify(self, path: str, headers: Headers) -> tuple[Identity | None, str]:
        """Who it is, and their session's CSRF token; what is shown and is wrong is never passed over."""
        name = _name(headers.get(ACTOR, b""))
        if b"authorization" in headers:
            return await self._by_token(_token(path, headers), name), ""
        if self._owner_only:
            return local_operator(name), ""
        is_open = path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)
        if self._security is not None and (cookie := _cookie(headers.get(b"cookie", b""))):
            try:
                return await asyncio.to_thread(self._security.by_cookie, cookie)
            except NotSignedIn:
                if not is_open:
                    raise
        if is_open:
            return None, ""
        raise NotSignedIn(
            "a valid token is needed",
            hint="send `Authorization: Bearer TOKEN`; it is in the file `token` of the state folder, "
            "or your own: opsbook tokens create",
        )

    async def _by_token(self, given: bytes, name: str) -> Identity:
        if given:
            if hmac.compare_digest(given, self._token.encode()):
                operator = local_operator(name)
                return operator if self._owner_only else dataclasses.replace(operator, via="server-token")
            if self._security is not None and given.startswith(PREFIX.encode()):
                return await asyncio.to_thread(self._security.by_token, given.decode("latin-1"))
        raise NotSignedIn(
            "this is no valid token here",
            hint="one is in the file `token` of the state folder; your own: opsbook tokens create --for YOU",
        )

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


def _is_basic(headers: Headers) -> bool:
    return headers.get(b"authorization", b"").partition(b" ")[0].lower() == b"basic"


def _token(path: str, headers: Headers) -> bytes:
    """The token that is shown; empty if none. Where Prometheus' tools ask, it may be the password of any user."""
    scheme, _, given = headers[b"authorization"].partition(b" ")
    if scheme.lower() == b"bearer":
        return given.strip()
    if _is_basic(headers) and path.startswith(FOR_TOOLS):
        try:
            return base64.b64decode(given.strip(), validate=True).partition(b":")[2]
        except ValueError:
            return b""
    return b""


def _name(value: bytes) -> str:
    """A name fit for the journal: printable, on one line, of sensible length."""
    return re.sub(r"[^\w.@+ -]", "", value.decode("utf-8", "replace"))[:64].strip()


def _cookie(header: bytes) -> str:
    """The value of the session's cookie; a header that cannot be read holds none."""
    try:
        found = SimpleCookie(header.decode("latin-1")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _check_origin(headers: Headers) -> None:
    """Refuse what another page makes a browser send. Programs send no Origin, and need a token anyway."""
    origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site", b"none")
    ours = headers.get(b"host", b"").decode("latin-1").lower()
    foreign = site not in {b"same-origin", b"none"} if origin is None else _place(origin) != ours
    if foreign:
        raise NotAllowed("this request came from another page", hint="use opsbook's own pages")


def _place(origin: bytes) -> str:
    try:
        return urlsplit(origin.decode("latin-1")).netloc.lower()
    except ValueError:
        return ""


async def _checked_form(headers: Headers, csrf: str, receive: Receive) -> Receive:
    """`receive` again, once the CSRF token has been found in the header or in the form."""
    given = headers.get(CSRF_HEADER, b"").decode("latin-1")
    if not given and headers.get(b"content-type", b"").startswith(b"application/x-www-form-urlencoded"):
        body = await _body(receive)
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=1000)
        given = fields.get(CSRF_FIELD, [""])[0]
        receive = _again(body, receive)
    if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), csrf.encode()):
        raise NotAllowed("this form is not one of ours, or too old", hint="load the page again")
    return receive


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LARGEST_FORM:
            raise Invalid(f"a form may have {LARGEST_FORM // 1024} KiB")
        if message["type"] != "http.request" or not message.get("more_body"):
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body` once more, and then what really comes."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def repeated() -> MutableMapping[str, Any]:
        return messages.pop() if messages else await receive()

    return repeated


def _page_to_go_on_with(scope: Scope, headers: Headers) -> str:
    """Where a browser goes on after signing in: what it looked at, or the page of ours whose form it sent."""
    if scope["path"].startswith("/api/") or b"text/html" not in headers.get(b"accept", b""):
        return ""
    if scope["method"] in {"GET", "HEAD"}:
        return str(scope["path"])
    try:
        before = urlsplit(headers.get(b"referer", b"").decode("latin-1"))
    except ValueError:
        return ""
    return (
        before.path if before.netloc and before.netloc == headers.get(b"host", b"").decode("latin-1") else ""
    )


async def _refuse(error: OpsbookError, scope: Scope, headers: Headers, send: Send) -> None:
    if error.http_status == 401 and (page := _page_to_go_on_with(scope, headers)):
        target = f"/sign-in?next={quote(page, safe='/')}"
        start = {"type": "http.response.start", "status": 303, "headers": [(b"location", target.encode())]}
        await send(start)
        await send({"type": "http.response.body", "body": b""})
        return
    body = json.dumps({"error": error.to_json()}).encode()
    answer = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if error.http_status == 401:
        answer.append((b"www-authenticate", b'Bearer realm="opsbook"'))
        if scope["path"] == CALENDAR:  # a calendar asks for name and password only when it is told to
            answer.append((b"www-authenticate", b'Basic realm="opsbook"'))
    await send({"type": "http.response.start", "status": error.http_status, "headers": answer})
    await send({"type": "http.response.body", "body": body})
