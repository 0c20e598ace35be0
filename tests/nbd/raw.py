"""A client that says exactly what a test tells it to: wrong magics, wrong lengths, half a message."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Self

from nbd.serving import Served

from nightwell.nbd import wire
from nightwell.nbd.wire import Command, Option, Reply, Request


class RawClient:
    def __init__(self, served: Served, *, client_flags: int | None = 3) -> None:
        self.sock = socket.create_connection(served.server.address, timeout=5)
        greeting = self.receive(18)
        assert greeting[:16] == b"NBDMAGICIHAVEOPT"
        self.server_flags = struct.unpack(">H", greeting[16:])[0]
        if client_flags is not None:
            self.send(struct.pack(">I", client_flags))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.sock.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def closed(self) -> bool:
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def ask(self, option: int, payload: bytes = b"") -> list[tuple[int, bytes]]:
        """Send an option and return its replies, the last of which ends them."""
        self.send(struct.pack(">QII", wire.OPTION_MAGIC, option, len(payload)) + payload)
        replies: list[tuple[int, bytes]] = []
        while not replies or (replies[-1][0] != Reply.ACK and not replies[-1][0] & wire.REPLY_ERROR_BIT):
            magic, answered, kind, length = struct.unpack(">QIII", self.receive(20))
            assert magic == wire.OPTION_REPLY_MAGIC
            assert answered == option
            replies.append((kind, self.receive(length)))
        return replies

    def go(self, name: str, *, structured: bool = True, contexts: tuple[str, ...] = ()) -> dict[str, int]:
        """Enter transmission; return the numbers of the granted contexts."""
        if structured:
            assert self.ask(Option.STRUCTURED_REPLY)[-1][0] == Reply.ACK
        granted: dict[str, int] = {}
        if contexts:
            for kind, data in self.ask(Option.SET_META_CONTEXT, context_query(name, *contexts)):
                if kind == Reply.META_CONTEXT:
                    granted[data[4:].decode()] = struct.unpack(">I", data[:4])[0]
        assert self.ask(Option.GO, info_query(name))[-1][0] == Reply.ACK
        return granted

    def request(
        self,
        command: int,
        offset_bytes: int,
        length_bytes: int,
        *,
        flags: int = 0,
        payload: bytes = b"",
        cookie: int = 7,
    ) -> None:
        self.send(Request(command, flags, cookie, offset_bytes, length_bytes).pack() + payload)

    def simple_reply(self) -> tuple[int, int]:
        magic, number, cookie = struct.unpack(">IIQ", self.receive(16))
        assert magic == wire.SIMPLE_REPLY_MAGIC
        return number, cookie

    def chunk(self) -> tuple[int, int, int, bytes]:
        """Return flags, type, cookie and payload of one chunk."""
        magic, flags, kind, cookie, length = struct.unpack(">IHHQI", self.receive(20))
        assert magic == wire.STRUCTURED_REPLY_MAGIC
        return flags, kind, cookie, self.receive(length)

    def error(self) -> tuple[int, str]:
        """Return number and message of an error reply."""
        flags, kind, _, payload = self.chunk()
        assert flags == wire.CHUNK_DONE
        assert kind == wire.Chunk.ERROR
        number, length = struct.unpack(">IH", payload[:6])
        assert length == len(payload) - 6
        return number, payload[6:].decode()

    def works(self) -> bool:
        """Tell whether the connection is still in step: a flush is answered under its own cookie."""
        self.request(Command.FLUSH, 0, 0, cookie=0xFEED)
        return self.chunk() == (1, wire.Chunk.NONE, 0xFEED, b"")


def info_query(name: str, *infos: int) -> bytes:
    return wire.pack_string(name) + struct.pack(f">H{len(infos)}H", len(infos), *infos)


def context_query(name: str, *queries: str) -> bytes:
    return wire.pack_string(name) + struct.pack(">I", len(queries)) + b"".join(map(wire.pack_string, queries))
