"""Import a well from whatever of it there is: measured spectra, a gas log to simulate spectra from, or nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import xarray as xr

from nightwell.errors import InputError
from nightwell.wells.composition import composition_of_log, published_composition
from nightwell.wells.drilling import DrillingLog, import_drilling
from nightwell.wells.gas_log import import_gas_log
from nightwell.wells.import_report import ImportReport
from nightwell.wells.instrument import Instrument
from nightwell.wells.quadrupole import ScanLabels, import_quadrupole
from nightwell.wells.rig import DrillingSeries, Rig, series_of_record
from nightwell.wells.simulate import Simulation, simulate_scans


@dataclass(frozen=True, slots=True)
class WellImport:
    """Raw scans of a well, and one report per file that was read."""

    scans: xr.DataTree
    reports: tuple[ImportReport, ...]


def build_scans(
    *,
    gas_log: Path | None = None,
    drilling: Path | None = None,
    spectra: Path | None = None,
    well: str | None = None,
    labels: ScanLabels | None = None,
    instrument: Instrument | None = None,
    settings: Simulation | None = None,
) -> WellImport:
    """Make a well's raw scans from its files.

    Parameters
    ----------
    gas_log
        A gas log; spectra of all four streams are simulated from it, and labelled so.
    drilling
        Drilling parameters: by depth with a gas log, by time with spectra.
    spectra
        Measured spectra as CSV of quadrupole software. Without ``spectra`` and ``gas_log`` the well is made from
        published gas compositions, and labelled as simulated.
    well
        Name of the well; by default that of the file.
    labels, instrument
        As for :func:`~nightwell.wells.quadrupole.import_quadrupole`.
    settings
        Of the simulation, and the rig's constants where the files have none.

    Raises
    ------
    NotFoundError
        A file does not exist.
    InputError
        A file cannot be used, or two files do not go together.
    """
    settings = settings or Simulation()
    if spectra is not None and gas_log is not None:
        raise InputError(
            f"files {spectra.name} and {gas_log.name}",
            expected="measured spectra, or a gas log to simulate spectra from",
            found="both",
            cause="a gas log is not needed when spectra were measured",
            next_step="give one of the two",
        )
    log = None if drilling is None else import_drilling(drilling)
    reports = () if log is None else (log.report,)
    if spectra is not None:
        series = None if log is None else _series(log, settings.rig)
        found = import_quadrupole(
            spectra,
            well=well,
            labels=labels,
            instrument=instrument,
            drilling=series,
            gas_line_delay_s=settings.rig.gas_line_delay_s,
        )
        return WellImport(found.scans, (found.report, *reports))
    if log is not None and log.time is not None:
        raise InputError(
            f"drilling parameters {log.report.source}",
            expected="a log by depth, to go with the depths of the gas log",
            found="a record in time",
            cause="a record in time registers measured spectra; the clock of a simulated well is simulated too",
            next_step="give drilling parameters by depth",
        )
    if gas_log is not None:
        gases = import_gas_log(gas_log, well=well)
        return WellImport(simulate_scans(composition_of_log(gases), log, settings), (gases.report, *reports))
    composition = published_composition(seed=settings.seed)
    composition = composition if well is None else replace(composition, well=well)
    return WellImport(simulate_scans(composition, log, settings), reports)


def _series(log: DrillingLog, rig: Rig) -> DrillingSeries:
    if log.time is None:
        raise InputError(
            f"drilling parameters {log.report.source}",
            expected="a record in time (columns for time, bit depth and flow), to register measured spectra",
            found="a log by depth",
            cause="a log by depth does not say when the bit was where",
            next_step="give the rig's record in time",
        )
    return series_of_record(log, rig)
