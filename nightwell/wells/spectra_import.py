"""From the spectra of one file to raw scans: what every importer of spectra does last, whatever the file's layout.

Scans that a file holds twice are kept once, and told. A clock that goes back is refused; one that leaps ahead, m/z that
were not measured and scans without any current are told, for none of them can be seen in the numbers afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.container import make_scans
from nightwell.wells.contract import Origin
from nightwell.wells.delimited import notes_of_times, rows_text
from nightwell.wells.import_report import ColumnReport, ImportReport, UnknownColumn
from nightwell.wells.instrument import Instrument
from nightwell.wells.rig import DrillingSeries
from nightwell.wells.streams import ScanKind, Stream

Floats = NDArray[np.float64]

_LISTED = 12


@dataclass(frozen=True, slots=True)
class SpectraImport:
    """Imported spectra: raw scans as in the contract, and what the import changed."""

    scans: xr.DataTree
    report: ImportReport


@dataclass(frozen=True, slots=True)
class ScanLabels:
    """What a file of spectra does not say itself: the stream and kind of its scans, and when a run began (UTC)."""

    stream: Stream = Stream.TRAP_GAS
    kind: ScanKind = ScanKind.SAMPLE
    start: np.datetime64 | None = None


@dataclass(frozen=True, slots=True)
class SpectraSource:
    """Name and BLAKE3 of the file, and its rows."""

    name: str
    digest: str
    rows: int


@dataclass(frozen=True, slots=True)
class Spectra:
    """Spectra as a file holds them.

    Parameters
    ----------
    time
        datetime64[ns] (scan), UTC.
    mz
        float64 (mz): whole numbers, increasing.
    intensity
        float64 (scan, mz), A; NaN where not measured.
    extra
        float64 (scan) arrays by name of a variable of raw scans (``pressure``, ``sample_depth``).
    columns, unknown, notes
        For the report.
    collected
        datetime64[ns] (scan): when cuttings left the hole; ``None`` when the file does not say.
    """

    time: NDArray[np.datetime64]
    mz: Floats
    intensity: Floats
    extra: dict[str, Floats]
    columns: tuple[ColumnReport, ...]
    unknown: tuple[UnknownColumn, ...] = ()
    notes: tuple[str, ...] = ()
    collected: NDArray[np.datetime64] | None = None


def assemble(
    spectra: Spectra,
    source: SpectraSource,
    *,
    well: str,
    labels: ScanLabels,
    instrument: Instrument,
    drilling: DrillingSeries | None,
    gas_line_delay_s: float,
) -> SpectraImport:
    """Make raw scans of spectra.

    Raises
    ------
    InputError
        Two different spectra at one time, or a clock that goes back.
    """
    spectra = _once(spectra, source.name)
    size = spectra.time.size
    scans: dict[str, NDArray[np.generic]] = {
        "intensity": spectra.intensity,
        "mz": spectra.mz,
        "time": spectra.time,
        "stream": np.full(size, labels.stream.code, dtype=np.int8),
        "kind": np.full(size, labels.kind.code, dtype=np.int8),
        "valve": np.full(size, -1, dtype=np.int8),
        "pressure": np.full(size, np.nan),
        **spectra.extra,
    }
    if spectra.collected is not None:
        scans["collected"] = spectra.collected
    provenance = f"Spectra measured, imported from {source.name} ({size} scans)."
    origin = Origin(
        well=well,
        instrument=instrument,
        simulated=False,
        provenance=provenance if drilling is None else f"{provenance} {drilling.provenance}",
    )
    tree = make_scans(
        origin,
        scans,
        drilling=None if drilling is None else drilling.values(),
        gas_line_delay_s=gas_line_delay_s,
    )
    notes = (*spectra.notes, *notes_of_times(spectra.time), *_notes_of_masses(spectra))
    report = ImportReport(source.name, source.digest, source.rows, spectra.columns, spectra.unknown, notes)
    return SpectraImport(tree, report)


def _once(spectra: Spectra, name: str) -> Spectra:
    """Keep scans that stand twice once; two different spectra of one time are refused."""
    same_time = np.concatenate(([False], spectra.time[1:] == spectra.time[:-1]))
    if not same_time.any():
        return spectra
    same = np.concatenate(
        (
            [False],
            [
                np.array_equal(a, b, equal_nan=True)
                for a, b in zip(spectra.intensity[1:], spectra.intensity, strict=False)
            ],
        )
    )
    broken = np.flatnonzero(same_time & ~same)
    if broken.size:
        raise InputError(
            f"spectra {name}",
            expected="one scan at a time",
            found=f"another spectrum at {spectra.time[broken[0]]} in {rows_text(broken)}",
            cause="times were rounded to a second, or two runs were joined",
            next_step="export times with their fraction, one run per file",
        )
    kept = ~same_time
    return replace(
        spectra,
        time=spectra.time[kept],
        intensity=spectra.intensity[kept],
        extra={key: values[kept] for key, values in spectra.extra.items()},
        collected=None if spectra.collected is None else spectra.collected[kept],
        notes=(*spectra.notes, f"{int(same_time.sum())} scans stood twice and are kept once"),
    )


def _notes_of_masses(spectra: Spectra) -> tuple[str, ...]:
    notes = []
    whole = np.arange(spectra.mz[0], spectra.mz[-1] + 1)
    gaps = np.setdiff1d(whole, spectra.mz)
    if gaps.size:
        listed = ", ".join(f"{mz:g}" for mz in gaps[:_LISTED]) + (", ..." if gaps.size > _LISTED else "")
        notes.append(
            f"m/z {spectra.mz[0]:g} to {spectra.mz[-1]:g} without {gaps.size} of them: {listed}; "
            "what shows only there is not seen"
        )
    empty = int(np.isnan(spectra.intensity).all(axis=1).sum())
    if empty:
        notes.append(f"{empty} of {spectra.time.size} scans hold no current at all")
    return tuple(notes)
