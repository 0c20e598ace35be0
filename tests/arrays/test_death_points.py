"""The array ends between two lines, at each point where order matters; afterwards the pair is exact."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from arrays.running import FragileArray, Killed, wait_state

from nightwell.arrays.embedded.array import EmbeddedArray
from nightwell.arrays.embedded.pair import Pair
from nightwell.arrays.port import PairState

SIZE_BYTES = (1 << 20) + 777


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[FragileArray]:
    """Give a pair in PAIR."""
    with FragileArray(tmp_path) as fragile:
        array = fragile.array
        for name in ("p", "s"):
            array.create_volume(name, SIZE_BYTES)
        write(array, 0, os.urandom(SIZE_BYTES))
        array.create_pair("p", "s")
        wait_state(array, "p", PairState.PAIR)
        yield fragile


def write(array: EmbeddedArray, offset_bytes: int, data: bytes) -> None:
    array._held.volume("p").write(offset_bytes, memoryview(data), fua=False)


def pair(array: EmbeddedArray) -> Pair:
    return array._held.pairs["p"].pair


def dies(*_: object, **__: object) -> None:
    raise Killed


def die_after(fragile: FragileArray, act: Callable[[], object]) -> EmbeddedArray:
    with pytest.raises(Killed):
        act()
    fragile.die()
    return fragile.revive()


def assert_exact(fragile: FragileArray) -> None:
    if pair(fragile.array).state is PairState.PSUS:
        fragile.array.resync("p")
    wait_state(fragile.array, "p", PairState.PAIR)
    assert fragile.volume_bytes("p") == fragile.volume_bytes("s")


@pytest.mark.parametrize(("where", "copied_again"), [("primary", 0), ("secondary", 65536)])
def test_before_or_between_the_two_writes(
    where: str, copied_again: int, fragile: FragileArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(getattr(pair(fragile.array), where), "write", dies)
    array = die_after(fragile, lambda: write(fragile.array, 70_000, b"in flight"))
    info = array.pair_of("p")
    assert info is not None
    assert info.to_copy_bytes == 65536  # the intent was marked before either write
    assert_exact(fragile)
    found = fragile.volume_bytes("s")[70_000:70_009] == b"in flight"
    assert found == bool(copied_again)


def test_after_both_writes_before_the_mark_is_cleared(fragile: FragileArray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair(fragile.array).lacking, "clear", dies)
    die_after(fragile, lambda: write(fragile.array, 70_000, b"in flight"))
    assert_exact(fragile)


def test_split_in_memory_but_not_on_record(fragile: FragileArray, monkeypatch: pytest.MonkeyPatch) -> None:
    array = fragile.array

    def write_then_die(*_: object, **__: object) -> None:
        write(array, 70_000, b"after the split")  # a host does not know, and goes on
        raise Killed

    array.split(["p"])
    array.resync("p")
    wait_state(array, "p", PairState.PAIR)
    write(array, 200_000, b"between the splits")
    before = fragile.volume_bytes("s")
    monkeypatch.setattr(array._held, "save", write_then_die)
    array = die_after(fragile, lambda: fragile.array.split(["p"]))
    assert_exact(fragile)
    assert pair(array).state is PairState.PAIR  # the split was never answered, and has not happened
    (info,) = array.split(["p"])
    assert info.previous_split_id is not None
    changes = pair(array).change_list
    assert changes is not None
    assert [run for run in changes.runs() if run[0] in {1, 3}] == [(1, 2), (3, 4)]
    assert before != fragile.volume_bytes("s")


def test_a_write_right_after_the_split_is_in_the_next_list(
    fragile: FragileArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = fragile.array
    settle = pair(array).settle_split

    def write_then_settle() -> None:
        write(array, 70_000, b"between split and record")
        settle()

    monkeypatch.setattr(pair(array), "settle_split", write_then_settle)
    array.split(["p"])
    monkeypatch.undo()
    array.resync("p")
    wait_state(array, "p", PairState.PAIR)
    array.split(["p"])
    changes = pair(array).change_list
    assert changes is not None
    assert list(changes.runs()) == [(1, 2)]


def test_resync_on_record_but_not_begun(fragile: FragileArray, monkeypatch: pytest.MonkeyPatch) -> None:
    fragile.array.split(["p"])
    write(fragile.array, 70_000, b"while split")
    monkeypatch.setattr(pair(fragile.array), "relink", dies)
    die_after(fragile, lambda: fragile.array.resync("p"))
    assert_exact(fragile)


def test_resync_not_on_record_has_not_touched_s(fragile: FragileArray, monkeypatch: pytest.MonkeyPatch) -> None:
    (split,) = fragile.array.split(["p"])
    frozen = fragile.volume_bytes("s")
    write(fragile.array, 70_000, b"while split")
    monkeypatch.setattr(fragile.array._held, "save", dies)
    array = die_after(fragile, lambda: fragile.array.resync("p"))
    info = array.pair_of("p")
    assert info is not None
    assert (info.state, info.split_id) == (PairState.PSUS, split.split_id)
    assert fragile.volume_bytes("s") == frozen
    assert_exact(fragile)


def test_pair_dissolved_on_record_but_not_in_memory(fragile: FragileArray, monkeypatch: pytest.MonkeyPatch) -> None:
    from nightwell.arrays.embedded import core

    monkeypatch.setattr(core, "detach", dies)
    array = die_after(fragile, lambda: fragile.array.delete_pair("p"))
    assert array.pair_of("p") is None
    assert list((fragile.directory / "maps").iterdir()) == []


def test_pair_not_dissolved_on_record_still_marks_writes(
    fragile: FragileArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_then_die(*_: object, **__: object) -> None:
        write(fragile.array, 70_000, b"meanwhile")
        raise Killed

    monkeypatch.setattr(fragile.array._held, "save", write_then_die)
    die_after(fragile, lambda: fragile.array.delete_pair("p"))
    assert_exact(fragile)


def test_volume_deleted_on_record_but_its_file_remains(fragile: FragileArray, monkeypatch: pytest.MonkeyPatch) -> None:
    fragile.array.create_volume("v", 1000)
    monkeypatch.setattr(fragile.array._held, "remove_files", dies)
    array = die_after(fragile, lambda: fragile.array.delete_volume("v"))
    assert not (fragile.directory / "volumes" / "v.raw").exists()
    assert "v" not in {volume.name for volume in array.volumes()}


def test_growth_that_was_not_recorded_is_taken_back(fragile: FragileArray, monkeypatch: pytest.MonkeyPatch) -> None:
    fragile.array.create_volume("v", 1000)
    monkeypatch.setattr(fragile.array._held, "save", dies)
    array = die_after(fragile, lambda: fragile.array.grow_volume("v", 2000))
    assert array._held.volume("v").size_bytes == 1000
    assert array.grow_volume("v", 2000).size_bytes == 2000


def test_volume_made_but_not_recorded_is_made_anew(fragile: FragileArray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fragile.array._held, "save", dies)
    array = die_after(fragile, lambda: fragile.array.create_volume("v", 1000))
    (fragile.directory / "volumes" / "v.raw").write_bytes(b"old bytes")
    array.create_volume("v", 2000)
    assert fragile.volume_bytes("v") == bytes(2000)
