"""Damage in the store is found and named, and never handed out as data."""

from __future__ import annotations

import numpy as np
import pytest
from backups import BLOCK_BYTES, VOLUME, back_up, contents, draft, random_bytes
from memory_volume import MemoryVolume

from nightwell.errors import FormatError, IntegrityError
from nightwell.store import BackupStore, Version
from nightwell.store.layout import packs_key
from nightwell.store.pipeline import restore

_BLOCKS = 10


@pytest.fixture
def version(store: BackupStore) -> Version:
    """Ten random blocks in one pack: what zstd cannot compress lies there as it is, with a few bytes around it."""
    data = random_bytes(_BLOCKS * BLOCK_BYTES)
    return back_up(store, data, draft(len(data), "run", block_bytes=BLOCK_BYTES))


def _only_pack(store: BackupStore) -> str:
    (pack,) = store._objects.list(packs_key(VOLUME))
    return pack.key


def _damage(store: BackupStore, at: int) -> None:
    key = _only_pack(store)
    data = bytearray(store._objects.get(key) or b"")
    data[at] ^= 0x01
    store._objects.put(key, bytes(data))


@pytest.mark.parametrize("within_block", [0, 2, 2000])
def test_one_changed_bit_is_found_in_its_block_alone(store: BackupStore, version: Version, within_block: int) -> None:
    with store.open_version(version) as reader:
        place = reader.index.places[4]
        _damage(store, int(place[2]) + within_block)
        with pytest.raises(IntegrityError, match="1 damaged, numbers 4 "):
            reader.read(0, version.size_bytes)
        with pytest.raises(IntegrityError, match="numbers 4 "):
            restore(reader, MemoryVolume.dirty(version.size_bytes))
        assert (
            reader.read(5 * BLOCK_BYTES, BLOCK_BYTES)
            == random_bytes(_BLOCKS * BLOCK_BYTES)[5 * 4096 : 6 * 4096].tobytes()
        )
    report = store.verify(version)
    assert report.damaged == (4,)
    assert not report.ok
    assert report.blocks_checked == _BLOCKS


def test_a_missing_pack_is_found(store: BackupStore, version: Version) -> None:
    store._objects.delete(_only_pack(store))
    assert store.verify(version).damaged == tuple(range(_BLOCKS))
    with pytest.raises(IntegrityError, match="10 damaged, numbers 0, 1, 2, 3, 4, 5, 6, 7 and more"):
        contents(store, version)


def test_a_pack_cut_short_is_found(store: BackupStore, version: Version) -> None:
    key = _only_pack(store)
    data = store._objects.get(key) or b""
    store._objects.put(key, data[: len(data) // 2])
    damaged = store.verify(version).damaged
    assert _BLOCKS - 1 in damaged
    with pytest.raises(IntegrityError):
        contents(store, version)


def test_blocks_that_changed_places_are_found(store: BackupStore, version: Version) -> None:
    """Each is whole in itself: only the digest of its number can tell."""
    with store.open_version(version) as reader:
        reader.index.places[[2, 3]] = reader.index.places[[3, 2]]
        with pytest.raises(IntegrityError, match="2 damaged, numbers 2, 3 "):
            reader.read(0, version.size_bytes)


def test_an_index_that_is_not_the_commits_is_found(store: BackupStore, version: Version) -> None:
    from nightwell.store.engine import Engine
    from nightwell.store.index import BlockIndex
    from nightwell.store.verify import verify

    with store.open_version(version) as reader:
        changed = BlockIndex(reader.index.digests.copy(), reader.index.places.copy(), reader.index.sources)
        changed.clear(np.asarray([6]))
        reader.index = changed
        engine = Engine(store._objects, VOLUME)
        engine.open()
        report = verify(reader, engine.readonly(version.snapshot_id))
    assert not report.index_whole
    assert report.references_wrong == (6,)


def test_metadata_of_a_newer_release_is_refused(store: BackupStore, monkeypatch: pytest.MonkeyPatch) -> None:
    data = random_bytes(BLOCK_BYTES)
    with monkeypatch.context() as patch:
        patch.setattr("nightwell.store.versions.METADATA_FORMAT", 2)
        back_up(store, data, draft(len(data), "run", block_bytes=BLOCK_BYTES))
    with pytest.raises(FormatError, match="format 2"):
        store.versions(VOLUME)
