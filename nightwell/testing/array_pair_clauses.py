"""Clauses about copy pairs: what S is, and when."""

# ruff: noqa: D401 - a clause's docstring is the rule itself, not a command

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from nightwell.arrays.port import Array, PairState
from nightwell.errors import ConflictError, InputError
from nightwell.nbd.wire import PAIR
from nightwell.testing.array_bench import MIB, NotObserved, Workbench, clause, expect, odd_size, refused

_STATE_CODES = {PairState.SMPL: 0, PairState.COPY: 1, PairState.PAIR: 2, PairState.PSUS: 3, PairState.PSUE: 4}


@clause("pair-of-equals")
def pair_of_equals(array: Array, work: Workbench) -> None:
    """Only two different volumes of one size can be paired."""
    primary, smaller = work.volume(array, 2 * MIB), work.volume(array, MIB)
    with refused("pair of different sizes", ConflictError):
        array.create_pair(primary, smaller)
    with refused("pair of a volume with itself", InputError, ConflictError):
        array.create_pair(primary, primary)
    expect(array.pair_of(primary) is None, "a refused call made a pair")


@clause("pair-again")
def pair_again(array: Array, work: Workbench) -> None:
    """Making a pair again succeeds and answers for the pair that exists; both volumes name it."""
    primary, secondary = work.volume(array), work.volume(array)
    array.create_pair(primary, secondary, owner="run-a")
    again = array.create_pair(primary, secondary, owner="run-a")
    expect((again.primary, again.secondary, again.owner) == (primary, secondary, "run-a"), f"another pair: {again}")
    work.wait(array, primary, PairState.PAIR)
    of_secondary = array.pair_of(secondary)
    expect(of_secondary is not None and of_secondary.primary == primary, "pair_of(S) does not name the pair")


@clause("pair-conflict")
def pair_conflict(array: Array, work: Workbench) -> None:
    """A volume is in one pair at most, and an exported volume cannot become S."""
    primary, secondary, _ = work.pair(array)
    third = work.volume(array)
    for names in ((primary, third), (third, secondary), (secondary, third), (third, primary)):
        with refused("a second pair", ConflictError):
            array.create_pair(*names)
    fourth = work.volume(array)
    array.export(fourth, writable=False)
    with refused("pair with an exported S", ConflictError):
        array.create_pair(third, fourth)
    expect(array.pair_of(third) is None, "a refused call made a pair")


