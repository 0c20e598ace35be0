"""One volume as its writers see it: every write passes here, whoever makes it."""

from __future__ import annotations

import errno
import secrets
import threading

from nightwell.arrays.embedded.gate import Gate
from nightwell.arrays.embedded.pair import Action, Pair
from nightwell.arrays.embedded.volume_file import VolumeFile
from nightwell.arrays.port import PairState, VolumeInfo

STATE_CODES = {PairState.SMPL: 0, PairState.COPY: 1, PairState.PAIR: 2, PairState.PSUS: 3, PairState.PSUE: 4}
_GENERATION_BITS = 24


class Volume:
    """A volume, alone or in a pair.

    Parameters
    ----------
    name, owner
        As in the port.
    file
        Its bytes.
    gate
        The array's gate.

    Attributes
    ----------
    pair
        The pair it is in, as primary or as secondary.
    primary
        The pair's primary when this volume is the secondary.
    """

    def __init__(self, name: str, owner: str | None, file: VolumeFile, gate: Gate) -> None:
        self.name = name
        self.owner = owner
        self.file = file
        self.pair: Pair | None = None
        self.primary: Volume | None = None
        self._gate = gate
        # A random start: a reader that compares two generations across a restart must not find them equal.
        self._generation = secrets.randbits(_GENERATION_BITS)
        self._generation_lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        """Size in bytes."""
        return self.file.size_bytes

    def info(self) -> VolumeInfo:
        """Return what the port tells of it."""
        return VolumeInfo(self.name, self.file.size_bytes, self.owner)

    def pair_state(self) -> PairState:
        """Return the state of its pair; SMPL without one."""
        pair = self.pair
        return PairState.SMPL if pair is None else pair.state

    def write(self, offset_bytes: int, data: memoryview, *, fua: bool) -> None:
        """Write a range; OSError (EPERM) for a secondary in a pair, ENOSPC or EIO from the file system."""

        def store(file: VolumeFile, start: int, end: int) -> None:
            file.write(start, data[start - offset_bytes : end - offset_bytes])

        self._change(offset_bytes, len(data), store)
        if fua:
            self.flush()

    def zero(self, offset_bytes: int, length_bytes: int, *, may_punch: bool, fua: bool) -> None:
        """Make a range read as zeros."""

        def clear(file: VolumeFile, start: int, end: int) -> None:
            file.zero(start, end - start, may_punch=may_punch)

        self._change(offset_bytes, length_bytes, clear)
        if fua:
            self.flush()

    def flush(self) -> None:
        """Bring every earlier write to the disk: the marks that speak of it first, then the data."""
        pair = self.pair
        if pair is not None and self.primary is None:
            pair.flush_maps()
        self.file.sync()

    def status_word(self) -> int:
        """Return pair state (low 8 bits) and the primary's write generation (upper 24), at one instant.

        Taken alone in the gate, so no write is half done: two equal words mean that no byte changed in between.
        """
        lead = self.primary or self
        with self._gate.exclusive():
            return STATE_CODES[self.pair_state()] | (lead._generation << 8)  # noqa: SLF001 - another volume, one class

    def _change(self, offset_bytes: int, length_bytes: int, action: Action) -> None:
        if not length_bytes:
            return
        with self._gate.shared():
            if self.primary is not None:
                raise OSError(errno.EPERM, f"{self.name} is a secondary in a pair")
            with self._generation_lock:
                self._generation = (self._generation + 1) % (1 << _GENERATION_BITS)
            if self.pair is None:
                action(self.file, offset_bytes, offset_bytes + length_bytes)
            else:
                self.pair.apply(offset_bytes, length_bytes, action)
