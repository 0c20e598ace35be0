"""Exports in memory: a backend and a table to try an NBD client or server with."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping

from nightwell.errors import NotFoundError
from nightwell.nbd.backend import Backend
from nightwell.nbd.wire import ALLOCATION, HOLE, ZERO, Extent

_PAGE_BYTES = 4096


class MemoryBackend:
    """An export in a bytearray, which stays after :meth:`close`: every connection sees the same bytes.

    Parameters
    ----------
    size_bytes
        Its size.
    read_only
        Refuse changes.
    statuses
        Further metadata contexts, each with its extents over the whole export.
    """

    def __init__(
        self,
        size_bytes: int,
        *,
        read_only: bool = False,
        statuses: Mapping[str, tuple[Extent, ...]] | None = None,
    ) -> None:
        self.size_bytes = size_bytes
        self.read_only = read_only
        self.data = bytearray(size_bytes)
        self.opened = 0
        self.closed = 0
        self.flushed = 0
        self._statuses = dict(statuses or {})
        self._lock = threading.Lock()

    def file_descriptor(self) -> int | None:
        """Return ``None``: there is no file."""
        return None

    def read(self, offset_bytes: int, length_bytes: int) -> bytes | memoryview:
        """Return a copy of a range."""
        with self._lock:
            return bytes(self.data[offset_bytes : offset_bytes + length_bytes])

    def write(self, offset_bytes: int, data: memoryview, *, fua: bool) -> None:
        """Change a range."""
        with self._lock:
            self.data[offset_bytes : offset_bytes + len(data)] = data
            self.flushed += fua

    def zero(self, offset_bytes: int, length_bytes: int, *, may_punch: bool, fua: bool) -> None:
        """Zero a range."""
        del may_punch  # memory has no holes
        self.write(offset_bytes, memoryview(bytes(length_bytes)), fua=fua)

    def trim(self, offset_bytes: int, length_bytes: int) -> None:
        """Zero a range."""
        self.zero(offset_bytes, length_bytes, may_punch=True, fua=False)

    def flush(self) -> None:
        """Count the call."""
        with self._lock:
            self.flushed += 1

    def contexts(self) -> tuple[str, ...]:
        """Return ``base:allocation`` and the further ones."""
        return (ALLOCATION, *self._statuses)

    def extents(self, context: str, offset_bytes: int, length_bytes: int) -> Iterable[Extent]:
        """Return the status of a range; pages of zeroes are holes."""
        if context == ALLOCATION:
            return self._pages(offset_bytes, offset_bytes + length_bytes)
        return self._statuses[context]

    def close(self) -> None:
        """Count the call; the bytes stay."""
        with self._lock:
            self.closed += 1

    def _pages(self, position: int, end: int) -> Iterator[Extent]:
        while position < end:
            following = min((position // _PAGE_BYTES + 1) * _PAGE_BYTES, end)
            used = any(self.data[position:following])
            yield Extent(position, following - position, 0 if used else HOLE | ZERO)
            position = following


class MemoryExports:
    """A table of backends that tests put in and take out while a server serves it."""

    def __init__(self, **backends: Backend) -> None:
        self.backends: dict[str, Backend] = dict(backends)

    def names(self) -> tuple[str, ...]:
        """Return the names, sorted."""
        return tuple(sorted(self.backends))

    def open(self, name: str) -> Backend:
        """Return the backend of this name; NotFoundError when there is none."""
        backend = self.backends.get(name)
        if backend is None:
            raise NotFoundError(
                f"export {name!r}",
                expected=f"one of {', '.join(self.names()) or 'none'}",
                found="no such export",
                cause="it was never put into the table, or taken out again",
                next_step="put a backend of this name into the table",
            )
        if isinstance(backend, MemoryBackend):
            backend.opened += 1
        return backend
