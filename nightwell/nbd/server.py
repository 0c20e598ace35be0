"""The NBD server: one thread per connection over a table of exports."""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket
import ssl
import threading
import time
from pathlib import Path

from nightwell.errors import InputError
from nightwell.nbd.backend import Backend, ExportTable
from nightwell.nbd.handshake import Handshake, Session
from nightwell.nbd.registry import ConnectionRegistry
from nightwell.nbd.stream import Stream, StreamError
from nightwell.nbd.tls import TlsFiles, server_context
from nightwell.nbd.transmission import Transmission
from nightwell.nbd.wire import MalformedError

__all__ = ["Backend", "ExportTable", "NbdServer"]

_log = logging.getLogger(__name__)

_BACKLOG = 64
_EXHAUSTED_PAUSE_S = 0.1
_UNACKNOWLEDGED_S = 120.0  # a reader that only pauses for a while must not be cut


class NbdServer:
    """Serves a table of exports over TCP and, when asked, a Unix socket.

    Parameters
    ----------
    table
        The exports; asked anew for every connection.
    host, port
        TCP address to listen on; port 0 lets the system choose. An empty host means no TCP.
    unix_path
        Path of a Unix socket to listen on as well; a socket left over there is replaced.
    tls
        When given, a client must start TLS with a certificate of this CA before it learns anything.
    handshake_s
        Time in which a client must have chosen its export, in seconds.
    max_connections
        Further connections are closed at once.
    """

    def __init__(
        self,
        table: ExportTable,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        unix_path: Path | None = None,
        tls: TlsFiles | None = None,
        handshake_s: float = 10.0,
        max_connections: int = 256,
    ) -> None:
        self._table = table
        self._host = host
        self._port = port
        self._unix_path = unix_path
        self._tls = server_context(tls) if tls is not None else None
        self._handshake_s = handshake_s
        self._max_connections = max_connections
        self._registry = ConnectionRegistry()
        self._listeners: list[socket.socket] = []
        self._address: tuple[str, int] = (host, port)
        self._wake: socket.socket | None = None
        self._acceptor: threading.Thread | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that the server listens on; known after :meth:`start`."""
        return self._address

    def start(self) -> None:
        """Listen and serve from threads of its own.

        Raises
        ------
        InputError
            The address or the socket's path cannot be used.
        """
        try:
            if self._host:
                listener = socket.create_server((self._host, self._port), family=_family(self._host), backlog=_BACKLOG)
                self._listeners.append(listener)
                self._address = (self._host, int(listener.getsockname()[1]))
            if self._unix_path is not None:
                self._listeners.append(_listen_unix(self._unix_path))
        except OSError as error:
            self._close_listeners()
            raise _cannot_listen(self._host, self._port, self._unix_path, error) from error
        self._wake, waker = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept, args=(waker,), name="nbd-accept", daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        """Stop listening, cut every connection, and wait until no request is in flight."""
        if self._wake is not None and self._acceptor is not None:
            self._wake.close()
            self._acceptor.join()
            self._wake = None
        self._registry.disconnect_all()

    def disconnect(self, export_name: str) -> None:
        """Cut the connections of an export; returns when none of their requests is in flight.

        Take the export from the table first, else a client may come back at once.
        """
        self._registry.disconnect(export_name)

    def connections(self, export_name: str) -> int:
        """Return how many connections hold an export open."""
        return self._registry.count(export_name)

    def _accept(self, waker: socket.socket) -> None:
        with selectors.DefaultSelector() as selector, waker:
            selector.register(waker, selectors.EVENT_READ)
            for listener in self._listeners:
                listener.settimeout(0)
                selector.register(listener, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if waker in ready:
                    break
                for listener in self._listeners:
                    if listener in ready:
                        self._welcome(listener)
        self._close_listeners()

    def _welcome(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError as error:  # the client is gone again, or we are out of descriptors: go on with the others
            _log.debug("NBD accept failed: %s", error)
            if error.errno in (errno.EMFILE, errno.ENFILE):
                time.sleep(_EXHAUSTED_PAUSE_S)  # the client still waits in the queue: do not spin on it
            return
        try:
            stream = Stream(sock, timeout_s=None, unacknowledged_s=_UNACKNOWLEDGED_S)
        except OSError:
            sock.close()
            return
        connection = _Connection(stream, self._table, self._registry, self._tls, self._handshake_s)
        if not self._registry.add(connection, self._max_connections):
            _log.warning("NBD connection refused: %d are open", self._max_connections)
            stream.close()
            return
        try:
            threading.Thread(target=connection.run, name="nbd-connection", daemon=True).start()
        except RuntimeError:  # no more threads; those who are served must stay so
            _log.warning("NBD connection refused: no thread for it")
            stream.close()
            self._registry.remove(connection)

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()
            if listener.family == socket.AF_UNIX and self._unix_path is not None:
                self._unix_path.unlink(missing_ok=True)
        self._listeners.clear()


class _Connection:
    """One client's connection, from its greeting to its end; lives on a thread of its own."""

    def __init__(
        self,
        stream: Stream,
        table: ExportTable,
        registry: ConnectionRegistry,
        tls: ssl.SSLContext | None,
        handshake_s: float,
    ) -> None:
        self._stream = stream
        self._table = table
        self._registry = registry
        self._tls = tls
        self._handshake_s = handshake_s
        self._opened: tuple[str, Backend] | None = None

    def run(self) -> None:
        """Serve the client until it leaves, misbehaves, or is cut."""
        try:
            session = self._shake_hands()
            if session is not None:
                Transmission(self._stream, session).run()
        except (StreamError, MalformedError) as error:
            _log.debug("NBD connection ended: %s", error)
        except Exception:  # noqa: BLE001 - one connection's defect is logged, and stops no other
            _log.exception("NBD connection failed")
        finally:
            self._stream.abort()
            self._close_export()
            self._stream.close()
            self._registry.remove(self)

    def abort(self) -> None:
        """Cut the connection from any thread."""
        self._stream.abort()

    def names(self) -> tuple[str, ...]:
        """Return the names that a client may list."""
        return self._table.names()

    def open(self, name: str) -> Backend:
        """Open an export, or return it when this connection has it open."""
        if self._opened is not None and self._opened[0] == name:
            return self._opened[1]
        self._close_export()
        self._registry.bind(self, name)
        started_s = time.monotonic()
        try:
            backend = self._table.open(name)
        except BaseException:
            self._registry.unbind(self)
            raise
        self._opened = (name, backend)
        self._stream.extend_deadline(time.monotonic() - started_s)  # the deadline is for the client, not for the table
        return backend

    def _shake_hands(self) -> Session | None:
        self._stream.set_deadline(self._handshake_s)
        session = Handshake(self._stream, self, self._tls).run()
        self._stream.set_deadline(None)
        return session

    def _close_export(self) -> None:
        if self._opened is None:
            return
        _, backend = self._opened
        self._opened = None
        try:
            backend.close()
        except Exception:  # noqa: BLE001 - the connection must leave the registry, or a withdrawal waits for ever
            _log.exception("NBD backend did not close")
        self._registry.unbind(self)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _listen_unix(path: Path) -> socket.socket:
    if path.is_socket():
        _remove_leftover(path)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(0o600)  # who may connect is who may read the volumes
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_leftover(path: Path) -> None:
    """Remove the socket of a server that is no more; OSError(EADDRINUSE) when one still listens there."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _cannot_listen(host: str, port: int, unix_path: Path | None, error: OSError) -> InputError:
    where = f"{host}:{port}" if unix_path is None else f"{host}:{port} and {unix_path}"
    return InputError(
        f"NBD server at {where}",
        expected="an address of this machine that nobody listens on",
        found=str(error),
        cause="another program uses the address, or it is not this machine's",
        next_step="choose another port (0 lets the system choose) or another socket path",
    )
