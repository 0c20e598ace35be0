"""Analyse a well straight from a version in the store: the one place where the two jobs meet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import xarray as xr

from nightwell.filesystem import Ext4Reader
from nightwell.store.location import StoreLocation
from nightwell.store.store import BackupStore
from nightwell.store.versions import Version
from nightwell.wells.container import open_scans

#: Where a well's raw scans lie on its volume, unless the caller knows better.
SCANS_PATH = "/scans.zarr"


@dataclass(frozen=True, slots=True)
class ScansOfVersion:
    """Raw scans as a version holds them.

    Parameters
    ----------
    version
        The version.
    path
        The folder on the volume's file system.
    scans
        The scans; arrays are read from a temporary copy when they are used.
    bytes_read
        Bytes that were copied out of the version.
    """

    version: Version
    path: str
    scans: xr.DataTree
    bytes_read: int

    @property
    def inputs(self) -> dict[str, str]:
        """What a result made from these scans records as its input."""
        return {"volume": self.version.volume, "version": self.version.version_id, "path": self.path}


@contextmanager
def scans_of_version(
    location: StoreLocation, volume: str, selector: str = "latest", *, path: str = SCANS_PATH
) -> Iterator[ScansOfVersion]:
    """Give the raw scans of a well from a version of its volume, without restoring the volume.

    Parameters
    ----------
    location
        The store.
    volume, selector
        Which version: ``latest``, an id, or the beginning of one.
    path
        The folder on the volume's ext4 file system that holds the scans.

    Raises
    ------
    NotFoundError
        No such version, or no such folder in it.
    FormatError
        The volume holds no ext4 file system.
    InputError
        The folder holds no raw scans.
    """
    with BackupStore.open(location) as store, TemporaryDirectory(prefix="nightwell-scans-") as folder:
        version = store.find_version(volume, selector)
        reader = store.open_version(version)
        try:
            copied_bytes = Ext4Reader(reader.as_file()).extract(path, Path(folder) / "scans.zarr")
        finally:
            reader.close()
        scans = open_scans(Path(folder) / "scans.zarr")
        yield ScansOfVersion(version, path, scans, copied_bytes)
        scans.close()
