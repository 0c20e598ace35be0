"""The gate that every write passes: shared by writers, exclusive for a group split."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Lets writers in together, or one caller alone; fair to both.

    While somebody waits to be alone, new writers wait too, so a split never starves. When the lone caller leaves, all
    writers held back until then go in together before the next lone caller, so polling never starves the writers.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._inside = 0
        self._held_back = 0
        self._waiting_alone = 0
        self._alone = False
        self._phase = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Be inside with other writers."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Be inside alone: every write that began before is done, and none begins."""
        with self._condition:
            self._waiting_alone += 1
            try:
                while self._alone or self._inside:
                    self._condition.wait()
                self._alone = True
            finally:
                self._waiting_alone -= 1
        try:
            yield
        finally:
            with self._condition:
                self._alone = False
                self._inside += self._held_back
                self._held_back = 0
                self._phase += 1
                self._condition.notify_all()

    def _enter(self) -> None:
        with self._condition:
            if not (self._alone or self._waiting_alone):
                self._inside += 1
                return
            self._held_back += 1
            phase = self._phase
            while self._phase == phase:
                self._condition.wait()

    def _leave(self) -> None:
        with self._condition:
            self._inside -= 1
            if not self._inside:
                self._condition.notify_all()


class Stripes:
    """Locks over regions of a volume, so that a writer and the copier never hold the same chunk at once.

    A region is 16 chunks (1 MiB); regions share 64 locks. Locks are taken in ascending order, so there is no deadlock.
    """

    REGION_CHUNKS = 16
    _LOCKS = 64

    def __init__(self) -> None:
        self._locks = [threading.Lock() for _ in range(self._LOCKS)]

    @contextmanager
    def held(self, first: int, past: int) -> Iterator[None]:
        """Hold the chunks ``first`` (included) to ``past`` (excluded)."""
        low, high = first // self.REGION_CHUNKS, (past - 1) // self.REGION_CHUNKS
        if low == high:
            with self._locks[low % self._LOCKS]:
                yield
            return
        if high - low >= self._LOCKS:
            wanted = list(range(self._LOCKS))
        else:
            wanted = sorted({region % self._LOCKS for region in range(low, high + 1)})
        for index in wanted:
            self._locks[index].acquire()
        try:
            yield
        finally:
            for index in wanted:
                self._locks[index].release()
