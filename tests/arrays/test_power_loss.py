"""A stop of the machine: pages reached the disk in any order, and nothing may be silently wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from arrays.running import FragileArray, wait_state

from nightwell.arrays.embedded.array import EmbeddedArray
from nightwell.arrays.port import PairInfo, PairState

SIZE_BYTES = (2 << 20) + 777


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[FragileArray]:
    with FragileArray(tmp_path) as fragile:
        for name in ("p", "s"):
            fragile.array.create_volume(name, SIZE_BYTES)
        write(fragile.array, 0, os.urandom(SIZE_BYTES))
        fragile.array.create_pair("p", "s")
        wait_state(fragile.array, "p", PairState.PAIR)
        yield fragile


def write(array: EmbeddedArray, offset_bytes: int, data: bytes) -> None:
    array._held.volume("p").write(offset_bytes, memoryview(data), fua=False)


def damage(fragile: FragileArray, name: str, offset_bytes: int) -> None:
    """Put old bytes back: the page never reached the disk."""
    with (fragile.directory / "volumes" / f"{name}.raw").open("r+b") as file:
        file.seek(offset_bytes)
        file.write(b"old")


def info_of(array: EmbeddedArray) -> PairInfo:
    info = array.pair_of("p")
    assert info is not None
    return info


@pytest.mark.parametrize("lost", ["p", "s"])
def test_in_pair_everything_is_copied_again(lost: str, fragile: FragileArray) -> None:
    write(fragile.array, 1_000_000, b"new")
    fragile.die()
    damage(fragile, lost, 1_000_000)
    fragile.lose_power()
    array = fragile.revive()
    assert info_of(array).to_copy_bytes == SIZE_BYTES
    wait_state(array, "p", PairState.PAIR)
    assert fragile.volume_bytes("p") == fragile.volume_bytes("s")


def test_the_same_damage_without_a_loss_of_power_would_stay(fragile: FragileArray) -> None:
    """Show that the damage is of the kind that only the full copy heals: else the test above could not fail."""
    write(fragile.array, 1_000_000, b"new")
    fragile.die()
    damage(fragile, "s", 1_000_000)
    wait_state(fragile.revive(), "p", PairState.PAIR)
    assert fragile.volume_bytes("p") != fragile.volume_bytes("s")


def test_in_psus_the_split_stands_and_the_resync_is_full(fragile: FragileArray) -> None:
    (split,) = fragile.array.split(["p"])
    frozen = fragile.volume_bytes("s")
    write(fragile.array, 1_000_000, b"new")
    pair = fragile.array._held.pairs["p"].pair
    pair.lacking.clear_all()  # the mark never reached the disk, the data did
    fragile.die()
    fragile.lose_power()
    array = fragile.revive()
    info = info_of(array)
    assert (info.state, info.split_id, info.split_at) == (PairState.PSUS, split.split_id, split.split_at)
    assert fragile.volume_bytes("s") == frozen
    array.resync("p")
    assert wait_state(array, "p", PairState.PAIR).to_copy_bytes == SIZE_BYTES
    assert fragile.volume_bytes("p") == fragile.volume_bytes("s")


def test_s_and_its_record_are_on_the_disk_when_a_split_returns(
    fragile: FragileArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fdatasync, fsync = os.fdatasync, os.fsync
    secondary = fragile.array._held.volume("s").file.descriptor

    def note_data(descriptor: int) -> None:
        order.append("s" if descriptor == secondary else "other")
        fdatasync(descriptor)

    def note_record(descriptor: int) -> None:
        order.append("record")
        fsync(descriptor)

    monkeypatch.setattr(os, "fdatasync", note_data)
    monkeypatch.setattr(os, "fsync", note_record)
    fragile.array.split(["p"])
    assert order[:3] == ["s", "s", "record"]  # most of S before the gate, the rest after it, and only then the record


def test_no_change_list_holds_afterwards(fragile: FragileArray) -> None:
    array = fragile.array
    array.split(["p"])
    array.resync("p")
    wait_state(array, "p", PairState.PAIR)
    (second,) = array.split(["p"])
    assert second.previous_split_id is not None
    fragile.die()
    fragile.lose_power()
    array = fragile.revive()
    assert info_of(array).previous_split_id is None
    array.resync("p")
    wait_state(array, "p", PairState.PAIR)
    (third,) = array.split(["p"])
    assert third.previous_split_id is None
    array.resync("p")
    wait_state(array, "p", PairState.PAIR)
    (fourth,) = array.split(["p"])
    assert fourth.previous_split_id == third.split_id


def test_killed_again_before_the_full_copy_has_ended(fragile: FragileArray) -> None:
    fragile.die()
    damage(fragile, "s", 2_000_000)
    fragile.lose_power()
    array = fragile.revive()
    held = array._held.pairs["p"]
    held.stop_copy()
    fragile.die()
    wait_state(fragile.revive(), "p", PairState.PAIR)
    assert fragile.volume_bytes("p") == fragile.volume_bytes("s")


def test_a_clean_stop_needs_no_trust_in_the_kernel(fragile: FragileArray) -> None:
    fragile.array.close()
    fragile.lose_power()  # the machine was restarted since
    array = fragile.revive()
    assert info_of(array).state is PairState.PAIR
    assert info_of(array).to_copy_bytes == 0


@pytest.mark.parametrize("suffix", ["lacking", "0", "1"])
def test_a_map_that_is_missing_or_cut_is_not_believed(suffix: str, fragile: FragileArray) -> None:
    fragile.die()
    (path,) = (fragile.directory / "maps").glob(f"*.{suffix}")
    path.unlink()
    array = fragile.revive()
    assert info_of(array).to_copy_bytes == SIZE_BYTES
    wait_state(array, "p", PairState.PAIR)
    (split,) = array.split(["p"])
    assert split.previous_split_id is None


def test_flush_brings_marks_to_the_disk_before_data(fragile: FragileArray, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = fragile.array._held.volume("p")
    pair = fragile.array._held.pairs["p"].pair
    order: list[str] = []
    monkeypatch.setattr(pair, "flush_maps", lambda: order.append("marks"))
    monkeypatch.setattr(volume.file, "sync", lambda: order.append("data"))
    volume.flush()
    volume.write(0, memoryview(b"x"), fua=True)
    assert order == ["marks", "data"] * 2
