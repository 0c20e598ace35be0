"""Copying between sparse files: what is a hole in one becomes a hole in the other."""

from __future__ import annotations

import errno
import os

from nightwell.nbd.sparse import file_extents, write_all, zero_range
from nightwell.nbd.wire import HOLE

NO_MORE_DATA = 1 << 62
_PIECE_BYTES = 1 << 20
# What a file system answers when it cannot copy inside the kernel; the data then goes through this process.
_LACKING = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EXDEV})


def next_data(descriptor: int, offset_bytes: int) -> int:
    """Return where the next data begins at or after an offset, or ``NO_MORE_DATA``."""
    try:
        return os.lseek(descriptor, offset_bytes, os.SEEK_DATA)
    except OSError as problem:
        if problem.errno == errno.ENXIO:
            return NO_MORE_DATA
        raise


def copy_range(source: int, target: int, start_bytes: int, end_bytes: int) -> None:
    """Make one file equal to another over a range, keeping holes.

    Parameters
    ----------
    source, target
        Descriptors; nobody writes to the range in either meanwhile.
    start_bytes, end_bytes
        The range.

    Raises
    ------
    OSError
        Reading or writing failed; EIO when the source ended early.
    """
    for extent in file_extents(source, start_bytes, end_bytes - start_bytes):
        if not extent.flags & HOLE:
            _copy_data(source, target, extent.offset_bytes, extent.end_bytes)
        elif next_data(target, extent.offset_bytes) < extent.end_bytes:
            zero_range(target, extent.offset_bytes, extent.length_bytes, may_punch=True)


def _copy_data(source: int, target: int, start: int, end: int) -> None:
    try:
        while start < end:
            copied = os.copy_file_range(source, target, end - start, start, start)
            if not copied:
                break
            start += copied
    except OSError as problem:
        if problem.errno not in _LACKING:
            raise
    while start < end:
        data = os.pread(source, min(_PIECE_BYTES, end - start), start)
        if not data:
            raise OSError(errno.EIO, "the source ended early")
        write_all(target, start, data)
        start += len(data)
