"""The server's half of the option haggling: from the greeting until the client has an export, or is gone."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from nightwell.errors import ConflictError, NightwellError, NotFoundError
from nightwell.nbd import wire
from nightwell.nbd.backend import Backend
from nightwell.nbd.faults import summary
from nightwell.nbd.stream import Stream
from nightwell.nbd.wire import Cursor, ExportFlag, HandshakeFlag, Info, MalformedError, Option, Reply

PREFERRED_BLOCK_BYTES = 64 << 10
_DRAINABLE_OPTION_BYTES = 1 << 20
_MAX_OPTIONS = 1000


class Exports(Protocol):
    """The exports, as one connection opens them."""

    def names(self) -> tuple[str, ...]:
        """Return the names that a client may list."""
        ...

    def open(self, name: str) -> Backend:
        """Open an export for this connection, closing the one that it had open."""
        ...


@dataclass(slots=True)
class Session:
    """What client and server have agreed on."""

    backend: Backend
    structured: bool
    contexts: dict[int, str] = field(default_factory=dict)  # by the number that stands for it on the wire


class Handshake:
    """One haggling.

    Parameters
    ----------
    stream
        The fresh connection.
    exports
        Where exports are opened.
    tls
        When given, nothing is told to a client before it has started TLS.
    """

    def __init__(self, stream: Stream, exports: Exports, tls: ssl.SSLContext | None) -> None:
        self._stream = stream
        self._exports = exports
        self._tls = tls
        self._no_zeroes = False
        self._structured = False
        self._context_export: str | None = None
        self._contexts: dict[int, str] = {}
        self._handlers: dict[int, Callable[[bytes], None]] = {
            Option.LIST: self._list,
            Option.INFO: self._info,
            Option.STRUCTURED_REPLY: self._structured_reply,
            Option.LIST_META_CONTEXT: self._list_contexts,
            Option.SET_META_CONTEXT: self._set_contexts,
        }
        self._option = 0

    def run(self) -> Session | None:
        """Haggle until the client enters transmission; ``None`` when it aborts or cannot be understood."""
        try:
            self._greet()
            for _ in range(_MAX_OPTIONS):
                payload = self._next_option()
                if payload is None:
                    continue
                if self._option == Option.ABORT:
                    self._reply(Reply.ACK)
                    return None
                if self._option == Option.EXPORT_NAME:
                    return self._export_name(payload)
                session = self._answer(payload)
                if session is not None:
                    return session
        except MalformedError:
            return None
        return None

    def _greet(self) -> None:
        ours = HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES
        self._stream.send(wire.GREETING.pack(wire.NEWSTYLE_MAGIC, wire.OPTION_MAGIC, ours))
        (theirs,) = wire.CLIENT_FLAGS.unpack(self._stream.receive(wire.CLIENT_FLAGS.size))
        if theirs & ~int(ours):
            raise MalformedError(f"unknown client flags {theirs:#x}")
        self._no_zeroes = bool(theirs & HandshakeFlag.NO_ZEROES)

    def _next_option(self) -> bytes | None:
        magic, self._option, length = wire.OPTION.unpack(self._stream.receive(wire.OPTION.size))
        if magic != wire.OPTION_MAGIC:
            raise MalformedError(f"option starts with {magic:#x}")
        if length <= wire.MAX_OPTION_BYTES:
            return self._stream.receive(length)
        if length > _DRAINABLE_OPTION_BYTES or self._option == Option.EXPORT_NAME:
            raise MalformedError(f"an option of {length} bytes")
        self._stream.drain(length)
        self._reply(Reply.ERR_TOO_BIG, f"an option may have {wire.MAX_OPTION_BYTES} bytes")
        return None

    def _answer(self, payload: bytes) -> Session | None:
        """Answer an option that has a reply; GO alone can end the haggling."""
        try:
            if self._option == Option.STARTTLS:
                self._start_tls(payload)
            elif self._tls is not None and not self._stream.secure:
                self._reply(Reply.ERR_TLS_REQD, "this server talks only over TLS")
            elif self._option == Option.GO:
                return self._go(payload)
            elif self._option in self._handlers:
                self._handlers[self._option](payload)
            else:
                self._reply(Reply.ERR_UNSUP, f"option {self._option} is not known here")
        except MalformedError as error:
            self._reply(Reply.ERR_INVALID, str(error))
        except NightwellError as error:
            self._reply(_refusal(error), summary(error))
        return None

    def _start_tls(self, payload: bytes) -> None:
        Cursor(payload).finish()
        if self._stream.secure:
            raise MalformedError("TLS is on already")
        if self._tls is None:
            self._reply(Reply.ERR_UNSUP, "this server has no TLS")
            return
        self._reply(Reply.ACK)
        self._stream.start_tls(self._tls, server_side=True, host=None)
        # What was agreed in the clear may have been planted there by somebody in between.
        self._structured = False
        self._context_export = None
        self._contexts = {}

    def _list(self, payload: bytes) -> None:
        Cursor(payload).finish()
        for name in self._exports.names():
            self._reply_bytes(Reply.SERVER, wire.pack_string(name))
        self._reply(Reply.ACK)

    def _structured_reply(self, payload: bytes) -> None:
        Cursor(payload).finish()
        self._structured = True
        self._reply(Reply.ACK)

    def _info(self, payload: bytes) -> None:
        self._describe(payload)
        self._reply(Reply.ACK)

    def _go(self, payload: bytes) -> Session:
        name, backend = self._describe(payload)
        self._reply(Reply.ACK)
        return self._session(name, backend)

    def _describe(self, payload: bytes) -> tuple[str, Backend]:
        cursor = Cursor(payload)
        name = cursor.string()
        wanted = [cursor.u16() for _ in range(cursor.u16())]
        cursor.finish()
        backend = self._exports.open(name)
        size_bytes = backend.size_bytes
        self._reply_bytes(Reply.INFO, wire.INFO_EXPORT.pack(Info.EXPORT, size_bytes, self._flags(backend)))
        if Info.NAME in wanted:
            self._reply_bytes(Reply.INFO, wire.U16.pack(Info.NAME) + name.encode())
        block_sizes = (1, PREFERRED_BLOCK_BYTES, wire.MAX_PAYLOAD_BYTES)
        self._reply_bytes(Reply.INFO, wire.INFO_BLOCK_SIZE.pack(Info.BLOCK_SIZE, *block_sizes))
        return name, backend

    def _export_name(self, payload: bytes) -> Session | None:
        """Answer the one option that has no way to say no but closing the connection."""
        if self._tls is not None and not self._stream.secure:
            return None
        name = wire.decode_string(payload)
        try:
            backend = self._exports.open(name)
        except NightwellError:
            return None
        padding = b"" if self._no_zeroes else wire.EXPORT_NAME_PADDING
        self._stream.send(wire.EXPORT_NAME_REPLY.pack(backend.size_bytes, self._flags(backend)) + padding)
        return self._session(name, backend)

    def _session(self, name: str, backend: Backend) -> Session:
        contexts = self._contexts if name == self._context_export else {}
        return Session(backend, self._structured, contexts)

    def _flags(self, backend: Backend) -> int:
        flags = ExportFlag.HAS_FLAGS | ExportFlag.SEND_FLUSH | ExportFlag.SEND_FUA | ExportFlag.CAN_MULTI_CONN
        if backend.read_only:
            flags |= ExportFlag.READ_ONLY
        else:
            flags |= ExportFlag.SEND_TRIM | ExportFlag.SEND_WRITE_ZEROES
        if self._structured:
            flags |= ExportFlag.SEND_DF
        return int(flags)

    def _list_contexts(self, payload: bytes) -> None:
        _, known, queries = self._context_queries(payload)
        for name in known:
            if not queries or any(name == query or _is_namespace_of(query, name) for query in queries):
                self._reply_bytes(Reply.META_CONTEXT, wire.U32.pack(0) + name.encode())
        self._reply(Reply.ACK)

    def _set_contexts(self, payload: bytes) -> None:
        self._contexts = {}
        export, known, queries = self._context_queries(payload)
        self._context_export = export
        self._contexts = {number: name for number, name in enumerate(known, start=1) if name in queries}
        for number, name in self._contexts.items():
            self._reply_bytes(Reply.META_CONTEXT, wire.U32.pack(number) + name.encode())
        self._reply(Reply.ACK)

    def _context_queries(self, payload: bytes) -> tuple[str, tuple[str, ...], list[str]]:
        if not self._structured:
            raise MalformedError("contexts need structured replies first")
        cursor = Cursor(payload)
        export = cursor.string()
        queries = [cursor.string() for _ in range(cursor.u32())]
        cursor.finish()
        return export, self._exports.open(export).contexts(), queries

    def _reply(self, reply: Reply, message: str = "") -> None:
        self._reply_bytes(reply, message.encode()[: wire.MAX_STRING_BYTES])

    def _reply_bytes(self, reply: Reply, payload: bytes) -> None:
        self._stream.send(wire.pack_option_reply(self._option, reply, payload))


def _is_namespace_of(query: str, name: str) -> bool:
    return query.endswith(":") and name.startswith(query)


def _refusal(error: NightwellError) -> Reply:
    if isinstance(error, NotFoundError):
        return Reply.ERR_UNKNOWN
    if isinstance(error, ConflictError):
        return Reply.ERR_POLICY
    return Reply.ERR_PLATFORM
