"""Results, versioned: one Icechunk repository per well, one commit per analysis, any of them open for ever.

A commit names the versions of everything it was made from. The same inputs analysed the same way are found, not
committed again. Stock Icechunk, zarr and xarray open a repository; nothing in it needs nightwell.
"""

from __future__ import annotations

import fcntl
import inspect
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import icechunk
import xarray as xr

from nightwell.errors import ConflictError, FormatError, NotFoundError, UnreachableError
from nightwell.wells.fingerprint import fingerprint_of, versions_in
from nightwell.wells.write_tree import write_tree

#: Format of the commits' metadata; a higher one is refused.
ARCHIVE_FORMAT = 1

_BRANCH = "main"


class ObjectStoreLocation(Protocol):
    """An S3-compatible place; :class:`nightwell.store.location.StoreLocation` is one."""

    @property
    def endpoint_url(self) -> str:
        """Address of the server."""

    @property
    def bucket(self) -> str:
        """Name of the bucket."""

    @property
    def prefix(self) -> str:
        """Prefix in the bucket, without slashes at its ends."""

    @property
    def region(self) -> str:
        """Region."""

    @property
    def access_key(self) -> str:
        """Access key."""

    @property
    def secret_key(self) -> str:
        """Secret key."""

    @property
    def allow_http(self) -> bool:
        """Whether the endpoint is spoken to without TLS."""


Place = str | PathLike[str] | ObjectStoreLocation


@dataclass(frozen=True, slots=True)
class Analysis:
    """One commit.

    Parameters
    ----------
    analysis_id
        The snapshot's id.
    well
        Name of the well.
    fingerprint
        Digest of all versions it was made from; equal fingerprints are equal results.
    inputs
        Version ids of the inputs, by name.
    library_version, software_version
        What it was made with.
    simulated
        Whether any input is simulated.
    committed_at
        UTC.
    versions
        Of everything else it was made with, as :func:`~nightwell.wells.fingerprint.versions_in`.
    """

    analysis_id: str
    well: str
    fingerprint: str
    inputs: Mapping[str, str]
    library_version: str
    software_version: str
    simulated: bool
    committed_at: datetime
    versions: Mapping[str, str]


