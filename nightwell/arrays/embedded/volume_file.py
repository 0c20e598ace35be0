"""The bytes of one volume: a sparse file."""

from __future__ import annotations

import os
from pathlib import Path

from nightwell.arrays.record_file import sync_directory
from nightwell.nbd.sparse import read_all, write_all, zero_range


class VolumeFile:
    """One sparse file, of any size to the byte.

    Parameters
    ----------
    path
        An existing file; see :func:`make_volume_file`.

    Attributes
    ----------
    size_bytes
        Length of the file.
    descriptor
        Open for reading and writing as long as the volume lives.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.size_bytes = os.fstat(self.descriptor).st_size

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Return exactly this range; OSError (EIO) when the file ends inside it."""
        return read_all(self.descriptor, offset_bytes, length_bytes)

    def write(self, offset_bytes: int, data: memoryview) -> None:
        """Write a range; OSError (ENOSPC, EIO) leaves it in an unknown mixture of old and new."""
        write_all(self.descriptor, offset_bytes, data)

    def zero(self, offset_bytes: int, length_bytes: int, *, may_punch: bool) -> None:
        """Make a range read as zeros."""
        zero_range(self.descriptor, offset_bytes, length_bytes, may_punch=may_punch)

    def sync(self) -> None:
        """Bring the data to the disk."""
        os.fdatasync(self.descriptor)

    def grow(self, size_bytes: int) -> None:
        """Make the file longer and its length durable."""
        os.ftruncate(self.descriptor, size_bytes)
        os.fsync(self.descriptor)
        self.size_bytes = size_bytes

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.descriptor)


def make_volume_file(path: Path, size_bytes: int) -> None:
    """Make a zero-filled sparse file, durable with its name; an old file of that name is emptied first.

    Raises
    ------
    OSError
        EFBIG when the file system cannot hold a file of that size, ENOSPC when it is full.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, size_bytes)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(path.parent)
