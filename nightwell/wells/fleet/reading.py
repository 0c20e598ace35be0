"""Read the raw scans of a well once, however often an analysis passes over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends.common import BackendArray
from xarray.core import indexing

#: Scans copied at a time: one shard of a container, so that no chunk is asked for twice.
_ROWS = 8192
_GROUPS = ("drilling", "geometry")


def read_once(scans: xr.DataTree, *, held_bytes: int, folder: Path) -> xr.DataTree:
    """Read scans from where they are, each chunk once, so that later passes read a copy.

    Parameters
    ----------
    scans
        Raw scans, whose arrays are read when they are used.
    held_bytes
        Spectra up to this size are held in memory; larger ones are copied to a file.
    folder
        For that file.

    Returns
    -------
    xarray.DataTree
        The same scans without ``/truth``, which no analysis may see.
    """
    dataset = scans["scans"].to_dataset()
    intensity = dataset["intensity"]
    if intensity.nbytes <= held_bytes:
        held = dataset.load()
    else:
        held = dataset.drop_vars("intensity").load()
        held["intensity"] = (intensity.dims, _spooled(intensity, folder / "intensity.f4"), dict(intensity.attrs))
    groups = {"/": xr.Dataset(attrs=scans.attrs), "/scans": held}
    groups |= {f"/{name}": scans[name].to_dataset().load() for name in _GROUPS if name in scans.children}
    return xr.DataTree.from_dict(groups)


def _spooled(intensity: xr.DataArray, file: Path) -> indexing.LazilyIndexedArray:
    with file.open("wb") as out:
        for start in range(0, intensity.shape[0], _ROWS):
            rows = intensity[start : start + _ROWS].to_numpy()
            out.write(np.ascontiguousarray(rows, dtype=np.float32).tobytes())
    return indexing.LazilyIndexedArray(_FileArray(file, intensity.shape))


class _FileArray(BackendArray):
    """A file of float32 in the order of rows; only what is asked for is in memory."""

    def __init__(self, file: Path, shape: tuple[int, ...]) -> None:
        self.file = file
        self.shape = shape
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[np.float32]:
        # Mapped for this piece only: pages that stay mapped would count as this worker's memory.
        mapped = np.memmap(self.file, dtype=np.float32, mode="r", shape=self.shape)
        piece: NDArray[np.float32] = np.array(mapped[key])
        return piece
