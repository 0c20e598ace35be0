"""Raw scans while they arrive: one Icechunk repository per well, one commit for each scan.

A commit holds the scan, the drilling rows and gaps before it, and the engine's progress: all or nothing. So a reader
sees whole commits only, and a killed engine finds its progress in step with its scans. Stock Icechunk, zarr and
xarray open it; ``open`` gives raw scans as in docs/cube-contract.md.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from os import PathLike
from pathlib import Path
from typing import Any
from urllib.parse import quote

import icechunk
import numpy as np
import xarray as xr
import zarr

from nightwell.errors import BusyError, ConflictError, FormatError, NotFoundError, UnreachableError
from nightwell.wells.acquire.archive_layout import (
    Gap,
    ScanRow,
    append_rows,
    array_of,
    gap_values,
    make_group,
    scan_values,
)
from nightwell.wells.acquire.plan import Progress
from nightwell.wells.archive import Place, open_repository
from nightwell.wells.contract import DRILLING, GAPS, SCANS, Origin, validate_scans
from nightwell.wells.rig import DrillingSeries
from nightwell.wells.variables import TIME_DTYPE

#: Format of the progress in the root group; a higher one is refused.
ACQUISITION_FORMAT = 1

_BRANCH = "main"
_PROGRESS, _FORMAT, _SCHEDULE = "acquisition_progress", "acquisition_format", "acquisition_schedule"


class ScanArchive:
    """The raw scans of one well.

    Parameters
    ----------
    place
        A directory, or a place on an S3-compatible server. Wells share it, with their results.
    well
        Name of the well.
    """

    def __init__(self, place: Place, well: str) -> None:
        self.well = well
        self._place = place
        self._key = f"acquired/{quote(well, safe='')}"

    def exists(self) -> bool:
        """Tell whether anything was acquired of the well (UnreachableError)."""
        if isinstance(self._place, str | PathLike) and not (Path(self._place) / self._key / "refs").is_dir():
            return False
        try:
            return _PROGRESS in self._root(self._repository()).attrs
        except (icechunk.IcechunkError, FileNotFoundError):
            return False

    def open(self, version: str = "latest") -> xr.DataTree:
        """Open the raw scans of a commit, by default the newest; arrays are read when they are used.

        Raises
        ------
        NotFoundError
            Nothing was acquired, or there is no such commit.
        InputError, FormatError
            As :func:`~nightwell.wells.contract.validate_scans`.
        """
        repository = self._found()
        try:
            session = (
                repository.readonly_session(_BRANCH)
                if version == "latest"
                else repository.readonly_session(snapshot_id=version)
            )
        except (icechunk.IcechunkError, ValueError) as error:
            raise self._absent(f"commit '{version}'") from error
        tree = xr.open_datatree(session.store, engine="zarr", consolidated=False, chunks=None)
        validate_scans(tree)
        return tree

    def version(self) -> str:
        """Return the id of the newest commit (NotFoundError)."""
        return str(self._found().lookup_branch(_BRANCH))

    def progress(self) -> Progress:
        """Return the progress that stands beside the newest scan (NotFoundError, FormatError)."""
        return _progress(self._root(self._found()))

    def forget_versions(self, older_than: datetime) -> int:
        """Drop commits older than a time, and what only they refer to; the scans all stay in the newest.

        Returns
        -------
        int
            Commits that were dropped.
        """
        repository = self._found()
        dropped = repository.expire_snapshots(older_than=older_than)
        repository.garbage_collect(older_than + timedelta(microseconds=1))
        return len(dropped)

    @contextmanager
    def writing(
        self,
        connect: Callable[[Progress | None], Origin],
        mz: Sequence[int],
        schedule: str,
        gas_line_delay_s: float | None,
    ) -> Iterator[Writer]:
        """Hold the well for one engine, and give what appends to it.

        Parameters
        ----------
        connect
            Called when the well is held: connects the instrument, given the progress so far (None: nothing was
            acquired yet), and says whose scans will come. What the archive says must agree with it.
        mz
            m/z axis; that of an archive that exists must hold all of it.
        schedule
            The document, kept beside the scans.
        gas_line_delay_s
            Of the rig's feed; None when there is none.

        Raises
        ------
        BusyError
            Another engine has the well.
        ConflictError
            The archive holds another axis, or measured and simulated scans would mix.
        UnreachableError
            The place cannot be opened or written.
        """
        with self._alone():
            origin = connect(self.progress() if self.exists() else None)
            try:
                repository = open_repository(self._place, self._key, create=True)
                if _PROGRESS not in self._root(repository).attrs:
                    self._create(repository, origin, mz, gas_line_delay_s)
            except icechunk.IcechunkError as error:
                raise self._unreachable(error) from error
            root = self._root(repository)
            axis = tuple(int(value) for value in np.asarray(array_of(root, "scans/mz")[:]))
            self._check(root, origin, axis, mz)
            yield Writer(self, repository, axis, _progress(root), schedule)

    def _create(self, repository: Any, origin: Origin, mz: Sequence[int], gas_line_delay_s: float | None) -> None:
        session = repository.writable_session(_BRANCH)
        root = zarr.open_group(session.store, mode="a", zarr_format=3)
        attributes: dict[str, Any] = origin.as_attributes("scans")
        root.attrs.update({**attributes, _FORMAT: ACQUISITION_FORMAT, _PROGRESS: "{}", _SCHEDULE: ""})
        axis = np.asarray(mz, dtype=np.float64)
        make_group(root, "scans", SCANS, {"mz": axis}, optional=frozenset({"sample_depth", "flag"}))
        make_group(root, "gaps", GAPS, {})
        if gas_line_delay_s is not None:
            make_group(root, "drilling", DRILLING, {}).attrs["gas_line_delay_s"] = float(gas_line_delay_s)
        _commit(session, self.well, "an empty acquisition")

    def _check(self, root: zarr.Group, origin: Origin, axis: tuple[int, ...], mz: Sequence[int]) -> None:
        if absent := sorted(set(mz) - set(axis)):
            raise ConflictError(
                f"acquired scans of well '{self.well}'",
                expected=f"a schedule within the {len(axis)} m/z that the archive has ({axis[0]} to {axis[-1]})",
                found=f"m/z {', '.join(map(str, absent))}, which it has not",
                cause="the schedule was changed after the acquisition began",
                next_step="measure the m/z of the archive, or acquire under another well name",
            )
        if bool(root.attrs["simulated"]) != origin.simulated:
            words = {True: "simulated", False: "measured"}
            raise ConflictError(
                f"acquired scans of well '{self.well}'",
                expected=f"{words[bool(root.attrs['simulated'])]} scans, as the archive holds",
                found=f"an instrument whose scans are {words[origin.simulated]}",
                cause="a trial and the real well go by one name",
                next_step="acquire under another well name",
            )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold a directory for one engine; on object stores a second engine's commit is refused instead."""
        if not isinstance(self._place, str | PathLike):
            yield
            return
        directory = Path(self._place) / "acquired"
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / f"{quote(self.well, safe='')}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BusyError(
                    f"acquisition of well '{self.well}'",
                    expected="no other engine on this well",
                    found="one that is running",
                    cause="it was started twice",
                    next_step="stop the other one, or leave it running",
                ) from error
            yield

    def _repository(self) -> Any:
        return open_repository(self._place, self._key, create=False)

    def _found(self) -> Any:
        if not self.exists():
            raise self._absent("nothing")
        return self._repository()

    def _root(self, repository: Any) -> zarr.Group:
        try:
            return zarr.open_group(repository.readonly_session(_BRANCH).store, mode="r", zarr_format=3)
        except FileNotFoundError:  # the repository's first, empty snapshot
            return zarr.group(zarr.storage.MemoryStore())

    def _absent(self, found: str) -> NotFoundError:
        return NotFoundError(
            f"acquired scans of well '{self.well}' at {self._place}",
            expected="an acquisition, and a commit of it: 'latest' or its id",
            found=found,
            cause="the well goes by another name, or its acquisition stands at another place",
            next_step="name the well as `well acquire` was given it",
        )

    def _unreachable(self, error: Exception) -> UnreachableError:
        return UnreachableError(
            f"acquired scans of well '{self.well}' at {self._place}",
            expected="an Icechunk repository that can be opened and written",
            found=str(error).strip().splitlines()[0],
            cause="the server or the directory is away, full, or the credentials are wrong",
            next_step="check the place, then start again: acquisition goes on from the last commit",
        )


