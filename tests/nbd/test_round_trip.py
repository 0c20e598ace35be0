"""The client against the server: what was written is what is read, whatever the order of requests."""

from __future__ import annotations

import os
import random
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbd.serving import UNHURRIED, Files, Serve

from nightwell.nbd.backend import Backend
from nightwell.nbd.client import NbdClient, list_exports
from nightwell.nbd.file_backend import FileBackend
from nightwell.nbd.wire import ALLOCATION, HOLE, ZERO, Extent
from nightwell.testing.nbd import MemoryBackend, MemoryExports

MIB = 1 << 20
SIZE = 70_001  # not a multiple of anything

OFFSETS = st.integers(0, SIZE)
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["write", "write_fua", "zero", "zero_no_hole", "trim", "read", "flush", "extents"]),
        OFFSETS,
        st.integers(0, 20_000),
        st.integers(1, 255),
    ),
    max_size=25,
)


def make_memory(_: Path) -> Backend:
    return MemoryBackend(SIZE)


def make_file(directory: Path) -> Backend:
    path = directory / f"odd-{os.urandom(4).hex()}"
    path.touch()
    os.truncate(path, SIZE)
    return FileBackend(path, writable=True)


def apply(client: NbdClient, oracle: bytearray, operation: tuple[str, int, int, int]) -> None:
    kind, offset, wanted, value = operation
    length = min(wanted, SIZE - offset)
    if kind in {"write", "write_fua"}:
        data = bytes([value]) * length
        client.write(offset, data, fua=kind == "write_fua")
        oracle[offset : offset + length] = data
    elif kind in {"zero", "zero_no_hole"}:
        client.zero(offset, length, may_punch=kind == "zero")
        oracle[offset : offset + length] = bytes(length)
    elif kind == "trim":
        client.trim(offset, length)
        oracle[offset : offset + length] = bytes(length)  # both backends zero what they trim
    elif kind == "read":
        assert client.read(offset, length) == oracle[offset : offset + length]
    elif kind == "extents":
        check_extents(client, oracle, offset, length)
    else:
        client.flush()


def check_extents(client: NbdClient, oracle: bytearray, offset: int, length: int) -> None:
    position = offset
    for extent in client.extents(ALLOCATION, offset, length):
        assert extent.offset_bytes == position
        position = extent.end_bytes
        if extent.flags & ZERO:
            assert not any(oracle[extent.offset_bytes : position])
    assert position == offset + length


@pytest.mark.parametrize("make", [make_memory, make_file])
@settings(UNHURRIED, max_examples=40)
@given(operations=OPERATIONS)
def test_any_sequence_of_requests_leaves_what_a_plain_array_of_bytes_would_hold(
    serve: Serve,
    tmp_path: Path,
    make: Callable[[Path], Backend],
    operations: list[tuple[str, int, int, int]],
) -> None:
    table = MemoryExports(odd=make(tmp_path))
    url = serve(table).url("odd")
    oracle = bytearray(SIZE)
    with NbdClient.connect(url, contexts=[ALLOCATION]) as client:
        assert client.size_bytes == SIZE
        for operation in operations:
            apply(client, oracle, operation)
        assert client.read(0, SIZE) == oracle


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, (6 << 40) + 513)
    return path


def test_offsets_beyond_4_gib_and_volumes_of_terabytes(serve: Serve, large: Path) -> None:
    url = serve(Files(large.parent)).url("large")
    near_end = (6 << 40) - 4096
    with NbdClient.connect(url, contexts=[ALLOCATION]) as client:
        client.write(5 << 30, b"beyond")
        client.write(near_end, b"\x01" * (4096 + 513))
        assert client.read((5 << 30) - 1, 8) == b"\0beyond\0"
        assert client.read(near_end, 4096 + 513) == b"\x01" * (4096 + 513)
        hole = HOLE | ZERO
        found = list(client.extents(ALLOCATION, near_end - (8 << 30)))
        assert found[0] == Extent(near_end - (8 << 30), 8 << 30, hole)
        assert found[-1].flags == 0
        assert [e.flags for e in client.extents(ALLOCATION, 5 << 30, 4096)] == [0]
        client.zero(4 << 30, 3 << 30)
        assert client.read(5 << 30, 6) == bytes(6)


def test_a_transfer_larger_than_one_request_is_split_and_arrives_in_order(serve: Serve) -> None:
    size = 70 * MIB + 3
    backend = MemoryBackend(size)
    data = random.Random(7).randbytes(size - 10)
    with NbdClient.connect(serve(MemoryExports(v=backend)).url("v")) as client:
        client.write(5, data)
        assert backend.data[5 : size - 5] == data
        buffer = bytearray(size - 10)
        client.read_into(5, memoryview(buffer))
        assert buffer == data


