from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbd.serving import UNHURRIED

from nightwell.nbd import wire
from nightwell.nbd.wire import Chunk, Command, Cursor, MalformedError, Option, Reply, Request

U16 = st.integers(0, 2**16 - 1)
U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)


@settings(UNHURRIED)
@given(U16, U16, U64, U64, U32)
def test_a_request_comes_back_as_it_was(command: int, flags: int, cookie: int, offset: int, length: int) -> None:
    request = Request(command, flags, cookie, offset, length)
    assert Request.unpack(request.pack()) == request


def test_a_request_has_the_bytes_of_the_specification() -> None:
    packed = Request(Command.WRITE, 1, 0x0102030405060708, 4096, 512).pack()
    assert packed.hex() == "25609513" + "0001" + "0001" + "0102030405060708" + "0000000000001000" + "00000200"


def test_a_request_without_its_magic_is_malformed() -> None:
    with pytest.raises(MalformedError, match="0x0"):
        Request.unpack(bytes(28))


def test_options_and_replies_have_the_bytes_of_the_specification() -> None:
    assert wire.pack_option(Option.LIST) == b"IHAVEOPT" + bytes.fromhex("00000003 00000000")
    reply = wire.pack_option_reply(Option.GO, Reply.ERR_UNKNOWN, b"no")
    assert reply == bytes.fromhex("0003e889045565a9 00000007 80000006 00000002") + b"no"
    chunk = wire.pack_chunk(Chunk.NONE, 9, done=True)
    assert chunk == bytes.fromhex("668e33ef 0001 0000 0000000000000009 00000000")


@settings(UNHURRIED)
@given(st.text(max_size=100), U16, U32)
def test_fields_are_taken_one_after_another(text: str, small: int, large: int) -> None:
    cursor = Cursor(wire.pack_string(text) + wire.U16.pack(small) + wire.U32.pack(large))
    assert (cursor.string(), cursor.u16(), cursor.u32()) == (text, small, large)
    cursor.finish()


@pytest.mark.parametrize(
    "payload",
    [b"", b"\0\0\0", wire.U32.pack(5) + b"four", wire.U32.pack(2**32 - 1), wire.U32.pack(2) + b"\xff\xfe"],
)
def test_a_string_that_does_not_fit_or_is_not_text_is_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedError):
        Cursor(payload).string()


def test_a_string_longer_than_the_protocol_allows_is_malformed() -> None:
    with pytest.raises(MalformedError, match="4097"):
        Cursor(wire.pack_string("x" * 4097)).string()
    assert Cursor(wire.pack_string("x" * 4096)).string() == "x" * 4096


def test_left_over_bytes_are_malformed() -> None:
    with pytest.raises(MalformedError, match="1 bytes follow"):
        Cursor(b"x").finish()
