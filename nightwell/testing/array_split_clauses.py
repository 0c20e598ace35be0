"""Clauses about split and resync: points in time, and what a resync moves."""

# ruff: noqa: D401 - a clause's docstring is the rule itself, not a command

from __future__ import annotations

from functools import partial

from nightwell.arrays.port import Array, PairState
from nightwell.errors import ConflictError
from nightwell.nbd.client import NbdClient
from nightwell.nbd.wire import CHANGED
from nightwell.testing.array_bench import MIB, ClauseFailed, Workbench, clause, expect, refused
from nightwell.testing.array_sequence import SequenceWriter

# The coarsest piece in which a driver may track changes.
_COARSEST_BYTES = MIB
_GROUP_ROUNDS = 4


@clause("split-freezes")
def split_freezes(array: Array, work: Workbench) -> None:
    """A split names a point in time, and S stands still from then on, whatever happens to P."""
    primary, secondary, client = work.pair(array)
    before = client.read(0, MIB)
    info = work.split(array, primary)
    expect(info.state is PairState.PSUS and info.split_id is not None, f"no split: {info}")
    expect(info.split_at is not None and info.split_at.tzinfo is not None, f"no time of the split: {info.split_at}")
    client.write(10, work.data(100_000))
    client.zero(300_000, 100_000)
    client.trim(655_360, 131_072)
    expect(work.content(array, secondary) == before, "S changed after the split")


@clause("split-again")
def split_again(array: Array, work: Workbench) -> None:
    """Splitting a pair that is split leaves it at its point in time, also beside a pair that is split with it."""
    primary, secondary, client = work.pair(array)
    before = client.read(0, MIB)
    first = work.split(array, primary)
    client.write(0, work.data(5000))
    expect(work.split(array, primary).split_id == first.split_id, "a second split took another point in time")
    other, _, _ = work.pair(array)
    both = array.split([primary, other])
    expect([info.primary for info in both] == [primary, other], f"split answered for {both}")
    expect(both[0].split_id == first.split_id, "a split with another pair took another point in time")
    expect(both[1].state is PairState.PSUS, "the other pair was not split")
    expect(work.content(array, secondary) == before, "S moved to another point in time")


@clause("split-all-or-nothing")
def split_all_or_nothing(array: Array, work: Workbench) -> None:
    """When one pair of a group cannot be split, none is."""
    primary, secondary, client = work.pair(array)
    alone = work.volume(array)
    with refused("split of a pair and a volume without one", ConflictError):
        array.split([primary, alone])
    client.write(0, b"after the refusal")
    info = array.pair_of(primary)
    expect(info is not None and info.state is PairState.PAIR, f"the refused call split a pair: {info}")
    work.split(array, primary)
    expect(work.content(array, secondary)[:17] == b"after the refusal", "the refused call froze S")


@clause("group-split", capability="group_split")
def group_split(array: Array, work: Workbench) -> None:
    """A split of several pairs is one point in time: their copies hold a prefix of one sequence of writes."""
    size_bytes, blocks = 256 * 1024, 32
    primaries, secondaries, clients = zip(*(_empty_pair(array, work, size_bytes) for _ in range(2)), strict=True)
    writer = SequenceWriter(clients, blocks)
    try:
        for _ in range(_GROUP_ROUNDS):
            work.until(partial(writer.has_written, writer.written + 20), "the writer stands still")
            array.split(primaries)
            contents = [work.content(array, secondary) for secondary in secondaries]
            wrong = writer.mismatches(contents)
            expect(wrong == 0, f"{wrong} blocks are not of the same point in time")
            for primary in primaries:
                work.resync(array, primary)
    finally:
        writer.stop()
    if writer.failed is not None:
        raise ClauseFailed(f"the writer met an error: {writer.failed}") from writer.failed


def _empty_pair(array: Array, work: Workbench, size_bytes: int) -> tuple[str, str, NbdClient]:
    primary, secondary = work.volume(array, size_bytes), work.volume(array, size_bytes)
    client = work.open(array.export(primary, writable=True))
    array.create_pair(primary, secondary)
    work.wait(array, primary, PairState.PAIR)
    return primary, secondary, client


@clause("resync-differential")
def resync_differential(array: Array, work: Workbench) -> None:
    """A resync moves what changed, not the volume."""
    size_bytes = 4 * MIB
    primary, _, client = work.pair(array, size_bytes)
    work.split(array, primary)
    client.write(MIB + 5, b"one")
    client.write(3 * MIB + 5, b"two")
    info = work.resync(array, primary)
    expect(info.copied_bytes <= info.to_copy_bytes, f"more was copied than there was to copy: {info}")
    expect(
        info.to_copy_bytes <= 2 * _COARSEST_BYTES,
        f"two changed places made a resync of {info.to_copy_bytes} of {size_bytes} bytes",
    )


