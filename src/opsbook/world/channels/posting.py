"""A POST of JSON that cannot take for ever."""

from __future__ import annotations

import ssl
import time
from functools import cache
from typing import TYPE_CHECKING

from opsbook.errors import Unreachable
from opsbook.world.channels.words import Refused

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS, STEP_SECONDS, WHOLE_SECONDS = 5.0, 10.0, 30.0
_ANSWER = 4096  # bytes of an answer that are looked at
_LATER = frozenset({401, 403, 404, 407, 408, 425, 429})  # may be mended without a change of the message


@cache
def trust() -> ssl.SSLContext:
    """Whom certificates are vouched for by. Reading them takes a tenth of a second: once, before the first alert."""
    import httpx

    return httpx.create_ssl_context()


def prepare() -> None:
    """Do what the first request would wait for: certificates, and what httpx imports only when it is used."""
    import httpx

    answer = httpx.MockTransport(lambda request: httpx.Response(200))
    with httpx.HTTPTransport(verify=trust()), httpx.Client(verify=trust(), transport=answer) as client:
        client.post("http://localhost/", content=b"")


class Posting:
    """A connection that is kept, and what its answers mean."""

    def __init__(self) -> None:
        self._client: httpx.Client | None = None

    def post(self, url: str, body: bytes, headers: dict[str, str]) -> str:
        """What was answered, in a few words.

        Raises:
            Unreachable, Refused: see `Sender.send`. Neither has the URL in it, which may hold a secret.
        """
        import httpx

        try:
            return self._post(url, body, headers)
        except httpx.TimeoutException as error:
            raise Unreachable(f"no answer within {STEP_SECONDS:g} s") from error
        except httpx.InvalidURL as error:
            raise Refused("this is no URL", hint="look at the channel in opsbook.yaml") from error
        except httpx.HTTPError as error:
            self.close()
            raise Unreachable(f"no answer: {error or type(error).__name__}") from error

    def _post(self, url: str, body: bytes, headers: dict[str, str]) -> str:
        import httpx

        if self._client is None:
            self._client = httpx.Client(
                verify=trust(),
                timeout=httpx.Timeout(STEP_SECONDS, connect=CONNECT_SECONDS),
                follow_redirects=False,
            )
        began = time.monotonic()
        said = b""
        with self._client.stream("POST", url, content=body, headers=headers) as response:
            for chunk in response.iter_bytes():
                said = (said + chunk)[:_ANSWER]
                if time.monotonic() - began > WHOLE_SECONDS or len(said) >= _ANSWER:
                    break
        words = f"{response.status_code} {response.reason_phrase}".strip()
        text = " ".join(said.decode("utf-8", "replace").split())[:300]
        answer = f"{words}: {text}" if text else words
        if response.is_success:
            return answer
        if response.status_code in _LATER or response.status_code >= 500:
            raise Unreachable(
                f"the answer was {answer}", details=_wait(response.headers.get("retry-after", ""))
            )
        raise Refused(f"the answer was {answer}")

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _wait(after: str) -> dict[str, float]:
    return {"after": float(after)} if after.isascii() and after.isdigit() and len(after) < 6 else {}
