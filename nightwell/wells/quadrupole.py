"""Import spectra from the CSV exports of quadrupole software.

Two layouts, both found by their header line (lines above it are skipped): *wide*, a time column and one column per
m/z (``mz_28``, ``28``, ``28.00``, ``m/z 28``, ``Mass 28 (A)``); and *long*, one row per time and m/z. Either may hold
peak heights or a profile, several points per m/z, and may carry analyser pressure and, for discrete samples, a depth.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.channels import Header, parse_header
from nightwell.wells.delimited import numbers_of, read_text, rows_text, separator_of, split_table, times_of
from nightwell.wells.import_report import ColumnReport, UnknownColumn
from nightwell.wells.instrument import Instrument
from nightwell.wells.profile_scan import is_profile, peaks_of
from nightwell.wells.rig import DrillingSeries
from nightwell.wells.spectra_import import ScanLabels, Spectra, SpectraImport, SpectraSource, assemble
from nightwell.wells.units import convert

__all__ = ["ScanLabels", "SpectraImport", "import_quadrupole"]

Floats = NDArray[np.float64]

_HEADER_LINES = 200  # as far down as a header is looked for
_MIN_MASSES = 3
_MASS_TOLERANCE = 0.2  # a label this near a whole number is that m/z, seen by a scale that is slightly off
_DECIMALS = 4  # of the points of a profile: the same point is written a little differently from scan to scan
_EPOCH_S = 1e8  # larger numbers are seconds since 1970, smaller ones seconds since the start of the run

_TIME_NAMES = {"time", "unixtimes", "unixtime", "timestamp", "datetime", "utc", "timerelative", "relativetime",
               "elapsedtime", "times", "timesec", "starttime"}  # fmt: skip
_MASS_NAMES = {"mz", "mass", "amu", "massamu", "masscharge"}
_CURRENT_NAMES = {"intensity", "ioncurrent", "current", "signal", "value"}
_PRESSURE_NAMES = {"pressure", "totalpressure"}
_DEPTH_NAMES = {"depth", "sampledepth"}
_COLLECTED_NAMES = {"collected", "collectiontime", "shakertime"}
_COLUMNS = {"time": _TIME_NAMES, "m/z": _MASS_NAMES, "ion current": _CURRENT_NAMES, "pressure": _PRESSURE_NAMES,
            "sample depth": _DEPTH_NAMES, "collected": _COLLECTED_NAMES}  # fmt: skip

_MASS = re.compile(r"(?:m/?z|mass|amu|m)?[\s_:=-]*(\d+(?:\.\d+)?)\s*(?:amu|u)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    headers: list[Header]
    cells: pd.DataFrame

    def find(self, names: set[str]) -> int | None:
        """Return the position of the first column of one of these names."""
        for position, header in enumerate(self.headers):
            if _key(header.name) in names and _mass(header) is None:  # `mz_28` is a mass, not the column of masses
                return position
        return None

    def subject(self, position: int) -> str:
        return f"column '{self.headers[position].text}' of {self.name}"

    def numbers(self, position: int) -> Floats:
        return numbers_of(self.cells.iloc[:, position], subject=self.subject(position))


def import_quadrupole(
    path: Path | str,
    *,
    well: str | None = None,
    labels: ScanLabels | None = None,
    instrument: Instrument | None = None,
    drilling: DrillingSeries | None = None,
    gas_line_delay_s: float = 0.0,
) -> SpectraImport:
    """Import spectra from CSV.

    Parameters
    ----------
    path
        The file.
    well
        Name of the well; by default the file's name.
    labels
        Stream and kind of the scans, and the start of the run when times are relative.
    instrument
        What is known of the instrument.
    drilling, gas_line_delay_s
        The drilling series of the same time, for depth registration.

    Raises
    ------
    NotFoundError
        There is no such file.
    InputError
        No header with m/z, zero rows, half masses, an m/z twice, relative times without a start, a clock that jumps
        back, an unknown unit, or text among numbers.
    """
    path, labels = Path(path), labels or ScanLabels()
    text, digest = read_text(path)
    table = _table(path.name, text)
    read = _long if table.find(_MASS_NAMES) is not None else _wide
    spectra, used = read(table, labels)
    unknown = tuple(
        UnknownColumn(one.text, nearest(one.name)) for at, one in enumerate(table.headers) if at not in used
    )
    return assemble(
        replace(spectra, unknown=unknown),
        SpectraSource(path.name, digest, len(table.cells)),
        well=well or path.stem,
        labels=labels,
        instrument=instrument or Instrument("quadrupole, unknown"),
        drilling=drilling,
        gas_line_delay_s=gas_line_delay_s,
    )


def _with_collected(table: _Table, spectra: Spectra, used: set[int]) -> tuple[Spectra, set[int]]:
    """Add the times at which cuttings were collected, of a wide file that has them; empty cells are NaT."""
    at = table.find(_COLLECTED_NAMES)
    if at is None or table.find(_MASS_NAMES) is not None:
        return spectra, used
    texts = table.cells.iloc[:, at].astype(str).str.strip()
    filled = np.flatnonzero(texts.to_numpy() != "")
    collected = np.full(len(texts), np.datetime64("NaT", "ns"))
    if filled.size:
        collected[filled] = times_of(texts.iloc[filled], subject=table.subject(at))
    return replace(spectra, collected=collected), {*used, at}


def nearest(name: str) -> tuple[str, ...]:
    """Return the columns of spectra whose names are most like a header's name."""
    known = {word: names for names in _COLUMNS for word in _COLUMNS[names]}
    keys = difflib.get_close_matches(_key(name), list(known), n=3, cutoff=0.6)
    return tuple(dict.fromkeys(known[key] for key in keys))


