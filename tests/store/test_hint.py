"""A change hint saves reading, and one that lies is caught."""

from __future__ import annotations

import numpy as np
import pytest
from backups import BLOCK_BYTES, Data, back_up, contents, draft, random_bytes
from memory_volume import MemoryVolume

from nightwell.errors import InputError
from nightwell.store import BackupStore, Version
from nightwell.store.hint import LEAST_SAMPLES
from nightwell.store.pipeline import ChangeHint, ingest

_BLOCKS = 400
_SIZE = _BLOCKS * BLOCK_BYTES


@pytest.fixture
def parent(store: BackupStore) -> tuple[Version, Data]:
    data = random_bytes(_SIZE)
    made_of = draft(_SIZE, "run-1", block_bytes=BLOCK_BYTES, split_id="split-1")
    return back_up(store, data, made_of), data


def _mask(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    mask = np.zeros(_BLOCKS, dtype=bool)
    mask[list(numbers)] = True
    return mask


def test_only_hinted_blocks_and_samples_are_read(store: BackupStore, parent: tuple[Version, Data]) -> None:
    data = parent[1].copy()
    for number in (3, 250, 251):
        data[number * BLOCK_BYTES] ^= 1
    source = MemoryVolume(data)
    writer = store.begin(draft(_SIZE, "run-2", split_id="split-2", previous_split_id="split-1"))
    statistics = ingest(source, writer, hint=ChangeHint(_mask(3, 4, 250, 251)))
    version = writer.commit(statistics)
    assert statistics.hint_samples == LEAST_SAMPLES
    assert statistics.blocks_read == 4 + LEAST_SAMPLES
    assert source.bytes_read == statistics.bytes_read == (4 + LEAST_SAMPLES) * BLOCK_BYTES
    assert statistics.blocks_skipped_by_hint == _BLOCKS - 4 - LEAST_SAMPLES
    assert (statistics.blocks_stored, statistics.hint_violations) == (3, 0)
    np.testing.assert_array_equal(contents(store, version), data)


@pytest.mark.parametrize("mask", [0xFF, 0])
def test_a_driver_that_lies_is_caught_and_everything_is_read(
    store: BackupStore, parent: tuple[Version, Data], mask: int
) -> None:
    data = parent[1].copy()
    changed = range(0, _BLOCKS, 4)  # 100 forgotten changes; 64 samples of 400 miss all of them once in 10 million
    for number in changed:
        piece = data[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]
        piece[:] = ~piece & mask
    made_of = draft(_SIZE, "run-2", previous_split_id="split-1")
    version = back_up(store, data, made_of, hint=ChangeHint(_mask()))
    statistics = version.statistics
    assert statistics.hint_violations == len(changed)
    assert statistics.hint_samples == LEAST_SAMPLES
    assert statistics.blocks_skipped_by_hint == 0
    assert statistics.blocks_read == _BLOCKS
    np.testing.assert_array_equal(contents(store, version), data)
    assert store.verify(version).ok


def test_without_samples_the_same_lie_goes_through(store: BackupStore, parent: tuple[Version, Data]) -> None:
    """What the test above would show if sampling did nothing."""
    data = np.bitwise_xor(parent[1], np.uint8(0xFF))
    made_of = draft(_SIZE, "run-2", previous_split_id="split-1")
    version = back_up(store, data, made_of, hint=ChangeHint(_mask(), sample_fraction=0.0))
    assert version.statistics.blocks_skipped_by_hint == _BLOCKS
    np.testing.assert_array_equal(contents(store, version), parent[1])


@pytest.mark.parametrize("previous_split_id", [None, "split-0"])
def test_a_hint_that_does_not_count_from_the_parent_is_not_used(
    store: BackupStore, parent: tuple[Version, Data], previous_split_id: str | None
) -> None:
    data = np.bitwise_xor(parent[1], np.uint8(0xFF))
    made_of = draft(_SIZE, "run-2", previous_split_id=previous_split_id)
    version = back_up(store, data, made_of, hint=ChangeHint(_mask(), sample_fraction=0.0))
    assert version.statistics.blocks_read == _BLOCKS
    np.testing.assert_array_equal(contents(store, version), data)


def test_known_zeros_are_not_read_and_replace_what_the_parent_had(
    store: BackupStore, parent: tuple[Version, Data]
) -> None:
    data = parent[1].copy()
    data[100 * BLOCK_BYTES : 200 * BLOCK_BYTES] = 0
    holes = _mask(*range(100, 200))
    version = back_up(
        store, data, draft(_SIZE, "run-2", previous_split_id="split-1"), hint=ChangeHint(_mask(), known_zero=holes)
    )
    assert version.statistics.blocks_read == LEAST_SAMPLES
    assert version.statistics.hint_violations == 0
    np.testing.assert_array_equal(contents(store, version), data)
    assert store.verify(version).references_wrong == ()


def test_known_zeros_need_no_parent_and_are_sampled_too(store: BackupStore) -> None:
    data = np.zeros(_SIZE, dtype=np.uint8)
    data[: 8 * BLOCK_BYTES] = random_bytes(8 * BLOCK_BYTES)
    true_holes = ~_mask(*range(8))
    first = back_up(
        store, data, draft(_SIZE, "run-1", block_bytes=BLOCK_BYTES), hint=ChangeHint(None, known_zero=true_holes)
    )
    assert first.statistics.blocks_read == 8 + LEAST_SAMPLES
    data[:] = random_bytes(_SIZE, seed=2)
    second = back_up(store, data, draft(_SIZE, "run-2"), hint=ChangeHint(None, known_zero=true_holes))
    assert second.statistics.hint_violations == _BLOCKS - 8
    np.testing.assert_array_equal(contents(store, second), data)


def test_what_lies_beyond_the_parent_is_read_whatever_the_hint_says(
    store: BackupStore, parent: tuple[Version, Data]
) -> None:
    data = np.concatenate([parent[1], random_bytes(3 * BLOCK_BYTES + 1, seed=3)])
    hint = ChangeHint(np.zeros(_BLOCKS + 4, dtype=bool), sample_fraction=0.0)
    version = back_up(store, data, draft(len(data), "run-2", previous_split_id="split-1"), hint=hint)
    assert version.statistics.blocks_read == 4
    np.testing.assert_array_equal(contents(store, version), data)


def test_a_hint_of_another_shape_is_refused(store: BackupStore) -> None:
    writer = store.begin(draft(_SIZE, "run-1", block_bytes=BLOCK_BYTES))
    with pytest.raises(InputError, match="one boolean for each of 400 blocks"):
        ingest(MemoryVolume.zeros(_SIZE), writer, hint=ChangeHint(np.zeros(399, dtype=bool)))
