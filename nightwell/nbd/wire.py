"""The NBD wire format: numbers, flags and fixed-size records, in network byte order.

Nothing here touches a socket. The names follow the protocol's specification (``doc/proto.md`` of the NBD project)
without their ``NBD_`` prefixes, so that either can be found from the other.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

ALLOCATION = "base:allocation"
"""Standard context: flag 1 is a hole, flag 2 reads as zero."""

CHANGED = "nightwell:changed"
"""Flag 1: may have changed since the pair's previous split. A hint, never a proof."""

QEMU_CHANGED_BITMAP = "nightwell-changed"
QEMU_CHANGED = f"qemu:dirty-bitmap:{QEMU_CHANGED_BITMAP}"
"""The same list as QEMU's NBD server names it, which serves its bitmaps under its own namespace only."""

PAIR = "nightwell:pair"
"""One extent over the whole request: low 8 bits the pair's state code, upper 24 bits the primary's write generation."""

HOLE = 1
ZERO = 2

MAX_PAYLOAD_BYTES = 32 << 20
MAX_OPTION_BYTES = 64 << 10
MAX_STRING_BYTES = 4096

NEWSTYLE_MAGIC = 0x4E42444D41474943
OPTION_MAGIC = 0x49484156454F5054
OPTION_REPLY_MAGIC = 0x0003E889045565A9
REQUEST_MAGIC = 0x25609513
SIMPLE_REPLY_MAGIC = 0x67446698
STRUCTURED_REPLY_MAGIC = 0x668E33EF

REPLY_ERROR_BIT = 1 << 31
CHUNK_ERROR_BIT = 1 << 15
CHUNK_DONE = 1

GREETING = struct.Struct(">QQH")
CLIENT_FLAGS = struct.Struct(">I")
OPTION = struct.Struct(">QII")
OPTION_REPLY = struct.Struct(">QIII")
INFO_EXPORT = struct.Struct(">HQH")
INFO_BLOCK_SIZE = struct.Struct(">HIII")
EXPORT_NAME_REPLY = struct.Struct(">QH")
REQUEST = struct.Struct(">IHHQQI")
MAGIC = struct.Struct(">I")
SIMPLE_REPLY = struct.Struct(">IIQ")
CHUNK = struct.Struct(">IHHQI")
OFFSET = struct.Struct(">Q")
OFFSET_HOLE = struct.Struct(">QI")
CHUNK_ERROR = struct.Struct(">IH")
DESCRIPTOR = struct.Struct(">II")
U32 = struct.Struct(">I")
U16 = struct.Struct(">H")

EXPORT_NAME_PADDING = bytes(124)


@dataclass(frozen=True, slots=True)
class Extent:
    """A piece of an export with one status.

    Parameters
    ----------
    offset_bytes, length_bytes
        Where the piece lies in the export.
    flags
        The 32-bit status; its meaning belongs to the metadata context it was asked in.
    """

    offset_bytes: int
    length_bytes: int
    flags: int

    @property
    def end_bytes(self) -> int:
        """First offset behind the piece."""
        return self.offset_bytes + self.length_bytes


class HandshakeFlag(IntFlag):
    """Flags of the greeting; the client answers with the ones it knows."""

    FIXED_NEWSTYLE = 1
    NO_ZEROES = 2


class Option(IntEnum):
    """What a client may ask before it enters transmission."""

    EXPORT_NAME = 1
    ABORT = 2
    LIST = 3
    STARTTLS = 5
    INFO = 6
    GO = 7
    STRUCTURED_REPLY = 8
    LIST_META_CONTEXT = 9
    SET_META_CONTEXT = 10


class Reply(IntEnum):
    """How a server answers an option."""

    ACK = 1
    SERVER = 2
    INFO = 3
    META_CONTEXT = 4
    ERR_UNSUP = REPLY_ERROR_BIT | 1
    ERR_POLICY = REPLY_ERROR_BIT | 2
    ERR_INVALID = REPLY_ERROR_BIT | 3
    ERR_PLATFORM = REPLY_ERROR_BIT | 4
    ERR_TLS_REQD = REPLY_ERROR_BIT | 5
    ERR_UNKNOWN = REPLY_ERROR_BIT | 6
    ERR_SHUTDOWN = REPLY_ERROR_BIT | 7
    ERR_BLOCK_SIZE_REQD = REPLY_ERROR_BIT | 8
    ERR_TOO_BIG = REPLY_ERROR_BIT | 9


class Info(IntEnum):
    """Pieces of information in the answer to INFO and GO."""

    EXPORT = 0
    NAME = 1
    DESCRIPTION = 2
    BLOCK_SIZE = 3


