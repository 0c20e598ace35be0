"""The pipeline under trouble: failing sources and uploads, requests to stop, packs that fill up."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from backups import BLOCK_BYTES, VOLUME, back_up, contents, draft, random_bytes
from memory_volume import MemoryVolume

from nightwell.errors import UnreachableError
from nightwell.store import BackupStore
from nightwell.store.objects import Objects
from nightwell.store.pack import Pack, PackBuilder
from nightwell.store.pipeline import Progress, StoppedError, compare, ingest, restore
from nightwell.store.ranges import GAP_BYTES, fetch_pieces
from nightwell.store.segments import Segment, segments

_DATA = random_bytes(50 * BLOCK_BYTES)


class _Failing(MemoryVolume):
    def read_into(self, offset_bytes: int, view: memoryview) -> None:
        raise OSError(5, "the line was cut")

    def write(self, offset_bytes: int, view: memoryview) -> None:
        raise OSError(28, "no space left")


def test_what_the_source_raises_reaches_the_caller_as_it_is(store: BackupStore) -> None:
    writer = store.begin(draft(len(_DATA), "run-1", block_bytes=BLOCK_BYTES))
    with pytest.raises(OSError, match="the line was cut"):
        ingest(_Failing(_DATA), writer)
    writer.abort()
    assert store.versions(VOLUME) == ()
    assert store.orphans(VOLUME) == ()


def test_what_the_target_raises_reaches_the_caller_as_it_is(store: BackupStore) -> None:
    version = back_up(store, _DATA, draft(len(_DATA), "run-1", block_bytes=BLOCK_BYTES))
    with store.open_version(version) as reader:
        with pytest.raises(OSError, match="no space left"):
            restore(reader, _Failing(_DATA.copy()))
        with pytest.raises(OSError, match="the line was cut"):
            compare(reader, _Failing(_DATA))


def test_an_upload_that_fails_ends_the_ingest(store: BackupStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(_objects: Objects, key: str, _data: memoryview) -> None:
        raise UnreachableError("store", expected="", found=key, cause="", next_step="")

    writer = store.begin(draft(len(_DATA), "run-1", block_bytes=BLOCK_BYTES))
    with monkeypatch.context() as patch:
        patch.setattr(Objects, "put", down)
        with pytest.raises(UnreachableError):
            ingest(MemoryVolume(_DATA), writer)
    assert store.versions(VOLUME) == ()


def test_a_request_to_stop_ends_each_kind_of_copy(store: BackupStore) -> None:
    stop = threading.Event()
    version = back_up(store, _DATA, draft(len(_DATA), "run-1", block_bytes=BLOCK_BYTES))
    stop.set()
    writer = store.begin(draft(len(_DATA), "run-2"))
    with pytest.raises(StoppedError, match="run-2"):
        ingest(MemoryVolume(_DATA), writer, stop=stop)
    with store.open_version(version) as reader:
        with pytest.raises(StoppedError):
            restore(reader, MemoryVolume.dirty(len(_DATA)), stop=stop)
        with pytest.raises(StoppedError):
            compare(reader, MemoryVolume(_DATA), stop=stop)
    with pytest.raises(StoppedError):
        store.verify(version, stop=stop)


def test_progress_ends_at_the_whole(store: BackupStore) -> None:
    heard: list[Progress] = []
    writer = store.begin(draft(len(_DATA), "run-1", block_bytes=BLOCK_BYTES))
    version = writer.commit(ingest(MemoryVolume(_DATA), writer, progress=heard.append))
    assert heard[-1] == Progress(50, 50, len(_DATA))
    assert [item.blocks_done for item in heard] == sorted(item.blocks_done for item in heard)
    store.verify(version, progress=heard.append)
    assert heard[-1] == Progress(50, 50, len(_DATA))


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_many_small_packs_from_many_threads(store: BackupStore, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    from nightwell.store.writer import VersionWriter

    monkeypatch.setattr("nightwell.store.segments.SEGMENT_BYTES", 4 * BLOCK_BYTES)
    monkeypatch.setattr(
        VersionWriter, "builder", lambda self: PackBuilder(self._store_pack, pack_bytes=5 * BLOCK_BYTES, buffers=2)
    )
    writer = store.begin(draft(len(_DATA), "run-1", block_bytes=BLOCK_BYTES))
    statistics = ingest(MemoryVolume(_DATA), writer, threads=threads)
    version = writer.commit(statistics)
    assert statistics.packs == 13
    np.testing.assert_array_equal(contents(store, version), _DATA)
    assert store.verify(version).ok


def test_a_builder_waits_for_a_buffer_and_gives_it_back_after_a_failure() -> None:
    release = threading.Event()
    uploaded: list[bytes] = []

    def upload(pack: Pack) -> None:
        assert release.wait(30)
        if pack.number == 0:
            raise UnreachableError("store", expected="", found="", cause="", next_step="")
        uploaded.append(bytes(pack.buffer[: pack.used_bytes]))

    builder = PackBuilder(upload, pack_bytes=10, buffers=2)
    failures: list[BaseException] = []
    added: list[int] = []

    def add(number: int) -> None:
        try:
            builder.add([number], [b""], [bytes([number]) * 8])
            added.append(number)
        except UnreachableError as error:
            failures.append(error)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    while not added and time.monotonic() < deadline:
        time.sleep(0.001)
    release.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    builder.finish()
    assert len(failures) == 1
    assert len(added) == 3
    assert len(uploaded) == 2  # of three packs begun, one was lost with what lay in it


def test_segments_cover_what_is_wanted_and_keep_to_their_boundaries() -> None:
    generator = np.random.default_rng(5)
    for _ in range(50):
        wanted = generator.random(40) < 0.6
        found = list(segments(wanted, most=8))
        covered = [number for piece in found for number in range(piece.first, piece.first + piece.count)]
        assert covered == np.flatnonzero(wanted).tolist()
        assert all(piece.first // 8 == (piece.first + piece.count - 1) // 8 for piece in found)
    assert list(segments(np.ones(10, dtype=bool), most=8)) == [Segment(0, 8), Segment(8, 2)]


def test_pieces_close_together_share_a_request() -> None:
    data = memoryview(random_bytes(4 * GAP_BYTES).tobytes())
    requests: list[tuple[int, int]] = []

    def fetch(offset: int, length: int) -> memoryview:
        requests.append((offset, length))
        return data[offset : offset + length]

    offsets, lengths = [3 * GAP_BYTES, 10, 500, 0], [7, 20, 100, 10]
    pieces = fetch_pieces(fetch, offsets, lengths)
    assert pieces == [data[start : start + length] for start, length in zip(offsets, lengths, strict=True)]
    assert requests == [(0, 600), (3 * GAP_BYTES, 7)]
    assert fetch_pieces(fetch, [4 * GAP_BYTES - 5], [6]) is None