@clause("resync-exact")
def resync_exact(array: Array, work: Workbench) -> None:
    """After a resync and a split S equals P, with changes of every kind, and S's old point in time is gone."""
    primary, secondary, client = work.pair(array)
    first = work.split(array, primary)
    client.write(0, work.data(1))
    client.write(65_535, work.data(2))
    client.zero(200_000, 100_000)
    client.trim(393_216, 131_072)
    client.write(MIB - 1, work.data(1))
    info = work.resync(array, primary)
    expect(info.split_id is None and info.split_at is None, f"a pair in PAIR names a point in time: {info}")
    second = work.split(array, primary)
    expect(second.split_id != first.split_id, "two splits carry one id")
    expect(work.content(array, secondary) == work.content(array, primary), "S differs from P after the resync")


@clause("resync-again")
def resync_again(array: Array, work: Workbench) -> None:
    """Resyncing a pair that copies, or is in step, changes nothing."""
    primary, _, _ = work.pair(array)
    info = array.resync(primary)
    expect(info.state is PairState.PAIR, f"a resync in PAIR made it {info.state}")
    work.split(array, primary)
    array.resync(primary)
    array.resync(primary)
    work.wait(array, primary, PairState.PAIR)


@clause("resync-needs-withdrawal")
def resync_needs_withdrawal(array: Array, work: Workbench) -> None:
    """A resync is refused while S is exported, with or without a reader, and S stays as it is."""
    primary, secondary, client = work.pair(array)
    work.split(array, primary)
    export = array.export(secondary, writable=False)
    with work.open(export) as reader:
        before = reader.read(0, MIB)
        client.write(0, work.data(4096))
        with refused("resync while S is being read", ConflictError):
            array.resync(primary)
        expect(reader.read(0, MIB) == before, "S changed under its reader")
    info = array.pair_of(primary)
    expect(info is not None and info.state is PairState.PSUS, f"the refused call made the pair {info}")
    with refused("resync while S is exported", ConflictError):
        array.resync(primary)
    array.withdraw(export.name)
    work.resync(array, primary)


@clause("change-list-covers", capability="change_list")
def change_list_covers(array: Array, work: Workbench) -> None:
    """The change list of a split S names every byte that differs from the split before, and spares some that do not."""
    size_bytes = 4 * MIB
    primary, secondary, client = work.pair(array, size_bytes)
    work.split(array, primary)
    before = work.content(array, secondary)
    client.write(100_000, work.data(3))  # while split
    client.zero(600_000, 70_000)
    work.resync(array, primary)
    client.write(MIB + 65_535, work.data(2))  # while in step
    client.trim(MIB + 262_144, 131_072)
    work.split(array, primary)
    client.write(3 * MIB, work.data(3))  # after the second split: need not be named
    after = work.content(array, secondary)
    listed = bytearray(size_bytes)
    with work.open(array.export(secondary, writable=False), [CHANGED]) as served:
        expect(CHANGED in served.contexts, "the export of a split S does not offer the context")
        for extent in served.extents(CHANGED):
            if extent.flags & 1:
                listed[extent.offset_bytes : extent.end_bytes] = b"\1" * extent.length_bytes
    missed = sum(not listed[at] for at in _differences(before, after))
    expect(missed == 0, f"{missed} changed bytes are not in the list")
    expect(listed.count(0) > 0, "the list names the whole volume")


def _differences(before: bytes, after: bytes) -> list[int]:
    piece = 4096
    return [
        at
        for start in range(0, len(before), piece)
        if before[start : start + piece] != after[start : start + piece]
        for at in range(start, min(start + piece, len(before)))
        if before[at] != after[at]
    ]


@clause("change-list-named", capability="change_list")
def change_list_named(array: Array, work: Workbench) -> None:
    """A split names the point in time its change list counts from; the first split of a pair has none."""
    primary, _, client = work.pair(array)
    first = work.split(array, primary)
    expect(first.previous_split_id is None, "the first split claims a change list")
    for _ in range(2):
        client.write(0, work.data(10))
        work.resync(array, primary)
        second = work.split(array, primary)
        expect(
            second.previous_split_id == first.split_id,
            f"the list counts from {second.previous_split_id}, not from the split before, {first.split_id}",
        )
        first = second
