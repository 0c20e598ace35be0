"""One volume of a user's own array, given up to be tried: the whole of a backup's dealings with it, at its real size.

The clauses of the suite make small volumes of their own. Here a volume that the user names is the primary: it is
written, paired, split, written again, resynced and split once more, and holds zeros afterwards where it was written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np

from nightwell.arrays.port import Array, PairState, VolumeInfo
from nightwell.errors import ConflictError, NightwellError, NotFoundError
from nightwell.nbd.client import NbdClient
from nightwell.nbd.wire import ALLOCATION, CHANGED
from nightwell.testing.array_bench import MIB, ClauseFailed, Workbench, expect
from nightwell.testing.arrays import ClauseResult, Outcome

_ZERO = 2  # of base:allocation: reads as zeros
_READ_BYTES = 4 * MIB
_PIECE_BYTES = 64 << 10
_PIECES = 64
#: A copy of everything is not told from one of what changed on a volume that is hardly larger than what is written.
_TELLING_BYTES = 32 * MIB

Progress = Callable[[ClauseResult], None]
_Step = tuple[str, Callable[[], None]]


def check_sacrifice(array: Array, name: str, work: Workbench, *, destroy_data: bool) -> VolumeInfo:
    """Return the volume that is given up; look at it, and change nothing.

    Raises
    ------
    NotFoundError
        There is no such volume.
    ConflictError
        It is in a pair, somebody is connected to it, it belongs to a run, or it holds data and ``destroy_data`` is off.
    """
    info = next((one for one in array.volumes() if one.name == name), None)
    subject = f"volume '{name}' of array '{array.name}'"
    if info is None:
        raise NotFoundError(
            subject,
            expected="a volume that can be given up",
            found="no volume of that name",
            cause="a mistyped name, or another array's volume",
            next_step="make one with 'nightwell volume create', and name it",
        )
    pair = array.pair_of(name)
    if pair is not None or info.owner is not None:
        raise ConflictError(
            subject,
            expected="a volume in no pair that belongs to no run",
            found=f"a pair of '{pair.primary}' and '{pair.secondary}'" if pair else f"a volume of run '{info.owner}'",
            cause="it is in use",
            next_step="name a volume that was made to be given up",
        )
    for export in array.exports():
        if export.volume == name and export.connections:
            raise ConflictError(
                subject,
                expected="a volume that no host has attached",
                found=f"{export.connections} connection(s) to export '{export.name}'",
                cause="a host uses it",
                next_step="detach it there, or name another volume",
            )
    found_at = None if destroy_data else _first_data(array, name, work)
    if found_at is not None:
        raise ConflictError(
            subject,
            expected="a volume full of zeros",
            found=f"data at byte {found_at}",
            cause="it is no empty volume: what it holds would be lost",
            next_step="name an empty one, or give --destroy-data when nobody needs what it holds",
        )
    return info


def try_volume(array: Array, volume: VolumeInfo, work: Workbench, progress: Progress) -> tuple[ClauseResult, ...]:
    """Try a volume that :func:`check_sacrifice` has returned; stop at the first failure, and clean up."""
    results: list[ClauseResult] = []
    trial = _Trial(array, volume, work)
    for name, check in trial.steps():
        result = _tried(name, check)
        results.append(result)
        progress(result)
        if result.outcome is Outcome.FAILED:
            break
    cleaned = _tried("volume-cleaned-up", trial.clean)
    progress(cleaned)
    return (*results, cleaned)


class _Trial:
    """The sequence on one volume."""

    def __init__(self, array: Array, volume: VolumeInfo, work: Workbench) -> None:
        self._array = array
        self._volume = volume
        self._work = work
        self._secondary = work.name("secondary")
        self._held: dict[int, bytes] = {}
        self._since_split: set[int] = set()

    def steps(self) -> Iterator[_Step]:
        yield "volume-written", self._write_and_read_back
        yield "volume-paired", self._pair
        yield "volume-split", self._split_holds
        yield "volume-stands-still", self._stands_still
        yield "volume-resynced", self._resync
        yield "volume-split-again", self._split_holds
        if self._array.capabilities.change_list:
            yield "volume-change-list", self._change_list

    def clean(self) -> None:
        """Dissolve the pair, delete what was made, and put zeros where the volume was written."""
        left = self._work.clean(self._array)
        expect(not left, "; ".join(left))
        with self._open() as client:
            for at, data in self._held.items():
                client.zero(at, len(data))
            client.flush()
            for at, data in self._held.items():
                expect(client.read(at, len(data)) == bytes(len(data)), f"no zeros at byte {at} after they were written")
        left = self._work.clean(self._array)
        expect(not left, "; ".join(left))

    def _open(self) -> NbdClient:
        name = self._work.name("host")
        return self._work.open(self._array.export(self._volume.name, name=name, writable=True))

    def _places(self) -> list[int]:
        """Return where the volume is written: first, last, and evenly between, none over another."""
        size_bytes, sector = self._volume.size_bytes, self._array.capabilities.sector_bytes
        last = max(size_bytes - _PIECE_BYTES, 0)
        pieces = min(max(size_bytes // (2 * _PIECE_BYTES), 1), _PIECES)
        return [last * number // max(pieces - 1, 1) // sector * sector for number in range(pieces)]

    def _write(self, places: list[int]) -> None:
        with self._open() as client:
            for at in places:
                self._held[at] = self._work.data(min(_PIECE_BYTES, self._volume.size_bytes - at))
                client.write(at, self._held[at])
            client.flush()

    def _write_and_read_back(self) -> None:
        self._write(self._places())
        self._compare(self._volume.name)

    def _compare(self, volume: str) -> None:
        export = self._array.export(volume, name=self._work.name("look"), writable=False)
        with self._work.open(export) as client:
            expect(client.size_bytes == self._volume.size_bytes, f"{volume} has {client.size_bytes} bytes")
            for at, data in self._held.items():
                expect(client.read(at, len(data)) == data, f"{volume} holds other bytes at {at} than were written")
        self._array.withdraw(export.name)

    def _pair(self) -> None:
        self._array.create_volume(self._secondary, self._volume.size_bytes)
        self._array.create_pair(self._volume.name, self._secondary)
        self._work.wait(self._array, self._volume.name, PairState.PAIR)

    def _split_holds(self) -> None:
        self._work.split(self._array, self._volume.name)
        self._compare(self._secondary)

    def _stands_still(self) -> None:
        before = dict(self._held)
        changed = self._places()[:: _PIECES // 4]
        self._write(changed)
        self._since_split = set(changed)
        after, self._held = self._held, before
        try:
            self._compare(self._secondary)
        finally:
            self._held = after

    def _resync(self) -> None:
        info = self._work.resync(self._array, self._volume.name)
        if self._volume.size_bytes >= _TELLING_BYTES:
            most_bytes = self._volume.size_bytes // 2
            expect(info.to_copy_bytes <= most_bytes, f"the resync copied {info.to_copy_bytes} bytes: not what changed")

    def _change_list(self) -> None:
        export = self._array.export(self._secondary, name=self._work.name("list"), writable=False)
        with self._work.open(export, (CHANGED,)) as client:
            changed = [extent for extent in client.extents(CHANGED) if extent.flags]
        self._array.withdraw(export.name)
        for at in self._since_split:
            named = any(one.offset_bytes <= at < one.offset_bytes + one.length_bytes for one in changed)
            expect(named, f"the change list does not name byte {at}, which was written between the splits")


def _tried(name: str, check: Callable[[], None]) -> ClauseResult:
    start_s = time.monotonic()
    outcome, detail = Outcome.PASSED, ""
    try:
        check()
    except ClauseFailed as problem:
        outcome, detail = Outcome.FAILED, str(problem)
    except (NightwellError, OSError) as problem:
        outcome, detail = Outcome.FAILED, f"unexpected {type(problem).__name__}: {problem}"
    return ClauseResult(name, outcome, detail, time.monotonic() - start_s)


def _first_data(array: Array, name: str, work: Workbench) -> int | None:
    """Return where the first byte is that is not zero, reading only what the array does not call zeros."""
    export = array.export(name, name=work.name("empty"), writable=False)
    try:
        with work.open(export, (ALLOCATION,)) as client:
            for extent in client.extents(ALLOCATION):
                if extent.flags & _ZERO:
                    continue
                end = extent.offset_bytes + extent.length_bytes
                for at in range(extent.offset_bytes, end, _READ_BYTES):
                    piece = np.frombuffer(client.read(at, min(_READ_BYTES, end - at)), dtype=np.uint8)
                    if piece.any():
                        return at + int(np.flatnonzero(piece)[0])
        return None
    finally:
        with suppress(NightwellError):
            array.withdraw(export.name)
