"""What the block pipeline reads from and writes to, and what it tells while it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from nightwell.errors import NightwellError


class BlockReader(Protocol):
    """Reads one volume; each thread has its own."""

    def read_into(self, offset_bytes: int, view: memoryview) -> None:
        """Fill the whole view from ``offset_bytes``; an error of the source is raised as it is."""
        ...

    def close(self) -> None:
        """Give back what the reader holds."""
        ...


class BlockSource(Protocol):
    """A volume that can be read by several threads."""

    size_bytes: int

    def open(self) -> BlockReader:
        """Return a reader for one thread."""
        ...


class BlockSink(Protocol):
    """Writes one volume; each thread has its own."""

    def write(self, offset_bytes: int, view: memoryview) -> None:
        """Write the whole view at ``offset_bytes``; the view is used again after the call."""
        ...

    def zero(self, offset_bytes: int, length_bytes: int) -> None:
        """Make a range read as zeros."""
        ...

    def flush(self) -> None:
        """Make everything written so far durable."""
        ...

    def close(self) -> None:
        """Give back what the sink holds."""
        ...


class BlockTarget(Protocol):
    """A volume that can be written by several threads."""

    size_bytes: int

    def open(self) -> BlockSink:
        """Return a sink for one thread."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a copy is: ``blocks_done`` of ``blocks_total`` to be looked at, and the bytes moved so far."""

    blocks_done: int
    blocks_total: int
    bytes_moved: int


ProgressCallback = Callable[[Progress], None]


class StoppedError(NightwellError):
    """The caller asked the copy to stop, and it did."""


def stopped(subject: str) -> StoppedError:
    """Return the error with which a copy ends when its stop event is set."""
    return StoppedError(
        subject,
        expected="to run to its end",
        found="a request to stop",
        cause="the run was cancelled",
        next_step="start the run again; nothing was committed",
    )


class Reporter:
    """Adds up what many threads did, and tells the callback at the start, then at most five times a second.

    Thread-safe.
    """

    _INTERVAL_S = 0.2

    def __init__(self, callback: ProgressCallback | None, blocks_total: int) -> None:
        self._callback = callback
        self._lock = threading.Lock()
        self._done = 0
        self._total = blocks_total
        self._moved = 0
        self._next_s = 0.0
        if callback is not None:
            callback(Progress(0, blocks_total, 0))  # from here on silence means that nothing moves

    def expect(self, blocks: int) -> None:
        """Raise the total: more blocks than planned have to be looked at."""
        with self._lock:
            self._total += blocks

    def add(self, blocks: int, bytes_moved: int) -> None:
        """Note blocks that are done."""
        with self._lock:
            self._done += blocks
            self._moved += bytes_moved
            now_s = time.monotonic()
            if self._callback is None or now_s < self._next_s:
                return
            self._next_s = now_s + self._INTERVAL_S
            self._callback(Progress(self._done, self._total, self._moved))

    def finish(self) -> None:
        """Tell the callback where the copy ended."""
        with self._lock:
            if self._callback is not None:
                self._callback(Progress(self._done, self._total, self._moved))
