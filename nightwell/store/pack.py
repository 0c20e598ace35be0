"""Gathers compressed blocks into packs and uploads them.

Threads hand over groups of neighbouring blocks; each group lies in one pack in one piece, so that a reader gets it back
with one request. Buffers are recycled: memory touched for the first time is slow, and their number bounds what is in
flight.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from nightwell.store.index import BlockNumbers

#: An upload of this size reaches the speed of the line, and losing one to a retry costs little.
PACK_BYTES: Final = 32 << 20

#: A pack takes no further group from here on. Blocks that compress to nearly nothing would otherwise gather by hundreds
#: of thousands in one pack, and what is known of them while it is filled takes more memory than their bytes.
MOST_BLOCKS: Final = 1 << 14

#: One buffer is filled while two are on their way.
PACK_BUFFERS: Final = 3


@dataclass(slots=True)
class Pack:
    """A pack that is being filled, or has been uploaded.

    ``numbers`` are its blocks in the order in which they lie; block ``i`` has ``lengths[i]`` bytes from ``offsets[i]``.
    """

    number: int
    buffer: memoryview
    used_bytes: int = 0
    numbers: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    def add(self, numbers: Sequence[int], digests: Sequence[bytes], frames: Sequence[bytes]) -> None:
        """Append blocks; there must be room."""
        at = self.used_bytes
        for frame in frames:
            end = at + len(frame)
            self.buffer[at:end] = frame
            self.offsets.append(at)
            self.lengths.append(len(frame))
            at = end
        self.used_bytes = at
        self.numbers.extend(numbers)
        self.digests.extend(digests)

    def block_numbers(self) -> BlockNumbers:
        """Return the blocks' numbers as an array."""
        return np.asarray(self.numbers, dtype=np.int64)


class PackBuilder:
    """Fills packs from many threads; the thread that fills one up uploads it.

    Parameters
    ----------
    upload
        Called with each full pack, by several threads at once; what it raises reaches the thread that handed over the
        blocks, and the pack counts as lost.
    pack_bytes, buffers
        The size of a pack, and how many there may be in memory (two at least).
    """

    def __init__(
        self, upload: Callable[[Pack], None], *, pack_bytes: int = PACK_BYTES, buffers: int = PACK_BUFFERS
    ) -> None:
        self._upload = upload
        self._pack_bytes = pack_bytes
        self._free: list[memoryview] = []
        self._unmade = buffers
        self._changed = threading.Condition()
        self._open: Pack | None = None
        self._next_number = 0

    def add(self, numbers: Sequence[int], digests: Sequence[bytes], frames: Sequence[bytes]) -> None:
        """Hand over a group of blocks, no larger than a pack; blocks while all buffers are on their way."""
        need_bytes = sum(map(len, frames))
        while True:
            with self._changed:
                full = self._take_open() if self._lacks(need_bytes) else None
                if full is None:
                    self._open = self._open or self._begin()
                    if self._open is not None:
                        self._open.add(numbers, digests, frames)
                        return
                    self._changed.wait()
                    continue
            self._send(full)

    def finish(self) -> None:
        """Upload the pack that is not full."""
        with self._changed:
            rest = self._take_open()
        if rest is not None:
            self._send(rest)

    def _lacks(self, need_bytes: int) -> bool:
        pack = self._open
        if pack is None:
            return False
        return pack.used_bytes + need_bytes > self._pack_bytes or len(pack.numbers) >= MOST_BLOCKS

    def _take_open(self) -> Pack | None:
        pack, self._open = self._open, None
        return pack

    def _begin(self) -> Pack | None:
        """Return a pack to fill, or ``None`` while all buffers are on their way."""
        if self._free:
            buffer = self._free.pop()
        elif self._unmade:
            self._unmade -= 1
            buffer = np.empty(self._pack_bytes, dtype=np.uint8).data
        else:
            return None
        pack = Pack(self._next_number, buffer)
        self._next_number += 1
        return pack

    def _send(self, pack: Pack) -> None:
        try:
            self._upload(pack)
        finally:
            with self._changed:
                self._free.append(pack.buffer)
                self._changed.notify_all()