@clause("copy-equal")
def copy_equal(array: Array, work: Workbench) -> None:
    """After the first copy S equals P to the last odd byte, also where P was never written and S was."""
    size_bytes = odd_size(array, 2 * MIB)
    primary, secondary = work.volume(array, size_bytes), work.volume(array, size_bytes)
    with work.open(array.export(secondary, writable=True)) as client:
        client.write(0, work.data(size_bytes))
    array.withdraw(secondary)
    with work.open(array.export(primary, writable=True)) as client:
        client.write(MIB // 2 + 3, work.data(MIB // 4))
        client.write(size_bytes - 5, b"\xffend\xff")
    array.create_pair(primary, secondary)
    work.wait(array, primary, PairState.PAIR)
    work.split(array, primary)
    expect(work.content(array, secondary) == work.content(array, primary), "S differs from P after the first copy")


@clause("copy-under-writes")
def copy_under_writes(array: Array, work: Workbench) -> None:
    """Writes made while the first copy runs are in S when it has become PAIR."""
    size_bytes = 4 * MIB
    primary, client = work.filled(array, size_bytes)
    secondary = work.volume(array, size_bytes)
    block = 4096
    offsets = [index * 97 % (size_bytes // block) * block for index in range(200)]
    stop = threading.Event()

    def write() -> None:
        for round_number in range(1, 1_000_000):
            for offset in offsets:
                client.write(offset, round_number.to_bytes(8, "big") * (block // 8))
                if stop.is_set():
                    return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        array.create_pair(primary, secondary)
        work.wait(array, primary, PairState.PAIR)
    finally:
        stop.set()
        writer.join()
    work.split(array, primary)
    expect(work.content(array, secondary) == work.content(array, primary), "S differs from P after a copy under writes")


@clause("mirror")
def mirror(array: Array, work: Workbench) -> None:
    """Writes, zeroes and trims made in PAIR reach S."""
    primary, secondary, client = work.pair(array)
    client.write(70_001, work.data(70_000))
    client.zero(300_000, 100_000)
    client.zero(500_000, 100_000, may_punch=False)
    client.trim(700_000, 131_072)
    client.flush()
    work.split(array, primary)
    expect(work.content(array, secondary) == work.content(array, primary), "a change made in PAIR is not in S")


@clause("pair-context", capability="pair_context")
def pair_context(array: Array, work: Workbench) -> None:
    """The context nightwell:pair gives the pair's state, and a generation that every change of P moves."""
    primary, client = work.filled(array)
    secondary = work.volume(array)
    client.close()
    with work.open(array.export(primary, name=work.name("served"), writable=True), [PAIR]) as served:
        expect(PAIR in served.contexts, "the export of P does not offer the context")

        def look(state: PairState) -> int:
            extents = list(served.extents(PAIR))
            expect(len(extents) == 1, f"{len(extents)} extents in place of one over all")
            code = extents[0].flags & 0xFF
            expect(code == _STATE_CODES[state], f"state code {code} while the state is {state}")
            return extents[0].flags >> 8

        look(PairState.SMPL)
        array.create_pair(primary, secondary)
        work.wait(array, primary, PairState.PAIR)
        seen = [look(PairState.PAIR)]
        expect(look(PairState.PAIR) == seen[0], "the generation moved without a change")
        changes: list[Callable[[], None]] = [
            lambda: served.write(0, b"x"),
            lambda: served.zero(0, 1),
            lambda: served.trim(0, 4096),
        ]
        for change in changes:
            change()
            seen.append(look(PairState.PAIR))
        expect(len(set(seen)) == len(seen), f"a change did not move the generation: {seen}")
        work.split(array, primary)
        generation = look(PairState.PSUS)
    with work.open(array.export(secondary, writable=False), [PAIR]) as frozen:
        flags = next(frozen.extents(PAIR)).flags
        expect((flags & 0xFF, flags >> 8) == (3, generation), "the export of S does not tell of P's generation")


@clause("delete-pair")
def delete_pair(array: Array, work: Workbench) -> None:
    """Dissolving a pair keeps both volumes and their bytes, and sets S free from P."""
    primary, secondary, client = work.pair(array)
    before = client.read(0, MIB)
    array.delete_pair(primary)
    array.delete_pair(primary)
    expect(array.pair_of(primary) is None and array.pair_of(secondary) is None, "the pair is still there")
    client.write(0, work.data(4096))
    expect(work.content(array, secondary) == before, "S changed when, or after, the pair was dissolved")
    with work.open(array.export(secondary, writable=True)) as free:
        free.write(0, b"free")


@clause("secondary-refuses-writers")
def secondary_refuses_writers(array: Array, work: Workbench) -> None:
    """S of a pair is never exported for writing."""
    primary, secondary, _ = work.pair(array)
    with refused("writable export of S in PAIR", ConflictError):
        array.export(secondary, writable=True)
    work.split(array, primary)
    with refused("writable export of S in PSUS", ConflictError):
        array.export(secondary, writable=True)


@clause("secondary-closed-while-copying")
def secondary_closed_while_copying(array: Array, work: Workbench) -> None:
    """S is not exported while it is being copied."""
    for size_bytes in (8 * MIB, 64 * MIB, 256 * MIB):
        primary, client = work.filled(array, size_bytes)
        client.close()
        secondary = work.volume(array, size_bytes)
        array.create_pair(primary, secondary)
        with suppress(ConflictError):
            array.export(secondary, writable=False)
            state = array.pair_of(primary)
            if state is not None and state.state is not PairState.COPY:
                work.clean(array)
                continue  # the copy was over before we asked: try a longer one
            expect(condition=False, text="S was exported in COPY")
        return
    raise NotObserved("every copy was over before S could be asked for")


@clause("secondary-readable-while-pair", capability="secondary_readable_while_pair")
def secondary_readable_while_pair(array: Array, work: Workbench) -> None:
    """S in PAIR can be exported read-only, and shows what P holds."""
    primary, secondary, client = work.pair(array)
    with work.open(array.export(secondary, writable=False)) as look:
        client.write(5000, b"seen on both")
        expect(look.read(5000, 12) == b"seen on both", "S does not show what P holds")
    expect(array.pair_of(primary) is not None, "looking at S dissolved the pair")