class Writer:
    """Appends to the raw scans of one well; made by :meth:`ScanArchive.writing`.

    Parameters
    ----------
    archive, repository
        Where.
    mz
        m/z axis of the archive.
    progress
        What stands beside the last scan.
    schedule
        The document, stored with the next commit.
    """

    def __init__(
        self, archive: ScanArchive, repository: Any, mz: tuple[int, ...], progress: Progress, schedule: str
    ) -> None:
        self.mz = mz
        self.progress = progress
        self._archive, self._repository, self._schedule = archive, repository, schedule
        self._last_drilling: np.datetime64 | None = self._last_time("drilling")

    @property
    def last_drilling(self) -> np.datetime64 | None:
        """Time of the last drilling row; None when there is none."""
        return self._last_drilling

    def append(
        self, scan: ScanRow | None, drilling: DrillingSeries | None, gaps: Sequence[Gap], progress: Progress
    ) -> str:
        """Append in one commit; all of it is seen by readers, or none.

        Returns
        -------
        str
            Id of the commit.

        Raises
        ------
        ConflictError
            Another engine committed meanwhile; nothing was appended.
        UnreachableError
            The commit failed or its outcome is unknown: start again, the archive tells what it holds.
        """
        try:
            session = self._repository.writable_session(_BRANCH)
            root = zarr.open_group(session.store, mode="r+", zarr_format=3)
            if scan is not None:
                append_rows(root, "scans", scan_values(scan))
            if drilling is not None and "drilling" in root:
                append_rows(root, "drilling", drilling.values(), DRILLING)
            if gaps:
                append_rows(root, "gaps", gap_values(gaps))
            root.attrs.update({_PROGRESS: progress.model_dump_json(), _SCHEDULE: self._schedule})
            version = _commit(session, self._archive.well, f"{progress.scans} scans")
        except icechunk.ConflictError as error:
            raise ConflictError(
                f"acquired scans of well '{self._archive.well}'",
                expected="no other commit while this scan was written",
                found="a newer one",
                cause="another engine acquires the same well",
                next_step="stop one of the two: nothing was changed",
            ) from error
        except (icechunk.IcechunkError, OSError) as error:
            raise self._archive._unreachable(error) from error  # noqa: SLF001 - one module
        self.progress = progress
        if drilling is not None:
            self._last_drilling = drilling.time[-1]
        return version

    def _last_time(self, group: str) -> np.datetime64 | None:
        root = self._archive._root(self._repository)  # noqa: SLF001 - one module
        if group not in root:
            return None
        values = np.asarray(array_of(root, f"{group}/time")[:]).astype("int64").astype(TIME_DTYPE)
        last: np.datetime64 | None = values[-1] if values.size else None
        return last


def _commit(session: Any, well: str, message: str) -> str:
    return str(session.commit(f"acquisition of {well}: {message}"))


def _progress(root: zarr.Group) -> Progress:
    number = root.attrs.get(_FORMAT, 1)
    if not isinstance(number, int) or number > ACQUISITION_FORMAT:
        raise FormatError(
            "acquired scans",
            expected=f"acquisition format up to {ACQUISITION_FORMAT}",
            found=str(number),
            cause="a newer release of nightwell wrote them",
            next_step="go on with that release; reading the scans needs no newer one",
        )
    return Progress.model_validate_json(str(root.attrs[_PROGRESS]))
