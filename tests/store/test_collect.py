"""Packs that nobody refers to are removed, in two phases; all others stay."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from backups import BLOCK_BYTES, VOLUME, back_up, contents, draft, random_bytes
from memory_volume import MemoryVolume

from nightwell.errors import CredentialsError, IntegrityError
from nightwell.store import BackupStore
from nightwell.store.objects import Objects
from nightwell.store.pipeline import ingest

_DATA = random_bytes(8 * BLOCK_BYTES)


def _leave_an_orphan(store: BackupStore, run_id: str) -> None:
    ingest(MemoryVolume(_DATA[::-1].copy()), store.begin(draft(len(_DATA), run_id)))


def test_orphans_are_noted_first_and_deleted_later(store: BackupStore) -> None:
    kept = back_up(store, _DATA, draft(len(_DATA), "run-1", block_bytes=BLOCK_BYTES))
    _leave_an_orphan(store, "run-2")
    (orphan,) = store.orphans(VOLUME)
    assert "run-2" in orphan.key
    assert orphan.size_bytes > 0

    first = store.collect(VOLUME, min_age_s=0)
    assert (first.marked, first.deleted) == ((orphan.key,), ())
    assert store.orphans(VOLUME) == (orphan,)
    second = store.collect(VOLUME, min_age_s=0)
    assert (second.marked, second.deleted, second.bytes_deleted) == ((), (orphan.key,), orphan.size_bytes)
    assert store.orphans(VOLUME) == ()
    assert store.collect(VOLUME, min_age_s=0).deleted == ()
    np.testing.assert_array_equal(contents(store, kept), _DATA)
    assert store.verify(kept).ok


def test_a_day_has_to_pass_by_the_servers_clock(store: BackupStore, monkeypatch: pytest.MonkeyPatch) -> None:
    back_up(store, _DATA, draft(len(_DATA), "run-1", block_bytes=BLOCK_BYTES))
    _leave_an_orphan(store, "run-2")
    start = store._objects.check_bucket()
    hours = 0.0
    monkeypatch.setattr(Objects, "check_bucket", lambda _objects: start + timedelta(hours=hours))
    assert len(store.collect(VOLUME).marked) == 1
    hours = 23.9
    assert len(store.collect(VOLUME).waiting) == 1
    hours = 24.1
    assert len(store.collect(VOLUME).deleted) == 1


def test_a_pack_that_was_committed_after_it_was_noted_stays(store: BackupStore) -> None:
    writer = store.begin(draft(len(_DATA), "run-1", block_bytes=BLOCK_BYTES))
    statistics = ingest(MemoryVolume(_DATA), writer)
    assert len(store.collect(VOLUME, min_age_s=0).marked) == 1
    version = writer.commit(statistics)
    assert store.collect(VOLUME, min_age_s=0).deleted == ()
    np.testing.assert_array_equal(contents(store, version), _DATA)


def test_a_run_whose_packs_were_collected_cannot_commit(store: BackupStore) -> None:
    writer = store.begin(draft(len(_DATA), "run-1", block_bytes=BLOCK_BYTES))
    statistics = ingest(MemoryVolume(_DATA), writer)
    store.collect(VOLUME, min_age_s=0)
    assert len(store.collect(VOLUME, min_age_s=0).deleted) == 1
    with pytest.raises(IntegrityError, match="1 of them missing"):
        writer.commit(statistics)
    assert store.versions(VOLUME) == ()


def test_a_pack_that_the_server_holds_is_reported_and_is_no_failure(
    store: BackupStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(store, _DATA, draft(len(_DATA), "run-1", block_bytes=BLOCK_BYTES))
    _leave_an_orphan(store, "run-2")
    store.collect(VOLUME, min_age_s=0)

    def held(_objects: Objects, key: str) -> None:
        raise CredentialsError("store", expected="", found=key, cause="", next_step="")

    monkeypatch.setattr(Objects, "delete", held)
    report = store.collect(VOLUME, min_age_s=0)
    assert len(report.retained) == 1
    assert (report.deleted, report.waiting, report.bytes_deleted) == ((), (), 0)


def test_packs_of_all_versions_stay_not_only_of_the_newest(store: BackupStore) -> None:
    states = [random_bytes(4 * BLOCK_BYTES, seed=seed) for seed in range(3)]
    made = [
        back_up(store, data, draft(len(data), f"run-{number}", block_bytes=BLOCK_BYTES))
        for number, data in enumerate(states)
    ]
    for _ in range(2):
        assert store.collect(VOLUME, min_age_s=0).deleted == ()
    for version, data in zip(made, states, strict=True):
        np.testing.assert_array_equal(contents(store, version), data)
