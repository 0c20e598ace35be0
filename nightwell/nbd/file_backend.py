"""A plain file as an export: sparse, of any size, read-only or writable."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from nightwell.errors import InputError, NotFoundError
from nightwell.nbd.sparse import file_extents, read_all, write_all, zero_range
from nightwell.nbd.wire import ALLOCATION, Extent


class FileBackend:
    """Serves one file; its size is the export's size.

    Parameters
    ----------
    path
        An existing file.
    writable
        Open it for writing.

    Raises
    ------
    NotFoundError
        There is no such file.
    InputError
        It cannot be opened, or is not a regular file.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        if path.exists() and not path.is_file():
            raise _unusable(path, "something else than a regular file")
        try:
            self._descriptor = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise _missing(path) from error
        except OSError as error:
            raise _unusable(path, error.strerror or str(error)) from error
        self._size_bytes = os.fstat(self._descriptor).st_size
        self._writable = writable

    @property
    def size_bytes(self) -> int:
        """Size of the file when it was opened."""
        return self._size_bytes

    @property
    def read_only(self) -> bool:
        """The file was opened for reading only."""
        return not self._writable

    def file_descriptor(self) -> int | None:
        """Return the file itself: reads need no copy through this process."""
        return self._descriptor

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Return a piece of the file; OSError(EIO) when it was cut shorter meanwhile."""
        return read_all(self._descriptor, offset_bytes, length_bytes)

    def write(self, offset_bytes: int, data: memoryview, *, fua: bool) -> None:
        """Write; with ``fua`` the data is on the disk on return."""
        write_all(self._descriptor, offset_bytes, data)
        if fua:
            self.flush()

    def zero(self, offset_bytes: int, length_bytes: int, *, may_punch: bool, fua: bool) -> None:
        """Zero a range by a hole (``may_punch``) or by unwritten space."""
        zero_range(self._descriptor, offset_bytes, length_bytes, may_punch=may_punch)
        if fua:
            self.flush()

    def trim(self, offset_bytes: int, length_bytes: int) -> None:
        """Give the range's space back; it reads as zero afterwards."""
        zero_range(self._descriptor, offset_bytes, length_bytes, may_punch=True)

    def flush(self) -> None:
        """Bring everything written to the disk."""
        os.fdatasync(self._descriptor)

    def contexts(self) -> tuple[str, ...]:
        """Return ``base:allocation``."""
        return (ALLOCATION,)

    def extents(self, context: str, offset_bytes: int, length_bytes: int) -> Iterable[Extent]:
        """Return data and holes as the file system tells them; another context is a KeyError."""
        if context != ALLOCATION:
            raise KeyError(context)
        return file_extents(self._descriptor, offset_bytes, length_bytes)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def _missing(path: Path) -> NotFoundError:
    return NotFoundError(
        f"file {str(path)!r}",
        expected="an existing file to export",
        found="no such file",
        cause="a mistyped path, or the volume was deleted",
        next_step="check the path",
    )


def _unusable(path: Path, found: str) -> InputError:
    return InputError(
        f"file {str(path)!r}",
        expected="a regular file that may be opened",
        found=found,
        cause="a wrong path, or missing permissions",
        next_step="check the path and who owns the file",
    )
