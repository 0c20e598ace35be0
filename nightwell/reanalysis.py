"""Analyse wells straight from versions in the store: the one place where the two jobs meet."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import xarray as xr

from nightwell.errors import FormatError, NotFoundError
from nightwell.filesystem import Ext4Reader
from nightwell.settings import MethodSettings, Settings
from nightwell.sites.build import store_location
from nightwell.store.location import StoreLocation
from nightwell.store.store import BackupStore
from nightwell.store.versions import Version
from nightwell.wells.archive import Place
from nightwell.wells.calibrate.calibration import Calibration
from nightwell.wells.container import open_scans
from nightwell.wells.cube import CubeSettings
from nightwell.wells.deconvolve import Deconvolution
from nightwell.wells.fleet.catalogue import Candidate, Found, candidates_in, well_named_in
from nightwell.wells.method import Method
from nightwell.wells.monte_carlo import MonteCarlo
from nightwell.wells.normalise import Normalisation
from nightwell.wells.recycled import RecycledGas
from nightwell.wells.species_file import load_library

#: Where a well's raw scans lie on its volume, unless the caller knows better.
SCANS_PATH = "/scans.zarr"

_S3 = "s3://"


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
    mark
        Digest of names, sizes and times of the folder's files: equal marks are the same scans, backed up twice.
    """

    version: Version
    path: str
    scans: xr.DataTree
    bytes_read: int
    mark: str

    @property
    def inputs(self) -> dict[str, str]:
        """What a result made from these scans records as its input."""
        return _inputs(self.version.volume, self.version.version_id, self.path, self.mark)


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
            files = Ext4Reader(reader.as_file())
            mark = files.mark_of(path)
            copied_bytes = files.extract(path, Path(folder) / "scans.zarr")
        finally:
            reader.close()
        scans = open_scans(Path(folder) / "scans.zarr")
        yield ScansOfVersion(version, path, scans, copied_bytes, mark)
        scans.close()


@dataclass(frozen=True, slots=True)
class VolumeScans:
    """Raw scans of one well in one version of its volume; as :class:`~nightwell.wells.fleet.catalogue.FoundScans`."""

    location: StoreLocation
    volume: str
    version_id: str
    path: str
    well: str
    mark: str

    @property
    def name(self) -> str:
        """The volume and the folder."""
        return f"scans {self.path} on volume '{self.volume}'"

    @property
    def inputs(self) -> Mapping[str, str]:
        """As :attr:`ScansOfVersion.inputs`."""
        return _inputs(self.volume, self.version_id, self.path, self.mark)

    @property
    def identity(self) -> tuple[str, ...]:
        """The files alone: a nightly backup makes a new version of a volume whose scans are the same."""
        return ("volume", "path", "scans")

    @contextmanager
    def opened(self) -> Iterator[xr.DataTree]:
        """Give the scans, from a copy that is removed after the block; the version itself never changes."""
        with scans_of_version(self.location, self.volume, self.version_id, path=self.path) as found:
            yield found.scans


@dataclass(frozen=True, slots=True)
class WellVolume:
    """The newest version of a volume, which holds the scans of a well."""

    location: StoreLocation
    volume: str
    path: str = SCANS_PATH

    @property
    def name(self) -> str:
        """The volume and the folder."""
        return f"scans {self.path} on volume '{self.volume}'"

    @property
    def label(self) -> str:
        """The volume."""
        return self.volume

    def identify(self) -> VolumeScans:
        """Read the folder's list of files and the attributes of the scans' root group; of the arrays nothing."""
        with BackupStore.open(self.location) as store, TemporaryDirectory(prefix="nightwell-root-") as folder:
            version = store.find_version(self.volume, "latest")
            reader = store.open_version(version)
            try:
                files = Ext4Reader(reader.as_file())
                mark = files.mark_of(self.path)
                root = Path(folder) / "zarr.json"
                files.extract(f"{self.path}/zarr.json", root)
            finally:
                reader.close()
            try:
                attributes = dict(json.loads(root.read_bytes())["attributes"])
            except (ValueError, TypeError, KeyError) as error:
                raise FormatError(
                    self.name,
                    expected="raw scans: a zarr.json with the attributes of a group",
                    found=f"{type(error).__name__}: {error}",
                    cause="the folder holds something else, or was being written when the volume was split",
                    next_step="look at it with 'nightwell files', or choose another path",
                ) from error
        well = well_named_in(attributes, self.name)
        return VolumeScans(self.location, self.volume, version.version_id, self.path, well, mark)


