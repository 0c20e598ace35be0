"""Where raw scans are: containers and versioned repositories in a directory or on an S3-compatible server.

To identify scans is to say whose they are and which version of them it is; of the arrays nothing is read. Scans in
backups are found by :mod:`nightwell.reanalysis`, in the same two steps.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import icechunk
import xarray as xr
import zarr
from zarr.storage import ObjectStore

from nightwell.errors import ConflictError, FormatError, NotFoundError, UnreachableError
from nightwell.wells.archive import Place, icechunk_storage
from nightwell.wells.container import open_scans
from nightwell.wells.fleet.place import Objects, s3_store, where

_ROOT = "zarr.json"
_BRANCH = "main"


class FoundScans(Protocol):
    """Raw scans of one well in one version; travels to Dask's workers, so it can be pickled."""

    @property
    def name(self) -> str:
        """Where they are, as a person says it."""

    @property
    def well(self) -> str:
        """Name of the well."""

    @property
    def inputs(self) -> Mapping[str, str]:
        """What a result made from them records as its inputs."""

    @property
    def identity(self) -> tuple[str, ...]:
        """The names in ``inputs`` that decide whether two are the same scans."""

    def opened(self) -> AbstractContextManager[xr.DataTree]:
        """Give the scans; arrays are read when they are used, within the block.

        Raises
        ------
        ConflictError
            At the end of the block: they changed while they were read.
        """


class Candidate(Protocol):
    """A place where the scans of a well may be."""

    @property
    def name(self) -> str:
        """The place, as a person says it."""

    @property
    def label(self) -> str:
        """Its short name: of the container, repository or volume."""

    def identify(self) -> FoundScans:
        """Say whose scans they are, in which version, without reading their arrays; raises NightwellError."""


@dataclass(frozen=True, slots=True)
class ContainerScans:
    """Raw scans in a Zarr container; their version is the mark of its objects."""

    place: Place
    key: str
    well: str
    version: str

    @property
    def name(self) -> str:
        """The container."""
        return _named(self.place, self.key)

    @property
    def inputs(self) -> Mapping[str, str]:
        """The container's name without its place, which may be moved, and its version."""
        return {"container": self.key or _last_part(self.place), "scans": self.version}

    @property
    def identity(self) -> tuple[str, ...]:
        """The version alone: a container may be renamed."""
        return ("scans",)

    @contextmanager
    def opened(self) -> Iterator[xr.DataTree]:
        """Give the scans, and make sure at the end that nobody wrote meanwhile."""
        local = isinstance(self.place, str | PathLike)
        store: Any = Path(str(self.place)) / self.key if local else ObjectStore(s3_store(self.place, self.key))
        with open_scans(store) as scans:
            yield scans
        if Objects(self.place).mark_of(self.key) != self.version:
            raise ConflictError(
                self.name,
                expected="the scans as they were when the night was planned",
                found="objects that were changed while they were read",
                cause="a writer or an import works on the same container",
                next_step="run the night again when it has ended; write scans into a versioned repository to be safe",
            )


@dataclass(frozen=True, slots=True)
class Container:
    """A Zarr container in a place; ``key`` is empty when the place itself is the container."""

    place: Place
    key: str

    @property
    def name(self) -> str:
        """The container."""
        return _named(self.place, self.key)

    @property
    def label(self) -> str:
        """The container's own name."""
        return self.key or _last_part(self.place)

    def identify(self) -> ContainerScans:
        """Read the attributes of the root group, and list the objects."""
        objects = Objects(self.place)
        version = objects.mark_of(self.key)
        try:
            root = json.loads(objects.read(f"{self.key}/{_ROOT}" if self.key else _ROOT))
            attributes = dict(root.get("attributes", {}))
        except (ValueError, TypeError, AttributeError) as error:
            raise _no_scans(self.name, f"a {_ROOT} that is no JSON of a group") from error
        return ContainerScans(self.place, self.key, well_named_in(attributes, self.name), version)


