"""What a version knows of each block besides Icechunk's own references: its digest and its place.

``digests`` (blocks x 32, uint8) answers "has this block changed" and "is this block whole". ``places`` (blocks x 4,
uint32: source, pack, offset, length) repeats the virtual reference in a form that can be read back, which Icechunk 1
does not offer: with it a reader fetches neighbouring blocks in one request. Both are Zarr arrays beside ``blocks`` and
change in the same commit; a row of zeros is a block of zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from nightwell.store.digest import DIGEST_BYTES, Digests

Places = npt.NDArray[np.uint32]
BlockNumbers = npt.NDArray[np.int64]

#: Rows per chunk of both arrays: 128 KiB of digests is what a change of a single block costs.
CHUNK_ROWS = 4096

SOURCE, PACK, OFFSET, LENGTH = range(4)
_PLACE_FIELDS = 4
_SOURCES = "sources"


class BlockIndex:
    """The digests and places of all blocks of a version, in memory: 48 bytes a block.

    Parameters
    ----------
    digests, places
        One row a block; they are changed in place.
    sources
        The runs' attempts whose packs the places name, by number.
    """

    def __init__(self, digests: Digests, places: Places, sources: tuple[str, ...]) -> None:
        self.digests = digests
        self.places = places
        self.sources = sources
        self._dirty = np.zeros(-(-len(digests) // CHUNK_ROWS), dtype=bool)

    @classmethod
    def empty(cls, blocks: int) -> BlockIndex:
        """Return the index of a volume of zeros."""
        return cls(
            np.zeros((blocks, DIGEST_BYTES), dtype=np.uint8), np.zeros((blocks, _PLACE_FIELDS), dtype=np.uint32), ()
        )

    @classmethod
    def load(cls, store: Any, *, blocks: int) -> BlockIndex:
        """Read the index of a session's snapshot; it may be shorter than ``blocks``, then zeros follow."""
        group: Any = zarr.open_group(store, mode="r")
        index = cls.empty(blocks)
        digests, places = group["digests"], group["places"]
        index.digests[: digests.shape[0]] = digests[:]
        index.places[: places.shape[0]] = places[:]
        index.sources = tuple(str(name) for name in places.attrs[_SOURCES])
        return index

    def add_source(self, name: str) -> int:
        """Return the number under which places name the packs of ``name``."""
        self.sources = (*self.sources, name)
        return len(self.sources) - 1

    def present(self) -> npt.NDArray[np.bool_]:
        """Return for each block whether it is stored, that is, not zeros."""
        return np.asarray(self.places[:, LENGTH] != 0)

    def set(self, numbers: BlockNumbers, digests: Digests, places: Places) -> None:
        """Note blocks that have been stored."""
        self.digests[numbers] = digests
        self.places[numbers] = places
        self._dirty[numbers // CHUNK_ROWS] = True

    def clear(self, numbers: BlockNumbers) -> None:
        """Note blocks that have become zeros."""
        self.digests[numbers] = 0
        self.places[numbers] = 0
        self._dirty[numbers // CHUNK_ROWS] = True

    def save(self, group: Any) -> None:
        """Write the chunks that changed into a session's arrays, grown to the number of blocks."""
        digests = _grown(group, "digests", self.digests)
        places = _grown(group, "places", self.places)
        for chunk in np.flatnonzero(self._dirty):
            rows = slice(int(chunk) * CHUNK_ROWS, min((int(chunk) + 1) * CHUNK_ROWS, len(self.digests)))
            digests[rows] = self.digests[rows]
            places[rows] = self.places[rows]
        places.attrs[_SOURCES] = list(self.sources)


def _grown(group: Any, name: str, rows: npt.NDArray[Any]) -> Any:
    if name not in group:
        return group.create_array(
            name, shape=rows.shape, chunks=(CHUNK_ROWS, rows.shape[1]), dtype=rows.dtype, fill_value=0
        )
    array = group[name]
    if array.shape != rows.shape:
        array.resize(rows.shape)
    return array
