"""One HTTP request, for its status only."""

from __future__ import annotations

import http.client
from contextlib import suppress
from urllib.parse import urlsplit

from opsbook.errors import Invalid, Unreachable

_BODY = 64 * 1024


def status_of(method: str, url: str, *, timeout: float) -> int:
    """The status that `url` answers with; redirects are not followed.

    Args:
        timeout: seconds for each step of it.

    Raises:
        Invalid: no HTTP address. Unreachable: nobody answers there, or not in time.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Invalid(f"expected an http or https address, got {url!r}")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=timeout)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(method, target, headers={"User-Agent": "opsbook-check", "Connection": "close"})
        response = connection.getresponse()
        with suppress(OSError, http.client.HTTPException):
            response.read1(_BODY)  # a server whose answer is not taken logs a broken pipe each time
        return response.status
    except TimeoutError as error:
        raise Unreachable(f"no answer within {timeout:g} s", where=url) from error
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"no answer: {error or type(error).__name__}", where=url) from error
    finally:
        connection.close()