def _table(name: str, text: str) -> _Table:
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines[:_HEADER_LINES]):
        headers = [parse_header(cell.strip().strip('"')) for cell in line.strip("\r\n").split(separator_of(line))]
        keys = {_key(header.name) for header in headers if _mass(header) is None}
        masses = sum(_mass(header) is not None for header in headers)
        is_wide = masses >= _MIN_MASSES and bool(keys & _TIME_NAMES)
        if is_wide or (keys & _MASS_NAMES and keys & _CURRENT_NAMES and keys & _TIME_NAMES):
            body = "".join(lines[number:])
            if separator_of(line) != ",":
                body = re.sub(r"(?<=\d),(?=\d)", ".", body)  # decimal commas of European exports
            cells = split_table(body, subject=f"spectra {name}").iloc[1:].reset_index(drop=True)
            if cells.empty:
                raise _refuse(name, "at least one scan", "zero rows", "the export holds the header only")
            return _Table(name, headers, cells)
    raise _refuse(
        name,
        "a header line with a time column and either m/z columns (mz_28, 28.00, Mass 28) or columns mass and intensity",
        f"none in the first {min(len(lines), _HEADER_LINES)} lines",
        "another layout, or the columns of time or m/z are missing",
    )


def _wide(table: _Table, labels: ScanLabels) -> tuple[Spectra, set[int]]:
    time_at = table.find(_TIME_NAMES)
    assert time_at is not None  # the header line was recognised by it
    columns = [(at, mass) for at, header in enumerate(table.headers) if (mass := _mass(header)) is not None]
    labelled = np.array([mass for _, mass in columns])
    if is_profile(labelled):
        return _wide_profile(table, labels, labelled, [at for at, _ in columns])
    mz = _whole(table.name, labelled)
    order = np.argsort(mz, kind="stable")
    currents: list[Floats] = []
    reports: list[ColumnReport] = []
    for place in order.tolist():
        at = columns[place][0]
        values, report = _current(table, at, table.numbers(at), f"m/z {mz[place]:g}")
        currents.append(values)
        reports.append(report)
    extra, extra_used = _extra(table)
    spectra = Spectra(
        time=_times(table, time_at, labels),
        mz=mz[order],
        intensity=np.stack(currents, axis=1),
        extra=extra,
        columns=tuple(reports),
    )
    return spectra, {time_at, *(at for at, _ in columns), *extra_used}


def _wide_profile(table: _Table, labels: ScanLabels, labelled: Floats, columns: list[int]) -> tuple[Spectra, set[int]]:
    time_at = table.find(_TIME_NAMES)
    assert time_at is not None  # the header line was recognised by it
    axis, first = np.unique(labelled, return_index=True)
    if axis.size < labelled.size:
        raise _refuse(table.name, "each point of a profile once", f"{labelled.size - axis.size} points twice",
                      "two runs, or two detectors, side by side")  # fmt: skip
    read = [_current(table, columns[at], table.numbers(columns[at]), "intensity") for at in first.tolist()]
    report = _joined([one for _, one in read], f"{axis.size} columns from {table.headers[columns[first[0]]].text}")
    extra, extra_used = _extra(table)
    profile = np.stack([current for current, _ in read], axis=1)
    mz, current, note = peaks_of(axis, profile, subject=f"spectra {table.name}")
    spectra = Spectra(_times(table, time_at, labels), mz, current, extra, (report,), notes=(note,))
    return spectra, {time_at, *columns, *extra_used}


def _joined(reports: list[ColumnReport], name: str) -> ColumnReport:
    return replace(
        reports[0],
        column=name,
        missing=sum(one.missing for one in reports),
        zeros=sum(one.zeros for one in reports),
        absurd=sum(one.absurd for one in reports),
        absurd_largest=next((one.absurd_largest for one in reports if one.absurd), None),
    )


