"""A threaded HTTP/1.1 server that stops without losing a request."""

from __future__ import annotations

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LAST_REQUESTS = 0.5  # seconds


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept and used again
    wbufsize = -1  # headers and body leave in one packet
    disable_nagle_algorithm = True
    server: Server

    def answer(self, status: int, content_type: str, body: bytes, headers: dict[str, str]) -> None:
        """Send the whole response; the connection's last one when the server stops."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        if self.server.stopping.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)
        if self.server.stopping.is_set():
            self.server.read_no_more(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def log_message(self, *args: object) -> None:
        """Requests are counted by the proxy; a line for each would only fill the log."""


class Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for the requests under way
    request_queue_size = 512

    def __init__(self, port: int, handler: type[Handler]) -> None:
        self.stopping = threading.Event()
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), handler)

    def serve(self) -> None:
        """Serve until `stop`; return when every request that had arrived has been answered."""
        self.serve_forever(poll_interval=0.05)
        self._accept_the_waiting()
        self.server_close()

    def stop(self) -> None:
        """Accept nothing more. May be called from a signal handler."""
        threading.Thread(target=self._stop).start()

    def _stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        # Connections in use end by themselves, with the `Connection: close` of their next answer. Only those that are
        # left then, unused, are closed by us: on a busy one a request might come just as we do.
        deadline = time.monotonic() + LAST_REQUESTS
        while self.connections and time.monotonic() < deadline:
            time.sleep(0.02)
        for connection in list(self.connections):
            self.read_no_more(connection)

    def _accept_the_waiting(self) -> None:
        """Serve the connections that the system has accepted for us; closing the listener would reset them."""
        self.socket.setblocking(False)
        while True:
            try:
                request, client = self.get_request()
            except OSError:
                return
            request.setblocking(True)
            self.process_request(request, client)

    def read_no_more(self, connection: socket.socket) -> None:
        """Let its handler see the end after what has already arrived."""
        try:
            connection.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # its client has gone already

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is no event."""
