"""The change map: one byte per 64 KiB chunk of a volume, in a file mapped into memory.

A mark is a store into shared memory: once made it is in the kernel's page cache and outlives ``kill -9`` of the
process. It does not outlive a loss of power until :meth:`ChangeMap.flush`. Marks are made *before* the data they
speak of, so a kill between the two leaves a mark too many, never one too few.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

CHUNK_BYTES = 64 * 1024
_MARKED = b"\x01"
_CLEAR = b"\x00"
_FILL_BYTES = 1 << 20


def chunks_of(size_bytes: int) -> int:
    """Return how many chunks cover a volume of this size; the last one may be partly used."""
    return -(-size_bytes // CHUNK_BYTES)


def chunk_range(offset_bytes: int, length_bytes: int) -> tuple[int, int]:
    """Return the chunks ``(first, past)`` that a request touches."""
    return offset_bytes // CHUNK_BYTES, chunks_of(offset_bytes + length_bytes)


class ChangeMap:
    """Marks of one volume's chunks.

    Parameters
    ----------
    path
        The map's file; made clear when it is missing.
    chunks
        Number of chunks.

    Attributes
    ----------
    doubtful
        The file was missing or of another length when it was opened: its content says nothing.
    """

    def __init__(self, path: Path, chunks: int) -> None:
        self.path = path
        self.chunks = chunks
        length = max(chunks, 1)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self.doubtful = os.fstat(descriptor).st_size != length
            os.ftruncate(descriptor, length)
            self._bytes = mmap.mmap(descriptor, length)
        finally:
            os.close(descriptor)

    def mark(self, first: int, past: int) -> None:
        """Mark chunks ``first`` (included) to ``past`` (excluded)."""
        self._store(first, past, _MARKED)

    def clear(self, first: int, past: int) -> None:
        """Clear chunks ``first`` (included) to ``past`` (excluded)."""
        self._store(first, past, _CLEAR)

    def mark_all(self) -> None:
        """Mark every chunk."""
        self._store(0, self.chunks, _MARKED)

    def clear_all(self) -> None:
        """Clear every chunk."""
        self._store(0, self.chunks, _CLEAR)

    def find(self, start: int, past: int | None = None) -> int:
        """Return the first marked chunk at or after ``start``, or -1."""
        return self._bytes.find(_MARKED, start, self.chunks if past is None else past)

    def runs(self, start: int = 0, past: int | None = None) -> Iterator[tuple[int, int]]:
        """Yield the marked runs ``(first, past)`` in order, as they stand when they are reached."""
        end = self.chunks if past is None else past
        first = self._bytes.find(_MARKED, start, end)
        while first >= 0:
            stop = self._bytes.find(_CLEAR, first, end)
            stop = end if stop < 0 else stop
            yield first, stop
            first = self._bytes.find(_MARKED, stop, end)

    def clear_runs(self, start: int, past: int) -> list[tuple[int, int]]:
        """Return the runs of ``start`` to ``past`` that are *not* marked."""
        found: list[tuple[int, int]] = []
        position = start
        for first, stop in self.runs(start, past):
            if first > position:
                found.append((position, first))
            position = stop
        if position < past:
            found.append((position, past))
        return found

    def marked_bytes(self, size_bytes: int) -> int:
        """Return the bytes that the marked chunks cover in a volume of ``size_bytes``."""
        return sum(min(past * CHUNK_BYTES, size_bytes) - first * CHUNK_BYTES for first, past in self.runs())

    def flush(self) -> None:
        """Bring every mark to the disk (msync)."""
        self._bytes.flush()

    def close(self) -> None:
        """Let go of the file; nobody may use the map any more."""
        self._bytes.close()

    def _store(self, first: int, past: int, value: bytes) -> None:
        if past - first == 1:
            self._bytes[first] = value[0]
            return
        for start in range(first, past, _FILL_BYTES):
            stop = min(start + _FILL_BYTES, past)
            self._bytes[start:stop] = value * (stop - start)
