"""One HTTP GET at a time over a kept connection that never blocks: the scraper waits for many at once.

h11 does the protocol; here are the socket, with TLS where wanted, the limits, and the second try when a kept connection
turns out closed.
"""

from __future__ import annotations

import os
import selectors
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache

import h11

from opsbook.errors import Failed, Unreachable
from opsbook.world.words import Address, Tls

_CHUNK = 256 * 1024
_ACCEPT = "text/plain;version=0.0.4;q=0.9, application/openmetrics-text;version=1.0.0;q=0.5, */*;q=0.1"


def resolve(address: Address) -> Address:
    """The address with a numeric host. Asks the name service, so it may take seconds.

    Raises:
        Unreachable: the name does not exist.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unreachable(
            f"{address.host} cannot be resolved: {error.strerror}", where=str(address)
        ) from error
    return Address(str(found[0][4][0]), address.port)


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Checks servers as `tls` says; read anew when its file has changed.

    Raises:
        Unreachable: the file is not there, or has no certificates.
    """
    try:
        changed = tls.ca.stat().st_mtime_ns if tls.ca is not None else 0
        return _context(tls, changed)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or str(error)
        raise Unreachable(f"the certificates cannot be read: {reason}", where=str(tls.ca)) from error


@lru_cache(64)
def _context(tls: Tls, _changed: int) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=None if tls.ca is None else str(tls.ca))
    if tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Connection:
    """A connection to one target.

    `begin` a request, then `advance` whenever `selector` reports the connection, until it returns the body. After
    an error, or to give up, `close`; the next `begin` connects anew.

    Args:
        address: where to, with a numeric host (see `resolve`).
        path: what to get.
        selector: where the connection waits; its keys have this object as ``data``.
        max_bytes: a longer body is an error.
        tls: None: without. name: of the server, for its certificate and the header Host.
        headers: sent with every request.
    """

    def __init__(
        self,
        address: Address,
        path: str,
        *,
        selector: selectors.BaseSelector,
        max_bytes: int = 10 * 1024 * 1024,
        tls: ssl.SSLContext | None = None,
        name: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.address = address
        self.path = path
        self._selector = selector
        self._max_bytes = max_bytes
        self._tls = tls
        self._name = name
        self._headers = tuple((headers or {}).items())
        self._socket: socket.socket | None = None
        self._greeted = False  # the connection stands, and with TLS both know each other
        self._watched = 0
        self._protocol = h11.Connection(h11.CLIENT)
        self._unsent = b""
        self._status = 0
        self._parts: list[bytes] = []
        self._received = 0  # bytes of the body
        self._reused = False  # the target may have closed the connection since its last answer

    def begin(self) -> None:
        """Send the request, on the kept connection if there is one.

        Raises:
            Unreachable: nobody listens there.
        """
        self._parts, self._received, self._status = [], 0, 0
        self._reused = self._socket is not None
        try:
            if self._socket is None:
                self._connect()
            self._unsent = self._request()
            if self._greeted:
                self._send()
            else:
                self._watch(selectors.EVENT_WRITE)
        except OSError as error:
            self._again_or_raise(error)

    def advance(self) -> bytes | None:
        """Go on as far as possible without waiting.

        Returns:
            The body once it is complete, until then None.

        Raises:
            Unreachable: the connection was refused or ended.
            Failed: the answer is no 200, too large, encoded, or no HTTP.
        """
        assert self._socket is not None
        try:
            if not self._greeted and not self._greet():
                return None
            if self._unsent:
                self._send()
                return None
            data = self._receive()
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except ssl.SSLWantWriteError:
            self._watch(selectors.EVENT_WRITE)
            return None
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise Unreachable(
                f"its certificate is refused: {error.verify_message}", where=self._where
            ) from error
        except OSError as error:
            self._again_or_raise(error)
            return None
        if not data and not self._status:
            self._again_or_raise(ConnectionResetError("closed without an answer"))
            return None
        try:
            self._protocol.receive_data(data)
            return self._take_events()
        except h11.RemoteProtocolError as error:
            raise Failed(f"the answer is not valid HTTP: {error}", where=self._where) from error

    def close(self) -> None:
        """Give up what is under way and forget the connection."""
        self._watch(0)
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @property
    def _where(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://{self._host}{self.path}"

    @property
    def _host(self) -> str:
        host = self._name or self.address.host
        return f"[{host}]:{self.address.port}" if ":" in host else f"{host}:{self.address.port}"

    def _connect(self) -> None:
        family = socket.AF_INET6 if ":" in self.address.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._protocol = h11.Connection(h11.CLIENT)
        self._greeted = False
        with suppress(BlockingIOError):  # under way; it becomes writable when it stands or has failed
            self._socket.connect((self.address.host, self.address.port))

    def _greet(self) -> bool:
        """Go on with what comes before the first request; whether it is over."""
        assert self._socket is not None
        if not isinstance(self._socket, ssl.SSLSocket):
            failed = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failed:
                raise OSError(failed, os.strerror(failed))
            if self._tls is None:
                self._greeted = True
                return True
            self._watch(0)  # the wrapped socket has the same number, but is another object
            name = self._name or self.address.host
            self._socket = self._tls.wrap_socket(
                self._socket, server_hostname=name, do_handshake_on_connect=False
            )
        assert isinstance(self._socket, ssl.SSLSocket)
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            self._watch(selectors.EVENT_READ)
            return False
        except ssl.SSLWantWriteError:
            self._watch(selectors.EVENT_WRITE)
            return False
        self._greeted = True
        return True

    def _receive(self) -> bytes:
        """What is there; nothing when the other end closed."""
        assert self._socket is not None
        data = self._socket.recv(_CHUNK)
        if isinstance(self._socket, ssl.SSLSocket):
            parts = [data]
            while self._socket.pending():  # was read from the socket already, so nobody will report it
                parts.append(self._socket.recv(_CHUNK))
            data = b"".join(parts)
        return data

    def _request(self) -> bytes:
        headers = [
            ("Host", self._host),
            ("Accept", _ACCEPT),
            ("Accept-Encoding", "identity"),
            ("User-Agent", "opsbook"),
            *self._headers,
        ]
        head = self._protocol.send(h11.Request(method="GET", target=self.path, headers=headers)) or b""
        return head + (self._protocol.send(h11.EndOfMessage()) or b"")

    def _send(self) -> None:
        assert self._socket is not None
        with suppress(BlockingIOError, ssl.SSLWantWriteError):
            sent = self._socket.send(self._unsent)
            self._unsent = self._unsent[sent:]
        self._watch(selectors.EVENT_WRITE if self._unsent else selectors.EVENT_READ)

    def _again_or_raise(self, error: OSError) -> None:
        """A kept connection may have been closed while it was idle: that says nothing about the target, so try anew."""
        self.close()
        if not self._reused or self._status:
            raise Unreachable(_reason(error), where=self._where) from error
        self.begin()

    def _take_events(self) -> bytes | None:
        while True:
            event = self._protocol.next_event()
            if event is h11.NEED_DATA:
                return None
            if isinstance(event, h11.Response):
                self._check(event)
            elif isinstance(event, h11.Data):
                self._parts.append(bytes(event.data))
                self._received += len(event.data)
                self._check_size(self._received)
            elif isinstance(event, h11.EndOfMessage):
                return self._finish()
            elif isinstance(event, h11.ConnectionClosed):
                raise Failed("the answer ended too early", where=self._where)

    def _check(self, response: h11.Response) -> None:
        self._status = response.status_code
        if response.status_code != 200:
            raise Failed(f"the answer is {response.status_code}, not 200", where=self._where)
        for name, value in response.headers:
            if name == b"content-length":
                self._check_size(int(value))
            elif name == b"content-encoding" and value.lower() != b"identity":
                raise Failed(f"the answer is encoded ({value.decode('latin-1')}), unasked", where=self._where)

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise Failed(
                f"the answer is larger than {self._max_bytes} bytes",
                hint="expose fewer series",
                where=self._where,
            )

    def _finish(self) -> bytes:
        body = b"".join(self._parts)
        self._parts = []
        self._watch(0)
        if self._protocol.our_state is h11.DONE and self._protocol.their_state is h11.DONE:
            self._protocol.start_next_cycle()
        else:
            self.close()
        return body

    def _watch(self, wanted: int) -> None:
        if wanted == self._watched:
            return
        assert self._socket is not None
        if not wanted:
            self._selector.unregister(self._socket)
        elif self._watched:
            self._selector.modify(self._socket, wanted, self)
        else:
            self._selector.register(self._socket, wanted, self)
        self._watched = wanted


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"TLS: {error.reason.lower().replace('_', ' ')}"
    reason = error.strerror or str(error) or type(error).__name__
    return reason[:1].lower() + reason[1:]
