"""The option haggling, byte by byte, as the specification writes it."""

from __future__ import annotations

import struct

import pytest
from nbd.raw import RawClient, context_query, info_query
from nbd.serving import Serve, Served

from nightwell.nbd import wire
from nightwell.nbd.wire import ALLOCATION, Command, Info, Option, Reply
from nightwell.testing.nbd import MemoryBackend, MemoryExports


@pytest.fixture
def served(serve: Serve) -> Served:
    statuses = {"nightwell:changed": (wire.Extent(0, 1000, 0),)}
    return serve(MemoryExports(v=MemoryBackend(1000, statuses=statuses), w=MemoryBackend(2000)))


def kinds(replies: list[tuple[int, bytes]]) -> list[int]:
    return [kind for kind, _ in replies]


def test_the_server_offers_fixed_newstyle_without_zeroes(served: Served) -> None:
    with RawClient(served) as client:
        assert client.server_flags == 3


def test_abort_is_acknowledged_and_ends_the_connection(served: Served) -> None:
    with RawClient(served) as client:
        assert kinds(client.ask(Option.ABORT)) == [Reply.ACK]
        assert client.closed()


def test_an_unknown_option_is_unsupported_and_the_haggling_goes_on(served: Served) -> None:
    with RawClient(served) as client:
        assert kinds(client.ask(11)) == [Reply.ERR_UNSUP]
        assert kinds(client.ask(0xDEAD, b"payload")) == [Reply.ERR_UNSUP]
        assert kinds(client.ask(Option.STARTTLS)) == [Reply.ERR_UNSUP]
        assert len(client.ask(Option.LIST)) == 3


@pytest.mark.parametrize(
    ("option", "payload"),
    [
        (Option.LIST, b"x"),
        (Option.STRUCTURED_REPLY, b"x"),
        (Option.GO, b""),
        (Option.GO, struct.pack(">I", 2**32 - 1)),
        (Option.GO, info_query("v") + b"x"),
        (Option.GO, wire.pack_string("v") + struct.pack(">H", 9)),
        (Option.INFO, wire.pack_string("x" * 5000) + b"\0\0"),
        (Option.INFO, struct.pack(">I", 2) + b"\xff\xff\0\0"),
        (Option.SET_META_CONTEXT, context_query("v", ALLOCATION)),  # structured replies were not agreed on
    ],
)
def test_a_malformed_option_is_invalid_and_the_haggling_goes_on(served: Served, option: int, payload: bytes) -> None:
    with RawClient(served) as client:
        assert kinds(client.ask(option, payload)) == [Reply.ERR_INVALID]
        client.go("v")
        assert client.works()


def test_an_option_beyond_the_bound_is_too_big_and_a_much_larger_one_ends_the_connection(served: Served) -> None:
    with RawClient(served) as client:
        assert kinds(client.ask(Option.INFO, bytes(100_000))) == [Reply.ERR_TOO_BIG]
        client.send(struct.pack(">QII", wire.OPTION_MAGIC, Option.INFO, 2**32 - 1))
        assert client.closed()


def test_info_tells_size_and_block_sizes_and_name_when_asked(served: Served) -> None:
    with RawClient(served) as client:
        replies = client.ask(Option.INFO, info_query("w", Info.NAME, Info.DESCRIPTION, Info.BLOCK_SIZE))
        assert kinds(replies) == [Reply.INFO, Reply.INFO, Reply.INFO, Reply.ACK]
        by_type = {struct.unpack(">H", data[:2])[0]: data[2:] for kind, data in replies if kind == Reply.INFO}
        assert struct.unpack(">Q", by_type[Info.EXPORT][:8]) == (2000,)
        assert by_type[Info.NAME] == b"w"
        assert struct.unpack(">III", by_type[Info.BLOCK_SIZE]) == (1, 65536, 32 << 20)


def test_an_unknown_export_is_told_apart(served: Served) -> None:
    with RawClient(served) as client:
        assert kinds(client.ask(Option.GO, info_query("x"))) == [Reply.ERR_UNKNOWN]
        assert kinds(client.ask(Option.GO, info_query("v")))[-1] == Reply.ACK


@pytest.mark.parametrize(("client_flags", "padding"), [(3, 0), (1, 124)])
def test_the_old_export_name_option_opens_an_export(served: Served, client_flags: int, padding: int) -> None:
    with RawClient(served, client_flags=client_flags) as client:
        client.send(wire.pack_option(Option.EXPORT_NAME, b"w"))
        size, flags = struct.unpack(">QH", client.receive(10))
        assert size == 2000
        assert flags & 1
        assert client.receive(padding) == bytes(padding)
        client.request(Command.READ, 0, 3)
        assert client.simple_reply() == (0, 7)
        assert client.receive(3) == bytes(3)


def test_the_old_option_for_an_unknown_export_ends_the_connection(served: Served) -> None:
    with RawClient(served) as client:
        client.send(wire.pack_option(Option.EXPORT_NAME, b"x"))
        assert client.closed()


@pytest.mark.parametrize("client_flags", [4, 0x80000000])
def test_unknown_client_flags_end_the_connection(served: Served, client_flags: int) -> None:
    with RawClient(served, client_flags=client_flags) as client:
        assert client.closed()


def test_contexts_are_listed_by_name_by_namespace_and_all(served: Served) -> None:
    with RawClient(served) as client:
        client.ask(Option.STRUCTURED_REPLY)

        def listed(*queries: str) -> list[bytes]:
            replies = client.ask(Option.LIST_META_CONTEXT, context_query("v", *queries))
            return [data[4:] for kind, data in replies if kind == Reply.META_CONTEXT]

        assert listed() == [b"base:allocation", b"nightwell:changed"]
        assert listed("nightwell:") == [b"nightwell:changed"]
        assert listed("base:allocation") == [b"base:allocation"]
        assert listed("base", "x:", "base:alloc") == []
        assert kinds(client.ask(Option.LIST_META_CONTEXT, context_query("x"))) == [Reply.ERR_UNKNOWN]


def test_setting_contexts_again_replaces_them(served: Served) -> None:
    with RawClient(served) as client:
        client.ask(Option.STRUCTURED_REPLY)
        assert len(client.ask(Option.SET_META_CONTEXT, context_query("v", ALLOCATION, "nightwell:changed"))) == 3
        assert len(client.ask(Option.SET_META_CONTEXT, context_query("v"))) == 1
        client.go("v")
        client.request(Command.BLOCK_STATUS, 0, 10)
        assert client.error()[0] == 22


def test_contexts_set_for_another_export_do_not_count(served: Served) -> None:
    with RawClient(served) as client:
        client.ask(Option.STRUCTURED_REPLY)
        client.ask(Option.SET_META_CONTEXT, context_query("v", ALLOCATION))
        client.ask(Option.GO, info_query("w"))
        client.request(Command.BLOCK_STATUS, 0, 10)
        assert client.error()[0] == 22


def test_every_opened_backend_is_closed_once(serve: Serve) -> None:
    one, two = MemoryBackend(10), MemoryBackend(10)
    served = serve(MemoryExports(one=one, two=two))
    with RawClient(served) as client:
        for name in ("one", "two", "two", "missing", "one"):
            client.ask(Option.INFO, info_query(name))
        client.go("one")
        assert client.works()
    served.server.stop()
    assert (one.opened, one.closed) == (2, 2)
    assert (two.opened, two.closed) == (1, 1)
