from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightwell.nbd import sparse
from nightwell.nbd.wire import HOLE, ZERO, Extent

MIB = 1 << 20


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    number = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield number
    os.close(number)


def test_holes_and_data_are_told_apart(descriptor: int) -> None:
    os.ftruncate(descriptor, 4 * MIB)
    sparse.write_all(descriptor, MIB, b"\x01" * MIB)
    hole = HOLE | ZERO
    assert list(sparse.file_extents(descriptor, 0, 4 * MIB)) == [
        Extent(0, MIB, hole),
        Extent(MIB, MIB, 0),
        Extent(2 * MIB, 2 * MIB, hole),
    ]
    assert list(sparse.file_extents(descriptor, MIB + 5, 10)) == [Extent(MIB + 5, 10, 0)]
    assert list(sparse.file_extents(descriptor, 3 * MIB, 7)) == [Extent(3 * MIB, 7, hole)]


def test_punching_gives_space_back_and_zeroing_keeps_it(descriptor: int) -> None:
    sparse.write_all(descriptor, 0, b"\x01" * (2 * MIB))
    before = os.fstat(descriptor).st_blocks
    sparse.zero_range(descriptor, 0, MIB, may_punch=False)
    assert os.fstat(descriptor).st_blocks >= before
    sparse.zero_range(descriptor, 0, MIB, may_punch=True)
    assert os.fstat(descriptor).st_blocks <= before - MIB // 512
    assert sparse.read_all(descriptor, 0, 2 * MIB) == bytes(MIB) + b"\x01" * MIB


@pytest.mark.parametrize("may_punch", [True, False])
@pytest.mark.parametrize("unsupported", [True, False])
def test_only_the_range_is_zeroed_and_the_size_stays(
    descriptor: int, monkeypatch: pytest.MonkeyPatch, *, may_punch: bool, unsupported: bool
) -> None:
    if unsupported:
        monkeypatch.setattr(sparse, "_fallocate", lambda *_: False)
    size = 3 * MIB + 77
    sparse.write_all(descriptor, 0, b"\x01" * size)
    sparse.zero_range(descriptor, 1001, 2 * MIB + 3, may_punch=may_punch)
    assert os.fstat(descriptor).st_size == size
    expected = b"\x01" * 1001 + bytes(2 * MIB + 3) + b"\x01" * (size - 1001 - 2 * MIB - 3)
    assert sparse.read_all(descriptor, 0, size) == expected


def test_a_file_that_became_shorter_is_an_input_output_error(descriptor: int) -> None:
    sparse.write_all(descriptor, 0, b"abc")
    with pytest.raises(OSError, match="shorter") as caught:
        sparse.read_all(descriptor, 0, 4)
    assert caught.value.errno == errno.EIO


def test_an_error_of_fallocate_is_not_hidden(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(4096))
    number = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="Bad file descriptor"):
            sparse.zero_range(number, 0, 4096, may_punch=True)
    finally:
        os.close(number)
