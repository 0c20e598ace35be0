"""A version as a file object, for readers of file systems."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

#: What is fetched at once and kept, and how much is kept in all: file systems read small pieces close together.
_WINDOW_BYTES: Final = 1 << 20
_KEPT_BYTES: Final = 32 << 20


class VersionFile(io.RawIOBase):
    """A read-only, seekable, unbuffered file over a version; not thread-safe.

    Parameters
    ----------
    size_bytes, block_bytes
        Of the version.
    read_into
        Fills a view from an offset.
    """

    def __init__(self, size_bytes: int, block_bytes: int, read_into: Callable[[int, memoryview], None]) -> None:
        super().__init__()
        self._size_bytes = size_bytes
        self._window_bytes = max(_WINDOW_BYTES, block_bytes)
        self._windows: OrderedDict[int, memoryview] = OrderedDict()
        self._most_windows = max(2, _KEPT_BYTES // self._window_bytes)
        self._read_into = read_into
        self._position = 0

    def readable(self) -> bool:
        """Return true."""
        return True

    def seekable(self) -> bool:
        """Return true."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to a position, which may lie beyond the end, and return it."""
        self._check_open()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size_bytes}[whence]
        if base + offset < 0:
            raise ValueError(f"negative position {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # typeshed's Buffer is 3.12
        """Fill as much of the buffer as one window gives; return the bytes read, 0 at the end."""
        self._check_open()
        view = memoryview(buffer).cast("B")
        number, start = divmod(self._position, self._window_bytes)
        if self._position >= self._size_bytes or not len(view):
            return 0
        window = self._window(number)
        count = min(len(view), len(window) - start)
        view[:count] = window[start : start + count]
        self._position += count
        return count

    def _window(self, number: int) -> memoryview:
        window = self._windows.get(number)
        if window is None:
            start = number * self._window_bytes
            window = memoryview(bytearray(min(self._window_bytes, self._size_bytes - start)))
            self._read_into(start, window)
            self._windows[number] = window
            if len(self._windows) > self._most_windows:
                self._windows.popitem(last=False)
        else:
            self._windows.move_to_end(number)
        return window

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
