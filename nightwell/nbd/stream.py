"""A byte stream over one socket: whole messages in and out, timeouts that hold, TLS on the way.

A silent cut of the line raises nothing by itself, so every stream has keep-alive with short timers, a bound on
unacknowledged data, and (on the client) a bound on waiting. All failures come out as :class:`StreamError`, which is
not an OSError on purpose: an OSError that a server's backend raises must never be taken for a broken line.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
import time
from contextlib import suppress

_KEEPALIVE_IDLE_S = 5
_KEEPALIVE_INTERVAL_S = 2
_KEEPALIVE_PROBES = 3
_JOIN_BYTES = 64 << 10
_TIMEVAL = struct.Struct("@ll")
_DRAIN_BYTES = 256 << 10


class StreamError(Exception):
    """The stream cannot be used any more."""


class StreamEndError(StreamError):
    """The peer closed the connection."""


class StreamTimeoutError(StreamError):
    """The peer did not answer in time."""


class StreamTlsError(StreamError):
    """TLS refused the peer, or the peer refused us."""


class StreamTlsExpiredError(StreamTlsError):
    """The peer's certificate was good, and is no longer."""


class Stream:
    """One connected socket.

    Parameters
    ----------
    sock
        A connected TCP or Unix socket; the stream owns it from now on.
    timeout_s
        Longest time without any progress, in seconds; ``None`` waits for ever.
    unacknowledged_s
        Longest time that sent data may stay unacknowledged (TCP only), in seconds.
    """

    __slots__ = ("_aborted", "_deadline_s", "_secure", "_socket", "_timeout_s")

    def __init__(self, sock: socket.socket, *, timeout_s: float | None, unacknowledged_s: float) -> None:
        self._socket = sock
        self._secure = False
        self._aborted = False
        self._timeout_s = timeout_s
        self._deadline_s: float | None = None
        if sock.family != socket.AF_UNIX:
            _tune(sock, unacknowledged_s)
        sock.settimeout(None)
        self._wait_at_most(timeout_s)

    @property
    def secure(self) -> bool:
        """TLS is on."""
        return self._secure

    def set_deadline(self, seconds: float | None) -> None:
        """Let everything from now on take ``seconds`` in all; ``None`` goes back to the stream's own timeout."""
        if seconds is None:
            self._deadline_s = None
            self._wait_at_most(self._timeout_s)
        else:
            self._deadline_s = time.monotonic() + seconds
            self._wait_at_most(seconds)

    def extend_deadline(self, seconds: float) -> None:
        """Give a deadline so many seconds more, which this side took for itself."""
        if self._deadline_s is not None:
            self._deadline_s += seconds

    def receive_into(self, view: memoryview) -> None:
        """Fill ``view`` (bytes) from the peer."""
        while len(view):
            self._check_deadline()
            try:
                # On a plain socket one call waits for all; TLS hands out one record at a time.
                count = self._socket.recv_into(view, 0, 0 if self._secure else socket.MSG_WAITALL)
            except OSError as error:
                raise _translate(error) from error
            if not count:
                raise StreamEndError("the connection was closed")
            view = view[count:]

    def receive(self, count: int) -> bytes:
        """Return exactly ``count`` bytes from the peer."""
        buffer = bytearray(count)
        self.receive_into(memoryview(buffer))
        return bytes(buffer)

    def drain(self, count: int) -> None:
        """Take ``count`` bytes from the peer and forget them, in little memory."""
        buffer = memoryview(bytearray(min(count, _DRAIN_BYTES)))
        while count:
            piece = buffer[: min(count, len(buffer))]
            self.receive_into(piece)
            count -= len(piece)

    def send(self, *parts: bytes | memoryview) -> None:
        """Send all parts, one after another, without joining large ones."""
        try:
            if self._secure:
                self._send_secure(parts)
            else:
                self._send_plain(parts)
        except OSError as error:
            raise _translate(error) from error

    def send_file(self, header: bytes, descriptor: int, offset_bytes: int, length_bytes: int) -> None:
        """Send ``header`` and then a piece of a file, which the kernel copies without us. Not with TLS."""
        assert not self._secure
        try:
            self._socket.sendall(header, socket.MSG_MORE)
            target = self._socket.fileno()
            while length_bytes:
                count = os.sendfile(target, descriptor, offset_bytes, length_bytes)
                if not count:
                    raise StreamError("the file ended inside a reply")
                offset_bytes += count
                length_bytes -= count
        except OSError as error:
            raise _translate(error) from error

    def start_tls(self, context: ssl.SSLContext, *, server_side: bool, host: str | None) -> None:
        """Put TLS on the stream; ``host`` is the name that a server's certificate must carry."""
        try:
            self._wait_at_most(None)  # a kernel timeout left on the socket would make TLS spin
            self._socket = context.wrap_socket(
                self._socket, server_side=server_side, server_hostname=host, do_handshake_on_connect=False
            )
            self._secure = True
            if self._aborted:  # abort() may have met the old, now empty, socket object
                raise StreamEndError("the connection was closed")
            self._wait_at_most(self._timeout_s)
            self._check_deadline()
            self._socket.do_handshake()
        except OSError as error:
            raise _translate(error) from error

    def abort(self) -> None:
        """Cut the connection from any thread; whoever waits on it gets a StreamError."""
        self._aborted = True
        with suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # past SSLSocket's own, which drops its TLS state

    def close(self) -> None:
        """Close the socket; only the thread that uses the stream may call this."""
        with suppress(OSError):
            self._socket.close()

    def _send_plain(self, parts: tuple[bytes | memoryview, ...]) -> None:
        views = [memoryview(part) for part in parts if len(part)]
        while views:
            count = self._socket.sendmsg(views)
            while views and count >= len(views[0]):
                count -= len(views.pop(0))
            if count:
                views[0] = views[0][count:]

    def _send_secure(self, parts: tuple[bytes | memoryview, ...]) -> None:
        if sum(map(len, parts)) <= _JOIN_BYTES:
            self._socket.sendall(b"".join(parts))
            return
        for part in parts:
            self._socket.sendall(part)

    def _check_deadline(self) -> None:
        if self._deadline_s is None:
            return
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise StreamTimeoutError("the deadline has passed")
        self._wait_at_most(left_s)

    def _wait_at_most(self, seconds: float | None) -> None:
        if self._secure:
            self._socket.settimeout(seconds)
            return
        # Kernel timeouts, not Python's: a Python timeout costs a poll() before each call and excludes MSG_WAITALL.
        whole, part = divmod(max(seconds, 0.001), 1) if seconds is not None else (0, 0)
        value = _TIMEVAL.pack(int(whole), int(part * 1e6))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)


def _tune(sock: socket.socket, unacknowledged_s: float) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(unacknowledged_s * 1000))


_EXPIRED = 10  # OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED


def _translate(error: OSError) -> StreamError:
    if isinstance(error, BlockingIOError | TimeoutError):
        return StreamTimeoutError("no answer in time")
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return StreamEndError("the connection was closed")
    if isinstance(error, ssl.SSLCertVerificationError):
        kind = StreamTlsExpiredError if error.verify_code == _EXPIRED else StreamTlsError
        return kind(f"{error.reason}: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return StreamTlsError(error.reason or str(error))
    if isinstance(error, ConnectionError | BrokenPipeError):
        return StreamEndError(error.strerror or str(error))
    return StreamError(str(error))