def _long(table: _Table, labels: ScanLabels) -> tuple[Spectra, set[int]]:
    time_at, mass_at, current_at = (table.find(names) for names in (_TIME_NAMES, _MASS_NAMES, _CURRENT_NAMES))
    assert time_at is not None
    assert mass_at is not None
    assert current_at is not None
    values, report = _current(table, current_at, table.numbers(current_at), "intensity")
    row_times = _times(table, time_at, labels)
    shuffled = bool((row_times[1:] < row_times[:-1]).any())
    time, scan = np.unique(row_times, return_inverse=True)
    labelled = table.numbers(mass_at)
    profile = is_profile(labelled)
    if not profile:
        _whole(table.name, np.unique(labelled))
    mz, column = np.unique(np.round(labelled, _DECIMALS if profile else 0), return_inverse=True)
    place = scan * mz.size + column
    twice = np.flatnonzero(np.bincount(place, minlength=1)[place] > 1)
    if twice.size:
        found = f"m/z {labelled[twice[0]]:g} more than once at {time[scan[twice[0]]]}; {rows_text(twice)}"
        raise _refuse(table.name, "each m/z once per time", found, "rows were doubled, or times were rounded")
    intensity = np.full((time.size, mz.size), np.nan)
    intensity[scan, column] = values
    extra, extra_used = _extra(table)
    first = np.unique(scan, return_index=True)[1]
    by_scan = {name: channel[first] for name, channel in extra.items()}
    notes = (
        ("rows were not in the order of time and are sorted: a clock set back would not be seen",) if shuffled else ()
    )
    if profile:
        mz, intensity, note = peaks_of(mz, intensity, subject=f"spectra {table.name}")
        notes = (*notes, note)
    spectra = Spectra(time, mz, intensity, by_scan, (report,), notes=notes)
    return spectra, {time_at, mass_at, current_at, *extra_used}


def _extra(table: _Table) -> tuple[dict[str, Floats], set[int]]:
    """Read analyser pressure and sample depth, when the file has them."""
    extra: dict[str, Floats] = {}
    used: set[int] = set()
    for names, channel, unit in ((_PRESSURE_NAMES, "pressure", "Pa"), (_DEPTH_NAMES, "sample_depth", "m")):
        at = table.find(names)
        if at is not None:
            values = table.numbers(at)
            extra[channel] = convert(values, table.headers[at].unit or unit, unit, subject=table.subject(at))
            used.add(at)
    return extra, used


def _current(table: _Table, at: int, values: Floats, channel: str) -> tuple[Floats, ColumnReport]:
    header = table.headers[at]
    unit = header.unit or "A"
    amperes = convert(values, unit, "A", subject=table.subject(at))
    wild = np.isinf(amperes)
    amperes = np.where(wild, np.nan, amperes)
    report = ColumnReport(
        column=header.text,
        channel=channel,
        unit_found=unit,
        unit="A",
        unit_assumed=not header.unit,
        missing=int((np.isnan(amperes) & ~wild).sum()),
        zeros=int((amperes == 0.0).sum()),
        absurd=int(wild.sum()),
        absurd_largest=np.inf if wild.any() else None,
    )
    return amperes, report


def _times(table: _Table, at: int, labels: ScanLabels) -> NDArray[np.datetime64]:
    column, subject = table.cells.iloc[:, at], table.subject(at)
    seconds = pd.to_numeric(column.astype(str).str.strip(), errors="coerce").to_numpy(dtype=np.float64)
    if np.isnan(seconds).any() or seconds.min() >= _EPOCH_S:
        return times_of(column, subject=subject)
    if labels.start is None:
        raise _refuse(
            table.name, "times of day, or the start of the run", f"times from {seconds[0]:g} s in {subject}",
            "the software exports the time since the start of the run",
        )  # fmt: skip
    scale_s = {"min": 60.0, "h": 3600.0, "ms": 1e-3}.get(table.headers[at].unit, 1.0)
    since = (seconds * scale_s * 1e9).round().astype(np.int64).astype("timedelta64[ns]")
    times: NDArray[np.datetime64] = labels.start.astype("datetime64[ns]") + since
    return times


def _whole(name: str, labelled: Floats) -> Floats:
    """Return labels as whole m/z; half masses, and labels that fall on one m/z, are refused."""
    whole = np.round(labelled)
    off = np.flatnonzero((np.abs(labelled - whole) > _MASS_TOLERANCE) | (whole < 1) | np.isnan(labelled))
    if off.size:
        listed = ", ".join(f"{value:g}" for value in labelled[off][:5])
        raise _refuse(
            name, "whole m/z", f"m/z {listed}", "doubly charged ions at half masses, or a profile in steps above 0.25"
        )
    values, count = np.unique(whole, return_counts=True)
    if (count > 1).any():
        listed = ", ".join(f"{value:g}" for value in values[count > 1][:5])
        raise _refuse(
            name, "each m/z once", f"m/z {listed} more than once", "two detectors, or a finer scan, in one file"
        )
    return whole


def _mass(header: Header) -> float | None:
    match = _MASS.fullmatch(header.name)
    return float(match.group(1)) if match else None


def _key(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _refuse(name: str, expected: str, found: str, cause: str) -> InputError:
    return InputError(
        f"spectra {name}",
        expected=expected,
        found=found,
        cause=cause,
        next_step="export peak heights at unit resolution as CSV; give the start of the run when times are relative",
    )
