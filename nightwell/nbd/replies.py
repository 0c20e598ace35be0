"""Reading replies: simple and structured ones, chunks of several requests mixed in any order."""

from __future__ import annotations

import errno
from bisect import bisect_left
from dataclasses import dataclass, field

from nightwell.nbd import wire
from nightwell.nbd.stream import Stream
from nightwell.nbd.wire import Chunk, Command, MalformedError

_MAX_CHUNK_BYTES = wire.MAX_PAYLOAD_BYTES + 64
_MAX_ERROR_BYTES = 64 << 10
_ZEROES = bytes(256 << 10)


@dataclass(slots=True)
class Pending:
    """A request on its way, and what has come back of it.

    Parameters
    ----------
    command, offset_bytes, length_bytes
        The request.
    view
        Where a READ puts its data, as long as ``length_bytes``.
    received
        Which pieces of ``view`` have come: start and end, sorted, without overlap.
    descriptors
        Of a BLOCK_STATUS: per context number, pairs of length and flags.
    error
        ``errno`` and message when the server refused it.
    """

    command: Command
    offset_bytes: int
    length_bytes: int
    view: memoryview | None = None
    received: list[tuple[int, int]] = field(default_factory=list)
    descriptors: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    error: tuple[int, str] | None = None


class ReplyReader:
    """Takes replies from a stream and hands them to the requests they belong to."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._header = bytearray(wire.CHUNK.size)

    def complete_one(self, pending: dict[int, Pending]) -> Pending:
        """Read until one request is complete; it leaves ``pending``.

        Raises
        ------
        MalformedError
            The server sent what is no reply to these requests.
        """
        head = memoryview(self._header)
        while True:
            self._stream.receive_into(head[: wire.SIMPLE_REPLY.size])
            (magic,) = wire.MAGIC.unpack_from(head)
            if magic == wire.SIMPLE_REPLY_MAGIC:
                return self._simple(pending)
            if magic != wire.STRUCTURED_REPLY_MAGIC:
                raise MalformedError(f"a reply that starts with {magic:#x}")
            self._stream.receive_into(head[wire.SIMPLE_REPLY.size :])
            completed = self._chunk(pending)
            if completed is not None:
                return completed

    def _simple(self, pending: dict[int, Pending]) -> Pending:
        _, number, cookie = wire.SIMPLE_REPLY.unpack_from(self._header)
        request = _find(pending, cookie)
        if number:
            request.error = number, ""
        elif request.view is not None:
            self._stream.receive_into(request.view)
            request.received.append((0, request.length_bytes))
        return _complete(pending, cookie)

    def _chunk(self, pending: dict[int, Pending]) -> Pending | None:
        _, flags, kind, cookie, length = wire.CHUNK.unpack(self._header)
        request = _find(pending, cookie)
        if length > _MAX_CHUNK_BYTES:
            raise MalformedError(f"a chunk of {length} bytes")
        if kind == Chunk.OFFSET_DATA:
            self._data(request, length)
        elif kind == Chunk.OFFSET_HOLE:
            self._hole(request, length)
        elif kind == Chunk.BLOCK_STATUS:
            self._status(request, length)
        elif kind & wire.CHUNK_ERROR_BIT:
            self._error(request, length)
        elif kind != Chunk.NONE or length:
            raise MalformedError(f"a chunk of type {kind} with {length} bytes")
        return _complete(pending, cookie) if flags & wire.CHUNK_DONE else None

    def _data(self, request: Pending, length: int) -> None:
        if length <= wire.OFFSET.size:
            raise MalformedError(f"a data chunk of {length} bytes")
        (offset_bytes,) = wire.OFFSET.unpack(self._stream.receive(wire.OFFSET.size))
        self._stream.receive_into(_target(request, offset_bytes, length - wire.OFFSET.size))

    def _hole(self, request: Pending, length: int) -> None:
        if length != wire.OFFSET_HOLE.size:
            raise MalformedError(f"a hole chunk of {length} bytes")
        target = _target(request, *wire.OFFSET_HOLE.unpack(self._stream.receive(length)))
        for start in range(0, len(target), len(_ZEROES)):
            piece = target[start : start + len(_ZEROES)]
            piece[:] = _ZEROES[: len(piece)]

    def _status(self, request: Pending, length: int) -> None:
        row_bytes = length - wire.U32.size
        if request.command != Command.BLOCK_STATUS or row_bytes <= 0 or row_bytes % wire.DESCRIPTOR.size:
            raise MalformedError(f"a block status chunk of {length} bytes for {request.command.name}")
        payload = self._stream.receive(length)
        (number,) = wire.U32.unpack_from(payload)
        row = list(wire.DESCRIPTOR.iter_unpack(payload[wire.U32.size :]))
        if number in request.descriptors or not all(extent_bytes for extent_bytes, _ in row):
            raise MalformedError("a block status with an empty extent, or twice for one context")
        request.descriptors[number] = row

    def _error(self, request: Pending, length: int) -> None:
        if not wire.CHUNK_ERROR.size <= length <= _MAX_ERROR_BYTES:
            raise MalformedError(f"an error chunk of {length} bytes")
        payload = self._stream.receive(length)
        number, text_bytes = wire.CHUNK_ERROR.unpack_from(payload)
        text = payload[wire.CHUNK_ERROR.size :][:text_bytes].decode(errors="replace")
        if request.error is None:
            request.error = number or errno.EIO, text


def _find(pending: dict[int, Pending], cookie: int) -> Pending:
    try:
        return pending[cookie]
    except KeyError:
        raise MalformedError(f"a reply to request {cookie}, which is not on its way") from None


def _target(request: Pending, offset_bytes: int, length_bytes: int) -> memoryview:
    start = offset_bytes - request.offset_bytes
    if request.view is None or start < 0 or not 0 < length_bytes <= request.length_bytes - start:
        raise MalformedError("data that was not asked for")
    end = start + length_bytes
    place = bisect_left(request.received, (start, end))
    if (place and request.received[place - 1][1] > start) or (
        place < len(request.received) and request.received[place][0] < end
    ):
        raise MalformedError("the same data twice")
    request.received.insert(place, (start, end))
    return request.view[start:end]


def _complete(pending: dict[int, Pending], cookie: int) -> Pending:
    request = pending.pop(cookie)
    if request.error is not None:
        return request
    received_bytes = sum(end - start for start, end in request.received)
    if request.view is not None and received_bytes != request.length_bytes:
        raise MalformedError(f"{received_bytes} of {request.length_bytes} bytes read")
    if request.command == Command.BLOCK_STATUS and not request.descriptors:
        raise MalformedError("a block status without extents")
    return request
