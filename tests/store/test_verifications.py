"""What a verification has shown stays in the store, for whoever asks which versions are good."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from backups import BLOCK_BYTES, VOLUME, Data, back_up, draft, random_bytes

from nightwell.errors import CredentialsError, FormatError, IntegrityError, NightwellError
from nightwell.store import BackupStore, StoreLocation, Version
from nightwell.store.layout import packs_key, repository_key, verification_key
from nightwell.store.objects import Objects

_BLOCKS = 10


def made(store: BackupStore, data: Data, run_id: str) -> Version:
    return back_up(store, data, draft(len(data), run_id, block_bytes=BLOCK_BYTES))


@pytest.fixture
def data() -> Data:
    return random_bytes(_BLOCKS * BLOCK_BYTES)


def change(store: BackupStore, version: Version, block: int) -> tuple[str, bytes]:
    """Change a bit of a block as it lies in the store; return the pack and what it held."""
    with store.open_version(version) as reader:
        source, pack, offset, _ = (int(number) for number in reader.index.places[block])
        key = f"{packs_key(VOLUME)}{reader.index.sources[source]}-{pack}.pack"
    before = store._objects.get(key) or b""
    store._objects.put(key, before[:offset] + bytes([before[offset] ^ 1]) + before[offset + 1 :])
    return key, before


def test_an_outcome_outlives_who_found_it_until_the_next_one(
    store: BackupStore, location: StoreLocation, data: Data
) -> None:
    version = made(store, data, "run")
    assert (store.verifications(VOLUME), store.is_known_bad(version)) == ({}, False)
    assert store.verify(version).ok
    key, before = change(store, version, 4)
    for ok in (False, True):
        assert store.verify(version).ok is ok
        with BackupStore.open(location) as again:
            (outcome,) = again.verifications(VOLUME).values()
            assert (outcome.version_id, outcome.ok) == (version.version_id, ok)
            assert outcome.found.startswith("10 blocks checked" if ok else "1 damaged block(s) [4], 0 wrong")
            assert again.is_known_bad(version) is not ok
        store._objects.put(key, before)  # somebody brought the object back


def test_versions_that_share_a_damaged_block_are_known_bad_too_and_no_others(store: BackupStore, data: Data) -> None:
    zeros = made(store, np.zeros_like(data), "run-0")
    first = made(store, data, "run-1")
    data[:BLOCK_BYTES] = random_bytes(BLOCK_BYTES, 1)
    second = made(store, data, "run-2")
    data[4 * BLOCK_BYTES : 5 * BLOCK_BYTES] = random_bytes(BLOCK_BYTES, 2)
    third = made(store, data, "run-3")
    change(store, first, 4)
    assert store.verify(second).damaged == (4,)
    assert [store.is_known_bad(one) for one in (zeros, first, second, third)] == [False, True, True, False]
    shared = store.verifications(VOLUME)[first.version_id]
    assert shared.found == f"1 damaged block(s) that it shares with {second.version_id}"
    assert store.verify(third).ok


def test_of_many_damaged_blocks_the_first_are_named(store: BackupStore, data: Data) -> None:
    version = made(store, data, "run")
    for pack in store._objects.list(packs_key(VOLUME)):
        store._objects.delete(pack.key)
    assert store.verify(version).found.startswith("10 damaged block(s) [0, 1, 2, 3, 4, 5, 6, 7] and more, 0 wrong")


def test_a_version_that_cannot_even_be_opened_is_known_bad(store: BackupStore, data: Data) -> None:
    version = made(store, data, "run")
    for one in store._objects.list(f"{repository_key(VOLUME)}/manifests/"):
        store._objects.delete(one.key)
    with BackupStore.open(store.location) as again, pytest.raises(IntegrityError):  # nothing is in its memory
        again.verify(version)
    assert store.is_known_bad(version)


def test_a_verification_that_was_broken_off_says_nothing(store: BackupStore, data: Data) -> None:
    version = made(store, data, "run")
    stop = threading.Event()
    stop.set()
    with pytest.raises(NightwellError):
        store.verify(version, stop=stop)
    assert store.verifications(VOLUME) == {}


def test_damage_is_told_although_it_cannot_be_noted(
    store: BackupStore, data: Data, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    version = made(store, data, "run")
    change(store, version, 4)

    def refuse(*_: object) -> None:
        raise CredentialsError("the store", expected="leave", found="none", cause="rights", next_step="ask")

    monkeypatch.setattr(Objects, "put", refuse)
    assert store.verify(version).damaged == (4,)
    assert f"The verification of {version.version_id} is not noted" in caplog.text


@pytest.mark.parametrize("text", ['{"format": 2}', "not JSON", "[]"])
def test_an_outcome_that_cannot_be_read_is_none(store: BackupStore, data: Data, text: str) -> None:
    version = made(store, data, "run")
    store._objects.put(verification_key(VOLUME, version.version_id), text.encode())
    with pytest.raises(FormatError, match="verification"):
        store.is_known_bad(version)
