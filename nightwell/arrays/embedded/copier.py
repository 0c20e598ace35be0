"""The thread that brings S in step with P, beside the writers."""

from __future__ import annotations

import threading

from nightwell.arrays.embedded.change_map import CHUNK_BYTES
from nightwell.arrays.embedded.gate import Stripes
from nightwell.arrays.embedded.holes import copy_range, next_data
from nightwell.arrays.embedded.pair import Pair
from nightwell.arrays.port import PairState

# A hole this large is skipped in one step with all writers of the pair held back; a smaller one goes the common way.
_LARGE_HOLE_CHUNKS = 1024
# Freeing the space of S takes time in proportion, so one step frees at most this much.
_LARGEST_STEP_CHUNKS = 16 * 1024


class Copier:
    """Copies every chunk that S lacks, then makes the pair PAIR.

    Parameters
    ----------
    pair
        In state COPY.
    """

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"copier-{pair.names[1]}", daemon=True)
        pair.copied_bytes = 0
        pair.to_copy_bytes = pair.lacking.marked_bytes(pair.primary.size_bytes)
        self._thread.start()

    def stop(self) -> None:
        """Stop between two steps and wait for the thread's end; never call with the gate held."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        pair = self._pair
        try:
            while not self._finish():
                position = pair.lacking.find(0)
                while position >= 0:
                    if self._stop.is_set() or pair.state is not PairState.COPY:
                        return
                    position = pair.lacking.find(self._step(position))
        except OSError as problem:
            pair.fail(f"copying {pair.names[0]} to {pair.names[1]} failed: {problem}")

    def _finish(self) -> bool:
        """Become PAIR when nothing is lacking. Alone in the gate: a mark then is a lack, never a write under way."""
        pair = self._pair
        with pair.gate.exclusive():
            if pair.state is PairState.COPY and pair.lacking.find(0) < 0:
                pair.state = PairState.PAIR
            return pair.state is not PairState.COPY

    def _step(self, position: int) -> int:
        """Copy what is lacking from ``position`` to the end of its region; return the next chunk to look at."""
        pair = self._pair
        skipped = self._skip_hole(position)
        if skipped > position:
            return skipped
        past = min((position // Stripes.REGION_CHUNKS + 1) * Stripes.REGION_CHUNKS, pair.lacking.chunks)
        with pair.stripes.held(position, past):
            for first, stop in pair.lacking.runs(position, past):
                if pair.state is not PairState.COPY:
                    return past
                self._copy(first, stop)
        return past

    def _skip_hole(self, position: int) -> int:
        pair = self._pair
        start = position * CHUNK_BYTES
        if next_data(pair.primary.descriptor, start) - start < _LARGE_HOLE_CHUNKS * CHUNK_BYTES:
            return position
        with pair.stripes.held(0, pair.lacking.chunks):
            data = next_data(pair.primary.descriptor, start)
            past = min(data // CHUNK_BYTES, pair.lacking.chunks)
            if next_data(pair.secondary.descriptor, start) < past * CHUNK_BYTES:
                past = min(past, position + _LARGEST_STEP_CHUNKS)
            if pair.state is PairState.COPY:
                for first, stop in pair.lacking.runs(position, past):
                    self._copy(first, stop)
        return past

    def _copy(self, first: int, past: int) -> None:
        pair = self._pair
        start, end = first * CHUNK_BYTES, min(past * CHUNK_BYTES, pair.primary.size_bytes)
        copy_range(pair.primary.descriptor, pair.secondary.descriptor, start, end)
        pair.lacking.clear(first, past)
        pair.copied_bytes += end - start
