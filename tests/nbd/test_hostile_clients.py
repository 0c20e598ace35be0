"""No client, however broken or hostile, keeps the server from serving the next one."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbd.raw import RawClient
from nbd.serving import UNHURRIED, Serve, Served, eventually

from nightwell.errors import UnreachableError
from nightwell.nbd import wire
from nightwell.nbd.client import NbdClient
from nightwell.nbd.server import NbdServer
from nightwell.nbd.wire import Command, Option, Request
from nightwell.testing.nbd import MemoryBackend, MemoryExports

OPTION_STARTS = st.builds(
    struct.Struct(">QII").pack,
    st.sampled_from([wire.OPTION_MAGIC, 0]),
    st.one_of(st.sampled_from([int(option) for option in Option]), st.integers(0, 2**32 - 1)),
    st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1)),
)
REQUEST_STARTS = st.builds(
    lambda *fields: Request(*fields).pack(),
    st.integers(0, 9),
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**64 - 1),
    st.one_of(st.integers(0, 5000), st.integers(0, 2**64 - 1)),
    st.one_of(st.integers(0, 5000), st.integers(0, 2**32 - 1)),
)
FRAGMENTS = st.one_of(
    st.binary(max_size=60),
    OPTION_STARTS,
    REQUEST_STARTS,
    st.sampled_from(
        [
            wire.pack_option(Option.STRUCTURED_REPLY),
            wire.pack_option(Option.GO, wire.pack_string("v") + b"\0\0"),
            wire.pack_option(Option.EXPORT_NAME, b"v"),
        ]
    ),
)
FLAGS = st.one_of(st.just(b"\0\0\0\3"), st.binary(min_size=4, max_size=4))


@pytest.fixture(scope="module")
def standing() -> Iterator[Served]:
    server = NbdServer(MemoryExports(v=MemoryBackend(4096)))
    server.start()
    yield Served(server)
    server.stop()


def serves(served: Served) -> bool:
    with NbdClient.connect(served.url("v"), timeout_s=5) as client:
        return len(client.read(0, 4096)) == 4096


@settings(UNHURRIED, max_examples=100)
@given(flags=FLAGS, fragments=st.lists(FRAGMENTS, max_size=6))
def test_whatever_bytes_come_the_next_client_is_served(standing: Served, flags: bytes, fragments: list[bytes]) -> None:
    threads = threading.active_count()
    # The server may have had enough before we have said all.
    with socket.create_connection(standing.server.address, timeout=5) as sock, suppress(OSError):
        sock.sendall(flags + b"".join(fragments))
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass
    assert serves(standing)
    eventually(lambda: threading.active_count() <= threads)


def test_a_client_that_dribbles_through_the_haggling_is_cut_at_the_deadline(serve: Serve) -> None:
    served = serve(MemoryExports(v=MemoryBackend(4096)), handshake_s=0.5)
    with RawClient(served) as client:
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            _dribble(client)
        assert serves(served)


def _dribble(client: RawClient) -> None:
    option = wire.pack_option(Option.STRUCTURED_REPLY)  # every wait is short, and every option a good one
    deadline_s = time.monotonic() + 5
    while time.monotonic() < deadline_s:
        for start in range(0, len(option), 4):
            client.send(option[start : start + 4])
            time.sleep(0.01)


def test_half_open_clients_are_cut_at_the_deadline_and_leave_no_thread(serve: Serve) -> None:
    served = serve(MemoryExports(v=MemoryBackend(4096)), handshake_s=0.3)
    threads = threading.active_count()
    clients = [RawClient(served, client_flags=None) for _ in range(30)]
    assert serves(served)
    assert all(client.closed() for client in clients)
    for client in clients:
        client.sock.close()
    eventually(lambda: threading.active_count() <= threads)


def test_a_client_in_transmission_may_be_silent_longer_than_the_deadline(serve: Serve) -> None:
    served = serve(MemoryExports(v=MemoryBackend(4096)), handshake_s=0.2)
    with NbdClient.connect(served.url("v")) as client:
        with RawClient(served) as slow:
            assert slow.closed()  # a whole deadline has passed
        assert client.read(0, 1) == b"\0"


def test_endless_options_end_the_connection(serve: Serve) -> None:
    served = serve(MemoryExports(v=MemoryBackend(4096)))
    with RawClient(served) as client:
        for _ in range(1000):
            client.ask(Option.STRUCTURED_REPLY)
        assert client.closed()
    assert serves(served)


def test_more_connections_than_allowed_are_closed_at_once() -> None:
    server = NbdServer(MemoryExports(v=MemoryBackend(4096)), max_connections=2)
    server.start()
    try:
        served = Served(server)
        with RawClient(served) as one, RawClient(served) as two:
            assert one.server_flags == two.server_flags
            with pytest.raises(UnreachableError):
                NbdClient.connect(served.url("v"))
        eventually(lambda: _connects(served))
    finally:
        server.stop()


def test_when_no_thread_can_be_started_the_client_is_refused_and_the_server_stays(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    served = serve(MemoryExports(v=MemoryBackend(4096)))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(UnreachableError):
            NbdClient.connect(served.url("v"))
    assert serves(served)


def _connects(served: Served) -> bool:
    try:
        return serves(served)
    except UnreachableError:
        return False


def test_a_client_that_leaves_in_the_middle_of_a_write_changes_nothing(serve: Serve) -> None:
    backend = MemoryBackend(4096)
    served = serve(MemoryExports(v=backend))
    with RawClient(served) as client:
        client.go("v")
        client.request(Command.WRITE, 0, 4096, payload=b"half" * 100)
    eventually(lambda: served.server.connections("v") == 0)
    assert not any(backend.data)


def test_a_client_that_never_reads_its_replies_does_not_stop_the_others(serve: Serve) -> None:
    served = serve(MemoryExports(v=MemoryBackend(32 << 20)))
    with RawClient(served) as greedy:
        greedy.go("v")
        for _ in range(20):
            greedy.request(Command.READ, 0, 32 << 20)
        assert serves(served)
        served.server.disconnect("v")
    assert serves(served)
