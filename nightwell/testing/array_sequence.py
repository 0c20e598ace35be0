"""A writer with one global sequence over several volumes, and the proof that copies stand at one point of it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from nightwell.nbd.client import NbdClient

BLOCK_BYTES = 4096
_GOLDEN = 0x9E3779B97F4A7C15  # scatters consecutive numbers
_WORD = (1 << 64) - 1


class SequenceWriter:
    """Writes 1, 2, 3, ... each to a block of its own choosing, the next only after the last was answered.

    So at every point in time the volumes hold a prefix of the sequence, and a set of copies taken at one point in time
    holds a prefix too: with write n it holds every write before n.

    Parameters
    ----------
    clients
        Connections to the volumes; used by this writer alone.
    blocks
        Blocks that it writes, at the start of each volume.
    """

    def __init__(self, clients: Sequence[NbdClient], blocks: int) -> None:
        self._clients = clients
        self._blocks = blocks
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sequence-writer")
        self.written = 0
        self.failed: Exception | None = None
        self._thread.start()

    def stop(self) -> None:
        """Stop after the present write."""
        self._stop.set()
        self._thread.join()

    def has_written(self, number: int) -> bool:
        """Return whether this write was answered; raise what the writer met, if it met an error."""
        if self.failed is not None:
            raise self.failed
        return self.written >= number

    def mismatches(self, contents: Sequence[bytes]) -> int:
        """Return how many blocks differ from the prefix that these copies' newest write asks for.

        A block that was torn, that holds a later write than its place allows, or that lacks an earlier one counts.
        """
        found = {
            (volume, block): content[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
            for volume, content in enumerate(contents)
            for block in range(self._blocks)
        }
        newest = max(int.from_bytes(data[:8], "big") for data in found.values())
        expected = {self._place(number): number for number in range(1, newest + 1)}
        return sum(data != _stamp(expected.get(place, 0)) for place, data in found.items())

    def _place(self, number: int) -> tuple[int, int]:
        mixed = number * _GOLDEN & _WORD
        return (mixed >> 40) % len(self._clients), (mixed >> 20) % self._blocks

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                volume, block = self._place(self.written + 1)
                self._clients[volume].write(block * BLOCK_BYTES, _stamp(self.written + 1))
                self.written += 1
        except Exception as problem:  # noqa: BLE001 - whoever started the writer asks for it
            self.failed = problem


def _stamp(number: int) -> bytes:
    return number.to_bytes(8, "big") * (BLOCK_BYTES // 8)
