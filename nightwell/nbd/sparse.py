"""Holes in files: finding them, punching them, and zeroing without writing."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator

from nightwell.nbd.wire import HOLE, ZERO, Extent

_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02
_ZERO_RANGE = 0x10
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV})
_ZEROES = bytes(1 << 20)
_TOO_SHORT = "the file is shorter than the export"

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)  # Python offers no modes
_libc.fallocate.restype = ctypes.c_int


def write_all(descriptor: int, offset_bytes: int, data: memoryview | bytes) -> None:
    """Write all of ``data`` at an offset; raises OSError."""
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset_bytes)
        view = view[count:]
        offset_bytes += count


def read_all(descriptor: int, offset_bytes: int, length_bytes: int) -> bytes:
    """Return exactly ``length_bytes`` bytes at an offset; OSError(EIO) when the file is shorter."""
    data = os.pread(descriptor, length_bytes, offset_bytes)
    if len(data) == length_bytes:
        return data
    parts = [data]
    missing = length_bytes - len(data)
    while missing:
        part = os.pread(descriptor, missing, offset_bytes + length_bytes - missing)
        if not part:
            raise OSError(errno.EIO, _TOO_SHORT)
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def zero_range(descriptor: int, offset_bytes: int, length_bytes: int, *, may_punch: bool) -> None:
    """Make a range of a file read as zero without changing the file's size.

    Parameters
    ----------
    descriptor
        A file open for writing.
    offset_bytes, length_bytes
        The range, inside the file.
    may_punch
        Give its space back; otherwise it stays allocated. Zeroes are written where the file system can do neither.
    """
    mode = _PUNCH_HOLE if may_punch else _ZERO_RANGE
    if not _fallocate(descriptor, mode | _KEEP_SIZE, offset_bytes, length_bytes):
        end = offset_bytes + length_bytes
        for start in range(offset_bytes, end, len(_ZEROES)):
            write_all(descriptor, start, memoryview(_ZEROES)[: end - start])


def file_extents(descriptor: int, offset_bytes: int, length_bytes: int) -> Iterator[Extent]:
    """Yield the allocation of a range of a file: data has flags 0, a hole ``HOLE | ZERO``.

    OSError(EIO) when the file is shorter: what is missing must never pass for a hole.
    """
    position, end = offset_bytes, offset_bytes + length_bytes
    if os.fstat(descriptor).st_size < end:
        raise OSError(errno.EIO, _TOO_SHORT)
    while position < end:
        data = min(_seek(descriptor, position, os.SEEK_DATA, end), end)
        if data > position:
            yield Extent(position, data - position, HOLE | ZERO)
        if data == end:
            return
        position = min(_seek(descriptor, data, os.SEEK_HOLE, end), end)
        if position <= data:  # punched by another thread between the two calls; call it data, which is always safe
            position = min(data + 1, end)
        yield Extent(data, position - data, 0)


def _seek(descriptor: int, offset_bytes: int, whence: int, end: int) -> int:
    try:
        return os.lseek(descriptor, offset_bytes, whence)
    except OSError as error:
        if error.errno == errno.ENXIO:  # no data, or nothing at all, behind this offset
            return end
        raise


def _fallocate(descriptor: int, mode: int, offset_bytes: int, length_bytes: int) -> bool:
    """Call fallocate(2); ``False`` when the file system does not know the mode."""
    while _libc.fallocate(descriptor, mode, offset_bytes, length_bytes):
        number = ctypes.get_errno()
        if number in _UNSUPPORTED:
            return False
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    return True
