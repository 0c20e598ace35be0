"""The server's half of the transmission phase: requests in, replies out, one after another."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from itertools import islice

from nightwell.errors import NightwellError
from nightwell.nbd import wire
from nightwell.nbd.extents import covering, merged
from nightwell.nbd.faults import summary, wire_errno
from nightwell.nbd.handshake import Session
from nightwell.nbd.stream import Stream, StreamEndError, StreamError
from nightwell.nbd.wire import Chunk, Command, CommandFlag, Request

_log = logging.getLogger(__name__)

_MAX_EXTENTS = 8192
_FIRST_BUFFER_BYTES = 256 << 10
_MOST_KEPT_BYTES = 8 << 20  # per connection, while it is idle
_MAX_MESSAGE_BYTES = 4096

_KNOWN_FLAGS = {
    Command.READ: CommandFlag.FUA | CommandFlag.DF,
    Command.WRITE: CommandFlag.FUA,
    Command.FLUSH: CommandFlag.FUA,
    Command.TRIM: CommandFlag.FUA,
    Command.WRITE_ZEROES: CommandFlag.FUA | CommandFlag.NO_HOLE,
    Command.BLOCK_STATUS: CommandFlag.FUA | CommandFlag.REQ_ONE,
}
_CHANGING = frozenset({Command.WRITE, Command.TRIM, Command.WRITE_ZEROES})


class Transmission:
    """Serves the requests of one connection.

    Every request is answered, and no error of a request ends the connection: only a broken line, a request without
    its magic, or a file that fails in the middle of a reply does.
    """

    def __init__(self, stream: Stream, session: Session) -> None:
        self._stream = stream
        self._session = session
        self._backend = session.backend
        self._size_bytes = session.backend.size_bytes
        self._descriptor = None if stream.secure else session.backend.file_descriptor()
        self._buffer = memoryview(bytearray(_FIRST_BUFFER_BYTES))
        self._handlers: dict[int, Callable[[Request, memoryview], None]] = {
            Command.READ: self._read,
            Command.WRITE: self._write,
            Command.FLUSH: self._flush,
            Command.TRIM: self._trim,
            Command.WRITE_ZEROES: self._write_zeroes,
            Command.BLOCK_STATUS: self._block_status,
        }

    def run(self) -> None:
        """Answer requests until the client disconnects."""
        header = bytearray(wire.REQUEST.size)
        view = memoryview(header)
        while True:
            try:
                self._stream.receive_into(view)
            except StreamEndError:
                return
            request = Request.unpack(header)
            if request.command == Command.DISC:
                return
            self._answer(request)

    def _answer(self, request: Request) -> None:
        try:
            payload = self._payload(request)
            self._check(request)
            self._handlers[request.command](request, payload)
        except StreamError:
            raise
        except OSError as error:
            text = summary(error) if isinstance(error, NightwellError) else error.strerror or ""
            self._refuse(request, wire_errno(error), text)
        except NightwellError as error:
            self._refuse(request, errno.EIO, summary(error))
        except Exception:  # noqa: BLE001 - a backend's defect is logged, and must not take other requests with it
            _log.exception("NBD request %s failed in the backend", request)
            self._refuse(request, errno.EIO, "the backend failed; its server's log says why")

    def _payload(self, request: Request) -> memoryview:
        if request.command != Command.WRITE:
            return self._buffer[:0]
        length_bytes = request.length_bytes
        if length_bytes > wire.MAX_PAYLOAD_BYTES:
            self._stream.drain(length_bytes)
            raise _invalid(f"a payload of {length_bytes} bytes, more than {wire.MAX_PAYLOAD_BYTES}")
        buffer = self._buffer
        if length_bytes > len(buffer):
            buffer = memoryview(bytearray(length_bytes))
            if length_bytes <= _MOST_KEPT_BYTES:
                self._buffer = buffer
        payload = buffer[:length_bytes]
        self._stream.receive_into(payload)
        return payload

    def _check(self, request: Request) -> None:
        try:
            command = Command(request.command)
            known_flags = _KNOWN_FLAGS[command]
        except (ValueError, KeyError):
            raise _invalid(f"command {request.command} is not known here") from None
        if request.flags & ~int(known_flags):
            raise _invalid(f"flags {request.flags:#x} are not known for {command.name}")
        if command in _CHANGING and self._backend.read_only:
            raise OSError(errno.EPERM, "the export is read-only")
        if command == Command.FLUSH:
            return
        if not request.length_bytes:
            raise _invalid("a request of no bytes")
        if request.offset_bytes + request.length_bytes > self._size_bytes:
            raise _invalid(f"the request ends behind the export's {self._size_bytes} bytes")

    def _read(self, request: Request, _: memoryview) -> None:
        length_bytes = request.length_bytes
        if length_bytes > wire.MAX_PAYLOAD_BYTES:
            raise _invalid(f"a read of {length_bytes} bytes, more than {wire.MAX_PAYLOAD_BYTES}")
        if self._session.structured:
            header = wire.CHUNK.pack(
                wire.STRUCTURED_REPLY_MAGIC,
                wire.CHUNK_DONE,
                Chunk.OFFSET_DATA,
                request.cookie,
                wire.OFFSET.size + length_bytes,
            ) + wire.OFFSET.pack(request.offset_bytes)
        else:
            header = wire.SIMPLE_REPLY.pack(wire.SIMPLE_REPLY_MAGIC, 0, request.cookie)
        if self._descriptor is not None:
            self._stream.send_file(header, self._descriptor, request.offset_bytes, length_bytes)
            return
        data = self._backend.read(request.offset_bytes, length_bytes)
        if len(data) != length_bytes:
            raise OSError(errno.EIO, f"the backend read {len(data)} of {length_bytes} bytes")
        self._stream.send(header, data)

    def _write(self, request: Request, payload: memoryview) -> None:
        self._backend.write(request.offset_bytes, payload, fua=bool(request.flags & CommandFlag.FUA))
        self._done(request)

    def _flush(self, request: Request, _: memoryview) -> None:
        self._backend.flush()
        self._done(request)

    def _trim(self, request: Request, _: memoryview) -> None:
        self._backend.trim(request.offset_bytes, request.length_bytes)
        if request.flags & CommandFlag.FUA:
            self._backend.flush()
        self._done(request)

    def _write_zeroes(self, request: Request, _: memoryview) -> None:
        self._backend.zero(
            request.offset_bytes,
            request.length_bytes,
            may_punch=not request.flags & CommandFlag.NO_HOLE,
            fua=bool(request.flags & CommandFlag.FUA),
        )
        self._done(request)

    def _block_status(self, request: Request, _: memoryview) -> None:
        if not self._session.contexts:
            raise _invalid("no metadata context was agreed on")
        most = 1 if request.flags & CommandFlag.REQ_ONE else _MAX_EXTENTS
        chunks = [self._status_chunk(request, number, most) for number in self._session.contexts]
        self._stream.send(*chunks, wire.pack_chunk(Chunk.NONE, request.cookie, done=True))

    def _status_chunk(self, request: Request, number: int, most: int) -> bytes:
        offset_bytes, length_bytes = request.offset_bytes, request.length_bytes
        extents = self._backend.extents(self._session.contexts[number], offset_bytes, length_bytes)
        row = islice(merged(covering(extents, offset_bytes, length_bytes)), most)
        descriptors = b"".join(wire.DESCRIPTOR.pack(extent.length_bytes, extent.flags) for extent in row)
        return wire.pack_chunk(Chunk.BLOCK_STATUS, request.cookie, wire.U32.pack(number) + descriptors)

    def _done(self, request: Request) -> None:
        if self._session.structured:
            self._stream.send(wire.pack_chunk(Chunk.NONE, request.cookie, done=True))
        else:
            self._stream.send(wire.SIMPLE_REPLY.pack(wire.SIMPLE_REPLY_MAGIC, 0, request.cookie))

    def _refuse(self, request: Request, number: int, message: str) -> None:
        if not self._session.structured:
            self._stream.send(wire.SIMPLE_REPLY.pack(wire.SIMPLE_REPLY_MAGIC, number, request.cookie))
            return
        text = message.encode()[:_MAX_MESSAGE_BYTES]
        payload = wire.CHUNK_ERROR.pack(number, len(text)) + text
        self._stream.send(wire.pack_chunk(Chunk.ERROR, request.cookie, payload, done=True))


def _invalid(message: str) -> OSError:
    return OSError(errno.EINVAL, message or os.strerror(errno.EINVAL))
