"""What the NBD server serves of a local volume."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator

from nightwell.arrays.embedded.change_map import CHUNK_BYTES, ChangeMap, chunk_range
from nightwell.arrays.embedded.volume import Volume
from nightwell.arrays.port import PairState
from nightwell.nbd.sparse import file_extents
from nightwell.nbd.wire import ALLOCATION, CHANGED, PAIR, Extent


class VolumeBackend:
    """One connection's view of a volume.

    Parameters
    ----------
    volume
        What is served.
    writable
        As the export says.
    """

    def __init__(self, volume: Volume, *, writable: bool) -> None:
        self._volume = volume
        self._writable = writable
        self._size_bytes = volume.size_bytes
        split = volume.pair_state() is PairState.PSUS
        secondary = volume.primary is not None
        # A split S stays what it is while it is exported; one in step may fail at any moment, so it is asked each time.
        self._direct = split or not secondary
        self._lists_changes = split and secondary
        self._changes = volume.pair.change_list if volume.pair is not None and secondary else None

    @property
    def size_bytes(self) -> int:
        """Size of the volume when it was opened."""
        return self._size_bytes

    @property
    def read_only(self) -> bool:
        """As the export says."""
        return not self._writable

    def file_descriptor(self) -> int | None:
        """Return the volume's file, unless the pair's state must be asked before each read."""
        return self._volume.file.descriptor if self._direct else None

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Return a range; OSError (EIO) from a secondary that is not in step any more."""
        volume = self._volume
        if volume.primary is not None and volume.pair_state() in {PairState.COPY, PairState.PSUE}:
            raise OSError(errno.EIO, f"{volume.name} is not in step: state {volume.pair_state()}")
        return volume.file.read(offset_bytes, length_bytes)

    def write(self, offset_bytes: int, data: memoryview, *, fua: bool) -> None:
        """Write a range, through the pair."""
        self._volume.write(offset_bytes, data, fua=fua)

    def zero(self, offset_bytes: int, length_bytes: int, *, may_punch: bool, fua: bool) -> None:
        """Zero a range, through the pair."""
        self._volume.zero(offset_bytes, length_bytes, may_punch=may_punch, fua=fua)

    def trim(self, offset_bytes: int, length_bytes: int) -> None:
        """Free a range; it reads as zeros afterwards."""
        self._volume.zero(offset_bytes, length_bytes, may_punch=True, fua=False)

    def flush(self) -> None:
        """Bring every earlier write to the disk."""
        self._volume.flush()

    def contexts(self) -> tuple[str, ...]:
        """Return the contexts; the change list is offered on a split secondary only."""
        return (ALLOCATION, PAIR, CHANGED) if self._lists_changes else (ALLOCATION, PAIR)

    def extents(self, context: str, offset_bytes: int, length_bytes: int) -> Iterable[Extent]:
        """Return the status of a range."""
        if context == PAIR:
            return [Extent(offset_bytes, length_bytes, self._volume.status_word())]
        if context == CHANGED:
            if self._changes is None:  # no earlier split to count from: everything may have changed
                return [Extent(offset_bytes, length_bytes, 1)]
            return _changed(self._changes, offset_bytes, length_bytes)
        return file_extents(self._volume.file.descriptor, offset_bytes, length_bytes)

    def close(self) -> None:
        """Do nothing: the volume's file stays open as long as the volume lives."""


def _changed(changes: ChangeMap, offset_bytes: int, length_bytes: int) -> Iterator[Extent]:
    end_bytes = offset_bytes + length_bytes
    position = offset_bytes
    for first, past in changes.runs(*chunk_range(offset_bytes, length_bytes)):
        start, stop = max(first * CHUNK_BYTES, offset_bytes), min(past * CHUNK_BYTES, end_bytes)
        if start > position:
            yield Extent(position, start - position, 0)
        yield Extent(start, stop - start, 1)
        position = stop
    if position < end_bytes:
        yield Extent(position, end_bytes - position, 0)
