"""Cuts a volume into runs of neighbouring blocks, and lets threads work through them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from nightwell.store.hint import Mask
from nightwell.store.ports import stopped

#: What a thread reads at once. Smaller blocks are handled in groups of this size, so that the cost of a request and of
#: the interpreter is shared by all of them.
SEGMENT_BYTES: Final = 4 << 20


#: What the buffers of all threads may take together; with blocks of 16 MiB that leaves two threads.
_BUFFERS_BYTES: Final = 32 << 20


def copy_threads(threads: int, *, block_bytes: int) -> int:
    """Return how many of the threads wished for may copy at once, so that their memory keeps its bound."""
    return max(1, min(threads, _BUFFERS_BYTES // max(SEGMENT_BYTES, block_bytes)))


@dataclass(frozen=True, slots=True)
class Segment:
    """Neighbouring blocks: the first one's number, and how many."""

    first: int
    count: int


def segment_blocks(block_bytes: int) -> int:
    """Return how many blocks a segment has at most."""
    return max(1, SEGMENT_BYTES // block_bytes)


def segments(wanted: Mask, *, most: int) -> Iterator[Segment]:
    """Yield the runs of blocks that are wanted, in order, each cut where its number divides by ``most``."""
    edges = np.flatnonzero(np.diff(wanted.astype(np.int8), prepend=0, append=0))
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        first = start
        while first < end:
            last = min(end, (first // most + 1) * most)
            yield Segment(first, last - first)
            first = last


def nonzero_blocks(blocks: npt.NDArray[np.uint8], count: int) -> Mask:
    """Return for each of ``count`` blocks, which lie one after another, whether it holds anything but zeros."""
    # Eight bytes at a time runs at the speed of memory; a byte at a time does not.
    return np.asarray(blocks.view(np.uint64).reshape(count, -1).any(axis=1))


class _Queue:
    """Hands out segments to threads until they end, one fails, or the caller asks to stop."""

    def __init__(self, work: Iterable[Segment], stop: threading.Event | None, subject: str) -> None:
        self._work = iter(work)
        self._lock = threading.Lock()
        self._stop = stop
        self._subject = subject
        self.failed = False

    def __iter__(self) -> Iterator[Segment]:
        while True:
            if self._stop is not None and self._stop.is_set():
                raise stopped(self._subject)
            with self._lock:
                segment = None if self.failed else next(self._work, None)
            if segment is None:
                return
            yield segment


def work_through(
    work: Iterable[Segment],
    worker: Callable[[Iterable[Segment]], None],
    *,
    threads: int,
    stop: threading.Event | None,
    subject: str,
) -> None:
    """Run ``worker`` in several threads, each on its share; the first failure ends all and is raised."""
    queue = _Queue(work, stop, subject)

    def run() -> None:
        try:
            worker(queue)
        except BaseException:
            queue.failed = True
            raise

    with ThreadPoolExecutor(threads, thread_name_prefix="blocks") as pool:
        futures = [pool.submit(run) for _ in range(threads)]
    failures = [failure for future in futures if (failure := future.exception()) is not None]
    if failures:
        raise failures[0]
