"""An HTTP proxy between a client and an S3 server that fails at a chosen request."""

from __future__ import annotations

import http.client
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from nightwell.store import StoreLocation


class Fault(StrEnum):
    """What happens to a request."""

    NONE = "none"
    LOSE_REQUEST = "lose request"  # the server never sees it; the client's connection is cut
    LOSE_ANSWER = "lose answer"  # the server does it; the client's connection is cut
    DONE_500 = "done, 500"  # the server does it; the client is told of a failure that it tries again
    DONE_400 = "done, 400"  # the server does it; the client is told of a failure that it does not try again
    UNDONE_400 = "undone, 400"  # the server never sees it; the client is told the same


@dataclass(frozen=True, slots=True)
class Request:
    """One request as a fault plan sees it; ``number`` counts from 1."""

    number: int
    method: str
    path: str


Plan = Callable[[Request], Fault]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that a killed client left behind."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # passed through as it came


class FaultProxy:
    """Forwards to one server, whatever the plan lets through. Change ``plan`` at any time."""

    def __init__(self, upstream: StoreLocation) -> None:
        self.plan: Plan = lambda _request: Fault.NONE
        self.requests: list[Request] = []
        self._upstream = urlsplit(upstream.endpoint_url)
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        address = f"http://127.0.0.1:{self._server.server_address[1]}"
        # A plan that fails for ever is met again and again for this long.
        self.location = replace(upstream, endpoint_url=address, outage_s=1.0)

    def reset(self) -> None:
        """Count from 1 again."""
        with self._lock:
            self.requests.clear()

    def note(self, method: str, path: str) -> Request:
        with self._lock:
            request = Request(len(self.requests) + 1, method, path)
            self.requests.append(request)
        return request

    def forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection(str(self._upstream.hostname), self._upstream.port or 80)
        try:
            connection.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
            for name, value in handler.headers.items():
                if name.lower() not in {"expect", "connection", "transfer-encoding", "content-length"}:
                    connection.putheader(name, value)
            connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def fault_proxy(upstream: StoreLocation) -> Iterator[FaultProxy]:
    """Run a proxy in front of a server."""
    proxy = FaultProxy(upstream)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()


_TOLD = {Fault.DONE_500: HTTPStatus.INTERNAL_SERVER_ERROR, Fault.DONE_400: HTTPStatus.BAD_REQUEST}


def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            fault = proxy.plan(proxy.note(self.command, self.path))
            if fault is Fault.LOSE_REQUEST:
                self.close_connection = True
                return
            if fault is Fault.UNDONE_400:
                self.send_response_only(HTTPStatus.BAD_REQUEST)
                self.send_header("content-length", "0")
                self.end_headers()
                return
            response, answer = proxy.forward(self, body)
            if fault is Fault.LOSE_ANSWER:
                self.close_connection = True
                return
            status = _TOLD.get(fault, response.status)
            self.send_response_only(status)
            for name, value in response.getheaders():
                if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                    self.send_header(name, value)
            length = response.getheader("content-length", "0") if self.command == "HEAD" else str(len(answer))
            self.send_header("content-length", length)
            with suppress(OSError):  # a client that was killed meanwhile does not read its answer
                self.end_headers()
                self.wfile.write(answer)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle  # noqa: N815 - the base class names them so

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            return

    return Handler
