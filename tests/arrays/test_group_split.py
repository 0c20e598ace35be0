"""A group split under a writer with one global sequence is one point in time, every time."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from arrays.running import RunningArray, wait_state, wait_until

from nightwell.arrays.port import PairState
from nightwell.nbd.client import NbdClient
from nightwell.testing.array_sequence import BLOCK_BYTES, SequenceWriter

SPLITS = 50
BLOCKS = 64
SIZE_BYTES = BLOCKS * BLOCK_BYTES


def contents(array: RunningArray, volumes: tuple[str, ...]) -> list[bytes]:
    found = []
    for name in volumes:
        with NbdClient.connect(array.client.export(name, writable=False).url) as client:
            found.append(client.read(0, SIZE_BYTES))
        array.client.withdraw(name)
    return found


def test_fifty_group_splits_under_a_writer_show_no_mismatch(tmp_path: Path) -> None:
    primaries, secondaries = ("p1", "p2"), ("s1", "s2")
    with RunningArray("array", tmp_path) as process, ExitStack() as stack:
        array = process.client
        for name in (*primaries, *secondaries):
            array.create_volume(name, SIZE_BYTES)
        clients = [stack.enter_context(NbdClient.connect(array.export(name, writable=True).url)) for name in primaries]
        writer = SequenceWriter(clients, BLOCKS)
        stack.callback(writer.stop)
        for primary, secondary in zip(primaries, secondaries, strict=True):
            array.create_pair(primary, secondary)
        mismatches, newest = 0, set()
        for _ in range(SPLITS):
            for primary in primaries:
                wait_state(array, primary, PairState.PAIR)
            wait_until(partial(writer.has_written, writer.written + 5), "writes")
            infos = array.split(primaries)
            assert {info.state for info in infos} == {PairState.PSUS}
            copies = contents(process, secondaries)
            mismatches += writer.mismatches(copies)
            newest.add(
                max(
                    int.from_bytes(copy[at : at + 8], "big")
                    for copy in copies
                    for at in range(0, SIZE_BYTES, BLOCK_BYTES)
                )
            )
            for primary in primaries:
                array.resync(primary)
        assert writer.failed is None
        assert mismatches == 0
        assert len(newest) == SPLITS  # the writer went on between any two splits


def test_the_sequence_check_sees_copies_of_different_points_in_time(tmp_path: Path) -> None:
    with RunningArray("array", tmp_path) as process, ExitStack() as stack:
        array = process.client
        for name in ("p1", "p2"):
            array.create_volume(name, SIZE_BYTES)
        clients = [stack.enter_context(NbdClient.connect(array.export(n, writable=True).url)) for n in ("p1", "p2")]
        writer = SequenceWriter(clients, BLOCKS)
        stack.callback(writer.stop)
        wait_until(partial(writer.has_written, 200), "writes")
        first = process.volume_bytes("p1")
        wait_until(partial(writer.has_written, writer.written + 50), "writes")
        assert writer.mismatches([first, process.volume_bytes("p2")]) > 0
