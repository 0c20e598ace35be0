"""The client's half of the option haggling: from the greeting to agreed terms."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from nightwell.errors import ConflictError, CredentialsError, InputError, NightwellError, NotFoundError
from nightwell.nbd import wire
from nightwell.nbd.faults import unreachable, violated
from nightwell.nbd.stream import Stream, StreamEndError
from nightwell.nbd.url import ExportUrl
from nightwell.nbd.wire import Cursor, ExportFlag, HandshakeFlag, Info, MalformedError, Option, Reply

_MAX_REPLY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Terms:
    """What a client may do with the export that it has opened.

    Parameters
    ----------
    size_bytes
        Size of the export.
    flags
        What the export can do.
    structured
        Replies come in chunks, with messages in errors.
    contexts
        The granted metadata contexts, by the number that stands for each on the wire.
    minimum_block_bytes, maximum_block_bytes
        Requests are multiples of the first, and carry at most the second.
    """

    size_bytes: int
    flags: ExportFlag
    structured: bool = False
    contexts: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    minimum_block_bytes: int = 1
    maximum_block_bytes: int = wire.MAX_PAYLOAD_BYTES


class _RefusedError(Exception):
    """The server refused an option."""

    def __init__(self, reply: int, message: str) -> None:
        super().__init__(message)
        self.reply = reply
        self.message = message


class Negotiation:
    """One haggling with a server.

    Parameters
    ----------
    stream
        The fresh connection.
    url
        What the caller asked for; named in errors.
    """

    def __init__(self, stream: Stream, url: ExportUrl) -> None:
        self._stream = stream
        self._url = url
        self._subject = f"NBD export {str(url)!r}"
        self._no_zeroes = False

    def greet(self) -> None:
        """Exchange greetings; WireError when this is no newstyle NBD server."""
        magic, option_magic, flags = wire.GREETING.unpack(self._stream.receive(wire.GREETING.size))
        if (magic, option_magic) != (wire.NEWSTYLE_MAGIC, wire.OPTION_MAGIC):
            raise violated(self._subject, "the greeting of a newstyle NBD server", f"{magic:#x} {option_magic:#x}")
        if not flags & HandshakeFlag.FIXED_NEWSTYLE:
            raise violated(self._subject, "a server of the fixed newstyle", f"handshake flags {flags:#x}")
        ours = flags & (HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES)
        self._no_zeroes = bool(ours & HandshakeFlag.NO_ZEROES)
        self._stream.send(wire.CLIENT_FLAGS.pack(ours))

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Put TLS on the connection; CredentialsError when the server has none."""
        try:
            self._ask_for_ack(Option.STARTTLS)
        except _RefusedError as refusal:
            raise CredentialsError(
                self._subject,
                expected="a server with TLS",
                found=f"TLS refused ({refusal.message or hex(refusal.reply)})",
                cause="the serving array was started without TLS files",
                next_step="give the array its TLS files, or connect without TLS where the line stays inside a machine",
            ) from refusal
        self._stream.start_tls(context, server_side=False, host=self._url.host or "localhost")

    def open(self, contexts: Sequence[str]) -> Terms:
        """Choose the export and enter transmission."""
        try:
            structured = self._accepts(Option.STRUCTURED_REPLY)
            granted = self._set_contexts(contexts) if structured and contexts else {}
            terms = self._go(structured, granted)
        except _RefusedError as refusal:
            raise self._explain(refusal) from refusal
        except MalformedError as error:
            raise violated(self._subject, "well-formed answers to options", str(error)) from error
        if terms.minimum_block_bytes > terms.maximum_block_bytes or not terms.minimum_block_bytes:
            raise violated(self._subject, "possible block sizes", f"{terms}")
        return terms

    def list_exports(self) -> tuple[str, ...]:
        """Return the names that the server lists."""
        try:
            names = [Cursor(data).string() for kind, data in self._ask(Option.LIST) if kind == Reply.SERVER]
        except _RefusedError as refusal:
            raise self._explain(refusal) from refusal
        except MalformedError as error:
            raise violated(self._subject, "a list of names", str(error)) from error
        return tuple(names)

    def leave(self) -> None:
        """Tell the server that this was all."""
        self._stream.send(wire.pack_option(Option.ABORT))

    def _accepts(self, option: Option) -> bool:
        try:
            self._ask_for_ack(option)
        except _RefusedError as refusal:
            if refusal.reply == Reply.ERR_TLS_REQD:
                raise
            return False
        return True

    def _set_contexts(self, contexts: Sequence[str]) -> dict[int, str]:
        asked = [*contexts, *([wire.QEMU_CHANGED] if wire.CHANGED in contexts else [])]
        payload = wire.pack_string(self._url.export) + wire.U32.pack(len(asked))
        payload += b"".join(wire.pack_string(context) for context in asked)
        granted: dict[int, str] = {}
        try:
            for kind, data in self._ask(Option.SET_META_CONTEXT, payload):
                if kind == Reply.META_CONTEXT:
                    cursor = Cursor(data)
                    name = wire.decode_string(data[wire.U32.size :])
                    granted[cursor.u32()] = wire.CHANGED if name == wire.QEMU_CHANGED else name
        except _RefusedError as refusal:
            if refusal.reply in (Reply.ERR_UNSUP, Reply.ERR_INVALID):
                return {}
            raise
        return granted

    def _go(self, structured: bool, contexts: dict[int, str]) -> Terms:  # noqa: FBT001 - private, one caller
        payload = wire.pack_string(self._url.export) + wire.U16.pack(1) + wire.U16.pack(Info.BLOCK_SIZE)
        export: tuple[int, ExportFlag] | None = None
        sizes = (1, wire.MAX_PAYLOAD_BYTES)
        try:
            for kind, data in self._ask(Option.GO, payload):
                if kind != Reply.INFO:
                    continue
                (info,) = wire.U16.unpack(data[: wire.U16.size])
                if info == Info.EXPORT and len(data) == wire.INFO_EXPORT.size:
                    _, size_bytes, flags = wire.INFO_EXPORT.unpack(data)
                    export = size_bytes, ExportFlag(flags)
                elif info == Info.BLOCK_SIZE and len(data) == wire.INFO_BLOCK_SIZE.size:
                    _, minimum, _, maximum = wire.INFO_BLOCK_SIZE.unpack(data)
                    sizes = minimum, min(maximum, wire.MAX_PAYLOAD_BYTES)
        except _RefusedError as refusal:
            if refusal.reply == Reply.ERR_UNSUP:
                return self._export_name(structured, contexts)
            raise
        if export is None:
            raise violated(self._subject, "the export's size in the answer to GO", "no such information")
        return Terms(*export, structured, MappingProxyType(contexts), *sizes)

    def _export_name(self, structured: bool, contexts: dict[int, str]) -> Terms:  # noqa: FBT001 - private
        """Open the export the old way, for servers without GO."""
        self._stream.send(wire.pack_option(Option.EXPORT_NAME, self._url.export.encode()))
        try:
            answer = self._stream.receive(wire.EXPORT_NAME_REPLY.size)
        except StreamEndError as error:
            raise self._explain(_RefusedError(Reply.ERR_UNKNOWN, "the connection was closed")) from error
        size_bytes, flags = wire.EXPORT_NAME_REPLY.unpack(answer)
        if not self._no_zeroes:
            self._stream.drain(len(wire.EXPORT_NAME_PADDING))
        return Terms(size_bytes, ExportFlag(flags), structured, MappingProxyType(contexts))

    def _ask_for_ack(self, option: Option) -> None:
        for _ in self._ask(option):
            pass

    def _ask(self, option: Option, payload: bytes = b"") -> Iterator[tuple[int, bytes]]:
        """Send an option and yield its replies up to the ACK; _RefusedError for an error reply."""
        self._stream.send(wire.pack_option(option, payload))
        while True:
            header = self._stream.receive(wire.OPTION_REPLY.size)
            magic, answered_option, kind, length = wire.OPTION_REPLY.unpack(header)
            if magic != wire.OPTION_REPLY_MAGIC or answered_option != option or length > _MAX_REPLY_BYTES:
                raise violated(self._subject, f"a reply to option {option.name}", header.hex())
            data = self._stream.receive(length)
            if kind & wire.REPLY_ERROR_BIT:
                raise _RefusedError(kind, data.decode(errors="replace"))
            if kind == Reply.ACK:
                return
            yield kind, data

    def _explain(self, refusal: _RefusedError) -> NightwellError:
        found = refusal.message or _SHORT.get(refusal.reply, f"refusal {refusal.reply:#x}")
        if refusal.reply == Reply.ERR_UNKNOWN:
            return NotFoundError(
                self._subject,
                expected="an export of this name",
                found=found,
                cause="the export was withdrawn, never made, or its name is mistyped",
                next_step="list the array's exports and use one of their names",
            )
        if refusal.reply == Reply.ERR_TLS_REQD:
            return CredentialsError(
                self._subject,
                expected="to be served without TLS",
                found=found,
                cause="the serving array talks only over TLS",
                next_step="use an nbds:// address and give the TLS files",
            )
        if refusal.reply == Reply.ERR_POLICY:
            return ConflictError(
                self._subject,
                expected="to be served the export",
                found=found,
                cause="the state of the volume or of its pair forbids it now",
                next_step="look at the pair's state at the serving array",
            )
        if refusal.reply in (Reply.ERR_SHUTDOWN, Reply.ERR_PLATFORM):
            return unreachable(self._subject, "to be served the export", found)
        return InputError(
            self._subject,
            expected="an export name and contexts that the server understands",
            found=found,
            cause="the name is too long or holds characters that the server does not take",
            next_step="list the array's exports and use one of their names",
        )


_SHORT = {
    int(Reply.ERR_UNKNOWN): "no export of this name",
    int(Reply.ERR_TLS_REQD): "TLS is required",
    int(Reply.ERR_POLICY): "the server's policy forbids it",
    int(Reply.ERR_SHUTDOWN): "the server is being stopped",
    int(Reply.ERR_PLATFORM): "the server cannot serve it now",
}
