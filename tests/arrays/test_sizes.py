"""Volumes of any size: odd, growing, and far larger than the disk."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from arrays.running import RunningArray, wait_state

from nightwell.arrays.port import PairState
from nightwell.errors import InputError
from nightwell.nbd.client import NbdClient
from nightwell.nbd.wire import ALLOCATION, CHANGED

TIB = 1 << 40


def test_a_sparse_tebibyte_is_paired_split_and_resynced_in_seconds(tmp_path: Path) -> None:
    size_bytes = TIB + 12_345
    with RunningArray("array", tmp_path) as process:
        array = process.client
        for name in ("p", "s"):
            array.create_volume(name, size_bytes)
        with NbdClient.connect(array.export("p", writable=True).url) as client:
            for offset in (0, TIB // 2 + 1, size_bytes - 3):
                client.write(offset, b"far")
            start = time.monotonic()
            array.create_pair("p", "s")
            assert wait_state(array, "p", PairState.PAIR).copied_bytes == size_bytes
            array.split(["p"])
            client.write(TIB // 4, b"new")
            array.resync("p")
            assert wait_state(array, "p", PairState.PAIR).to_copy_bytes == 65536
            client.zero(TIB // 2, 1 << 30)
            array.split(["p"])
            assert time.monotonic() - start < 20
        with NbdClient.connect(array.export("s", writable=False).url, contexts=[ALLOCATION, CHANGED]) as client:
            assert client.size_bytes == size_bytes
            assert client.read(size_bytes - 4, 4) == b"\0far"
            assert client.read(TIB // 4, 3) == b"new"
            assert client.read(TIB // 2 + 1, 3) == bytes(3)
            changed = [extent for extent in client.extents(CHANGED) if extent.flags]
            assert [(extent.offset_bytes, extent.length_bytes) for extent in changed] == [
                (TIB // 4, 65536),
                (TIB // 2, 1 << 30),
            ]
            data = sum(extent.length_bytes for extent in client.extents(ALLOCATION) if not extent.flags)
            assert 0 < data < 1 << 20
        files = [tmp_path / "volumes" / f"{name}.raw" for name in ("p", "s")]
        assert all(file.stat().st_blocks * 512 < 1 << 20 for file in files)


@pytest.mark.parametrize("size_bytes", [1, 511, 65_535, 65_536, 65_537, 1_048_577])
def test_odd_sizes_are_copied_to_the_byte(size_bytes: int, small: RunningArray) -> None:
    array = small.client
    primary, secondary = f"p{size_bytes}", f"s{size_bytes}"
    for name in (primary, secondary):
        array.create_volume(name, size_bytes)
    with NbdClient.connect(array.export(primary, writable=True).url) as client:
        client.write(0, bytes(range(1, 256)) * (size_bytes // 255) + b"\xff" * (size_bytes % 255))
        array.create_pair(primary, secondary)
        assert wait_state(array, primary, PairState.PAIR).copied_bytes == size_bytes
        client.write(size_bytes - 1, b"!")
        array.split([primary])
        client.zero(size_bytes - 1, 1)
        array.resync(primary)
        wait_state(array, primary, PairState.PAIR)
    assert small.volume_bytes(primary) == small.volume_bytes(secondary)
    assert small.volume_bytes(secondary)[-1:] == b"\0"


def test_growing_between_pairs_starts_a_new_list(small: RunningArray) -> None:
    array = small.client
    for name in ("p", "s"):
        array.create_volume(name, 100_000)
    array.create_pair("p", "s")
    wait_state(array, "p", PairState.PAIR)
    array.split(["p"])
    array.delete_pair("p")
    for name in ("p", "s"):
        array.grow_volume(name, 200_001)
    array.create_pair("p", "s")
    wait_state(array, "p", PairState.PAIR)
    (split,) = array.split(["p"])
    assert split.previous_split_id is None


def test_a_size_that_no_file_system_holds_is_refused(small: RunningArray) -> None:
    with pytest.raises(InputError, match="that this file system can hold"):
        small.client.create_volume("huge", (1 << 63) - 1)
    assert "huge" not in {volume.name for volume in small.client.volumes()}
    assert not (small.directory / "volumes" / "huge.raw").exists()
