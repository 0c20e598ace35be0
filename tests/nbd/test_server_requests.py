"""The server's answers to requests that no polite client sends, byte by byte."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from nbd.raw import RawClient
from nbd.serving import Files, Serve

from nightwell.nbd import wire
from nightwell.nbd.wire import ALLOCATION, Chunk, Command, CommandFlag, Extent
from nightwell.testing.nbd import MemoryBackend, MemoryExports

MIB = 1 << 20
SIZE = 40 * MIB + 1


@pytest.fixture
def client(serve: Serve) -> Iterator[RawClient]:
    with RawClient(serve(MemoryExports(v=MemoryBackend(SIZE)))) as raw:
        raw.go("v")
        yield raw


@pytest.mark.parametrize(
    ("command", "offset", "length", "flags", "message"),
    [
        (Command.READ, SIZE, 1, 0, "ends behind"),
        (Command.READ, SIZE - 1, 2, 0, "ends behind"),
        (Command.READ, 2**64 - 1, 2, 0, "ends behind"),
        (Command.READ, 0, 32 * MIB + 1, 0, "33554433 bytes"),
        (Command.READ, 0, 0, 0, "no bytes"),
        (Command.READ, 0, 1, CommandFlag.REQ_ONE, "flags 0x8"),
        (Command.TRIM, SIZE, 1, 0, "ends behind"),
        (Command.WRITE_ZEROES, 0, 2**32 - 1, 0, "ends behind"),
        (Command.WRITE_ZEROES, 0, 1, 1 << 4, "flags 0x10"),
        (Command.FLUSH, 0, 0, 1 << 15, "flags 0x8000"),
        (Command.CACHE, 0, 1, 0, "command 5"),
        (99, 0, 1, 0, "command 99"),
        (Command.BLOCK_STATUS, 0, 1, 0, "no metadata context"),
    ],
)
def test_a_wrong_request_is_answered_with_einval_and_a_reason(
    client: RawClient, command: int, offset: int, length: int, flags: int, message: str
) -> None:
    client.request(command, offset, length, flags=flags)
    number, text = client.error()
    assert number == errno.EINVAL
    assert message in text
    assert client.works()


@pytest.mark.parametrize(
    ("offset", "length", "flags"), [(0, 32 * MIB + 5, 0), (SIZE - 9, 10, 0), (0, 10, CommandFlag.DF), (0, 0, 0)]
)
def test_the_payload_of_a_refused_write_is_taken_off_the_line(
    client: RawClient, offset: int, length: int, flags: int
) -> None:
    client.request(Command.WRITE, offset, length, flags=flags, payload=bytes(length))
    assert client.error()[0] == errno.EINVAL
    assert client.works()


def test_a_write_of_the_largest_payload_is_served(client: RawClient) -> None:
    client.request(Command.WRITE, 1, 32 * MIB, payload=b"\x07" * (32 * MIB))
    assert client.chunk()[1] == Chunk.NONE
    client.request(Command.READ, 0, 32 * MIB, flags=CommandFlag.DF)
    flags, kind, _, payload = client.chunk()
    assert (flags, kind) == (wire.CHUNK_DONE, Chunk.OFFSET_DATA)
    assert payload == bytes(8) + b"\0" + b"\x07" * (32 * MIB - 1)


def test_changes_of_a_read_only_export_are_refused_with_eperm(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "v.ro").write_bytes(b"still" * 1000)
    with RawClient(serve(Files(tmp_path))) as client:
        client.go("v.ro")
        client.request(Command.WRITE, 0, 4000, payload=bytes(4000))
        assert client.error() == (errno.EPERM, "the export is read-only")
        for command in (Command.TRIM, Command.WRITE_ZEROES):
            client.request(command, 0, 100)
            assert client.error()[0] == errno.EPERM
        assert client.works()
    assert (tmp_path / "v.ro").read_bytes() == b"still" * 1000


def test_a_client_without_structured_replies_gets_simple_ones(serve: Serve) -> None:
    backend = MemoryBackend(100)
    with RawClient(serve(MemoryExports(v=backend))) as client:
        client.go("v", structured=False)
        client.request(Command.WRITE, 0, 5, payload=b"bytes", cookie=1)
        assert client.simple_reply() == (0, 1)
        client.request(Command.READ, 0, 5, cookie=2)
        assert client.simple_reply() == (0, 2)
        assert client.receive(5) == b"bytes"
        client.request(Command.READ, 100, 5, cookie=3)
        assert client.simple_reply() == (errno.EINVAL, 3)
        client.request(Command.FLUSH, 0, 0, cookie=4)
        assert client.simple_reply() == (0, 4)


def test_many_requests_sent_at_once_are_all_answered(client: RawClient) -> None:
    for cookie in range(100):
        client.request(Command.READ, cookie, 1, cookie=cookie)
    assert [client.chunk()[2] for _ in range(100)] == list(range(100))


def test_several_contexts_are_answered_in_one_reply(serve: Serve) -> None:
    statuses = {"nightwell:changed": (Extent(0, 10, 1), Extent(10, 90, 0)), "nightwell:pair": (Extent(0, 100, 9),)}
    with RawClient(serve(MemoryExports(v=MemoryBackend(100, statuses=statuses)))) as client:
        numbers = client.go("v", contexts=("nightwell:pair", "nightwell:changed", ALLOCATION))
        assert len(set(numbers.values())) == 3

        client.request(Command.BLOCK_STATUS, 5, 50)
        found = _statuses(client)
        assert found[numbers["nightwell:changed"]] == [(5, 1), (45, 0)]
        assert found[numbers["nightwell:pair"]] == [(50, 9)]
        assert found[numbers[ALLOCATION]] == [(50, 3)]

        client.request(Command.BLOCK_STATUS, 5, 50, flags=CommandFlag.REQ_ONE)
        assert _statuses(client)[numbers["nightwell:changed"]] == [(5, 1)]
        assert client.works()


def test_a_backend_whose_extents_leave_a_gap_is_an_error_and_not_a_guess(serve: Serve) -> None:
    backend = MemoryBackend(100, statuses={"nightwell:changed": (Extent(0, 10, 1),)})
    with RawClient(serve(MemoryExports(v=backend))) as client:
        client.go("v", contexts=("nightwell:changed",))
        client.request(Command.BLOCK_STATUS, 0, 100)
        assert client.error()[0] == errno.EIO
        assert client.works()


def test_a_request_without_its_magic_ends_the_connection(client: RawClient) -> None:
    client.send(bytes(28))
    assert client.closed()


def test_the_flags_of_an_export_say_what_it_can_do(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(b"x")
    (tmp_path / "v.ro").write_bytes(b"x")
    served = serve(Files(tmp_path))
    flags = {}
    for name in ("v", "v.ro"):
        with RawClient(served) as client:
            client.ask(wire.Option.STRUCTURED_REPLY)
            info = client.ask(wire.Option.INFO, wire.pack_string(name) + struct.pack(">H", 0))[0][1]
            _, size, number = wire.INFO_EXPORT.unpack(info)
            assert size == 1
            flags[name] = number
    assert flags["v"] == 0b1_1110_1101  # all but READ_ONLY and ROTATIONAL
    assert flags["v.ro"] == 0b1_1000_1111  # READ_ONLY, neither TRIM nor WRITE_ZEROES


def _statuses(client: RawClient) -> dict[int, list[tuple[int, int]]]:
    found: dict[int, list[tuple[int, int]]] = {}
    while True:
        flags, kind, _, payload = client.chunk()
        if kind == Chunk.BLOCK_STATUS:
            found[struct.unpack(">I", payload[:4])[0]] = list(struct.iter_unpack(">II", payload[4:]))
        if flags & wire.CHUNK_DONE:
            return found