def test_small_requests_keep_the_window_full_and_every_reply_finds_its_place(serve: Serve) -> None:
    backend = MemoryBackend(MIB)
    data = random.Random(8).randbytes(MIB)
    with NbdClient.connect(serve(MemoryExports(v=backend)).url("v")) as client:
        client._terms = replace(client._terms, maximum_block_bytes=4096)
        client.write(0, data)
        assert client.read(0, MIB) == data


def test_a_view_of_any_item_type_is_filled(serve: Serve) -> None:
    backend = MemoryBackend(800)
    backend.data[:] = array("q", range(100)).tobytes()
    values = array("q", bytes(800))
    with NbdClient.connect(serve(MemoryExports(v=backend)).url("v")) as client:
        client.read_into(0, memoryview(values))
    assert values.tolist() == list(range(100))


def test_nothing_asked_is_nothing_sent(serve: Serve) -> None:
    backend = MemoryBackend(10)
    with NbdClient.connect(serve(MemoryExports(v=backend)).url("v"), contexts=[ALLOCATION]) as client:
        client.write(10, b"")
        client.zero(10, 0)
        client.trim(0, 0)
        assert client.read(10, 0) == b""
        assert list(client.extents(ALLOCATION, 10)) == []


def test_what_one_connection_has_written_another_reads_at_once(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(bytes(MIB))
    url = serve(Files(tmp_path)).url("v")
    with NbdClient.connect(url) as writer, NbdClient.connect(url) as reader:
        assert writer.multi_connection
        for number in range(1, 50):
            writer.write(number * 4096, bytes([number]) * 4096)
            assert reader.read(number * 4096, 4096) == bytes([number]) * 4096


def test_an_export_of_no_bytes_can_be_opened(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with NbdClient.connect(serve(Files(tmp_path)).url("empty"), contexts=[ALLOCATION]) as client:
        assert client.size_bytes == 0
        assert list(client.extents(ALLOCATION)) == []


def test_a_unix_socket_serves_too_and_is_removed_at_the_end(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "a socket"
    served = serve(MemoryExports(v=MemoryBackend(100)), unix_path=path)
    assert path.stat().st_mode & 0o777 == 0o600
    with NbdClient.connect(f"nbd+unix:///v?socket={tmp_path}/a%20socket") as client:
        client.write(0, b"x" * 100)
        assert client.read(0, 100) == b"x" * 100
    served.server.stop()
    assert not path.exists()


def test_exports_are_listed(serve: Serve) -> None:
    names = ("a b/c", "well-7", "Ölfeld")
    table = MemoryExports(**{name: MemoryBackend(1) for name in names})
    served = serve(table)
    assert list_exports(served.url("")) == tuple(sorted(names))
    with NbdClient.connect(served.url("a%20b%2Fc")) as client:
        assert client.size_bytes == 1
    assert list_exports(serve(MemoryExports()).url("whatever")) == ()


def test_further_contexts_pass_through(serve: Serve) -> None:
    changed = (Extent(0, 64, 1), Extent(64, 36, 0))
    pair = (Extent(0, 100, 0xABCDEF02),)
    statuses = {"nightwell:changed": changed, "nightwell:pair": pair}
    url = serve(MemoryExports(v=MemoryBackend(100, statuses=statuses))).url("v")
    with NbdClient.connect(url, contexts=["nightwell:changed", "nightwell:pair", "other:thing"]) as client:
        assert client.contexts == {"nightwell:changed", "nightwell:pair"}
        assert tuple(client.extents("nightwell:changed")) == changed
        assert list(client.extents("nightwell:changed", 60, 10)) == [Extent(60, 4, 1), Extent(64, 6, 0)]
        assert tuple(client.extents("nightwell:pair")) == pair


def test_more_extents_than_one_reply_holds_are_walked_to_the_end(serve: Serve) -> None:
    row = tuple(Extent(number, 1, number % 2) for number in range(20_000))
    url = serve(MemoryExports(v=MemoryBackend(20_000, statuses={"nightwell:changed": row}))).url("v")
    with NbdClient.connect(url, contexts=["nightwell:changed"]) as client:
        assert tuple(client.extents("nightwell:changed")) == row


def test_flush_and_fua_reach_the_backend(serve: Serve) -> None:
    backend = MemoryBackend(100)
    with NbdClient.connect(serve(MemoryExports(v=backend)).url("v")) as client:
        client.write(0, b"x")
        assert backend.flushed == 0
        client.write(0, b"x", fua=True)
        assert backend.flushed == 1
        client.flush()
        assert backend.flushed == 2
