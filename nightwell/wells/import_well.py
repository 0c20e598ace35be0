"""Import a well from whatever of it there is: measured spectra, a gas log to simulate spectra from, or nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import xarray as xr

from nightwell.errors import InputError
from nightwell.wells.composition import composition_of_log, published_composition
from nightwell.wells.delimited import read_bytes
from nightwell.wells.drilling import DrillingLog, import_drilling
from nightwell.wells.gas_log import import_gas_log
from nightwell.wells.hole_files import HoleFiles, add_hole
from nightwell.wells.import_report import ImportReport
from nightwell.wells.instrument import Instrument
from nightwell.wells.pattern_file import is_jcamp, is_msp
from nightwell.wells.quadrupole import import_quadrupole
from nightwell.wells.quadstar import import_quadstar, is_quadstar
from nightwell.wells.rig import DrillingSeries, Rig, series_of_record
from nightwell.wells.simulate import Simulation, simulate_scans
from nightwell.wells.spectra_import import ScanLabels, SpectraImport
from nightwell.wells.wits0 import WitsUnits


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
    hole: HoleFiles | None = None,
    wits_units: WitsUnits | None = None,
) -> WellImport:
    """Make a well's raw scans from its files.

    Parameters
    ----------
    gas_log
        A gas log; spectra of all four streams are simulated from it, and labelled so.
    drilling
        Drilling parameters: by depth with a gas log, by time with spectra.
    spectra
        Measured spectra: CSV of quadrupole software, or a Quadstar ``.sac``. Without ``spectra`` and ``gas_log`` the
        well is made from published gas compositions, and labelled as simulated.
    well
        Name of the well; by default that of the file.
    labels, instrument
        As for :func:`~nightwell.wells.quadrupole.import_quadrupole`.
    settings
        Of the simulation, and the rig's constants where the files have none.
    hole
        Sections of the hole, carbide checks and the cuttings' transport, to go with measured spectra.
    wits_units
        Units of WITS streams, which do not say.

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
    log = None if drilling is None else import_drilling(drilling, wits_units=wits_units)
    reports = () if log is None else (log.report,)
    if spectra is not None:
        series = None if log is None else _series(log, settings.rig)
        found = import_spectra(
            spectra,
            well=well,
            labels=labels,
            instrument=instrument,
            drilling=series,
            gas_line_delay_s=settings.rig.gas_line_delay_s,
        )
        add_hole(found.scans, hole or HoleFiles())
        return WellImport(found.scans, (found.report, *reports))
    if hole is not None and hole.any:
        raise InputError(
            "sections of the hole, carbide checks",
            expected="measured spectra to go with them",
            found="a well whose spectra are simulated",
            cause="a simulated rig has its own hole",
            next_step="leave them out, or give --spectra",
        )
    if log is not None and log.time is not None:
        raise InputError(
            f"drilling parameters {log.report.source}",
            expected="a log by depth, to go with the depths of the gas log",
            found="a record in time",
            cause="a record in time registers measured spectra; the clock of a simulated well is simulated too",
            next_step="give drilling parameters by depth",
        )
    if gas_log is not None:
        gases = import_gas_log(gas_log, well=well, wits_units=wits_units)
        return WellImport(simulate_scans(composition_of_log(gases), log, settings), (gases.report, *reports))
    composition = published_composition(seed=settings.seed)
    composition = composition if well is None else replace(composition, well=well)
    return WellImport(simulate_scans(composition, log, settings), reports)


def import_spectra(
    path: Path,
    *,
    well: str | None = None,
    labels: ScanLabels | None = None,
    instrument: Instrument | None = None,
    drilling: DrillingSeries | None = None,
    gas_line_delay_s: float = 0.0,
) -> SpectraImport:
    """Import measured spectra; the format is told by the content.

    Parameters and errors as :func:`~nightwell.wells.quadrupole.import_quadrupole` and
    :func:`~nightwell.wells.quadstar.import_quadstar`; a file of patterns (``.msp``, JCAMP-DX) is refused by name.
    """
    content = read_bytes(path)
    text = content[:4096].decode("latin-1")
    if not is_quadstar(content) and (is_jcamp(text) or is_msp(text)):
        raise InputError(
            f"spectra {path.name}",
            expected="scans of an instrument against time",
            found="patterns of compounds (.msp or JCAMP-DX)",
            cause="a library of patterns was given as measured spectra",
            next_step="put them into a species library: nightwell well import-patterns",
        )
    read = import_quadstar if is_quadstar(content) else import_quadrupole
    return read(path, well=well, labels=labels, instrument=instrument, drilling=drilling,
                gas_line_delay_s=gas_line_delay_s)  # fmt: skip


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
