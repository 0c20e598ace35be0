"""The small parts: the gate, the stripes, the change map, and copies that keep holes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from arrays.running import wait_until
from hypothesis import given
from hypothesis import strategies as st

from nightwell.arrays.embedded import holes
from nightwell.arrays.embedded.change_map import CHUNK_BYTES, ChangeMap, chunk_range, chunks_of
from nightwell.arrays.embedded.gate import Gate, Stripes
from nightwell.arrays.embedded.holes import copy_range, next_data
from nightwell.arrays.names import check_name
from nightwell.errors import InputError


def start(work: object) -> threading.Thread:
    assert callable(work)
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_the_gate_is_shared_by_writers_and_closed_by_one() -> None:
    gate, inside, torn = Gate(), [0], []

    def write() -> None:
        for _ in range(300):
            with gate.shared():
                inside[0] += 1  # only an upper bound: what matters is that nobody sees it inside alone
                if alone:
                    torn.append("a writer beside the lone one")

    alone: list[int] = []
    writers = [start(write) for _ in range(4)]
    for _ in range(100):
        with gate.exclusive():
            alone.append(1)
            alone.clear()
    for writer in writers:
        writer.join(10)
        assert not writer.is_alive()
    assert torn == []


def test_a_waiting_split_is_let_in_under_endless_writers() -> None:
    gate, stop = Gate(), threading.Event()

    def write() -> None:
        while not stop.is_set():
            with gate.shared():
                pass

    writers = [start(write) for _ in range(6)]
    done = threading.Event()

    def split() -> None:
        for _ in range(50):
            with gate.exclusive():
                pass
        done.set()

    start(split)
    assert done.wait(20)
    stop.set()
    for writer in writers:
        writer.join(10)


def test_writers_held_back_go_in_before_the_next_split() -> None:
    gate, order = Gate(), []
    first_in, release = threading.Event(), threading.Event()

    def first_split() -> None:
        with gate.exclusive():
            first_in.set()
            release.wait(10)

    def write() -> None:
        with gate.shared():
            order.append("writer")

    def second_split() -> None:
        with gate.exclusive():
            order.append("split")

    threads = [start(first_split)]
    assert first_in.wait(10)
    threads.append(start(write))
    wait_until(lambda: gate._held_back == 1, "the writer waits")
    threads.append(start(second_split))
    wait_until(lambda: gate._waiting_alone == 1, "the second split waits")
    release.set()
    for thread in threads:
        thread.join(10)
    assert order == ["writer", "split"]


def test_stripes_exclude_each_other_where_chunks_meet_and_never_deadlock() -> None:
    stripes, clashes = Stripes(), []
    held: set[int] = set()
    ranges = [(0, 1), (15, 17), (0, 2000), (1023, 1025), (16 * 64, 16 * 64 + 1), (5, 900)]

    def work(first: int, past: int) -> None:
        for _ in range(50):
            with stripes.held(first, past):
                mine = set(range(first, past))
                if mine & held:
                    clashes.append((first, past))
                held.update(mine)
                held.difference_update(mine)

    threads = [start(lambda first=first, past=past: work(first, past)) for first, past in ranges]
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert clashes == []


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> ChangeMap:
    return ChangeMap(tmp_path_factory.mktemp("map") / "map", 50)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 49), st.integers(1, 50)), max_size=30))
def test_a_map_is_a_set_of_chunks(chart: ChangeMap, steps: list[tuple[bool, int, int]]) -> None:
    chart.clear_all()
    model: set[int] = set()
    for marks, first, length in steps:
        past = min(first + length, 50)
        (chart.mark if marks else chart.clear)(first, past)
        model = model | set(range(first, past)) if marks else model - set(range(first, past))
    assert {chunk for first, past in chart.runs() for chunk in range(first, past)} == model
    assert chart.find(0) == min(model, default=-1)
    assert {chunk for run in chart.clear_runs(10, 40) for chunk in range(*run)} == set(range(10, 40)) - model
    assert chart.marked_bytes(50 * CHUNK_BYTES) == len(model) * CHUNK_BYTES


def test_a_map_outlives_its_object_and_tells_when_it_was_cut(tmp_path: Path) -> None:
    first = ChangeMap(tmp_path / "map", 100)
    assert first.doubtful  # new: says nothing
    first.mark(3, 5)
    again = ChangeMap(tmp_path / "map", 100)
    assert not again.doubtful
    assert list(again.runs()) == [(3, 5)]
    os.truncate(tmp_path / "map", 50)
    del first, again
    assert ChangeMap(tmp_path / "map", 100).doubtful


def test_the_last_chunk_counts_only_its_own_bytes(tmp_path: Path) -> None:
    chart = ChangeMap(tmp_path / "map", chunks_of(CHUNK_BYTES + 1))
    chart.mark_all()
    assert chart.marked_bytes(CHUNK_BYTES + 1) == CHUNK_BYTES + 1
    assert chunk_range(CHUNK_BYTES - 1, 2) == (0, 2)
    assert chunk_range(CHUNK_BYTES, 1) == (1, 2)


@pytest.fixture(params=["in the kernel", "through the process"])
def two_files(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    if request.param == "through the process":

        def refuse(*_: object) -> int:
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "copy_file_range", refuse)
    descriptors = [os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) for name in ("source", "target")]
    yield descriptors
    for descriptor in descriptors:
        os.close(descriptor)


def test_a_copy_is_equal_and_keeps_holes(two_files: list[int]) -> None:
    source, target = two_files
    size_bytes = 3_000_777
    os.ftruncate(source, size_bytes)
    os.pwrite(target, os.urandom(size_bytes), 0)
    os.pwrite(source, os.urandom(10_000), 1_000_000)
    os.pwrite(source, b"tail", size_bytes - 4)
    copy_range(source, target, 0, size_bytes)
    assert os.pread(source, size_bytes, 0) == os.pread(target, size_bytes, 0)
    assert next_data(target, 0) > 900_000
    assert os.fstat(target).st_blocks * 512 < 200_000


def test_a_copy_touches_only_its_range(two_files: list[int]) -> None:
    source, target = two_files
    os.pwrite(source, b"s" * 1000, 0)
    os.pwrite(target, b"t" * 1000, 0)
    copy_range(source, target, 300, 700)
    assert os.pread(target, 1000, 0) == b"t" * 300 + b"s" * 400 + b"t" * 300


def test_a_source_that_ends_early_is_an_error(two_files: list[int]) -> None:
    source, target = two_files
    os.pwrite(source, b"s" * 100, 0)
    os.ftruncate(source, 100)

    with pytest.raises(OSError, match="ended early"):
        holes._copy_data(source, target, 0, 200)


@pytest.mark.parametrize("name", ["a", "well-7.nightwell-0123456789abcdef", "A_b.c-9", "x" * 128])
def test_good_names(name: str) -> None:
    assert check_name("volume", name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "-a", "a/b", "a b", "a\n", "a\0", "é", "x" * 129])
def test_bad_names(name: str) -> None:
    with pytest.raises(InputError):
        check_name("volume", name)
