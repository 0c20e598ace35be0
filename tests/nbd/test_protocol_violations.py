"""A server that breaks the protocol meets a typed error and a closed connection, never a hang or wrong bytes."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbd.serving import UNHURRIED

from nightwell.errors import NightwellError, NotFoundError, UnreachableError
from nightwell.nbd import wire
from nightwell.nbd.client import NbdClient
from nightwell.nbd.faults import WireError
from nightwell.nbd.wire import ALLOCATION, Chunk, Option, Reply

GREETING = wire.GREETING.pack(wire.NEWSTYLE_MAGIC, wire.OPTION_MAGIC, 3)
SIZE = 4096

Script = Callable[[socket.socket], None]


@contextmanager
def scripted(script: Script) -> Iterator[str]:
    """Serve one connection by a script; yield the URL."""

    def run() -> None:
        sock, _ = listener.accept()
        with sock:
            try:
                script(sock)
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        yield f"nbd://127.0.0.1:{listener.getsockname()[1]}/v"
        thread.join(10)
        assert not thread.is_alive()


def receive(sock: socket.socket, count: int) -> bytes:
    data = sock.recv(count, socket.MSG_WAITALL)
    if len(data) < count:
        raise ConnectionError
    return data


def next_option(sock: socket.socket) -> int:
    _, option, length = wire.OPTION.unpack(receive(sock, wire.OPTION.size))
    receive(sock, length)
    return int(option)


def open_export(sock: socket.socket, *, flags: int = 0b1_1110_1101) -> None:
    """Play an honest server up to transmission."""
    sock.sendall(GREETING)
    receive(sock, 4)
    while True:
        option = next_option(sock)
        if option == Option.SET_META_CONTEXT:
            granted = struct.pack(">I", 1) + ALLOCATION.encode()
            sock.sendall(wire.pack_option_reply(option, Reply.META_CONTEXT, granted))
        if option == Option.GO:
            info = wire.INFO_EXPORT.pack(0, SIZE, flags)
            sock.sendall(wire.pack_option_reply(option, Reply.INFO, info))
        sock.sendall(wire.pack_option_reply(option, Reply.ACK))
        if option == Option.GO:
            return


def data_chunk(cookie: int, offset: int, data: bytes, *, done: bool) -> bytes:
    return wire.pack_chunk(Chunk.OFFSET_DATA, cookie, struct.pack(">Q", offset) + data, done=done)


REPLIES: dict[str, Callable[[int], bytes]] = {
    "no magic": lambda _: bytes(16),
    "another request's simple reply": lambda cookie: wire.SIMPLE_REPLY.pack(wire.SIMPLE_REPLY_MAGIC, 0, cookie + 1),
    "another request's chunk": lambda cookie: data_chunk(cookie + 1, 0, bytes(SIZE), done=True),
    "too little data": lambda cookie: data_chunk(cookie, 0, bytes(SIZE - 1), done=True),
    "no data": lambda cookie: wire.pack_chunk(Chunk.NONE, cookie, done=True),
    "data before the range": lambda cookie: data_chunk(cookie, 2**64 - 1, bytes(SIZE), done=True),
    "data behind the range": lambda cookie: data_chunk(cookie, 1, bytes(SIZE), done=True),
    "data twice": lambda cookie: (
        data_chunk(cookie, 0, bytes(SIZE), done=False) + data_chunk(cookie, 0, bytes(1), done=True)
    ),
    "one half twice, the other never": lambda cookie: (
        data_chunk(cookie, 0, bytes(SIZE // 2), done=False) + data_chunk(cookie, 0, bytes(SIZE // 2), done=True)
    ),
    "an empty data chunk": lambda cookie: data_chunk(cookie, 0, b"", done=False),
    "a hole behind the range": lambda cookie: wire.pack_chunk(
        Chunk.OFFSET_HOLE, cookie, struct.pack(">QI", 0, SIZE + 1), done=True
    ),
    "a hole of the wrong form": lambda cookie: wire.pack_chunk(Chunk.OFFSET_HOLE, cookie, bytes(8), done=True),
    "a status nobody asked for": lambda cookie: wire.pack_chunk(Chunk.BLOCK_STATUS, cookie, bytes(12), done=True),
    "an error of the wrong form": lambda cookie: wire.pack_chunk(Chunk.ERROR, cookie, b"\0", done=True),
    "an unknown chunk": lambda cookie: wire.pack_chunk(Chunk.NONE, cookie, b"what", done=True),
    "a huge chunk": lambda cookie: wire.CHUNK.pack(wire.STRUCTURED_REPLY_MAGIC, 1, 1, cookie, 2**32 - 1),
}


@pytest.mark.parametrize("what", REPLIES)
def test_a_reply_that_is_none_is_a_wire_error_and_the_client_is_done(what: str) -> None:
    def script(sock: socket.socket) -> None:
        open_export(sock)
        header = receive(sock, 28)
        sock.sendall(REPLIES[what](wire.Request.unpack(header).cookie))
        sock.recv(1)  # the client hangs up

    with scripted(script) as url:
        client = NbdClient.connect(url, timeout_s=5)
        with pytest.raises(WireError, match="not an NBD server"):
            client.read(0, SIZE)
        with pytest.raises(UnreachableError):
            client.read(0, SIZE)


def test_chunks_in_any_order_and_holes_make_one_read() -> None:
    def script(sock: socket.socket) -> None:
        open_export(sock)
        cookie = wire.Request.unpack(receive(sock, 28)).cookie
        sock.sendall(
            data_chunk(cookie, 4000, b"z" * 96, done=False)
            + wire.pack_chunk(Chunk.OFFSET_HOLE, cookie, struct.pack(">QI", 1000, 3000))
            + data_chunk(cookie, 0, b"a" * 1000, done=False)
            + wire.pack_chunk(Chunk.NONE, cookie, done=True)
        )

    with scripted(script) as url, NbdClient.connect(url, timeout_s=5) as client:
        buffer = bytearray(b"!" * SIZE)
        client.read_into(0, memoryview(buffer))
        assert buffer == b"a" * 1000 + bytes(3000) + b"z" * 96


@pytest.mark.parametrize(
    "row",
    [b"", struct.pack(">II", 0, 0), struct.pack(">I", 9)],
    ids=["no extent", "an empty extent", "half an extent"],
)
def test_a_broken_block_status_is_a_wire_error(row: bytes) -> None:
    def script(sock: socket.socket) -> None:
        open_export(sock)
        cookie = wire.Request.unpack(receive(sock, 28)).cookie
        sock.sendall(wire.pack_chunk(Chunk.BLOCK_STATUS, cookie, struct.pack(">I", 1) + row, done=True))
        sock.recv(1)

    with (
        scripted(script) as url,
        NbdClient.connect(url, contexts=[ALLOCATION], timeout_s=5) as client,
        pytest.raises(WireError),
    ):
        list(client.extents(ALLOCATION))


def test_a_block_status_without_the_asked_context_is_a_wire_error() -> None:
    def script(sock: socket.socket) -> None:
        open_export(sock)
        cookie = wire.Request.unpack(receive(sock, 28)).cookie
        sock.sendall(wire.pack_chunk(Chunk.BLOCK_STATUS, cookie, struct.pack(">III", 2, SIZE, 0), done=True))
        sock.recv(1)

    with (
        scripted(script) as url,
        NbdClient.connect(url, contexts=[ALLOCATION], timeout_s=5) as client,
        pytest.raises(WireError, match="context"),
    ):
        list(client.extents(ALLOCATION))


def test_a_last_extent_beyond_the_range_is_cut() -> None:
    def script(sock: socket.socket) -> None:
        open_export(sock)
        cookie = wire.Request.unpack(receive(sock, 28)).cookie
        sock.sendall(wire.pack_chunk(Chunk.BLOCK_STATUS, cookie, struct.pack(">III", 1, SIZE * 9, 3), done=True))

    with scripted(script) as url, NbdClient.connect(url, contexts=[ALLOCATION], timeout_s=5) as client:
        assert list(client.extents(ALLOCATION)) == [wire.Extent(0, SIZE, 3)]


@pytest.mark.parametrize(
    "greeting",
    [
        b"HTTP/1.1 400 Bad R",
        wire.GREETING.pack(wire.NEWSTYLE_MAGIC, 0x00420281861253, 3),  # the oldstyle's magic
        wire.GREETING.pack(wire.NEWSTYLE_MAGIC, wire.OPTION_MAGIC, 0),
    ],
    ids=["HTTP", "oldstyle", "not fixed"],
)
def test_whoever_does_not_speak_newstyle_is_a_wire_error(greeting: bytes) -> None:
    with scripted(lambda sock: sock.sendall(greeting)) as url, pytest.raises(WireError):
        NbdClient.connect(url, timeout_s=5)


def test_a_server_that_hangs_up_while_haggling_is_unreachable() -> None:
    with scripted(lambda sock: sock.sendall(GREETING)) as url, pytest.raises(UnreachableError):
        NbdClient.connect(url, timeout_s=5)


def old_server(sock: socket.socket, *, known: bool, flags: int = 1) -> None:
    """Play a server that knows nothing newer than the option EXPORT_NAME."""
    sock.sendall(wire.GREETING.pack(wire.NEWSTYLE_MAGIC, wire.OPTION_MAGIC, 1))
    receive(sock, 4)
    while (option := next_option(sock)) != Option.EXPORT_NAME:
        sock.sendall(wire.pack_option_reply(option, Reply.ERR_UNSUP))
    if known:
        sock.sendall(wire.EXPORT_NAME_REPLY.pack(SIZE, flags) + bytes(124))


def test_an_old_server_is_served_with_what_it_knows() -> None:
    sent: list[bytes] = []

    def script(sock: socket.socket) -> None:
        old_server(sock, known=True)
        for _ in range(2):  # flush and trim are never sent; zeroing is writing, FUA is nothing it could do
            header = receive(sock, 28)
            request = wire.Request.unpack(header)
            assert (request.command, request.flags) == (wire.Command.WRITE, 0)
            sent.append(receive(sock, request.length_bytes))
            sock.sendall(wire.SIMPLE_REPLY.pack(wire.SIMPLE_REPLY_MAGIC, 0, request.cookie))

    with scripted(script) as url, NbdClient.connect(url, contexts=[ALLOCATION], timeout_s=5) as client:
        assert client.size_bytes == SIZE
        assert not client.contexts
        client.zero(0, 100)
        client.trim(0, 100)
        client.write(0, b"data", fua=True)
        client.flush()
    assert sent == [bytes(100), b"data"]


def test_an_old_server_says_no_by_hanging_up() -> None:
    with scripted(lambda sock: old_server(sock, known=False)) as url, pytest.raises(NotFoundError):
        NbdClient.connect(url, timeout_s=5)


@settings(UNHURRIED, max_examples=40)
@given(st.lists(st.one_of(st.binary(max_size=40), st.just(GREETING), st.just(bytes(1000))), max_size=5))
def test_whatever_a_server_says_the_client_ends_with_an_error_of_its_own(pieces: list[bytes]) -> None:
    def script(sock: socket.socket) -> None:
        sock.sendall(b"".join(pieces))

    with scripted(script) as url, pytest.raises(NightwellError):
        NbdClient.connect(url, timeout_s=5)


@settings(UNHURRIED, max_examples=40)
@given(st.binary(max_size=80))
def test_whatever_follows_an_opened_export_no_read_succeeds_by_accident(noise: bytes) -> None:
    def script(sock: socket.socket) -> None:
        open_export(sock)
        receive(sock, 28)
        sock.sendall(noise)

    with scripted(script) as url, NbdClient.connect(url, timeout_s=5) as client, pytest.raises(NightwellError):
        client.read(0, SIZE)