class ResultsArchive:
    """The analyses of one well.

    Parameters
    ----------
    place
        A directory, or a place on an S3-compatible server. Wells share it.
    well
        Name of the well.
    """

    def __init__(self, place: Place, well: str) -> None:
        self.well = well
        self._place = place
        self._key = f"analyses/{quote(well, safe='')}"

    def commit(self, result: xr.DataTree) -> tuple[Analysis, bool]:
        """Commit an analysis, unless it is there.

        Parameters
        ----------
        result
            As :func:`~nightwell.wells.analysis.analyse_well`.

        Returns
        -------
        Analysis
            The new one, or the one that was made from the same versions.
        bool
            Whether it is new.

        Raises
        ------
        ConflictError
            Another run committed to the same well meanwhile.
        UnreachableError
            The place cannot be opened or written.
        """
        fingerprint = fingerprint_of(result)
        with self._alone():
            return self._commit(result, fingerprint)

    def _commit(self, result: xr.DataTree, fingerprint: str) -> tuple[Analysis, bool]:
        repository = self._open(create=True)
        for known in _history(repository):
            if known.fingerprint == fingerprint:
                return known, False
        return self._write(repository, result, fingerprint), True

    def make_newest(self, analysis: Analysis) -> Analysis:
        """Commit an older analysis again, so that ``latest`` is it: its versions are those of today again.

        Nothing is computed, and both analyses between stay. The newest itself is returned as it is.

        Raises
        ------
        ConflictError, UnreachableError
            As :meth:`commit`.
        """
        with self._alone():
            repository = self._open()
            if _history(repository)[0].fingerprint == analysis.fingerprint:
                return _history(repository)[0]
            session = repository.readonly_session(snapshot_id=analysis.analysis_id)
            with xr.open_datatree(session.store, engine="zarr", consolidated=False, chunks=None) as result:
                return self._write(repository, result.load(), analysis.fingerprint)

    def _write(self, repository: Any, result: xr.DataTree, fingerprint: str) -> Analysis:
        session = repository.writable_session(_BRANCH)
        write_tree(result, session.store)
        message = f"analysis of {self.well}, library {result.attrs['library_version']}"
        try:
            session.commit(message, metadata=_metadata(result, fingerprint))
        except icechunk.ConflictError as error:
            raise ConflictError(
                f"results of well '{self.well}'",
                expected="no other commit while this analysis was written",
                found="a newer one",
                cause="another run analysed the same well at the same time",
                next_step="analyse it again: nothing was changed",
            ) from error
        return _history(repository)[0]

    def analyses(self) -> tuple[Analysis, ...]:
        """Return all analyses of the well, oldest first; empty when there is none."""
        if not self._exists():
            return ()
        return tuple(reversed(_history(self._open())))

    def open(self, selector: str = "latest") -> xr.DataTree:
        """Open an analysis; arrays are read when they are used.

        Parameters
        ----------
        selector
            ``latest``, or the beginning of an ``analysis_id`` or of a ``fingerprint``.

        Raises
        ------
        NotFoundError
            No analysis, or not exactly one, matches.
        """
        chosen = self.find(selector)
        session = self._open().readonly_session(snapshot_id=chosen.analysis_id)
        return xr.open_datatree(session.store, engine="zarr", consolidated=False, chunks=None)

    def find(self, selector: str = "latest") -> Analysis:
        """Return the analysis that a selector names (NotFoundError)."""
        known = self.analyses()
        if selector == "latest" and known:
            return known[-1]
        matching = [
            one for one in known if one.analysis_id.startswith(selector) or one.fingerprint.startswith(selector)
        ]
        if selector and len({one.fingerprint for one in matching}) == 1:
            return matching[-1]  # one that was made the newest again is the same result twice
        listed = ", ".join(one.analysis_id for one in known[-10:])
        raise NotFoundError(
            f"analysis '{selector}' of well '{self.well}'",
            expected="an analysis: 'latest', or the beginning of one id",
            found=f"{len(matching)} that match; "
            + (f"the newest are: {listed}" if listed else "the well was not analysed yet"),
            cause="the id is misspelt or too short, or the results stand at another place",
            next_step="list the analyses of the well and name one",
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold a directory for one commit: file systems have no atomic compare-and-swap, object stores do."""
        if not isinstance(self._place, str | PathLike):
            yield
            return
        directory = Path(self._place) / "analyses"
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / f"{quote(self.well, safe='')}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @cached_property
    def _storage(self) -> Any:
        return icechunk_storage(self._place, self._key)

    def _exists(self) -> bool:
        if isinstance(self._place, str | PathLike) and not (Path(self._place) / self._key).is_dir():
            return False  # to ask Icechunk would make the directory
        try:
            return bool(icechunk.Repository.exists(self._storage))
        except icechunk.IcechunkError as error:
            raise self._unreachable(error) from error

    def _open(self, *, create: bool = False) -> Any:
        try:
            if create and not icechunk.Repository.exists(self._storage):
                return icechunk.Repository.create(self._storage, **_first_format())
            return icechunk.Repository.open(self._storage)
        except icechunk.IcechunkError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> UnreachableError:
        return UnreachableError(
            f"results of well '{self.well}' at {self._place}",
            expected="an Icechunk repository that can be opened",
            found=str(error).strip().splitlines()[0],
            cause="the server or the directory is away, or the credentials are wrong",
            next_step="check the place named in the settings, and try again",
        )


def _history(repository: Any) -> list[Analysis]:
    """Return the analyses, newest first."""
    found: list[Analysis] = []
    for snapshot in repository.ancestry(branch=_BRANCH):
        metadata = snapshot.metadata
        if "nightwell_archive_format" not in metadata:
            continue  # the repository's first, empty snapshot
        if int(metadata["nightwell_archive_format"]) > ARCHIVE_FORMAT:
            raise FormatError(
                f"analysis {snapshot.id}",
                expected=f"archive format up to {ARCHIVE_FORMAT}",
                found=str(metadata["nightwell_archive_format"]),
                cause="a newer release of nightwell wrote it",
                next_step="read it with that release",
            )
        found.append(
            Analysis(
                analysis_id=str(snapshot.id),
                well=str(metadata["well"]),
                fingerprint=str(metadata["fingerprint"]),
                inputs={str(name): str(value) for name, value in metadata["inputs"].items()},
                library_version=str(metadata["library_version"]),
                software_version=str(metadata["software_version"]),
                simulated=bool(metadata["simulated"]),
                committed_at=snapshot.written_at,
                versions=versions_in(metadata),
            )
        )
    return found


def _metadata(result: xr.DataTree, fingerprint: str) -> dict[str, object]:
    attributes = {str(name): value for name, value in result.attrs.items()}
    names = ("well", "inputs", "profiles", "classifications", "simulated", "provenance", *versions_in(attributes))
    return {"nightwell_archive_format": ARCHIVE_FORMAT, "fingerprint": fingerprint} | {
        name: attributes[name] for name in names
    }


def icechunk_storage(place: Place, key: str) -> Any:
    """Return Icechunk's view of a folder below a place."""
    if isinstance(place, str | PathLike):
        if "ICECHUNK_LOG" not in os.environ:
            icechunk.set_logs_filter("error")  # it warns of concurrent commits to a directory; ours are locked
        return icechunk.local_filesystem_storage(str(Path(place) / key))
    return icechunk.s3_storage(
        bucket=place.bucket,
        prefix=f"{place.prefix}/{key}" if place.prefix else key,
        region=place.region,
        endpoint_url=place.endpoint_url,
        allow_http=place.allow_http,
        access_key_id=place.access_key,
        secret_access_key=place.secret_key,
        force_path_style=True,
    )


def open_repository(place: Place, key: str, *, create: bool) -> Any:
    """Open the Icechunk repository of a key at a place; made first when ``create`` and absent (IcechunkError)."""
    storage = icechunk_storage(place, key)
    if create and not icechunk.Repository.exists(storage):
        return icechunk.Repository.create(storage, **_first_format())
    return icechunk.Repository.open(storage)


def _first_format() -> dict[str, Any]:
    """Return the argument that keeps Icechunk 2 to the format that Icechunk 1 reads; only Icechunk 2 has it."""
    has_choice = "spec_version" in inspect.signature(icechunk.Repository.create).parameters
    return {"spec_version": 1} if has_choice else {}