class ExportFlag(IntFlag):
    """Transmission flags: what this export can do."""

    HAS_FLAGS = 1
    READ_ONLY = 2
    SEND_FLUSH = 4
    SEND_FUA = 8
    ROTATIONAL = 16
    SEND_TRIM = 32
    SEND_WRITE_ZEROES = 64
    SEND_DF = 128
    CAN_MULTI_CONN = 256


class Command(IntEnum):
    """Requests of the transmission phase."""

    READ = 0
    WRITE = 1
    DISC = 2
    FLUSH = 3
    TRIM = 4
    CACHE = 5
    WRITE_ZEROES = 6
    BLOCK_STATUS = 7


class CommandFlag(IntFlag):
    """Flags of a request."""

    NONE = 0
    FUA = 1
    NO_HOLE = 2
    DF = 4
    REQ_ONE = 8


class Chunk(IntEnum):
    """Types of a structured reply's chunks."""

    NONE = 0
    OFFSET_DATA = 1
    OFFSET_HOLE = 2
    BLOCK_STATUS = 5
    ERROR = CHUNK_ERROR_BIT | 1
    ERROR_OFFSET = CHUNK_ERROR_BIT | 2


class MalformedError(ValueError):
    """Bytes do not have the form that the protocol asks for."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request's header; a WRITE is followed by ``length_bytes`` of payload."""

    command: int  # a Command, or a number that this server does not know
    flags: int
    cookie: int
    offset_bytes: int
    length_bytes: int

    def pack(self) -> bytes:
        """Return the header as 28 bytes."""
        return REQUEST.pack(REQUEST_MAGIC, self.flags, self.command, self.cookie, self.offset_bytes, self.length_bytes)

    @classmethod
    def unpack(cls, header: bytes | bytearray) -> Request:
        """Read a header of 28 bytes; MalformedError when it does not start with the request's magic."""
        magic, flags, command, cookie, offset_bytes, length_bytes = REQUEST.unpack(header)
        if magic != REQUEST_MAGIC:
            raise MalformedError(f"request starts with {magic:#x}")
        return cls(command, flags, cookie, offset_bytes, length_bytes)


def pack_option(option: Option, payload: bytes = b"") -> bytes:
    """Return an option with its payload, as the client sends it."""
    return OPTION.pack(OPTION_MAGIC, option, len(payload)) + payload


def pack_option_reply(option: int, reply: Reply, payload: bytes = b"") -> bytes:
    """Return the reply to an option, as the server sends it."""
    return OPTION_REPLY.pack(OPTION_REPLY_MAGIC, option, reply, len(payload)) + payload


def pack_string(text: str) -> bytes:
    """Return a string with its 32-bit length before it."""
    encoded = text.encode()
    return U32.pack(len(encoded)) + encoded


def pack_chunk(kind: Chunk, cookie: int, payload: bytes = b"", *, done: bool = False) -> bytes:
    """Return one chunk of a structured reply."""
    return CHUNK.pack(STRUCTURED_REPLY_MAGIC, CHUNK_DONE if done else 0, kind, cookie, len(payload)) + payload


class Cursor:
    """Takes fields from an option's payload one after another; MalformedError when it is too short."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        end = self._position + count
        if end > len(self._data):
            raise MalformedError(f"a field of {count} bytes does not fit into a payload of {len(self._data)}")
        piece = self._data[self._position : end]
        self._position = end
        return piece

    def u16(self) -> int:
        """Return the next 16-bit number."""
        (value,) = U16.unpack(self.take(U16.size))
        return int(value)

    def u32(self) -> int:
        """Return the next 32-bit number."""
        (value,) = U32.unpack(self.take(U32.size))
        return int(value)

    def string(self) -> str:
        """Return the next length-prefixed string (UTF-8, at most 4096 bytes)."""
        return decode_string(self.take(self.u32()))

    def finish(self) -> None:
        """Raise MalformedError when bytes are left over."""
        if self._position != len(self._data):
            raise MalformedError(f"{len(self._data) - self._position} bytes follow the last field")


def decode_string(encoded: bytes) -> str:
    """Return a string of the protocol (UTF-8, at most 4096 bytes); MalformedError otherwise."""
    if len(encoded) > MAX_STRING_BYTES:
        raise MalformedError(f"a string of {len(encoded)} bytes, more than {MAX_STRING_BYTES}")
    try:
        return encoded.decode()
    except UnicodeDecodeError as error:
        raise MalformedError("a string that is not UTF-8") from error
