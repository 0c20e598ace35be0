"""Failing disks: the host is served, and the pair says PSUE rather than anything wrong."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from arrays.running import FragileArray, wait_state, wait_until

from nightwell.arrays.embedded import catalogue, copier
from nightwell.arrays.embedded.pair import Pair
from nightwell.arrays.embedded.volume_file import VolumeFile
from nightwell.arrays.port import PairState
from nightwell.errors import ConflictError, NightwellError
from nightwell.nbd.client import NbdClient
from nightwell.nbd.wire import CHANGED

SIZE_BYTES = (2 << 20) + 777


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[FragileArray]:
    with FragileArray(tmp_path) as fragile:
        for name in ("p", "s"):
            fragile.array.create_volume(name, SIZE_BYTES)
        write(fragile, 0, os.urandom(SIZE_BYTES))
        fragile.array.create_pair("p", "s")
        wait_state(fragile.array, "p", PairState.PAIR)
        yield fragile


def write(fragile: FragileArray, offset_bytes: int, data: bytes) -> None:
    fragile.array._held.volume("p").write(offset_bytes, memoryview(data), fua=False)


def pair(fragile: FragileArray) -> Pair:
    return fragile.array._held.pairs["p"].pair


def fails(code: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_a_failing_secondary_makes_psue_and_the_host_goes_on(
    fragile: FragileArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair(fragile).secondary, "write", fails(errno.EIO))
    write(fragile, 5000, b"the host is served")
    info = wait_state(fragile.array, "p", PairState.PSUE)
    assert "writing s failed" in (info.fault or "")
    assert fragile.volume_bytes("p")[5000:5018] == b"the host is served"
    with pytest.raises(ConflictError, match="PSUE"):
        fragile.array.split(["p"])
    with pytest.raises(ConflictError, match="PSUE"):
        fragile.array.export("s", writable=False)


def test_psue_outlives_the_process_and_a_resync_from_it_is_full(
    fragile: FragileArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair(fragile).secondary, "write", fails(errno.ENOSPC))
    write(fragile, 5000, b"x")
    wait_until(lambda: '"PSUE"' in fragile.array._held.state_path.read_text(), "PSUE on record")
    monkeypatch.undo()
    fragile.die()
    array = fragile.revive()
    info = array.pair_of("p")
    assert info is not None
    assert info.state is PairState.PSUE
    assert info.fault
    array.resync("p")
    info = wait_state(array, "p", PairState.PAIR)
    assert info.to_copy_bytes == SIZE_BYTES
    assert info.fault is None
    assert fragile.volume_bytes("p") == fragile.volume_bytes("s")


def test_a_reader_of_s_in_pair_gets_eio_once_s_has_failed(
    fragile: FragileArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    with NbdClient.connect(fragile.array.export("s", writable=False).url) as reader:
        reader.read(0, 10)
        monkeypatch.setattr(pair(fragile).secondary, "write", fails(errno.EIO))
        write(fragile, 5000, b"x")
        with pytest.raises(OSError, match="EIO"):
            reader.read(0, 10)


def test_a_failing_primary_tells_the_host_and_s_follows_what_p_holds(
    fragile: FragileArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(file: VolumeFile, offset_bytes: int, data: memoryview) -> None:
        os.pwrite(file.descriptor, data[: len(data) // 2], offset_bytes)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    primary = pair(fragile).primary
    monkeypatch.setattr(primary, "write", lambda offset, data: half(primary, offset, data))
    with pytest.raises(OSError, match="No space"):
        write(fragile, 60_000, b"torn" * 5000)
    assert pair(fragile).state is PairState.PAIR
    assert pair(fragile).lacking.find(0) < 0
    assert fragile.volume_bytes("p")[60_000:60_004] == b"torn"
    assert fragile.volume_bytes("p") == fragile.volume_bytes("s")


def test_a_failing_copy_makes_psue(fragile: FragileArray, monkeypatch: pytest.MonkeyPatch) -> None:
    fragile.array.split(["p"])
    write(fragile, 0, b"x")
    monkeypatch.setattr(copier, "copy_range", fails(errno.EIO))
    fragile.array.resync("p")
    info = wait_state(fragile.array, "p", PairState.PSUE)
    assert "copying p to s failed" in (info.fault or "")
    monkeypatch.undo()
    fragile.array.resync("p")
    wait_state(fragile.array, "p", PairState.PAIR)
    assert fragile.volume_bytes("p") == fragile.volume_bytes("s")


def test_a_split_whose_secondary_cannot_reach_the_disk_is_no_split(
    fragile: FragileArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def second_time() -> None:
        calls.append(1)
        if len(calls) > 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(pair(fragile).secondary, "sync", second_time)
    with pytest.raises(ConflictError, match="bringing s to the disk failed"):
        fragile.array.split(["p"])
    assert pair(fragile).state is PairState.PSUE


def test_a_record_that_cannot_be_written_changes_nothing(
    fragile: FragileArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = fragile.array
    array.create_volume("v", 1000)
    array.create_volume("w", 1000)
    monkeypatch.setattr(catalogue, "save_state", fails(errno.ENOSPC))
    for call in (
        lambda: array.create_volume("x", 1000),
        lambda: array.delete_volume("v"),
        lambda: array.create_pair("v", "w"),
        lambda: array.delete_pair("p"),
        lambda: array.export("v", writable=True),
    ):
        with pytest.raises(NightwellError, match="No space"):
            call()
    monkeypatch.undo()
    assert [volume.name for volume in array.volumes()] == ["p", "s", "v", "w"]
    assert array.exports() == ()
    assert array.pair_of("v") is None
    write(fragile, 7000, b"still mirrored")
    assert fragile.volume_bytes("s")[7000:7014] == b"still mirrored"
    fragile.die()
    assert [volume.name for volume in fragile.revive().volumes()] == ["p", "s", "v", "w"]


def test_a_list_names_only_what_changed_between_its_two_splits(fragile: FragileArray) -> None:
    array = fragile.array
    listed = []
    for chunk in range(4):
        array.split(["p"])
        export = array.export("s", writable=False)
        with NbdClient.connect(export.url, contexts=[CHANGED]) as client:
            listed.append([extent.offset_bytes // 65536 for extent in client.extents(CHANGED) if extent.flags])
        array.withdraw("s")
        array.resync("p")
        wait_state(array, "p", PairState.PAIR)
        write(fragile, chunk * 65536, b"x")
    assert listed == [[0], [0], [1], [2]]  # the first names the whole volume, as one extent


def test_a_trouble_with_the_state_file_stops_the_start(fragile: FragileArray) -> None:
    fragile.array.close()
    path = fragile.directory / "state.json"
    good = path.read_text()
    for text, kind in (
        (good.replace('"format": 1', '"format": 2'), "FormatError"),
        (good[:-20], "IntegrityError"),
        ("[]", "IntegrityError"),
    ):
        path.write_text(text)
        with pytest.raises(NightwellError) as problem:
            fragile.revive()
        assert type(problem.value).__name__ == kind
    path.write_text(good)
    (fragile.directory / "volumes" / "p.raw").rename(fragile.directory / "away")
    with pytest.raises(NightwellError, match="no such file"):
        fragile.revive()
    (fragile.directory / "away").rename(fragile.directory / "volumes" / "p.raw")
    assert wait_state(fragile.revive(), "p", PairState.PAIR).to_copy_bytes == 0