@dataclass(frozen=True, slots=True)
class RepositoryScans:
    """Raw scans in an Icechunk repository, in one snapshot: a writer may go on."""

    place: Place
    key: str
    well: str
    version: str

    @property
    def name(self) -> str:
        """The repository."""
        return _named(self.place, self.key)

    @property
    def inputs(self) -> Mapping[str, str]:
        """The repository's name without its place, and the snapshot."""
        return {"repository": self.key, "snapshot": self.version}

    @property
    def identity(self) -> tuple[str, ...]:
        """The snapshot alone."""
        return ("snapshot",)

    @contextmanager
    def opened(self) -> Iterator[xr.DataTree]:
        """Give the scans of the snapshot."""
        with _reported(self.name):
            repository = icechunk.Repository.open(icechunk_storage(self.place, self.key))
            store = repository.readonly_session(snapshot_id=self.version).store
        with open_scans(store) as scans:
            yield scans


@dataclass(frozen=True, slots=True)
class Repository:
    """An Icechunk repository of raw scans in a place."""

    place: Place
    key: str

    @property
    def name(self) -> str:
        """The repository."""
        return _named(self.place, self.key)

    @property
    def label(self) -> str:
        """The repository's own name."""
        return self.key

    def identify(self) -> RepositoryScans:
        """Read the newest snapshot's id and the attributes of its root group."""
        with _reported(self.name):
            repository = icechunk.Repository.open(icechunk_storage(self.place, self.key))
            session = repository.readonly_session(_BRANCH)
            snapshot = str(session.snapshot_id)
        try:
            attributes = dict(zarr.open_group(session.store, mode="r").attrs)
        except FileNotFoundError as error:
            raise _no_scans(self.name, "a repository without a group") from error
        return RepositoryScans(self.place, self.key, well_named_in(attributes, self.name), snapshot)


@dataclass(frozen=True, slots=True)
class Found:
    """What stands in a place: candidates, and the names of folders that hold something else."""

    candidates: tuple[Candidate, ...]
    passed_over: tuple[str, ...]


def candidates_in(place: Place) -> Found:
    """Find the containers and repositories directly below a place, or the one that the place itself is.

    Parameters
    ----------
    place
        A directory, or a place on an S3-compatible server.

    Raises
    ------
    NotFoundError
        The directory does not exist.
    UnreachableError
        The place cannot be listed.
    """
    if isinstance(place, str | PathLike) and not Path(place).is_dir():
        raise NotFoundError(
            where(place),
            expected="a directory with raw scans of wells",
            found="no directory",
            cause="a mistyped path, or a file system that is not mounted",
            next_step="correct the path",
        )
    objects = Objects(place)
    top = objects.listing()
    if _ROOT in top.objects:
        return Found((Container(place, ""),), ())
    found: list[Candidate] = []
    others: list[str] = []
    for name in top.folders:
        below = objects.listing(name)
        if _ROOT in below.objects:
            found.append(Container(place, name))
        elif {"snapshots", "manifests"} & set(below.folders):
            found.append(Repository(place, name))
        else:
            others.append(name)
    return Found(tuple(found), tuple(others))


def well_named_in(attributes: Mapping[str, object], name: str) -> str:
    """Return the well's name from the root attributes of raw scans (InputError's kin: FormatError)."""
    well = attributes.get("well")
    if attributes.get("contract") != "nightwell scans" or not isinstance(well, str) or not well:
        raise _no_scans(name, f"contract {attributes.get('contract')!r}, well {well!r}")
    return well


@contextmanager
def _reported(name: str) -> Iterator[None]:
    try:
        yield
    except icechunk.IcechunkError as error:
        raise UnreachableError(
            name,
            expected="an Icechunk repository that can be opened",
            found=str(error).strip().splitlines()[0][:300],
            cause="the repository is damaged, or its server is away",
            next_step="check it with Icechunk, and try again",
        ) from error


def _no_scans(name: str, found: str) -> FormatError:
    return FormatError(
        name,
        expected="raw scans: attributes contract = 'nightwell scans' and well at its root",
        found=found,
        cause="the container is a cube, or another program's",
        next_step="move it away from the scans, or import it with 'nightwell well import'",
    )


def _named(place: Place, key: str) -> str:
    return f"scans '{key}' in {where(place)}" if key else f"scans in {where(place)}"


def _last_part(place: Place) -> str:
    return Path(place).name if isinstance(place, str | PathLike) else place.prefix.rpartition("/")[2]
