"""Import a gas log: amounts of gas against depth, as a chromatograph on the rig gives them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from nightwell.errors import InputError
from nightwell.wells.channels import ChannelKind, known_channels
from nightwell.wells.import_report import ColumnReport, ImportReport
from nightwell.wells.log_file import check_depth, read_log

#: Without these three no indicator of petroleum can be computed.
REQUIRED = ("depth", "methane", "ethane", "propane")


@dataclass(frozen=True, slots=True)
class GasLog:
    """A gas log.

    Parameters
    ----------
    well
        Name of the well.
    table
        float64 variables with dimension ``depth`` [m], named by channel (a species of the library, ``total_gas``,
        ``rop``, ``flow``, ``reported_wetness`` ...), in the contract's units, NaN where missing.
    zeros
        For gases, boolean variables of the same names: True where the file holds an exact zero, which may be a
        clipped negative or a placeholder. The zero itself stays in ``table``.
    report
        What the import changed.
    """

    well: str
    table: xr.Dataset
    zeros: xr.Dataset
    report: ImportReport

    @property
    def species(self) -> tuple[str, ...]:
        """Names of the gases in the log, without ``total_gas``."""
        return tuple(
            str(name)
            for name in self.zeros.data_vars
            if name != "total_gas" and known_channels()[str(name)].kind is ChannelKind.GAS
        )


def import_gas_log(path: Path | str, *, well: str | None = None) -> GasLog:
    """Import a gas log from CSV or LAS.

    Parameters
    ----------
    path
        The file. Columns are recognised by the names of ``data/channels.csv``; units stand in the headers.
    well
        Name of the well; by default the file's name.

    Raises
    ------
    NotFoundError
        There is no such file.
    InputError
        Zero rows, missing columns, a required column without any value, depth that does not increase, an unknown
        unit or text among numbers.
    """
    path = Path(path)
    log = read_log(path, REQUIRED)
    depth = log.channels["depth"]
    check_depth(depth, source=path.name)
    for name in REQUIRED:
        if np.isnan(log.channels[name]).all():
            raise _without_values(path, log.report.column(name))
    coordinate = xr.Variable("depth", depth, {"units": "m", "long_name": known_channels()["depth"].meaning})
    values = {
        name: xr.Variable("depth", array, _attributes(name, log.report))
        for name, array in log.channels.items()
        if name != "depth"
    }
    zeros = {name: xr.Variable("depth", array) for name, array in log.zeros.items()}
    return GasLog(
        well=well or path.stem,
        table=xr.Dataset(values, coords={"depth": coordinate}),
        zeros=xr.Dataset(zeros, coords={"depth": coordinate}),
        report=log.report,
    )


def _without_values(path: Path, column: ColumnReport) -> InputError:
    found = f"{column.missing} rows empty or null"
    if column.absurd_largest is not None:
        found += f", {column.absurd} absurd (as far out as {column.absurd_largest:,.10g} {column.unit})"
    return InputError(
        f"column '{column.column}' of {path.name}",
        expected=f"at least one value of {column.channel}",
        found=found,
        cause="the chromatograph was off, or the export filled the column with a null or in another unit",
        next_step="export an interval in which it was measured, or correct the unit in the header",
    )


def _attributes(channel: str, report: ImportReport) -> dict[str, str]:
    column = report.column(channel)
    known = known_channels()[channel]
    attributes = {"units": known.unit, "long_name": known.meaning, "column": column.column}
    if column.unit_found != known.unit:
        attributes["unit_found"] = column.unit_found
    if known.kind is ChannelKind.REPORTED:
        attributes["comment"] = "computed by the logging company"
    return attributes
