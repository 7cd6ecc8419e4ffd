"""A web server on this machine whose every answer is written down beforehand."""

import struct
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SO_LINGER, SOL_SOCKET
from threading import Event, Thread

from tests.processes import PATIENCE


def whole(content):
    """The file, as it should be."""

    def answer(handler):
        _head(handler, len(content))
        handler.wfile.write(content)

    return answer


def half(content):
    """The connection is closed in the middle of the file."""

    def answer(handler):
        _head(handler, len(content))
        handler.wfile.write(content[: len(content) // 2])

    return answer


def cut(content):
    """The connection is reset in the middle of the file."""

    def answer(handler):
        half(content)(handler)
        # Linger for zero seconds: close with a reset instead of a good-bye.
        handler.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        handler.rfile.close()
        handler.connection.close()

    return answer


def halting(content, arrived, go_on):
    """Half of the file, and the rest when `go_on` is set."""

    def answer(handler):
        _head(handler, len(content))
        handler.wfile.write(content[: len(content) // 2])
        handler.wfile.flush()
        arrived.set()
        go_on.wait(PATIENCE)
        handler.wfile.write(content[len(content) // 2 :])

    return answer


def error(status):
    """The server refuses."""
    return lambda handler: handler.send_error(status)


def _head(handler, n_bytes):
    handler.send_response(200)
    handler.send_header("Content-Length", str(n_bytes))
    handler.end_headers()


class Loopback:
    """Answers the n-th request with the n-th answer, then for ever with the last."""

    def __init__(self):
        self.answers = []
        self.n_requests = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.n_requests += 1
                n = min(server.n_requests, len(server.answers))
                # In some tests the client goes away.
                with suppress(ConnectionError):
                    server.answers[n - 1](self)

            def log_message(self, *args):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/file"

    @contextmanager
    def running(self):
        thread = Thread(target=self._http.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self._http.shutdown()
            thread.join()
            self._http.server_close()


def events():
    """Two events for `halting`."""
    return Event(), Event()
