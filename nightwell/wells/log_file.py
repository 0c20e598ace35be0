"""Read a log (CSV or LAS) into channels in the contract's units, with a report of everything that was changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import lasio
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.channels import (
    Channel,
    ChannelKind,
    Header,
    known_channels,
    nearest_names,
    parse_header,
    recognise,
    require,
)
from nightwell.wells.delimited import numbers_of, read_text, rows_text, split_table, times_of
from nightwell.wells.import_report import ColumnReport, ImportReport, UnknownColumn
from nightwell.wells.units import convert

#: Numbers that stand for "no value" in the logs of the industry.
NULLS = (-999.25, -999.0, -9999.0, -9999.25, -99999.0)


@dataclass(frozen=True, slots=True)
class LogFile:
    """Channels of one log.

    Parameters
    ----------
    channels
        float64 arrays by channel, NaN where missing.
    zeros
        For gas channels, where the file holds an exact zero.
    times
        datetime64[ns], UTC, when the file has a time column.
    report
        What was converted, assumed and set missing.
    """

    channels: Mapping[str, NDArray[np.float64]]
    zeros: Mapping[str, NDArray[np.bool_]]
    times: NDArray[np.datetime64] | None
    report: ImportReport


@dataclass(frozen=True, slots=True)
class _Columns:
    headers: list[Header]
    texts: pd.DataFrame  # one column per header, in order


def read_log(path: Path, required: Iterable[str], *, required_in_time: Iterable[str] | None = None) -> LogFile:
    """Read a log file.

    Parameters
    ----------
    path
        ``.las``, or CSV with a header line; units in parentheses in the header or in a line below it.
    required
        Channels the file must carry.
    required_in_time
        What it must carry instead when it has a time column.

    Raises
    ------
    NotFoundError
        There is no such file.
    InputError
        No rows, missing columns, an unknown unit, or text where a number should stand.
    """
    text, digest = read_text(path)
    columns = _from_las(path, text) if path.suffix.lower() == ".las" else _from_csv(path, text)
    found = recognise(columns.headers)
    if "time" in found and required_in_time is not None:
        required = required_in_time
    require(found, required, columns.headers, subject=f"log {path.name}")
    if columns.texts.empty:
        raise _empty(path)
    channels: dict[str, NDArray[np.float64]] = {}
    zeros: dict[str, NDArray[np.bool_]] = {}
    reports: list[ColumnReport] = []
    times: NDArray[np.datetime64] | None = None
    for position, header in enumerate(columns.headers):
        name = next((name for name, one in found.items() if one is header), None)
        if name is None:
            continue
        channel = known_channels()[name]
        if channel.kind is ChannelKind.TIME:
            times = times_of(columns.texts.iloc[:, position], subject=f"column '{header.text}' of {path.name}")
            continue
        values = numbers_of(columns.texts.iloc[:, position], subject=f"column '{header.text}' of {path.name}")
        values, report = _clean(values, header, channel)
        channels[name] = values
        reports.append(report)
        if channel.kind in {ChannelKind.GAS, ChannelKind.GAS_IN}:
            zeros[name] = values == 0.0
    known = {header.text for header in found.values()}
    unknown = [UnknownColumn(one.text, nearest_names(one.name)) for one in columns.headers if one.text not in known]
    report_all = ImportReport(path.name, digest, len(columns.texts), tuple(reports), tuple(unknown))
    return LogFile(channels, zeros, times, report_all)


def check_depth(depth: NDArray[np.float64], *, source: str) -> None:
    """Check that every row has a depth and that depth increases.

    Raises
    ------
    InputError
        Naming the first rows that break the order (rows count from 1, without header lines).
    """
    missing = np.flatnonzero(np.isnan(depth))
    if missing.size:
        raise _bad_depth(source, "a depth in every row", f"none in {rows_text(missing)}", "rows were padded or cut")
    broken = np.flatnonzero(np.diff(depth) <= 0) + 1
    if broken.size:
        first = int(broken[0])
        raise _bad_depth(
            source,
            "depth that increases from row to row",
            f"{depth[first]:g} m after {depth[first - 1]:g} m; {rows_text(broken)}",
            "two runs were joined, rows doubled, or the log was recorded while pulling out",
        )


def _from_csv(path: Path, text: str) -> _Columns:
    table = split_table(text, subject=f"log {path.name}")
    units = [""] * table.shape[1]
    start = 1
    if table.shape[0] > 1 and _is_unit_line(table.iloc[1].tolist()):
        units, start = [str(unit).strip("()[] ") for unit in table.iloc[1]], 2
    headers = [parse_header(str(text), unit) for text, unit in zip(table.iloc[0], units, strict=True)]
    return _Columns(headers, table.iloc[start:].reset_index(drop=True))


def _is_unit_line(cells: list[str]) -> bool:
    """Tell whether the line below the header gives units: it holds some text, and no number at all."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    return bool(filled) and not any(any(sign.isdigit() for sign in cell.replace("m3", "")) for cell in filled)


def _from_las(path: Path, text: str) -> _Columns:
    try:
        las = lasio.read(StringIO(text))  # type: ignore[no-untyped-call]  # lasio ships no types
        table = pd.DataFrame({index: curve.data for index, curve in enumerate(las.curves)})
    except Exception as error:  # lasio raises KeyError, ValueError and its own errors for damaged files
        raise InputError(
            f"log {path.name}",
            expected="a LAS file that lasio can read",
            found=f"{type(error).__name__}: {error}",
            cause="the file is damaged or cut short",
            next_step="export the log again as LAS 2.0",
        ) from error
    return _Columns([parse_header(curve.original_mnemonic, curve.unit or "") for curve in las.curves], table)


def _clean(values: NDArray[np.float64], header: Header, channel: Channel) -> tuple[NDArray[np.float64], ColumnReport]:
    """Nulls become NaN, units the contract's, and what cannot be real NaN as well; all of it is counted."""
    values[np.isin(values, NULLS) | ~np.isfinite(values)] = np.nan
    missing = int(np.isnan(values).sum())
    unit = header.unit or channel.assumed_unit
    values = convert(values, unit, channel.unit, subject=f"column '{header.text}'")
    absurd = (values < channel.minimum) | (values > channel.maximum)
    farthest = float(values[absurd][np.argmax(np.abs(values[absurd]))]) if absurd.any() else None
    values = np.where(absurd, np.nan, values)
    report = ColumnReport(
        column=header.text,
        channel=channel.name,
        unit_found=unit,
        unit=channel.unit,
        unit_assumed=not header.unit,
        missing=missing,
        zeros=int((values == 0.0).sum()),
        absurd=int(absurd.sum()),
        absurd_largest=farthest,
    )
    return values, report


def _empty(path: Path) -> InputError:
    return InputError(
        f"log {path.name}",
        expected="at least one row of data",
        found="zero rows",
        cause="the export holds the header only",
        next_step="export the log again with its data",
    )


def _bad_depth(source: str, expected: str, found: str, cause: str) -> InputError:
    return InputError(
        f"depth of {source}",
        expected=expected,
        found=found,
        cause=cause,
        next_step="export one run sorted by depth, without doubled rows",
    )
