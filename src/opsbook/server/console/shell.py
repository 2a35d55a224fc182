"""What every page stands on: rendering whole, and rendering again only what lives.

That a form came from a page of ours is checked in front of all routes, by `opsbook.server.access`.
"""

from __future__ import annotations

import gzip
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

import jinja2
from fastapi import Request, Response
from fastapi.responses import RedirectResponse

import opsbook
from opsbook.errors import NotFound
from opsbook.security.model import Identity, NotSignedIn
from opsbook.server.console.assets import Assets
from opsbook.server.console.live import Live
from opsbook.server.console.words import FILTERS

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with less, browsers would send forms without their origin
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
PACKED_FROM = 1400  # bytes; below, one packet carries it anyway
REGIONS = 256
STALE_SECONDS = 2.0  # the longest that a region is handed out again without making it anew

Make = Callable[[], Mapping[str, Any]]
Place = tuple[str, ...]


class Shell:
    """Renders pages.

    Args:
        templates: the rooms' template folders, beside the shell's own.
        name: of the handbook, at this moment.
        watching: there are pages about what is watched. responding: and about runbooks and incidents.
    """

    def __init__(
        self,
        templates: Iterable[str],
        assets: Assets,
        live: Live,
        name: Callable[[], str],
        watching: bool = False,
        responding: bool = False,
    ) -> None:
        loaders = [jinja2.PackageLoader(package, "templates") for package in (__package__, *templates)]
        self._environment = jinja2.Environment(
            loader=jinja2.ChoiceLoader(loaders),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= FILTERS
        self._environment.globals |= {
            "asset": assets.url,
            "vendored": assets.vendored,
            "watching": watching,
            "responding": responding,
        }
        # As a global: a region is rendered by itself, without the imports at the top of its template.
        self._environment.globals["ui"] = self._environment.get_template("macros.html").module
        self._live = live
        self._name = name
        self._regions: OrderedDict[tuple[Any, ...], tuple[int, float, _Body]] = OrderedDict()
        self._guard = threading.Lock()
        self._making = [threading.Lock() for _ in range(16)]

    def page(
        self,
        request: Request,
        template: str,
        make: Make,
        *,
        topics: Place = (),
        status: int = 200,
        whole: bool = False,
    ) -> Response:
        """The page; with ``?region=live`` its live part alone, made once for all who may do the same; with
        ``?region=sheet`` what a sheet over another page shows, made anew each time for it holds a form.

        Args:
            make: what the template shows; called only when it must be rendered.
            topics: the page is told when one of them changes.
            whole: also when only a region was asked for.
        """
        region = None if whole else request.query_params.get("region")
        if region == "live":
            body = self._region(request, template, make, topics)
        elif region == "sheet":
            body = self._block(request, template, make, topics, region)
        else:
            body = _Body(
                self._environment.get_template(template).render({**self._around(request, topics), **make()})
            )
        return _answer(request, body, status)

    def see_other(self, path: str) -> Response:
        """After a form: the page that shows what came of it."""
        return RedirectResponse(path, status_code=303, headers=HEADERS)

    # --- rendering

    def _around(self, request: Request, topics: Place) -> dict[str, Any]:
        identity = getattr(request.state, "identity", None)
        return {
            "identity": identity if isinstance(identity, Identity) else None,
            "csrf": csrf(request),
            "handbook_name": self._name(),
            "opsbook_version": opsbook.__version__,
            "path": request.url.path,
            "address": _address(request),
            "topics": topics,
        }

    def _region(self, request: Request, template: str, make: Make, topics: Place) -> _Body:
        identity = who(request)
        key = (_address(request), identity.name, identity.authenticated, identity.narrowed, identity.grants)
        if (found := self._kept(key, topics)) is not None:
            return found
        with self._making[
            hash(key) % len(self._making)
        ]:  # fifty pages that were told at once wait for one of them
            if (found := self._kept(key, topics)) is not None:
                return found
            version = self._live.version(topics)  # before it is made: what comes meanwhile is another version
            now = time.monotonic()
            body = self._block(request, template, make, topics, "live")
            with self._guard:
                self._regions[key] = (version, now, body)
                self._regions.move_to_end(key)
                while len(self._regions) > REGIONS:
                    self._regions.popitem(last=False)
            return body

    def _kept(self, key: tuple[Any, ...], topics: Place) -> _Body | None:
        """The region as it was made last, if nothing has changed since."""
        with self._guard:
            found = self._regions.get(key)
        fresh = found is not None and found[0] == self._live.version(topics)
        return (
            found[2] if found is not None and fresh and time.monotonic() - found[1] < STALE_SECONDS else None
        )

    def _block(self, request: Request, template: str, make: Make, topics: Place, name: str) -> _Body:
        loaded = self._environment.get_template(template)
        if name not in loaded.blocks:
            raise NotFound(f"this page has no region {name}", where=request.url.path)
        around = self._around(request, topics)
        if name == "live":
            around["csrf"] = ""  # made once for several sessions: there are no forms in it
        context = loaded.new_context({**around, **make()})
        return _Body("".join(loaded.blocks[name](context)))


class _Body:
    """Rendered text, its ETag, and its packed form once somebody wants that."""

    __slots__ = ("_packed", "content", "etag")

    def __init__(self, text: str) -> None:
        self.content = text.encode()
        self.etag = f'W/"{hashlib.blake2b(self.content, digest_size=12).hexdigest()}"'
        self._packed: bytes | None = None

    def packed(self) -> bytes:
        if self._packed is None:
            self._packed = gzip.compress(self.content, 4, mtime=0)
        return self._packed


def _answer(request: Request, body: _Body, status: int) -> Response:
    headers = {
        **HEADERS,
        "ETag": body.etag,
        "Cache-Control": "private, no-cache",
        "Vary": "Accept-Encoding, Cookie",
    }
    if status == 200 and request.headers.get("if-none-match") == body.etag:
        return Response(status_code=304, headers=headers)
    content = body.content
    if len(content) >= PACKED_FROM and "gzip" in request.headers.get("accept-encoding", ""):
        content, headers["Content-Encoding"] = body.packed(), "gzip"
    return Response(content, status, headers, media_type="text/html")


def _address(request: Request) -> str:
    """Path and query of the page itself, without what asks for a part of it."""
    query = [(k, v) for k, v in request.query_params.multi_items() if k != "region" and v]
    joined = "&".join(f"{quote(k)}={quote(v, safe='')}" for k, v in query)
    return quote(request.url.path) + (f"?{joined}" if joined else "")


def who(request: Request) -> Identity:
    """Who is asking. Raises NotSignedIn."""
    found = getattr(request.state, "identity", None)
    if not isinstance(found, Identity):
        raise NotSignedIn("you are not signed in", hint="opsbook login-link")
    return found


def csrf(request: Request) -> str:
    """What forms of this session carry; empty without a session."""
    return str(getattr(request.state, "csrf", "") or "")
