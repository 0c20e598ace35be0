"""The mover behind a real line 1: a pair on one array, imported by another, read from there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from mover.rig import BLOCK_BYTES, SIZE_BYTES, VOLUME, Rig
from nbd.serving import eventually

from nightwell.arrays.embedded.array import EmbeddedArray
from nightwell.arrays.port import Export, PairInfo, PairState
from nightwell.arrays.serving import ArraySettings
from nightwell.mover.job import CopyMode
from nightwell.nbd.client import NbdClient
from nightwell.store import Version

T = TypeVar("T")
CHUNK_BLOCKS = (64 << 10) // BLOCK_BYTES  # the grain of the embedded array's change list


@pytest.fixture
def arrays(tmp_path: Path) -> Iterator[tuple[EmbeddedArray, EmbeddedArray]]:
    with (
        EmbeddedArray(ArraySettings("source", tmp_path / "source")) as source,
        EmbeddedArray(ArraySettings("destination", tmp_path / "destination")) as destination,
    ):
        yield source, destination


@pytest.fixture
def host(arrays: tuple[EmbeddedArray, EmbeddedArray]) -> Iterator[NbdClient]:
    """The server that owns the volume, with half of it written and the pair in step."""
    source, _ = arrays
    for name in (VOLUME, "s"):
        source.create_volume(name, SIZE_BYTES)
    with NbdClient.connect(source.export(VOLUME, writable=True).url) as client:
        client.write(0, np.random.default_rng(3).bytes(SIZE_BYTES // 2))
        source.create_pair(VOLUME, "s")
        in_step(source)
        yield client


def in_step(array: EmbeddedArray) -> None:
    def is_pair() -> bool:
        pair = array.pair_of(VOLUME)
        return pair is not None and pair.state is PairState.PAIR

    eventually(is_pair, within_s=30)


def test_a_split_pair_twice_with_the_arrays_own_change_list(
    rig: Rig, arrays: tuple[EmbeddedArray, EmbeddedArray], host: NbdClient
) -> None:
    source, destination = arrays

    def back_up() -> Version:
        (pair,) = source.split([VOLUME])
        return over_line_1(source, destination, lambda export: rig.back_up(**split_facts(pair), url=export.url))

    at_first = host.read(0, SIZE_BYTES)
    first = back_up()
    assert rig.contents(first) == at_first
    assert first.split_at is not None
    source.resync(VOLUME)
    in_step(source)
    host.write(70_000, b"changed")
    host.zero(1 << 20, 64 << 10)
    second = back_up()
    assert rig.contents(second) == host.read(0, SIZE_BYTES)
    assert rig.contents(first) == at_first
    counted = second.statistics
    assert (counted.blocks_stored, counted.hint_violations) == (1, 0)
    assert counted.blocks_read <= 2 * CHUNK_BLOCKS + counted.hint_samples


def test_pair_mode_sees_through_both_arrays_that_the_primary_was_written(
    rig: Rig, arrays: tuple[EmbeddedArray, EmbeddedArray], host: NbdClient
) -> None:
    source, destination = arrays

    def back_up(export: Export) -> bool:
        return rig.back_up(here=True, mode=CopyMode.PAIR, url=export.url).point_in_time

    def back_up_under_writes(export: Export) -> bool:
        ended = threading.Event()

        def keep_writing() -> None:
            while not ended.is_set():
                host.write(0, b"meanwhile")

        writer = threading.Thread(target=keep_writing)
        writer.start()
        try:
            return back_up(export)
        finally:
            ended.set()
            writer.join()

    assert over_line_1(source, destination, back_up)
    assert not over_line_1(source, destination, back_up_under_writes)


def split_facts(pair: PairInfo) -> dict[str, Any]:
    return {
        "split_at": pair.split_at,
        "split_id": pair.split_id,
        "previous_split_id": pair.previous_split_id,
    }


def over_line_1(source: EmbeddedArray, destination: EmbeddedArray, work: Callable[[Export], T]) -> T:
    exported = source.export("s", writable=False)
    try:
        imported = destination.import_volume(exported.url, name="import", writable=False)
        try:
            return work(imported)
        finally:
            destination.release("import")
    finally:
        source.withdraw("s")
