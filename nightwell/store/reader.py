"""Reads a version's blocks back: fetched in few requests, decompressed, and held against their digests."""

from __future__ import annotations

import threading
from collections import defaultdict
from functools import partial
from typing import Self

import numpy as np
import numpy.typing as npt
from zstandard import ZstdDecompressor, ZstdError

from nightwell.errors import InputError, IntegrityError, NotFoundError, UnreachableError
from nightwell.store.blocks import block_count
from nightwell.store.digest import Digester
from nightwell.store.file import VersionFile
from nightwell.store.hint import Mask
from nightwell.store.index import LENGTH, OFFSET, PACK, SOURCE, BlockIndex
from nightwell.store.layout import pack_key
from nightwell.store.objects import Objects
from nightwell.store.ranges import fetch_pieces
from nightwell.store.segments import Segment, segment_blocks
from nightwell.store.versions import Version

_SHOWN = 8

Blocks = npt.NDArray[np.uint8]


class VersionReader:
    """One version, open for reading. Thread-safe.

    Get one from :meth:`nightwell.store.store.BackupStore.open_version`.
    """

    def __init__(self, version: Version, *, index: BlockIndex, objects: Objects, digester: Digester) -> None:
        self.version = version
        self.size_bytes = version.size_bytes
        self.block_bytes = version.block_bytes
        self.blocks_total = block_count(version.size_bytes, version.block_bytes)
        self.digester = digester
        self.index = index
        self._objects = objects
        self._local = threading.local()

    def present(self, number: int) -> bool:
        """Return whether a block is stored; one that is not reads as zeros."""
        return bool(self.index.places[number, LENGTH])

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Return a range of the volume; see :meth:`read_into`."""
        data = bytearray(length_bytes)
        self.read_into(offset_bytes, memoryview(data))
        return bytes(data)

    def read_into(self, offset_bytes: int, view: memoryview) -> None:
        """Fill the view with the volume's bytes from ``offset_bytes``.

        Raises
        ------
        InputError
            The range reaches beyond the volume.
        IntegrityError
            A block is not what it was when it was stored; no damaged byte is handed out as good.
        UnreachableError, CredentialsError
            The store failed.
        """
        if offset_bytes < 0 or offset_bytes + len(view) > self.size_bytes:
            raise self._outside(offset_bytes, len(view))
        size, done = self.block_bytes, 0
        buffer = np.empty(segment_blocks(size) * size, dtype=np.uint8)
        while done < len(view):
            at = offset_bytes + done
            first = at // size
            last = min((offset_bytes + len(view) - 1) // size + 1, first + segment_blocks(size))
            self.load(Segment(first, last - first), buffer)
            start = at - first * size
            count = min((last - first) * size - start, len(view) - done)
            view[done : done + count] = buffer.data[start : start + count]
            done += count

    def as_file(self) -> VersionFile:
        """Return the version as a file to read and seek in; closing it does not close the reader."""
        return VersionFile(self.size_bytes, self.block_bytes, self.read_into)

    def load(self, segment: Segment, buffer: Blocks) -> Mask:
        """Fill a buffer with whole blocks; return which of them are stored (the others are zeros).

        Raises IntegrityError as :meth:`read_into` does.
        """
        present, damaged = self.examine(segment, buffer)
        if damaged:
            raise damage(self.version, damaged)
        return present

    def examine(self, segment: Segment, buffer: Blocks) -> tuple[Mask, list[int]]:
        """As :meth:`load`, but return the numbers of damaged blocks; their bytes in the buffer mean nothing."""
        places = self.index.places[segment.first : segment.first + segment.count]
        present = places[:, LENGTH] != 0
        size = self.block_bytes
        rows = buffer[: segment.count * size].reshape(segment.count, size)
        rows[~present] = 0
        damaged: list[int] = []
        by_pack: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for at in np.flatnonzero(present).tolist():
            by_pack[int(places[at, SOURCE]), int(places[at, PACK])].append(at)
        for (source, pack), members in by_pack.items():
            chosen = places[members]
            frames = self._fetch(source, pack, chosen[:, OFFSET].tolist(), chosen[:, LENGTH].tolist())
            if frames is None:
                damaged.extend(segment.first + at for at in members)
                continue
            damaged.extend(
                segment.first + at
                for at, frame in zip(members, frames, strict=True)
                if not self._decode(segment.first + at, frame, rows[at])
            )
        return present, damaged

    def close(self) -> None:
        """Give back the index's memory; the reader cannot be used afterwards."""
        self.index = BlockIndex.empty(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fetch(self, source: int, pack: int, offsets: list[int], lengths: list[int]) -> list[memoryview] | None:
        """Return pieces of a pack, or ``None`` when the pack is missing or too short to hold them."""
        if source >= len(self.index.sources):
            return None
        key = pack_key(self.version.volume, self.index.sources[source], pack)
        try:
            return fetch_pieces(partial(self._objects.get_range, key), offsets, lengths)
        except NotFoundError:
            return None
        except UnreachableError:
            # A range that begins beyond the end of a pack fails like a server that is down.
            if self._objects.size_bytes(key) > max(offsets):
                raise
            return None

    def _decode(self, number: int, frame: memoryview, row: Blocks) -> bool:
        """Decompress a block into its row; return whether it is whole."""
        try:
            block = self._decompressor().decompress(frame, max_output_size=self.block_bytes)
        except ZstdError:
            return False
        if len(block) != self.block_bytes or self.digester.digest(block) != self.index.digests[number].tobytes():
            return False
        row[:] = np.frombuffer(block, dtype=np.uint8)
        return True

    def _decompressor(self) -> ZstdDecompressor:
        decompressor: ZstdDecompressor | None = getattr(self._local, "decompressor", None)
        if decompressor is None:
            decompressor = self._local.decompressor = ZstdDecompressor()
        return decompressor

    def _outside(self, offset_bytes: int, length_bytes: int) -> InputError:
        return InputError(
            f"version {self.version.version_id} of volume '{self.version.volume}'",
            expected=f"a range within {self.size_bytes} bytes",
            found=f"{length_bytes} bytes from {offset_bytes}",
            cause="the volume was smaller when this version was made",
            next_step="read within the version's size",
        )


def damage(version: Version, numbers: list[int]) -> IntegrityError:
    """Return the error that names damaged blocks."""
    shown = ", ".join(map(str, numbers[:_SHOWN])) + (" and more" if len(numbers) > _SHOWN else "")
    return IntegrityError(
        f"version {version.version_id} of volume '{version.volume}'",
        expected="every block to have the digest it was stored with",
        found=f"{len(numbers)} damaged, numbers {shown} (of {version.block_bytes} bytes each)",
        cause="a pack was changed, cut or deleted in the store",
        next_step="verify the version for the whole extent, and take these blocks from another version or the volume",
    )
