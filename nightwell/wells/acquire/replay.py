"""Replay: raw scans that were imported or acquired before, given out as an instrument gives them.

A recording cannot be switched, so it leads: each scan is taken once, in its order, with its own time.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from nightwell.errors import InputError
from nightwell.wells.acquire.port import Facts, Inlet, Reading
from nightwell.wells.acquire.schedule import Element, IdleTrigger, Schedule, TimeTrigger
from nightwell.wells.contract import DRILLING, Origin, validate_scans
from nightwell.wells.rig import DrillingSeries
from nightwell.wells.streams import ScanKind, Stream

_NEVER_S = 1e9
_BLOCK_ROWS = 512


class ReplaySpectrometer:
    """A recording as an instrument.

    Parameters
    ----------
    scans
        Raw scans as in the contract: of any importer, or of another acquisition.
    source
        What it is, for the provenance: the name of the file or of the well.

    Raises
    ------
    InputError, FormatError
        As :func:`~nightwell.wells.contract.validate_scans`.
    """

    def __init__(self, scans: xr.DataTree, *, source: str) -> None:
        validate_scans(scans)
        self._tree, self._source = scans, source
        self._origin = Origin.of(scans)
        dataset = scans["scans"].to_dataset()
        self._dataset = dataset
        self._columns = {round(value): column for column, value in enumerate(dataset["mz"].to_numpy().tolist())}
        size = dataset.sizes["scan"]
        self._time = dataset["time"].to_numpy()
        self._labels = [dataset[name].to_numpy() for name in ("stream", "kind", "valve")]
        self._pressure = dataset["pressure"].to_numpy()
        self._depth = dataset["sample_depth"].to_numpy() if "sample_depth" in dataset else np.full(size, np.nan)
        self._next: int | None = None
        self._block = (0, np.empty((0, 0), dtype=np.float32))

    @property
    def facts(self) -> Facts:
        """What was recorded; simulated when the recording is."""
        masses = list(self._columns)
        return Facts(
            driver="replay",
            instrument=self._origin.instrument,
            simulated=self._origin.simulated,
            provenance=f"Replayed from {self._source}: {self._origin.provenance}",
            first_mz=masses[0],
            last_mz=masses[-1],
            leads=True,
        )

    def connect(self, scans_taken: int) -> None:
        """Go to the scan after those that were taken (InputError: the recording has fewer)."""
        if scans_taken > self._time.size:
            raise _refuse(
                f"a recording of at least {scans_taken} scans, which were taken from it before",
                f"{self._time.size}",
                "it is another recording, or it was cut",
            )
        self._next = scans_taken

    def upcoming(self) -> Inlet | None:
        """Return what the next scan is of; None at the end."""
        at = self._place()
        if at == self._time.size:
            return None
        stream, kind, valve = (labels[at] for labels in self._labels)
        depth = float(self._depth[at])
        return Inlet(int(valve), tuple(Stream)[stream], tuple(ScanKind)[kind], None if np.isnan(depth) else depth)

    def admit(self, inlet: Inlet) -> None:
        """Do nothing for what comes next; anything else cannot be had of a recording (InputError)."""
        coming = self.upcoming()
        if inlet != coming:
            raise _refuse(f"what comes next: {coming}", str(inlet), "a recording was to be switched")

    def measure(self, mz: tuple[int, ...], dwell_s: float) -> Reading:  # noqa: ARG002 - it was measured long ago
        """Return the next scan; an m/z that it did not measure is NaN."""
        at = self._place()
        if at == self._time.size:
            raise _refuse("one more scan", "the end of the recording", "upcoming() was not asked")
        if mz[0] < min(self._columns) or mz[-1] > max(self._columns):
            raise _refuse(
                f"m/z {min(self._columns)} to {max(self._columns)}", f"m/z {mz[0]} to {mz[-1]}", "another m/z axis"
            )
        row = self._row(at)
        values = [row[self._columns[mass]] if mass in self._columns else np.nan for mass in mz]
        self._next = at + 1
        return Reading(np.array(values, dtype=np.float32), float(self._pressure[at]), self._time[at])

    def close(self) -> None:
        """Forget the place."""
        self._next = None

    def _row(self, at: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        start, rows = self._block
        if not start <= at < start + len(rows):
            start = at
            rows = self._dataset["intensity"].isel(scan=slice(at, at + _BLOCK_ROWS)).to_numpy()
            self._block = (start, rows)
        found: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = rows[at - start]
        return found

    def _place(self) -> int:
        if self._next is None:
            raise _refuse("a recording that was connected", "one that was not", "the order of the port was not kept")
        return self._next


def schedule_of_recording(scans: xr.DataTree) -> Schedule:
    """Return a schedule with an element for each stream and kind of a recording, on its whole m/z axis.

    It says what is there; when to measure it is the recording's own affair, so no rule is in it.
    """
    dataset = scans["scans"].to_dataset()
    mz = tuple(round(value) for value in dataset["mz"].to_numpy().tolist())
    found = sorted({(int(s), int(k)) for s, k in zip(dataset["stream"].values, dataset["kind"].values, strict=True)})
    elements = []
    for number, (stream, kind) in enumerate(found):
        what = (tuple(Stream)[stream], tuple(ScanKind)[kind])
        rests = what == (Stream.TRAP_GAS, ScanKind.SAMPLE)
        trigger = IdleTrigger(by="idle") if rests else TimeTrigger(by="time", every_s=_NEVER_S)
        elements.append(
            Element(
                name=" ".join(what),
                stream=what[0],
                kind=what[1],
                valve_port=number,
                purge_s=0.0,
                dwell_s=1.0,
                mz=mz,
                trigger=trigger,
            )
        )
    return Schedule(format=1, name="as recorded", element=tuple(elements))


def drilling_of_recording(scans: xr.DataTree) -> DrillingSeries | None:
    """Return the drilling series that a recording carries; None when it has none."""
    if "drilling" not in scans.children:
        return None
    dataset = scans["drilling"].to_dataset()
    values = {variable.name: dataset[variable.name].to_numpy() for variable in DRILLING if variable.name in dataset}
    return DrillingSeries(**values, provenance=Origin.of(scans).provenance)


def _refuse(expected: str, found: str, cause: str) -> InputError:
    return InputError(
        "replay of a recording",
        expected=expected,
        found=found,
        cause=cause,
        next_step="name the recording that the acquisition began with, and leave its order alone",
    )
