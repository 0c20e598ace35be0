"""An NBD server as one virtual server may see it: one export by name, no list, and no certificate to hold.

Stands between the virtual server and the array. It takes part in the option haggling, where names are spoken of, and
passes everything after that through untouched. TLS towards the array is its own: the key stays on this side.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nightwell.nbd.wire import (
    CLIENT_FLAGS,
    GREETING,
    MAX_OPTION_BYTES,
    NEWSTYLE_MAGIC,
    OPTION,
    OPTION_MAGIC,
    OPTION_REPLY,
    OPTION_REPLY_MAGIC,
    REPLY_ERROR_BIT,
    Option,
    Reply,
)

_NAMED = {Option.INFO, Option.GO, Option.LIST_META_CONTEXT, Option.SET_META_CONTEXT}  # data begins with a name
_PIECE_BYTES = 1 << 20
_HANDSHAKE_S = 30.0


class _BrokenOffError(Exception):
    """One side left, or does not speak the protocol: the connection ends."""


@dataclass(slots=True)
class ExportGate:
    """One connection.

    Parameters
    ----------
    inside
        The virtual server.
    outside
        The array.
    export
        The only export that may be spoken of.
    """

    inside: socket.socket
    outside: socket.socket
    export: str

    def open(self, host: str, tls: tuple[str, str, str] | None) -> bool:
        """Haggle until the export is open; ``False`` when the connection is to end.

        ``tls`` names the files of CA, certificate and key.
        """
        for each in (self.inside, self.outside):
            each.settimeout(_HANDSHAKE_S)
        try:
            self._greet(host, tls)
            while not self._option():
                pass
        except (_BrokenOffError, OSError, ValueError):  # ValueError: an option or a reply that has no name
            return False
        for each in (self.inside, self.outside):
            each.settimeout(None)
        return True

    def _greet(self, host: str, tls: tuple[str, str, str] | None) -> None:
        greeting = _receive(self.outside, GREETING.size)
        magic, option_magic, _ = GREETING.unpack(greeting)
        if (magic, option_magic) != (NEWSTYLE_MAGIC, OPTION_MAGIC):
            raise _BrokenOffError
        self.inside.sendall(greeting)
        flags = _receive(self.inside, CLIENT_FLAGS.size)
        self.outside.sendall(flags)
        if tls is not None:
            self.outside.sendall(OPTION.pack(OPTION_MAGIC, Option.STARTTLS, 0))
            if self._reply()[0] != Reply.ACK:
                raise _BrokenOffError
            # Only here: it brings libraries that the forwarder starts faster without.
            from nightwell.nbd.tls import TlsFiles, client_context  # noqa: PLC0415

            files = TlsFiles(*(Path(each) for each in tls))
            self.outside = client_context(files).wrap_socket(self.outside, server_hostname=host)

    def _option(self) -> bool:
        """Let one option through, or answer it here; return whether the export is open."""
        magic, number, length = OPTION.unpack(_receive(self.inside, OPTION.size))
        if magic != OPTION_MAGIC or length > MAX_OPTION_BYTES:
            raise _BrokenOffError
        data = _receive(self.inside, length)
        if number == Option.EXPORT_NAME:
            if data.decode() != self.export:
                raise _BrokenOffError  # this option has no way to say no
            self._forward(number, data)
            return True
        if number in _NAMED:
            name_bytes = int.from_bytes(data[:4])
            if data[4 : 4 + name_bytes].decode() != self.export:
                self._refuse(number, Reply.ERR_UNKNOWN)
                return False
        elif number not in {Option.ABORT, Option.STRUCTURED_REPLY}:
            self._refuse(number, Reply.ERR_POLICY if number == Option.LIST else Reply.ERR_UNSUP)
            return False
        self._forward(number, data)
        while True:
            kind, reply = self._reply()
            self.inside.sendall(reply)
            if kind == Reply.ACK or kind & REPLY_ERROR_BIT:
                break
        if number == Option.ABORT:
            raise _BrokenOffError
        return number == Option.GO and kind == Reply.ACK

    def _forward(self, number: int, data: bytes) -> None:
        self.outside.sendall(OPTION.pack(OPTION_MAGIC, number, len(data)) + data)

    def _refuse(self, number: int, reply: Reply) -> None:
        self.inside.sendall(OPTION_REPLY.pack(OPTION_REPLY_MAGIC, number, reply, 0))

    def _reply(self) -> tuple[int, bytes]:
        header = _receive(self.outside, OPTION_REPLY.size)
        _, _, kind, length = OPTION_REPLY.unpack(header)
        if length > MAX_OPTION_BYTES:
            raise _BrokenOffError
        return kind, header + _receive(self.outside, length)


def pump_both(inside: socket.socket, outside: ssl.SSLSocket) -> None:
    """Move bytes both ways until either side ends; one thread, for a TLS session is not for two."""
    buffer = memoryview(bytearray(_PIECE_BYTES))
    routes: dict[socket.socket, Callable[[memoryview], None]] = {inside: outside.sendall, outside: inside.sendall}
    try:
        while True:
            ready = [outside] if outside.pending() else select.select(list(routes), [], [])[0]
            for source in ready:
                count = source.recv_into(buffer)
                if count == 0:
                    return
                routes[source](buffer[:count])
    except OSError:
        return


def _receive(source: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        piece = source.recv(count - len(received))
        if not piece:
            raise _BrokenOffError
        received += piece
    return bytes(received)
