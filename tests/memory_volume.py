"""A volume in memory: source and target of the block pipeline, and the oracle of what it must hold."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt


class MemoryVolume:
    """Bytes that can be read and written as a volume; counts what is read."""

    def __init__(self, data: npt.NDArray[np.uint8]) -> None:
        self.data = data
        self.size_bytes = len(data)
        self.bytes_read = 0
        self.flushes = 0
        self._lock = threading.Lock()

    @classmethod
    def zeros(cls, size_bytes: int) -> MemoryVolume:
        return cls(np.zeros(size_bytes, dtype=np.uint8))

    @classmethod
    def dirty(cls, size_bytes: int) -> MemoryVolume:
        """A target on which nothing may be taken for written that was not."""
        return cls(np.full(size_bytes, 0xA5, dtype=np.uint8))

    def open(self) -> MemoryVolume:
        return self

    def read_into(self, offset_bytes: int, view: memoryview) -> None:
        view[:] = self.data.data[offset_bytes : offset_bytes + len(view)]
        with self._lock:
            self.bytes_read += len(view)

    def write(self, offset_bytes: int, view: memoryview) -> None:
        self.data.data[offset_bytes : offset_bytes + len(view)] = view

    def zero(self, offset_bytes: int, length_bytes: int) -> None:
        self.data[offset_bytes : offset_bytes + length_bytes] = 0

    def flush(self) -> None:
        self.flushes += 1

    def close(self) -> None:
        return