@dataclass(frozen=True, slots=True)
class MissingVolumes:
    """A name or pattern that the store has no volume for: one failure of a night, which does the others."""

    pattern: str
    known: tuple[str, ...]

    @property
    def name(self) -> str:
        """The pattern."""
        return f"volumes '{self.pattern}'"

    @property
    def label(self) -> str:
        """The pattern, as the settings have it."""
        return self.pattern

    def identify(self) -> VolumeScans:
        """Refuse (NotFoundError)."""
        raise NotFoundError(
            self.name,
            expected="at least one volume of that name in the store",
            found=f"these volumes: {', '.join(self.known) or 'none'}",
            cause="a mistyped name or pattern, or the volume was not backed up yet, or all its versions are gone",
            next_step="choose one of the volumes above, or withdraw it with 'nightwell well forget'",
        )


def well_volumes(location: StoreLocation, patterns: tuple[str, ...], *, path: str = SCANS_PATH) -> list[Candidate]:
    """Find the volumes of the store whose names match.

    Parameters
    ----------
    location
        The store.
    patterns
        Names of volumes, or patterns such as ``well*``.
    path
        Folder of the scans on each of them.

    Raises
    ------
    NotFoundError
        No volume matches any of the patterns. One without a volume beside others that have one is a candidate that
        fails.
    """
    with BackupStore.open(location) as store:
        known = store.volumes()
    matching = {pattern: fnmatch.filter(known, pattern) for pattern in patterns}
    missing = [MissingVolumes(pattern, tuple(known)) for pattern, found in matching.items() if not found]
    chosen = dict.fromkeys(name for found in matching.values() for name in found)
    if missing and not chosen:
        missing[0].identify()
    return [*(WellVolume(location, volume, path) for volume in chosen), *missing]


def candidates_of(settings: Settings, scans: str, volumes: tuple[str, ...], *, path: str = SCANS_PATH) -> Found:
    """Find where scans may be: below a place, on volumes, or both.

    Parameters
    ----------
    settings
        Where the store is.
    scans
        A folder or ``s3://bucket/prefix``; empty for none.
    volumes
        Names or patterns.
    path
        Folder of the scans on a volume.

    Raises
    ------
    NotFoundError
        The place does not exist, no volume matches any pattern, or neither was named.
    """
    if not scans and not volumes:
        raise NotFoundError(
            "raw scans of wells",
            expected="a place of raw scans, or volumes that hold wells",
            found="neither",
            cause="the settings wells.scans and wells.volumes are empty, and nothing was named",
            next_step="set one of them, or name the place or the volumes",
        )
    found = candidates_in(place_of(settings, scans)) if scans else Found((), ())
    on_volumes = well_volumes(store_location(settings), volumes, path=path) if volumes else []
    return Found((*found.candidates, *on_volumes), found.passed_over)


def place_of(settings: Settings, text: str) -> Place:
    """Return the place that a text names: ``s3://bucket/prefix`` with the store's endpoint and keys, or a folder."""
    if not text.startswith(_S3):
        return str(Path(text).absolute())  # workers stand in folders of their own
    bucket, _, prefix = text.removeprefix(_S3).partition("/")
    store = settings.store
    return StoreLocation(
        endpoint_url=store.endpoint_url,
        bucket=bucket,
        prefix=prefix,
        region=store.region,
        access_key=store.access_key,
        secret_key=store.secret_key.get_secret_value(),
    )


def method_of(
    settings: Settings,
    *,
    library: Path | None = None,
    asked: MethodSettings | None = None,
    calibration: Calibration | None = None,
) -> Method:
    """Return the method that the settings ask for, or what is given in their place.

    Parameters
    ----------
    settings
        Name the library, the profiles, classes and rules of one's own, and the numbers of the method.
    library
        A folder with another library.
    asked
        Numbers that stand above those of the settings: those that were given, defaults do not count.
    calibration
        Of the instrument; without one a well is calibrated by its own standards.

    Raises
    ------
    InputError
        A file of the library, or of one's own, cannot be used, or a number is out of its range.
    """
    numbers = settings.wells.method
    if asked is not None:
        numbers = numbers.model_copy(update=asked.model_dump(exclude_unset=True))
    cube = CubeSettings(
        step_m=numbers.step_m,
        recycled=RecycledGas(numbers.recycled_share, numbers.pits_s),
        normalisation=Normalisation(
            rop_m_h=numbers.reference_rop_m_h,
            flow_m3_s=numbers.reference_flow_m3_s,
            hole_diameter_m=numbers.reference_hole_m,
            trap_efficiency=numbers.trap_efficiency,
        ),
        calibration=calibration,
    )
    drawn = MonteCarlo(numbers.monte_carlo_draws) if numbers.monte_carlo_draws else None
    return Method.with_own(
        settings.wells.profiles,
        load_library(library or settings.wells.library),
        cube=cube,
        deconvolution=Deconvolution(pattern_error=numbers.pattern_error, monte_carlo=drawn),
    )


def _inputs(volume: str, version_id: str, path: str, mark: str) -> dict[str, str]:
    return {"volume": volume, "version": version_id, "path": path, "scans": mark}
