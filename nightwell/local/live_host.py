"""A host that never stops writing, and whose every write can be told again: how a point in time is proved.

It writes one sequence of numbered 4 KiB records round and round a region of a volume, as a logger does. A copy of the
region is one point in time exactly when, for the highest number it holds, it equals the region as it stood after that
many writes: one record too old or too new anywhere shows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nightwell.errors import IntegrityError
from nightwell.nbd.client import NbdClient
from nightwell.nbd.tls import TlsFiles

RECORD_BYTES = 4096

Region = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class RecordedRegion:
    """The region of a volume that a live host writes.

    Parameters
    ----------
    offset_bytes, length_bytes
        Where it lies; whole records.
    seed
        Of the bytes it holds before the first write.
    """

    offset_bytes: int
    length_bytes: int
    seed: int = 20240101

    @property
    def places(self) -> int:
        """Number of records that fit."""
        return self.length_bytes // RECORD_BYTES

    def place(self, number: int) -> int:
        """Return where, in records from its start, write ``number`` goes."""
        return number % self.places

    def initial(self) -> Region:
        """Return the region before the first write."""
        region = np.frombuffer(np.random.default_rng(self.seed).bytes(self.length_bytes), dtype=np.uint8).copy()
        # A record's first eight bytes are its number: 0, never written.
        region.reshape(self.places, RECORD_BYTES)[:, :8] = 0
        return region

    def after(self, writes: int) -> Region:
        """Return the region as it stands after writes 1 to ``writes``."""
        region = self.initial()
        records = region.reshape(self.places, RECORD_BYTES)
        for number in range(max(1, writes - self.places + 1), writes + 1):
            records[self.place(number)] = np.frombuffer(record(number), dtype=np.uint8)
        return region

    def check_point_in_time(self, found: Region) -> int:
        """Return how many writes a copy of the region holds.

        Parameters
        ----------
        found
            The copy, ``uint8``, :attr:`length_bytes` long.

        Raises
        ------
        IntegrityError
            It is not the region as it stood at any one moment.
        """
        records = found.reshape(self.places, RECORD_BYTES)
        writes = int(records[:, :8].copy().view(">u8").max())
        wrong = np.flatnonzero((records != self.after(writes).reshape(records.shape)).any(axis=1))
        if wrong.size:
            raise IntegrityError(
                f"copy of {self.length_bytes} bytes that a host wrote meanwhile",
                expected=f"what stood there after write {writes}",
                found=f"{wrong.size} record(s) of another moment, the first at {int(wrong[0]) * RECORD_BYTES}",
                cause="the copy was not taken at one point in time",
                next_step="report it: this must not happen",
            )
        return writes


def record(number: int) -> bytes:
    """Return what write ``number`` writes."""
    return number.to_bytes(8, "big") * (RECORD_BYTES // 8)


class LiveHost:
    """A thread that writes a region until it is stopped.

    Parameters
    ----------
    url
        The volume's export, writable.
    region
        What it writes.
    writes_per_s
        How often; ``None`` for as fast as the array lets it.
    """

    def __init__(
        self, url: str, region: RecordedRegion, *, writes_per_s: float | None = None, tls: TlsFiles | None = None
    ) -> None:
        self._connect: Callable[[], NbdClient] = lambda: NbdClient.connect(url, tls=tls)
        self._region = region
        self._pause_s = 0.0 if writes_per_s is None else 1.0 / writes_per_s
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self.writes = 0
        self._thread = threading.Thread(target=self._write, name="live-host", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> int:
        """Stop, and return the number of writes; an error of the host is raised here."""
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self.writes

    def _write(self) -> None:
        region = self._region
        try:
            with self._connect() as volume:
                while not self._stop.wait(self._pause_s):
                    number = self.writes + 1
                    volume.write(region.offset_bytes + region.place(number) * RECORD_BYTES, record(number))
                    self.writes = number
                volume.flush()
        except BaseException as error:  # noqa: BLE001  handed to whoever stops the host
            self._error = error
