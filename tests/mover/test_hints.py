from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mover.rig import VOLUME, PairedVolume
from mover.test_conversation import JOB, VERSION

from nightwell.mover.hints import blocks_touched, change_list_counts, find_hint
from nightwell.mover.job import CopyMode
from nightwell.nbd.client import NbdClient
from nightwell.nbd.server import NbdServer
from nightwell.nbd.wire import ALLOCATION, CHANGED, Extent
from nightwell.testing.nbd import MemoryExports

PARENT = replace(VERSION, split_id="split-1", size_bytes=1 << 20)
SPLIT = replace(JOB, split_id="split-2", previous_split_id="split-1")


@given(st.lists(st.tuples(st.integers(0, 999), st.integers(1, 300)), max_size=8), st.sampled_from([1, 7, 64, 2000]))
def test_a_block_is_touched_when_any_byte_of_it_is(ranges: list[tuple[int, int]], block_bytes: int) -> None:
    extents = [Extent(start, min(length, 1000 - start), 1) for start, length in ranges]
    bytes_touched = np.zeros(-(-1000 // block_bytes) * block_bytes, dtype=bool)
    for extent in extents:
        bytes_touched[extent.offset_bytes : extent.end_bytes] = True
    blocks = bytes_touched.reshape(-1, block_bytes).tolist()
    expected = [any(block) for block in blocks]
    assert blocks_touched(extents, blocks=len(expected), block_bytes=block_bytes).tolist() == expected


def test_a_change_list_counts_only_from_what_the_parent_holds() -> None:
    assert change_list_counts(SPLIT, PARENT, size_bytes=1 << 20)
    for job, parent, size_bytes in (
        (SPLIT, None, 1 << 20),
        (SPLIT, PARENT, 2 << 20),
        (SPLIT, replace(PARENT, split_id=None), 1 << 20),
        (SPLIT, replace(PARENT, point_in_time=False), 1 << 20),
        (replace(SPLIT, previous_split_id="split-0"), PARENT, 1 << 20),
        (replace(SPLIT, previous_split_id=None), replace(PARENT, split_id=None), 1 << 20),
        (replace(SPLIT, mode=CopyMode.PAIR), PARENT, 1 << 20),
        (replace(SPLIT, mode=CopyMode.DIRECT), PARENT, 1 << 20),
    ):
        assert not change_list_counts(job, parent, size_bytes=size_bytes)


@pytest.mark.parametrize("asked", [(), (ALLOCATION,), (CHANGED,), (ALLOCATION, CHANGED)])
def test_only_what_the_array_grants_is_used(asked: tuple[str, ...]) -> None:
    volume = PairedVolume(1 << 20)
    volume.data[10_000] = 1  # in block 2, page 2; all else is a hole
    volume.changed = (Extent(0, 4096 * 5, 0), Extent(4096 * 5, 1, 1), Extent(4096 * 5 + 1, (1 << 20) - 4096 * 5 - 1, 0))
    server = NbdServer(MemoryExports(**{VOLUME: volume}))
    server.start()
    try:
        with NbdClient.connect("nbd://{}:{}/{}".format(*server.address, VOLUME), contexts=asked) as client:
            hint = find_hint(client, SPLIT, parent=PARENT, block_bytes=4096)
    finally:
        server.stop()
    known_zero = None if hint is None or hint.known_zero is None else np.flatnonzero(~hint.known_zero).tolist()
    changed = None if hint is None or hint.maybe_changed is None else np.flatnonzero(hint.maybe_changed).tolist()
    assert known_zero == ([2] if ALLOCATION in asked else None)
    assert changed == ([5] if CHANGED in asked else None)
