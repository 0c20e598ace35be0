"""Every version is a full image of its volume, whatever changed between versions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pytest
from backups import BLOCK_BYTES, VOLUME, Data, back_up, contents, draft, random_bytes
from memory_volume import MemoryVolume

from nightwell.errors import InputError, IntegrityError
from nightwell.store import BackupStore
from nightwell.store.pipeline import compare, ingest, restore


def test_full_incremental_zeroed_and_grown_versions_all_stay_readable(store_on_each: BackupStore) -> None:
    store = store_on_each
    first = random_bytes(10 * BLOCK_BYTES)
    first[2 * BLOCK_BYTES : 5 * BLOCK_BYTES] = 0
    changed = first.copy()
    changed[7 * BLOCK_BYTES + 5] ^= 1
    changed[3 * BLOCK_BYTES] = 1
    zeroed = changed.copy()
    zeroed[6 * BLOCK_BYTES : 9 * BLOCK_BYTES] = 0
    grown = np.concatenate([zeroed, random_bytes(BLOCK_BYTES + 17, seed=1)])
    states = [first, changed, zeroed, grown]

    made = [
        back_up(store, data, draft(len(data), f"run-{number}", block_bytes=BLOCK_BYTES if number == 0 else None))
        for number, data in enumerate(states)
    ]

    stored = [version.statistics.blocks_stored for version in made]
    assert stored == [7, 2, 0, 2]
    assert store.versions(VOLUME) == tuple(made)
    for version, data in zip(made, states, strict=True):
        np.testing.assert_array_equal(contents(store, version), data)
        report = store.verify(version)
        assert report.ok, report
        assert report.blocks_checked == np.count_nonzero(_block_is_filled(data))


@pytest.mark.parametrize("size_bytes", [1, 511, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 1000])
def test_odd_sizes(store: BackupStore, size_bytes: int) -> None:
    data = random_bytes(size_bytes)
    version = back_up(store, data, draft(size_bytes, "run", block_bytes=BLOCK_BYTES))
    np.testing.assert_array_equal(contents(store, version), data)
    with store.open_version(version) as reader:
        assert reader.read(size_bytes - 1, 1) == data[-1:].tobytes()
        with pytest.raises(InputError, match="within"):
            reader.read(size_bytes, 1)


def test_an_odd_tail_that_grows_by_zeros_is_not_stored_again(store: BackupStore) -> None:
    data = random_bytes(BLOCK_BYTES + 100)
    back_up(store, data, draft(len(data), "run-1", block_bytes=BLOCK_BYTES))
    grown = np.concatenate([data, np.zeros(5 * BLOCK_BYTES, dtype=np.uint8)])
    version = back_up(store, grown, draft(len(grown), "run-2"))
    assert version.statistics.blocks_stored == 0
    np.testing.assert_array_equal(contents(store, version), grown)


def test_an_unchanged_volume_is_a_version_of_its_own_that_stores_nothing(store: BackupStore) -> None:
    data = random_bytes(5 * BLOCK_BYTES)
    first = back_up(store, data, draft(len(data), "run-1", block_bytes=BLOCK_BYTES))
    second = back_up(store, data, draft(len(data), "run-2"))
    assert second.statistics.blocks_unchanged == 5
    assert second.statistics.bytes_stored == 0
    assert second.parents == (first.version_id,)
    assert second.fingerprint == first.fingerprint


def test_a_version_records_what_the_run_knew(store: BackupStore) -> None:
    data = random_bytes(3 * BLOCK_BYTES + 1)
    split_at = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    made_of = replace(
        draft(len(data), "night-1", token=41, block_bytes=BLOCK_BYTES, split_id="split-9"), split_at=split_at
    )
    writer = store.begin(made_of)
    statistics = ingest(MemoryVolume(data), writer)
    version = writer.commit(statistics, point_in_time=False)
    assert version == store.find_version(VOLUME, "latest") == store.version_of_run(VOLUME, "night-1")
    assert (version.size_bytes, version.block_bytes, version.fencing_token) == (len(data), BLOCK_BYTES, 41)
    assert (version.source, version.mode, version.split_id) == ("array-a/well-7", "split", "split-9")
    assert not version.point_in_time
    assert version.statistics == statistics
    assert version.parents == ()
    assert (statistics.blocks_total, statistics.blocks_stored, statistics.packs) == (4, 4, 1)
    assert statistics.bytes_read == len(data)
    assert version.split_at == split_at
    assert version.version_id.startswith("20240506T070809Z-")


def test_a_block_size_or_size_that_does_not_go_with_the_parent_is_refused(store: BackupStore) -> None:
    data = random_bytes(8 * BLOCK_BYTES)
    back_up(store, data, draft(len(data), "run-1", block_bytes=BLOCK_BYTES))
    with pytest.raises(InputError, match="blocks of 4096 bytes"):
        store.begin(draft(len(data), "run-2", block_bytes=2 * BLOCK_BYTES))
    with pytest.raises(InputError, match="another volume of the same name"):
        store.begin(draft(len(data) - 1, "run-2"))
    with pytest.raises(InputError, match="at least one byte"):
        store.begin(draft(0, "run-2", volume="other"))
    with pytest.raises(InputError, match="power of two"):
        store.begin(draft(len(data), "run-2", block_bytes=5000, volume="other"))
    assert [version.run_id for version in store.versions(VOLUME)] == ["run-1"]


def test_a_source_of_another_size_than_the_draft_is_refused(store: BackupStore) -> None:
    writer = store.begin(draft(8 * BLOCK_BYTES, "run-1"))
    with pytest.raises(InputError, match="resized after the run began"):
        ingest(MemoryVolume.zeros(9 * BLOCK_BYTES), writer)


def test_restore_refuses_a_smaller_target_and_leaves_the_rest_of_a_larger_one(store: BackupStore) -> None:
    data = random_bytes(4 * BLOCK_BYTES + 7)
    version = back_up(store, data, draft(len(data), "run-1", block_bytes=BLOCK_BYTES))
    with store.open_version(version) as reader:
        small = MemoryVolume.dirty(len(data) - 1)
        with pytest.raises(InputError, match="at least"):
            restore(reader, small)
        assert (small.data == 0xA5).all()
        large = MemoryVolume.dirty(len(data) + 1000)
        statistics = restore(reader, large)
    assert (large.data[: len(data)] == data).all()
    assert (large.data[len(data) :] == 0xA5).all()
    assert statistics.bytes_written == len(data)
    assert large.flushes > 0


def test_compare_names_the_blocks_that_differ(store: BackupStore) -> None:
    data = random_bytes(6 * BLOCK_BYTES + 9)
    data[BLOCK_BYTES : 2 * BLOCK_BYTES] = 0
    version = back_up(store, data, draft(len(data), "run-1", block_bytes=BLOCK_BYTES))
    with store.open_version(version) as reader:
        compare(reader, MemoryVolume(data))
        for offset, number in ((BLOCK_BYTES + 3, 1), (4 * BLOCK_BYTES, 4), (len(data) - 1, 6)):
            other = data.copy()
            other[offset] ^= 0x80
            with pytest.raises(IntegrityError, match=rf"1 blocks that differ, numbers {number} "):
                compare(reader, MemoryVolume(other))
        other = data.copy()
        other[2 * BLOCK_BYTES : 3 * BLOCK_BYTES] = 0
        with pytest.raises(IntegrityError, match="numbers 2 "):
            compare(reader, MemoryVolume(other))


def _block_is_filled(data: Data) -> npt.NDArray[np.bool_]:
    padded = np.zeros(-(-len(data) // BLOCK_BYTES) * BLOCK_BYTES, dtype=np.uint8)
    padded[: len(data)] = data
    return np.asarray(padded.reshape(-1, BLOCK_BYTES).any(axis=1))
